"""Media that could not be read, a row each, as long as the vector of their item lasts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from mmreason.embed.features import Errors
from mmreason.files import atomic_write, remove


class Quarantine:
    """The rows of a file.

    Args:
        path: The file.
        anew: Whether to begin without what it holds.
    """

    def __init__(self, path: Path, anew: bool) -> None:
        self.path = path
        if anew:
            remove(path)
        self._lost: defaultdict[str, list[str]] = defaultdict(list)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            self._lost[json.loads(line)["item_id"]].append(line)

    def replace(self, ids: Iterable[str], errors: Errors) -> None:
        """Replace what earlier runs noted of items: a part that a kill kept out of the store comes twice."""
        before = [self._lost.pop(item_id, []) for item_id in ids]
        for item_id, modality, reason in errors:
            row = {"item_id": item_id, "modality": modality, "reason": reason}
            self._lost[item_id].append(json.dumps(row, ensure_ascii=False))
        if errors or any(before):
            with atomic_write(self.path) as file:
                for line in (line for lines in self._lost.values() for line in lines):
                    file.write(f"{line}\n".encode("utf-8", "replace"))
