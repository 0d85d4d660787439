"""The catalogue on disk, and the stage that makes it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from mmreason.config import Config
from mmreason.data.behaviours import COLUMNS, check_interactions
from mmreason.data.check import (
    Media,
    Quarantine,
    Row,
    Tables,
    batches,
    check_items,
    check_reasons,
    inside,
)
from mmreason.data.download import Downloads
from mmreason.data.files import remove, remove_leftovers, whole_file
from mmreason.data.hide import hide_attributes
from mmreason.data.readers import READERS
from mmreason.data.resplit import resplit
from mmreason.data.simulate import simulate
from mmreason.data.split import SplitRule, split_rule, write_split_rule
from mmreason.data.staging import GROUP, Staging
from mmreason.data.tables import ROW_GROUPS, SCHEMAS, columns, read_table, write_batches, write_table
from mmreason.schema import DataError, Interaction, Item, Reason, Split, from_record

KINDS = ("items", "media", "interactions", "reasons")
DEFAULT_USERS = 200
STAGED = {
    "items": SCHEMAS[Item].append(pa.field("media", pa.int64())),
    "interactions": SCHEMAS[Interaction],
    "reasons": SCHEMAS[Reason],
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
    remove(folder / "catalogue.json")  # a half-written catalogue must not look whole
    write_table(folder / "items.parquet", Item, catalogue.items.values())
    write_table(folder / "interactions.parquet", Interaction, catalogue.interactions)
    write_table(folder / "reasons.parquet", Reason, catalogue.reasons)
    _write_index(folder, catalogue.media_root)


def _write_index(folder: Path, media_root: Path) -> None:
    root, run = media_root.resolve(), folder.resolve().parent
    index = {
        "media_root": os.path.relpath(root, folder.resolve()) if root.is_relative_to(run) else str(root),
        **{name: pq.read_metadata(folder / f"{name}.parquet").num_rows for name in STAGED},
        "hidden": _hidden_names(folder / "items.parquet"),
    }
    with whole_file(folder / "catalogue.json") as file:
        file.write(json.dumps(index, indent=2).encode() + b"\n")


def _hidden_names(path: Path) -> list[str]:
    names: set[str] = set()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["hidden"]):
            for text in batch["hidden"].unique().to_pylist():
                names.update(json.loads(text))
    return sorted(names)


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
    items = read_table(folder / "items.parquet", Item, counts[0])
    interactions = read_table(folder / "interactions.parquet", Interaction, counts[1])
    reasons = read_table(folder / "reasons.parquet", Reason, counts[2])
    return Catalogue({item.id: item for item in items}, interactions, reasons, media_root)


def ingest(config: Config) -> str:
    """The first stage: read, check, hide, split, simulate and write ``<run_dir>/catalogue``.

    Rows pass through in batches, so that memory does not grow with the source; only ``catalogue.hidden`` and
    simulation hold all items at once. With ``simulate.users`` above 0 the source's own interactions and reasons
    are checked and counted, and simulated ones take their place. A ``split`` that the source gives is kept;
    otherwise items are split by group. Killed at any moment, the next ingest ends with the same bytes.

    Returns:
        One line: what was read, kept, quarantined and simulated.

    Raises:
        DataError: If the source is missing, or more of it than ``catalogue.max_quarantined`` is bad.
    """
    settings = config.catalogue
    if settings.source not in READERS:
        raise DataError(f"catalogue.source {settings.source!r} is unknown; there are {', '.join(READERS)}")
    folder = config.path("catalogue")
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    tables = READERS[settings.source](config)
    for name in ("catalogue.json", "quarantine.jsonl"):  # a half-written catalogue must not look whole
        remove(folder / name)
    downloads = Downloads(tables.media_root) if settings.allow_download else None
    media = Media(tables.media_root, downloads)
    quarantine = Quarantine(folder / "quarantine.jsonl")
    with Staging(folder, STAGED) as staging:
        with quarantine:
            _stage(tables, media, quarantine, staging)
            staging.seal(settings.test_items, settings.valid_items, config.seed)
            kept = _write_staged(staging, folder, quarantine, settings.hidden)
        if not quarantine.read["items"]:
            raise DataError(
                f"catalogue.source {settings.source!r} gave no items; look at catalogue.root={settings.root!r}"
            )
        kept["media"] = staging.media()
    parts = [
        quarantine.balance(kind, kept[kind]) for kind in KINDS if quarantine.read[kind] or kind == "items"
    ]
    if media.left:
        parts.append(f"{media.left:,} addresses not fetched (catalogue.allow_download is off)")
    quarantine.enforce(settings.max_quarantined)
    parts += _split(config, folder, staging.split_given)
    parts += _simulate(config, folder, kept)
    _write_index(folder, tables.media_root)
    return "; ".join([*parts, *_describe(folder, config.simulate.favour)])


def _stage(tables: Tables, media: Media, quarantine: Quarantine, staging: Staging) -> None:
    """Check all that a reader gives and put the good rows on disk."""
    rows = tqdm(tables.items, desc="read items", unit="item", disable=None, leave=False)
    for good in batches(check_items(rows, media, quarantine), 2048):
        staged = _source(row for row, _ in good) | columns(Item, [item for _, item in good])
        staged["media"] = [len(item.images) + bool(item.video) for _, item in good]
        staging.add("items", staged)
    with tqdm(desc="read interactions", unit="row", unit_scale=True, disable=None, leave=False) as bar:
        for frame in tables.interactions:
            bar.update(frame.height)
            staging.add("interactions", check_interactions(frame, quarantine).to_arrow())
    for found in batches(check_reasons(tables.reasons, quarantine), 2048):
        staged = _source(row for row, _ in found) | columns(Reason, [reason for _, reason in found])
        staging.add("reasons", staged)


def _source(rows: Iterable[Row]) -> dict[str, list[Any]]:
    rows = list(rows)
    return {"file": [row.file for row in rows], "row": [row.number for row in rows]}


def _write_staged(
    staging: Staging, folder: Path, quarantine: Quarantine, hidden: list[str]
) -> dict[str, int]:
    """Write the three tables; returns how many rows each holds."""
    shown = (table.select(SCHEMAS[Item].names) for table in staging.items(quarantine))
    items = _hide(shown, hidden) if hidden else shown
    interactions = (frame.select(*COLUMNS).to_arrow() for frame in staging.interactions(quarantine))
    reasons = (table.select(SCHEMAS[Reason].names) for table in staging.reasons(quarantine))
    return {
        "items": write_batches(folder / "items.parquet", Item, items),
        "interactions": write_batches(folder / "interactions.parquet", Interaction, interactions),
        "reasons": write_batches(folder / "reasons.parquet", Reason, reasons),
    }


def _hide(tables: Iterable[pa.Table], names: list[str]) -> Iterator[pa.Table]:
    """Items with attributes taken out of every text; needs them all at once."""
    items = [from_record(Item, row) for table in tables for row in table.to_pylist()]
    if items:
        hide_attributes(items, names)
    for some in batches(items, ROW_GROUPS[Item]):
        yield pa.table(columns(Item, some), SCHEMAS[Item])


def _split(config: Config, folder: Path, given: bool) -> Iterator[str]:
    """Write the rule of the split; one other than by item is made here."""
    rule = split_rule(config)
    if given or rule.by == ("item",):
        write_split_rule(SplitRule() if given else rule, folder)
        return
    write_split_rule(rule, folder)
    dropped = resplit(folder, rule)
    if dropped:
        yield f"{dropped:,} reasons on two sides of the split or undated, left out"


def _simulate(config: Config, folder: Path, kept: dict[str, int]) -> Iterator[str]:
    """Put simulated shoppers in the place of the source's own, if that is asked for."""
    own = kept["interactions"] + kept["reasons"]
    users = config.simulate.users
    if users is None:
        users = 0 if own else DEFAULT_USERS
    if users <= 0:
        return
    items = {item.id: item for item in read_table(folder / "items.parquet", Item)}
    try:
        interactions, reasons = simulate(items, replace(config.simulate, users=users), config.seed)
    except DataError as error:
        if config.simulate.users is not None:
            raise
        yield f"no shoppers: {error}"  # nobody asked for them, and the items are good without
        return
    interactions.sort(key=lambda interaction: (interaction.user_id, interaction.timestamp))
    write_table(folder / "interactions.parquet", Interaction, interactions)
    write_table(folder / "reasons.parquet", Reason, reasons)
    shoppers = len({interaction.user_id for interaction in interactions})
    replaced = f" in place of the source's own {own:,} rows" if own else ""
    yield f"{shoppers:,} simulated shoppers, {len(interactions):,} interactions{replaced}"


def _describe(folder: Path, favour: Iterable[str]) -> Iterator[str]:
    """Splits, and how far guessing the commonest value of a favoured attribute would get."""
    splits: Counter[str] = Counter()
    values: dict[str, Counter[str]] = {name: Counter() for name in favour}
    with pq.ParquetFile(folder / "reasons.parquet") as file:
        for batch in file.iter_batches(GROUP, columns=["split", "evidence"]):
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
