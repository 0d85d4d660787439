"""Reasons of a run by user and item, to serve."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmreason.bulk.index import COLUMNS, ITEMS, REASONS, update
from mmreason.bulk.parts import Row
from mmreason.schema import DataError, Reason, from_record

_DAY = 86_400.0


class ReasonStore:
    """Finds the reason of a user and an item in well under a millisecond; nothing is held in memory.

    Where several jobs have written one, the newest is taken. A reason is gone when its item was edited after it was
    written (by what the run's evidence was read from; pictures, where it rests on them, included), or when it is older
    than ``max_days``.

    Args:
        folder: ``<run>/generate``, indexed.
        max_days: Age from which a reason is none; 0 for no limit.

    Example:
        >>> store = ReasonStore.open("runs/my_shop")                                     # doctest: +SKIP
        >>> store.get("ann", "coat-7").text                                              # doctest: +SKIP
        'Waxed cotton, like the jacket that you bought.'
    """

    def __init__(self, folder: Path, max_days: float = 0.0) -> None:
        self._max_days = max_days
        place = f"{(folder / REASONS).resolve().as_uri()}?mode=ro"
        self._index = sqlite3.connect(place, uri=True, check_same_thread=False)
        joined, valid = "", "TRUE"
        if (folder / ITEMS).is_file():
            self._index.execute("ATTACH ? AS now", (f"{(folder / ITEMS).resolve().as_uri()}?mode=ro",))
            joined = "LEFT JOIN now.items i ON i.item_id = r.item_id"
            valid = "r.content IN (coalesce(i.said, ''), coalesce(i.content, ''))"
        names = ", ".join(f"r.{name}" for name in COLUMNS)
        self._query = f"SELECT {names} FROM reasons r {joined} WHERE {valid} AND r.written >= ?"

    @classmethod
    def open(cls, run: str | Path, max_days: float = 0.0) -> ReasonStore:
        """The reasons of a run's folder; the first call after a job or a new catalogue brings the index up to date.

        Args:
            run: The run's folder.
            max_days: Age from which a reason is none; 0 for no limit.

        Raises:
            DataError: If no job has written reasons there, or the index cannot be written.
        """
        update(Path(run))
        return cls(Path(run) / "generate", max_days)

    def get(self, user_id: str, item_id: str) -> Reason | None:
        """The newest reason for a user and an item; None if there is none that still holds.

        Its text is empty where the job found nothing to say.
        """
        row = self._select("AND r.user_id = ? AND r.item_id = ?", user_id, item_id).fetchone()
        return None if row is None else _reason(row)

    def of_user(self, user_id: str) -> list[Reason]:
        """The newest reasons for a user, by item."""
        return [_reason(row) for row in self._select("AND r.user_id = ? ORDER BY r.item_id", user_id)]

    def rows(self, job: str = "") -> Iterator[Row]:
        """All rows that still hold, by user and item, with ``job`` and ``written``.

        Args:
            job: Only of this one; empty for all.
        """
        more = "AND (? = '' OR r.job = ?) ORDER BY r.user_id, r.item_id"
        for row in self._select(more, job, job):
            yield _row(row)

    def close(self) -> None:
        """Close the files."""
        self._index.close()

    def __len__(self) -> int:
        """How many reasons still hold."""
        return sum(1 for _ in self._select(""))

    def _select(self, more: str, *values: str) -> sqlite3.Cursor:
        since = time.time() - self._max_days * _DAY if self._max_days else 0.0
        try:
            return self._index.execute(f"{self._query} {more}", (since, *values))
        except sqlite3.Error as error:
            raise DataError(
                f"the index of reasons cannot be read ({error}); delete generate/{REASONS}"
            ) from None


def _row(values: tuple[Any, ...]) -> Row:
    row = dict(zip(COLUMNS, values, strict=True))
    return row | {"verified": None if row["verified"] is None else bool(row["verified"])}


def _reason(values: tuple[Any, ...]) -> Reason:
    return from_record(Reason, _row(values))
