"""Windows of parts: what is missing in several parts is written together, then each part."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmreason.bulk.asked import Asked, AskedTable
from mmreason.bulk.attempts import Attempts, Pair, Write
from mmreason.bulk.known import TakenRows
from mmreason.bulk.parts import Row, part, row_of, write_part
from mmreason.schema import Reason

WINDOW = 512
"""Requests that are written together, of as many parts as it takes."""

_MOST_ROWS = 16_384  # of a window, those that are there already with them


@dataclass(frozen=True)
class _Part:
    """A part on its way: its requests, the rows that some have already, and the places of those to write."""

    index: int
    first: int
    asked: list[Asked]
    rows: Mapping[int, Row]
    missing: list[int]


class Windows:
    """Writes the parts of a job.

    Args:
        folder: Of the job.
        table: Its requests.
        taken: Rows that some of them have already.
        size: Requests a part.
        pair_of: User and item of a request.
        writer: Makes the writer; called when there is something to write.
        max_failures: As of :class:`~mmreason.bulk.attempts.Attempts`.

    Attributes:
        latest: Reasons of the latest window.
    """

    def __init__(
        self,
        folder: Path,
        table: AskedTable,
        taken: TakenRows,
        size: int,
        pair_of: Callable[[Asked], Pair],
        writer: Callable[[], Write],
        max_failures: float,
    ) -> None:
        self._folder, self._table, self._size = folder, table, size
        self._pair_of, self._writer, self._max_failures = pair_of, writer, max_failures
        self._taken = taken
        self._attempts: Attempts | None = None
        self._levels: Counter[str] = Counter()
        self._seconds, self._written, self.latest = 0.0, 0, 0

    @property
    def speed(self) -> float:
        """Reasons a second, without what it takes to get ready."""
        return self._written / self._seconds if self._seconds else 0.0

    def of(self, indexes: Sequence[int]) -> Iterator[list[_Part]]:
        """Parts one after another, as many at a time as have :data:`WINDOW` requests to write."""
        window: list[_Part] = []
        rows = missing = 0
        for index in indexes:
            each = self._part(index)
            window.append(each)
            rows, missing = rows + len(each.asked), missing + len(each.missing)
            if rows >= _MOST_ROWS or missing >= WINDOW:
                yield window
                window, rows, missing = [], 0, 0
        if window:
            yield window

    def write(self, window: Sequence[_Part], tokens: Callable[[], int]) -> dict[str, str]:
        """Write the parts of a window; returns what is told of it beside the bar.

        Args:
            window: Of :meth:`of`.
            tokens: How many tokens a language model has written so far.

        Raises:
            DataError: If the disk is full, or too many requests failed.
        """
        pairs = [self._pair_of(each.asked[n]) for each in window for n in each.missing]
        if pairs and self._attempts is None:
            self._attempts = Attempts(self._writer(), self._max_failures)
        began, tokens_before = time.monotonic(), tokens()
        reasons = iter(self._attempts(pairs) if self._attempts else [])
        for each in window:
            write_part(part(self._folder, each.index), list(self._rows(each, reasons)))
        seconds = max(time.monotonic() - began, 1e-9)
        self.latest = len(pairs)
        if pairs:
            self._seconds, self._written = self._seconds + seconds, self._written + len(pairs)
        written = tokens() - tokens_before
        told = {"tokens/s": f"{written / seconds:,.0f}"} if written else {}
        total = self._levels.total()
        return told | {level: f"{n / total:.0%}" for level, n in self._levels.most_common()}

    def _part(self, index: int) -> _Part:
        start, stop = index * self._size, (index + 1) * self._size
        asked, rows = list(self._table.rows(start, stop)), self._taken.rows(start, stop)
        missing = [n for n, each in enumerate(asked) if start + n not in rows and not each.error]
        return _Part(index, start, asked, rows, missing)

    def _rows(self, each: _Part, reasons: Iterator[Reason | str]) -> Iterator[Row]:
        missing = set(each.missing)
        for n, asked in enumerate(each.asked):
            key = asked.key
            if n in missing:
                row = row_of(asked.user_id, asked.item_id, next(reasons))
                self._levels["failed" if row["error"] is not None else row["level"] or "written"] += 1
                key = "" if row["error"] is not None else key
            else:
                row = each.rows.get(each.first + n) or row_of(asked.user_id, asked.item_id, asked.error)
            yield row | {"request": each.first + n, "content": asked.content, "key": key}
