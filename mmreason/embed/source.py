"""The items to embed, out of the shards or of the catalogue, with their media as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from encoders.media.errors import NamedBytes
from mmreason.catalogue.index import read_index
from mmreason.catalogue.tables import numbered_rows, stream_table
from mmreason.config import Config
from mmreason.embed.features import Errors
from mmreason.processes import Share
from mmreason.readers.source import inside
from mmreason.schema import Item
from mmreason.shards.loader import item_samples, numbered_items
from mmreason.shards.manifest import read_manifest


class ItemSource:
    """The items of ``embed.source``.

    Args:
        config: The run.

    Attributes:
        total: How many there are.
        lost: Gets media that cannot be read, when their item is read.

    Raises:
        DataError: If there are neither shards nor a catalogue.
    """

    def __init__(self, config: Config) -> None:
        self._config, self.lost = config, Errors()
        source = config.embed.source
        if source == "auto":
            source = "shards" if config.path("shards", "manifest.json").exists() else "catalogue"
        if source == "shards":
            self._index = None
            self.total = read_manifest(config.path("shards")).samples("items")
        else:
            self._index = read_index(config.path("catalogue"))
            self.total = self._index.counts["items"]

    def share(self, share: Share) -> tuple[int, Iterator[Item]]:
        """How many items one of several processes has, and these."""
        number, of = share
        count = self.total // of + (number <= self.total % of)
        if self._index is None:
            return count, item_samples(self._config.path("shards"), rank=number - 1, world_size=of)
        items = islice(stream_table(self._index.paths["items"], Item), number - 1, None, of)
        return count, (self._with_media(item) for item in items)

    def numbered(self, numbers: Sequence[int]) -> Iterator[tuple[int, Item]]:
        """Items by their numbers, which ascend, each with its number; a sample that cannot be read is left out."""
        if self._index is None:
            yield from numbered_items(self._config.path("shards"), numbers)
            return
        for number, item in numbered_rows(self._index.paths["items"], Item, numbers):
            yield number, self._with_media(item)

    def _with_media(self, item: Item) -> Item:
        images = [self._read(item, "image", name) for name in item.images]
        video = (self._read(item, "video", item.video) or None) if item.video else None
        return replace(item, images=[data for data in images if data], video=video)

    def _read(self, item: Item, modality: str, name: Any) -> bytes:
        assert self._index is not None
        try:
            if data := inside(self._index.media_root, name).read_bytes():
                return NamedBytes(data, name)
            cause = "file is empty"
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or str(error)
        self.lost.append((item.id, modality, f"{name}: {cause}"))
        return b""
