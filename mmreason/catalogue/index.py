"""``catalogue.json``: what a catalogue's folder holds, and which tables its behaviours are in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq

from mmreason.files import atomic_write
from mmreason.schema import DataError

NAME = "catalogue.json"
TABLES = ("items", "interactions", "reasons")


@dataclass(frozen=True, slots=True)
class CatalogueIndex:
    """Where the tables of a catalogue are, and how many rows they hold.

    Attributes:
        folder: The catalogue's.
        media_root: Folder that picture and video paths are relative to.
        counts: Table → its rows.
        paths: Table → its file, in the folder unless simulated shoppers or mined reasons took the source's place.
        hidden: Attributes that no text tells.
    """

    folder: Path
    media_root: Path
    counts: Mapping[str, int]
    paths: Mapping[str, Path]
    hidden: tuple[str, ...] = ()

    def write(self) -> None:
        """Write it, whole or not at all; what is inside the run is named relative to it."""
        folder = self.folder.resolve()
        root = self.media_root.resolve()
        index = {
            "media_root": os.path.relpath(root, folder) if root.is_relative_to(folder.parent) else str(root),
            **self.counts,
            "paths": {name: os.path.relpath(path.resolve(), folder) for name, path in self.paths.items()},
            "hidden": list(self.hidden),
        }
        with atomic_write(self.folder / NAME) as file:
            file.write(json.dumps(index, indent=2).encode() + b"\n")


def new_index(folder: Path, media_root: Path, hidden: Iterable[str] = ()) -> CatalogueIndex:
    """The index of three tables that were just written into a folder."""
    paths = {name: folder / f"{name}.parquet" for name in TABLES}
    return CatalogueIndex(folder, media_root, _count(paths), paths, tuple(hidden))


def read_index(folder: str | Path) -> CatalogueIndex:
    """Read what :meth:`CatalogueIndex.write` wrote.

    Raises:
        DataError: If the folder holds no whole catalogue.
    """
    folder = Path(folder)
    try:
        index = json.loads((folder / NAME).read_text(encoding="utf-8"))
        media_root = Path(os.path.normpath(folder / index["media_root"]))
        counts = {name: int(index[name]) for name in TABLES}
        named = index.get("paths", {})
        paths = {name: _inside_run(folder, named.get(name, f"{name}.parquet")) for name in TABLES}
        return CatalogueIndex(folder, media_root, counts, paths, tuple(index.get("hidden", ())))
    except FileNotFoundError:
        raise DataError(f"{folder} holds no catalogue; run `mmreason ingest` first") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{folder / NAME} is damaged; run `mmreason ingest` again") from None


def use_tables(folder: Path, tables: Mapping[str, Path]) -> None:
    """Let a catalogue's behaviours be read from other files; those not named are read from its own folder."""
    index = read_index(folder)
    paths = {name: tables.get(name, folder / f"{name}.parquet") for name in TABLES}
    if paths != index.paths:
        replace(index, paths=paths, counts=_count(paths)).write()


def _count(paths: Mapping[str, Path]) -> dict[str, int]:
    return {name: pq.read_metadata(path).num_rows for name, path in paths.items()}


def _inside_run(folder: Path, name: str) -> Path:
    path = Path(os.path.normpath(folder / name))
    if not path.resolve().is_relative_to(folder.resolve().parent):
        raise ValueError(f"{name} is outside the run")
    return path
