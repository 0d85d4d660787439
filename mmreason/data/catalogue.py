"""The catalogue on disk, and the stage that makes it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.config import Config
from mmreason.data.check import Quarantine, check, inside
from mmreason.data.files import whole_file
from mmreason.data.hide import hide_attributes
from mmreason.data.readers import READERS
from mmreason.data.simulate import simulate
from mmreason.data.split import split_catalogue, split_rule
from mmreason.schema import DataError, Interaction, Item, Reason, Split, from_record, to_record

_TEXT = pa.string()
_ITEM = ("id", "title", "text", "images", "video", "attributes", "hidden", "domain", "group", "split")
SCHEMAS: dict[type, pa.Schema] = {
    Item: pa.schema(dict.fromkeys(_ITEM, _TEXT)),  # nested fields are JSON
    Interaction: pa.schema(
        {
            **dict.fromkeys(("user_id", "item_id", "event"), _TEXT),
            "count": pa.int64(),
            **dict.fromkeys(("seconds", "rating", "timestamp"), pa.float64()),
            "text": _TEXT,
        }
    ),
    Reason: pa.schema(
        {
            **dict.fromkeys(("user_id", "item_id", "text", "evidence"), _TEXT),
            "score": pa.float64(),
            "verified": pa.bool_(),
            "split": _TEXT,
        }
    ),
}


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
    (folder / "catalogue.json").unlink(missing_ok=True)  # a half-written catalogue must not look whole
    _write_table(folder / "items.parquet", Item, catalogue.items.values())
    _write_table(folder / "interactions.parquet", Interaction, catalogue.interactions)
    _write_table(folder / "reasons.parquet", Reason, catalogue.reasons)
    root, run = catalogue.media_root.resolve(), folder.resolve().parent
    index = {
        "media_root": os.path.relpath(root, folder.resolve()) if root.is_relative_to(run) else str(root),
        "items": len(catalogue.items),
        "interactions": len(catalogue.interactions),
        "reasons": len(catalogue.reasons),
        "hidden": sorted({name for item in catalogue.items.values() for name in item.hidden}),
    }
    with whole_file(folder / "catalogue.json") as file:
        file.write(json.dumps(index, indent=2).encode() + b"\n")


def _write_table(path: Path, kind: type, values: Iterable[Any]) -> None:
    table = pa.Table.from_pylist([to_record(value) for value in values], schema=SCHEMAS[kind])
    with whole_file(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_catalogue(folder: str | Path) -> Catalogue:
    """Read what :func:`write_catalogue` wrote.

    Raises:
        DataError: If the folder holds no whole catalogue.
    """
    folder = Path(folder)
    try:
        index = json.loads((folder / "catalogue.json").read_text(encoding="utf-8"))
        media_root = Path(os.path.normpath(folder / index["media_root"]))
        counts = [int(index[name]) for name in ("items", "interactions", "reasons")]
    except FileNotFoundError:
        raise DataError(f"{folder} holds no catalogue; run `mmreason ingest` first") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / 'catalogue.json'} is damaged; run `mmreason ingest` again") from None
    items = _read_table(folder / "items.parquet", Item, counts[0])
    interactions = _read_table(folder / "interactions.parquet", Interaction, counts[1])
    reasons = _read_table(folder / "reasons.parquet", Reason, counts[2])
    return Catalogue({item.id: item for item in items}, interactions, reasons, media_root)


def _read_table(path: Path, kind: type, count: int) -> list[Any]:
    try:
        rows = pq.read_table(path, schema=SCHEMAS[kind]).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read ({error}); run `mmreason ingest` again") from None
    if len(rows) != count:
        raise DataError(
            f"{path} holds {len(rows)} rows, catalogue.json says {count}; run `mmreason ingest` again"
        )
    return [from_record(kind, row) for row in rows]


def ingest(config: Config) -> str:
    """The first stage: read, check, hide, split, simulate and write ``<run_dir>/catalogue``.

    With ``simulate.users`` above 0 the source's own interactions and reasons are checked and counted, and
    simulated ones take their place. A ``split`` that the source gives is kept; otherwise items are split by
    group.

    Returns:
        One line: what was read, kept, quarantined and simulated.

    Raises:
        DataError: If the source is missing, or more of it than ``catalogue.max_quarantined`` is bad.
    """
    source = config.catalogue.source
    if source not in READERS:
        raise DataError(f"catalogue.source {source!r} is unknown; there are {', '.join(READERS)}")
    tables = READERS[source](config)
    if not tables.items:
        raise DataError(
            f"catalogue.source {source!r} gave no items; look at catalogue.root={config.catalogue.root!r}"
        )
    quarantine = Quarantine()
    items, interactions, reasons = check(tables, quarantine)
    folder = config.path("catalogue")
    folder.mkdir(parents=True, exist_ok=True)
    quarantine.write(folder / "quarantine.jsonl")
    kept = {
        "items": len(items),
        "media": sum(len(item.images) + bool(item.video) for item in items.values()),
        "interactions": len(interactions),
        "reasons": len(reasons),
    }
    parts = [
        quarantine.balance(kind, n) for kind, n in kept.items() if quarantine.read[kind] or kind == "items"
    ]
    quarantine.enforce(config.catalogue.max_quarantined)
    hide_attributes(items.values(), config.catalogue.hidden)
    if not any(row.record.get("split") for row in tables.items):
        reasons, dropped = split_catalogue(items, interactions, reasons, split_rule(config), folder)
        parts += [f"{dropped:,} reasons on two sides of the split or undated, left out"] if dropped else []
    if config.simulate.users > 0:
        interactions, reasons = simulate(items, config.simulate, config.seed)
        shoppers = len({interaction.user_id for interaction in interactions})
        parts.append(f"{shoppers:,} simulated shoppers, {len(interactions):,} interactions")
    interactions.sort(key=lambda interaction: (interaction.user_id, interaction.timestamp))
    write_catalogue(Catalogue(items, interactions, reasons, tables.media_root), folder)
    return "ingest: " + "; ".join([*parts, *_describe(reasons, config.simulate.favour)])


def _describe(reasons: list[Reason], favour: Iterable[str]) -> Iterable[str]:
    """Splits, and how far guessing the commonest value of a favoured attribute would get."""
    splits = Counter(reason.split for reason in reasons)
    if reasons:
        shares = ", ".join(f"{splits[name]:,} {name}" for name in get_args(Split))
        yield f"{len(reasons):,} reasons ({shares})"
    for name in favour:
        named = [e.value for reason in reasons for e in reason.evidence if e.attribute == name]
        if named:
            value, n = Counter(named).most_common(1)[0]
            share = f"{len(named) / len(reasons):.0%}"
            yield f"{name} named in {share} of reasons, {value!r} in {n / len(named):.0%} of those"
