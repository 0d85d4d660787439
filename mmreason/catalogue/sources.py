"""Several sources in one catalogue: their ids are kept apart, their media stay where they are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from mmreason.config import Config
from mmreason.readers import read_source
from mmreason.readers.source import Tables
from mmreason.schema import DataError, Item, Reason

_NAME = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A source that is being read.

    Attributes:
        name: Stands before its ids (``news:N1``); empty where there is one source, whose ids stay as they are.
        tables: Its rows.
        media_folder: Where its media are, relative to the catalogue's media root.
    """

    name: str
    tables: Tables
    media_folder: str = ""

    def own_item(self, item: Item) -> Item:
        """An item with this source's name before its ids and its folder before its media."""
        if self.name:
            item.id, item.group = self._id(item.id), self._id(item.group)
            item.images = [f"{self.media_folder}/{image}" for image in item.images]
            item.video = item.video and f"{self.media_folder}/{item.video}"
            item.links = {kind: list(map(self._id, ids)) for kind, ids in item.links.items()}
        return item

    def own_interactions(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Interactions with this source's name before their ids."""
        if not self.name:
            return frame
        named = (pl.concat_str(pl.lit(f"{self.name}:"), name).alias(name) for name in ("user_id", "item_id"))
        return frame.with_columns(named)

    def own_reason(self, reason: Reason) -> Reason:
        """A reason with this source's name before its ids."""
        if self.name:
            reason.user_id, reason.item_id = self._id(reason.user_id), self._id(reason.item_id)
            for evidence in reason.evidence:
                evidence.item_ids = [self._id(item) for item in evidence.item_ids]
        return reason

    def _id(self, name: str) -> str:
        return f"{self.name}:{name}" if name else ""


def open_sources(config: Config) -> tuple[list[OpenSource], Path]:
    """The sources of a catalogue, and the folder that all their media are under.

    Raises:
        DataError: If a source is missing, or two have one name.
    """
    if not config.catalogue.sources:
        tables = read_source(config)
        return [OpenSource("", tables)], tables.media_root
    names = [source.name for source in config.catalogue.sources]
    for name in names:
        if not _NAME.fullmatch(name) or names.count(name) > 1:
            raise DataError(
                f"catalogue.sources: {name!r} is no name of one source; use letters, digits and _, once"
            )
    opened = {name: read_source(_alone(config, number)) for number, name in enumerate(names)}
    roots = {name: tables.media_root.resolve() for name, tables in opened.items()}
    common = Path(os.path.commonpath(roots.values()))
    sources = [
        OpenSource(name, tables, roots[name].relative_to(common).as_posix())
        for name, tables in opened.items()
    ]
    return sources, common


def source_weights(config: Config) -> dict[str, float]:
    """Name of each of several sources → how often training draws its reasons.

    Raises:
        DataError: If a weight is not above 0.
    """
    for source in config.catalogue.sources:
        if not source.weight > 0:
            raise DataError(
                f"catalogue.sources: the weight of {source.name!r} is {source.weight}, not above 0"
            )
    return {source.name: source.weight for source in config.catalogue.sources}


def _alone(config: Config, number: int) -> Config:
    """The configuration of a run that has this source only; what its reader writes is in a folder of its own."""
    source = config.catalogue.sources[number]
    alone = replace(
        config.catalogue, source=source.source, root=source.root, options=source.options, sources=[]
    )
    return replace(config, run_dir=str(config.path("sources", source.name)), catalogue=alone)
