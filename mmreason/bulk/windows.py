"""Windows of parts: what is missing in several parts is written together, then each part."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmreason.bulk.asked import Asked, AskedTable
from mmreason.bulk.attempts import Attempts, Pair, Write
from mmreason.bulk.known import TakenRows
from mmreason.bulk.parts import Row, keys_of, part, row_of, write_part
from mmreason.schema import Reason

WINDOW = 512
"""Requests that are written together, of as many parts as it takes, unless the writer wants more."""

MOST_ROWS = 16_384
"""Of a window, those that are there already with them."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a language model was asked for so far.

    Attributes:
        tokens: That it wrote.
        plans: That were to be put in words.
        worded: Those of them that it put in words; for the others there were words already.
        read: Tokens that a server counted in what it was asked.
    """

    tokens: int = 0
    plans: int = 0
    worded: int = 0
    read: int = 0


@dataclass
class Done:
    """What was written.

    Attributes:
        written: Reasons, with those that failed.
        seconds: That they took, without what it takes to get ready.
        tokens: As of :class:`Spent`, like the next three.
        levels: Rung of the ladder → reasons.
    """

    written: int = 0
    seconds: float = 0.0
    tokens: int = 0
    plans: int = 0
    worded: int = 0
    read: int = 0
    levels: Counter[str] = field(default_factory=Counter)

    def add(self, more: Done) -> None:
        """What was written after it."""
        self.written, self.seconds = self.written + more.written, self.seconds + more.seconds
        self.tokens, self.plans = self.tokens + more.tokens, self.plans + more.plans
        self.worded, self.read = self.worded + more.worded, self.read + more.read
        self.levels.update(more.levels)

    def spend(self, before: Spent, after: Spent) -> None:
        """Note what a language model was asked for meanwhile."""
        self.tokens, self.plans = after.tokens - before.tokens, after.plans - before.plans
        self.worded, self.read = after.worded - before.worded, after.read - before.read

    @property
    def speed(self) -> float:
        """Reasons a second."""
        return self.written / self.seconds if self.seconds else 0.0

    def told(self, of_latest: Done) -> dict[str, str]:
        """What is told of it beside the bar: tokens a second of the latest, then shares of all."""
        written, seconds = of_latest.tokens, of_latest.seconds
        told = {"tokens/s": f"{written / seconds:,.0f}"} if written else {}
        if self.plans:
            told["shared"] = f"{1 - self.worded / self.plans:.0%}"
        total = self.levels.total()
        return told | {level: f"{n / total:.0%}" for level, n in self.levels.most_common()}


def side_by_side(those: Sequence[Done]) -> Done:
    """What several processes wrote at the same time.

    Example:
        >>> side_by_side([Done(written=30, seconds=2.0), Done(written=10, seconds=1.0)]).speed
        20.0
    """
    whole = Done()
    for done in those:
        whole.add(done)
    whole.seconds = max(done.seconds for done in those)
    return whole


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
        spent: What a language model was asked for so far.
        window: Requests that are written together; 0 for :data:`WINDOW`.

    Attributes:
        done: What was written so far.
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
        spent: Callable[[], Spent],
        window: int = 0,
    ) -> None:
        self._folder, self._table, self._size = folder, table, size
        self._pair_of, self._writer, self._max_failures = pair_of, writer, max_failures
        self._taken = taken
        self._attempts: Attempts | None = None
        self._spent, self._window, self.done = spent, window, Done()

    def is_written(self, index: int) -> bool:
        """Whether a part holds just what its place wants."""
        keys = self._table.keys(index * self._size, (index + 1) * self._size)
        return keys == keys_of(part(self._folder, index))

    def of(self, indexes: Sequence[int]) -> Iterator[list[_Part]]:
        """Parts one after another, as many at a time as have a window of requests to write."""
        window: list[_Part] = []
        rows = missing = 0
        for index in indexes:
            each = self._part(index)
            window.append(each)
            rows, missing = rows + len(each.asked), missing + len(each.missing)
            if rows >= MOST_ROWS or missing >= (self._window or WINDOW):
                yield window
                window, rows, missing = [], 0, 0
        if window:
            yield window

    def write(self, window: Sequence[_Part]) -> Done:
        """Write the parts of a window.

        Args:
            window: Of :meth:`of`.

        Raises:
            DataError: If the disk is full, or too many requests failed.
        """
        pairs = [self._pair_of(each.asked[n]) for each in window for n in each.missing]
        if pairs and self._attempts is None:
            self._attempts = Attempts(self._writer(), self._max_failures)
        began, before = time.monotonic(), self._spent()
        reasons = iter(self._attempts(pairs) if self._attempts else [])
        done = Done(len(pairs))
        for each in window:
            write_part(part(self._folder, each.index), list(self._rows(each, reasons, done.levels)))
        if pairs:
            done.seconds = max(time.monotonic() - began, 1e-9)
            done.spend(before, self._spent())
        self.done.add(done)
        return done

    def _part(self, index: int) -> _Part:
        start, stop = index * self._size, (index + 1) * self._size
        asked, rows = list(self._table.rows(start, stop)), self._taken.rows(start, stop)
        missing = [n for n, each in enumerate(asked) if start + n not in rows and not each.error]
        return _Part(index, start, asked, rows, missing)

    def _rows(self, each: _Part, reasons: Iterator[Reason | str], levels: Counter[str]) -> Iterator[Row]:
        missing = set(each.missing)
        for n, asked in enumerate(each.asked):
            key = asked.key
            if n in missing:
                row = row_of(asked.user_id, asked.item_id, next(reasons))
                levels["failed" if row["error"] is not None else row["level"] or "written"] += 1
                key = "" if row["error"] is not None else key
            else:
                row = each.rows.get(each.first + n) or row_of(asked.user_id, asked.item_id, asked.error)
            yield row | {"request": each.first + n, "content": asked.content, "key": key}
