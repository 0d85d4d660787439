"""Bad rows with their reasons, set aside and counted, never dropped."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from mmreason.files import atomic_write
from mmreason.readers.source import SourceRow
from mmreason.schema import DataError

DUPLICATES = ("duplicate id", "duplicate row")
"""Reasons that tell of no mistake in the source: what they set aside is there already."""

CANCELLED = "cancelled or refunded, no purchase"
"""Reason of an order's line that came to nothing, which is no mistake either."""

MISSING = "missing file"
"""Reason of a picture or video that is not where the row says."""

UNKNOWN_ITEM = "unknown item"
"""Reason of a row whose item is not in the catalogue (any more), which is no mistake either."""


class Quarantine:
    """Bad rows with their reasons, written as they are found, and the count that nothing was lost.

    Kinds: ``items``, ``interactions``, ``reasons``, and of an item that stays ``media`` (a picture or video) and
    ``fields`` (any other field that could not be read), ``flaws`` (of a picture that is read all the same) or ``links``
    (to items that are not there).

    Args:
        path: The file, one JSON object a line; it appears when the block ends well.

    Example:
        >>> with Quarantine(Path("quarantine.jsonl")) as quarantine:
        ...     quarantine.read["items"] += 1
        ...     quarantine.add("items", SourceRow("items.csv", 1, {"title": "x"}), "no id")
        >>> quarantine.balance("items", kept=0)
        '1 items read = 0 kept + 1 quarantined'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], str] = {}
        self._stack = ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Quarantine:
        self._file = self._stack.enter_context(atomic_write(self.path))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, kind: str, row: SourceRow, reason: str) -> None:
        """Set one row aside."""
        assert self._file is not None, "used outside its with block"
        self.reasons[kind, reason] += 1
        self.first.setdefault((kind, reason), f"{row.file} row {row.number}")
        entry = {"kind": kind, "row": row.number, "file": row.file, "reason": reason, "record": row.record}
        self._file.write(json.dumps(entry, default=str).encode() + b"\n")

    def count(self, kind: str) -> int:
        """How many rows of a kind were set aside."""
        return sum(n for (k, _), n in self.reasons.items() if k == kind)

    def balance(self, kind: str, kept: int) -> str:
        """``360 items read = 358 kept + 2 quarantined``, asserted."""
        bad = self.count(kind)
        assert self.read[kind] == kept + bad, (
            f"{kind}: {self.read[kind]} read but {kept} kept + {bad} quarantined"
        )
        unknown = self.reasons[kind, UNKNOWN_ITEM]
        of_unknown = f" ({unknown:,} of unknown items)" if unknown else ""
        if cancelled := self.reasons[kind, CANCELLED]:
            of_unknown += f" ({cancelled:,} {CANCELLED})"
        if kind == "media" and self.read[kind] == self.reasons[kind, MISSING]:
            of_unknown = " (none of the files is there)"
        return f"{self.read[kind]:,} {kind} read = {kept:,} kept + {bad:,} quarantined{of_unknown}"

    def enforce(self, most_bad: float, most_unknown: float = 1.0) -> None:
        """Fail if too many rows of any kind are bad, or name unknown items; :data:`DUPLICATES` do no harm.

        An export without any of its pictures is a catalogue of texts: no mistake, as where some are gone.

        Args:
            most_bad: Share of the rows, those of unknown items left out, that may be bad.
            most_unknown: Share of the rows that may name unknown items.

        Raises:
            DataError: Naming the kind, the share, the setting and the most frequent reason.
        """
        for kind, read in self.read.items():
            if kind == "media" and self.reasons[kind, MISSING] == read:
                continue
            unknown = self.reasons[kind, UNKNOWN_ITEM]
            if unknown > most_unknown * read:
                raise DataError(
                    f"{unknown} of {read} {kind} name unknown items, more than "
                    f"catalogue.max_unknown_items={most_unknown} (first in {self.first[kind, UNKNOWN_ITEM]}); are "
                    "their item ids those of the items?"
                )
            reasons = {
                reason: n
                for (k, reason), n in self.reasons.items()
                if k == kind and reason not in (*DUPLICATES, UNKNOWN_ITEM, CANCELLED)
            }
            bad = sum(reasons.values())
            if bad > most_bad * (read - unknown):
                n, worst = max((n, reason) for reason, n in reasons.items())
                raise DataError(
                    f"{bad} of {read - unknown} {kind} are bad, more than catalogue.max_quarantined={most_bad}: "
                    f"mostly {worst!r} ({n} times, first in {self.first[kind, worst]}); mend them"
                )
