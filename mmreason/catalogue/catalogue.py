"""The catalogue on disk: three Parquet tables and their index."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pyarrow.parquet as pq

from mmreason.catalogue.index import new_index, read_index
from mmreason.catalogue.tables import ROW_GROUPS, read_table, write_table
from mmreason.files import remove
from mmreason.readers.source import inside
from mmreason.schema import Interaction, Item, Reason, Split


@dataclass(slots=True)
class Catalogue:
    """Items, what users did with them, and reasons known to be true.

    Attributes:
        items: By id, in the source's order.
        interactions: Every user's history, oldest first within a user where times are known.
        reasons: Reference reasons; their ``split`` says what they may be used for.
        media_root: Folder that picture and video paths are relative to.
    """

    items: dict[str, Item]
    interactions: list[Interaction]
    reasons: list[Reason]
    media_root: Path

    def media(self, relative: str) -> Path:
        """The path of a media file.

        Raises:
            DataError: If the name leads out of :attr:`media_root`.
        """
        return inside(self.media_root, relative)


def write_catalogue(catalogue: Catalogue, folder: str | Path) -> None:
    """Write the three tables as Parquet, then ``catalogue.json``, each to a temporary name first."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove(folder / "catalogue.json")  # a half-written catalogue must not look whole
    write_table(folder / "items.parquet", Item, catalogue.items.values())
    write_table(folder / "interactions.parquet", Interaction, catalogue.interactions)
    write_table(folder / "reasons.parquet", Reason, catalogue.reasons)
    new_index(folder, catalogue.media_root, hidden_names(folder / "items.parquet")).write()


def read_catalogue(folder: str | Path) -> Catalogue:
    """Read what :func:`write_catalogue` wrote.

    Raises:
        DataError: If the folder holds no whole catalogue.
    """
    index = read_index(folder)
    items, interactions, reasons = (
        read_table(index.paths[name], kind, index.counts[name])
        for name, kind in (("items", Item), ("interactions", Interaction), ("reasons", Reason))
    )
    return Catalogue({item.id: item for item in items}, interactions, reasons, index.media_root)


def describe_reasons(path: Path, favour: Iterable[str] = ()) -> Iterator[str]:
    """Sides of the split, and how far guessing the commonest value of a favoured attribute would get."""
    splits: Counter[str] = Counter()
    values: dict[str, Counter[str]] = {name: Counter() for name in favour}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROW_GROUPS[Reason], columns=["split", "evidence"]):
            splits.update(batch["split"].to_pylist())
            for evidence in batch["evidence"].to_pylist() if values else ():
                for claim in json.loads(evidence):
                    if claim["attribute"] in values:
                        values[claim["attribute"]][claim["value"]] += 1
    if splits:
        shares = ", ".join(f"{splits[name]:,} {name}" for name in get_args(Split))
        yield f"{splits.total():,} reasons ({shares})"
    for name, named in values.items():
        if named:
            value, n = named.most_common(1)[0]
            share = f"{named.total() / splits.total():.0%}"
            yield f"{name} named in {share} of reasons, {value!r} in {n / named.total():.0%} of those"


def hidden_names(path: Path) -> list[str]:
    """Attributes that some item of a table keeps out of its texts."""
    names: set[str] = set()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["hidden"]):
            for text in batch["hidden"].unique().to_pylist():
                names.update(json.loads(text))
    return sorted(names)
