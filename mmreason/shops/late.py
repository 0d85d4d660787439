"""Keys of a table that begin so late that no look at it saw them: they are named when it has been read."""

from __future__ import annotations

from mmreason.readers.mapping import TableMap
from mmreason.readers.source import SourceRow
from mmreason.shops.folder import LOOKED_ON
from mmreason.values import is_nothing

_NAMED = 20  # keys that get a line; a table may have any number
_HELD = 10_000  # keys that are told apart


class LateKeys:
    """Counts what stands in keys that say nothing in the rows that the guess looks at.

    Args:
        table: Which columns are used.
    """

    def __init__(self, table: TableMap) -> None:
        self._file = table.file
        self._said = set(map(str, table.columns))
        self._rows = 0
        self._late: dict[str, tuple[int, int]] = {}

    def look(self, row: SourceRow) -> None:
        """Look at one row, as the source has it."""
        self._rows += 1
        for name, value in row.record.items():
            if name in self._said or is_nothing(value):
                continue
            if self._rows <= LOOKED_ON:
                self._said.add(name)
            elif name in self._late or len(self._late) < _HELD:
                first, count = self._late.get(name, (row.number, 0))
                self._late[name] = first, count + 1

    def lines(self) -> list[str]:
        """A line a key, the first of many."""
        told = [
            f"{self._file}: {name[:80]!r} begins at row {first:,} ({count:,} rows have it), behind those that are "
            "looked at, and is not used; name it in a mapping"
            for name, (first, count) in self._late.items()
        ]
        more = len(told) - _NAMED
        return told[:_NAMED] + ([f"{self._file}: {more:,} more keys begin so late"] if more > 0 else [])
