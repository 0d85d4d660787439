"""The ``ingest`` stage: a source's rows checked, split and written as the catalogue's tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmreason.catalogue.behaviours import COLUMNS, check_interactions
from mmreason.catalogue.catalogue import describe_reasons, hidden_names
from mmreason.catalogue.check import check_items, check_reasons
from mmreason.catalogue.download import Downloads
from mmreason.catalogue.hide import hidden_words, hide_from
from mmreason.catalogue.index import new_index
from mmreason.catalogue.media import Media
from mmreason.catalogue.quarantine import Quarantine
from mmreason.catalogue.resplit import resplit
from mmreason.catalogue.sources import OpenSource, open_sources
from mmreason.catalogue.split import SplitRule, split_rule, write_split_rule
from mmreason.catalogue.staging import Staging
from mmreason.catalogue.tables import SCHEMAS, columns, write_batches
from mmreason.config import CatalogueConfig, Config
from mmreason.files import remove, remove_leftovers
from mmreason.progress import Progress, track
from mmreason.readers.source import SourceRow, batches
from mmreason.schema import DataError, Interaction, Item, Reason, from_record

TABLES_AND_MEDIA = ("items", "media", "interactions", "reasons")
STAGED = {
    "items": SCHEMAS[Item].append(pa.field("media", pa.int64())),
    "interactions": SCHEMAS[Interaction],
    "reasons": SCHEMAS[Reason],
}


def ingest(config: Config) -> str:
    """The first stage: read, check, hide, split and write ``<run_dir>/catalogue``.

    Rows pass through in batches, so that memory does not grow with the source. A ``split`` that the source gives is
    kept; otherwise items are split by group. A catalogue that is there is replaced only when the new one is whole.
    Killed at any moment, the next ingest ends with the same bytes.

    Returns:
        One line: what was read, kept and quarantined.

    Raises:
        DataError: If a source is missing, more of it than ``catalogue.max_quarantined`` is bad, or more rows than
            ``catalogue.max_unknown_items`` name items that it does not have.
    """
    settings = config.catalogue
    folder = config.path("catalogue")
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    sources, media_root = open_sources(config)
    quarantine = Quarantine(folder / "quarantine.jsonl")
    with Staging(folder, STAGED) as staging:
        with quarantine:
            not_fetched = sum(_stage(source, settings, quarantine, staging) for source in sources)
            staging.seal(settings.test_items, settings.valid_items, config.seed)
            new = staging.folder / "catalogue"
            kept = _write_staged(staging, new, quarantine, settings.hidden)
        if not quarantine.read["items"]:
            roots = {source.source: source.root for source in settings.sources} or {
                settings.source: settings.root
            }
            raise DataError(f"catalogue.source gave no items; look at its root: {roots}")
        quarantine.enforce(settings.max_quarantined, settings.max_unknown_items)
        kept["media"] = staging.media()
        parts = [
            quarantine.balance(kind, kept[kind])
            for kind in TABLES_AND_MEDIA
            if quarantine.read[kind] or kind == "items"
        ]
        if fields := quarantine.count("fields"):
            parts.append(f"{fields:,} fields of items could not be read and are left out")
        if flaws := quarantine.count("flaws"):
            parts.append(f"{flaws:,} pictures have flaws and are read all the same")
        if links := quarantine.count("links"):
            parts.append(f"{links:,} items have links to items that are not there, which are left out")
        if not_fetched:
            parts.append(f"{not_fetched:,} addresses not fetched (catalogue.allow_download is off)")
        parts += _split(config, new, staging.split_given)
        _put_in_place(new, folder)
    new_index(folder, media_root, hidden_names(folder / "items.parquet")).write()
    return "; ".join([*parts, *describe_reasons(folder / "reasons.parquet")])


def _stage(source: OpenSource, settings: CatalogueConfig, quarantine: Quarantine, staging: Staging) -> int:
    """Put the good rows of a source on disk; returns how many addresses of media were not fetched."""
    tables = source.tables
    media = Media(tables.media_root, Downloads(tables.media_root) if settings.allow_download else None)
    rows = track(tables.items, "read items")
    for good in batches(check_items(rows, media, quarantine), 2048):
        items = [source.own_item(item) for _, item in good]
        staged = _places(row for row, _ in good) | columns(Item, items)
        staged["media"] = [len(item.images) + bool(item.video) for item in items]
        staging.add("items", staged)
    with Progress(None, "read interactions", "row") as progress:
        for frame in tables.interactions:
            progress.add(frame.height)
            checked = source.own_interactions(check_interactions(frame, quarantine, settings.events))
            staging.add("interactions", checked.to_arrow())
    for found in batches(check_reasons(tables.reasons, quarantine), 2048):
        reasons = [source.own_reason(reason) for _, reason in found]
        staging.add("reasons", _places(row for row, _ in found) | columns(Reason, reasons))
    return media.left


def _put_in_place(new: Path, folder: Path) -> None:
    """Move the new tables to where those of an earlier ingest are."""
    remove(folder / "catalogue.json")  # a catalogue that is half old and half new must not look whole
    for path in sorted(new.iterdir()):
        path.replace(folder / path.name)


def _places(rows: Iterable[SourceRow]) -> dict[str, list[Any]]:
    rows = list(rows)
    return {"file": [row.file for row in rows], "row": [row.number for row in rows]}


def _write_staged(
    staging: Staging, folder: Path, quarantine: Quarantine, hidden: list[str]
) -> dict[str, int]:
    """Write the three tables; returns how many rows each holds."""
    linked = staging.linked(staging.items(quarantine), quarantine)
    shown = (table.select(SCHEMAS[Item].names) for table in linked)
    hides = hidden and staging.rows["items"]
    items = _hide(shown, hidden, hidden_words(staging.facts(), hidden)) if hides else shown
    interactions = (frame.select(*COLUMNS).to_arrow() for frame in staging.interactions(quarantine))
    reasons = (table.select(SCHEMAS[Reason].names) for table in staging.reasons(quarantine))
    return {
        "items": write_batches(folder / "items.parquet", Item, items),
        "interactions": write_batches(folder / "interactions.parquet", Interaction, interactions),
        "reasons": write_batches(folder / "reasons.parquet", Reason, reasons),
    }


def _hide(tables: Iterable[pa.Table], names: list[str], words: re.Pattern[str]) -> Iterator[pa.Table]:
    """Items with attributes taken out of every text."""
    for table in tables:
        items = [from_record(Item, row) for row in table.to_pylist()]
        for item in items:
            hide_from(item, names, words)
        yield pa.table(columns(Item, items), SCHEMAS[Item])


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
