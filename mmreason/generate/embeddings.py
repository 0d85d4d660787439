"""Embeddings of the items at hand: from the store where it has them as they are, else computed and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encoders import MediaError
from mmreason.embed.embedder import Embedder
from mmreason.embed.model import MODALITIES
from mmreason.schema import Item
from mmreason.store.features import content_hash
from mmreason.store.store import EmbeddingStore

CACHED_ITEMS = 50_000


@dataclass(frozen=True)
class _Embedded:
    """What is kept of one item: name → (D,) float32, and modality → is it there."""

    arrays: dict[str, np.ndarray]
    masks: dict[str, bool]


class Embeddings:
    """Embeddings by item id, of the items of the latest :meth:`add` and of the store.

    An item is known by its content, not by its id: one that was edited is embedded anew. What does not come from the
    store is kept in memory, the latest used last; what the current call needs is never dropped.

    Args:
        store: A store made with the same alignment model, if there is one.
        load_embedder: Called when an item is not in the store.
        stored: The items that the store was made of, by id, if the caller has them. An item that equals the one here
            is the store's; of others the content is compared.
        limit: How many embedded items are kept.
    """

    def __init__(
        self,
        store: EmbeddingStore | None,
        load_embedder: Callable[[], Embedder],
        stored: Mapping[str, Item] | None = None,
        limit: int = CACHED_ITEMS,
    ) -> None:
        self.store, self.limit = store, limit
        self._load_embedder, self._stored = load_embedder, stored or {}
        self._embedder: Embedder | None = None
        self._kept: OrderedDict[str, _Embedded] = OrderedDict()  # by content
        self._at_hand: dict[str, _Embedded] = {}  # by id, of the current call
        self._chimeras: dict[str, _Embedded] = {}

    def add(self, items: Iterable[Item]) -> None:
        """Have the embeddings of items at hand, whatever their number; those of an earlier call may go.

        Raises:
            MediaError: If a picture or video cannot be read.
        """
        known = self._chimeras
        by_id = {item.id: item for item in items if item.id not in known and not self._is_stored(item)}
        contents = {item_id: _content(item) for item_id, item in by_id.items()}
        missing = {
            c: by_id[i] for i, c in contents.items() if c not in self._kept and not self._is_in_store(i, c)
        }
        self._embed(missing)
        self._at_hand = {i: self._kept[c] for i, c in contents.items() if c in self._kept}
        for content in contents.values():
            if content in self._kept:
                self._kept.move_to_end(content)
        while len(self._kept) > max(self.limit, len(set(contents.values()))):
            self._kept.popitem(last=False)

    def _embed(self, missing: Mapping[str, Item]) -> None:
        if not missing:
            return
        self._embedder = self._embedder or self._load_embedder()
        arrays, masks, errors = self._embedder.embed(list(missing.values()))
        if errors:
            raise MediaError(f"item {errors[0][0]!r}: {errors[0][2]}")
        for row, content in enumerate(missing):
            self._kept[content] = _Embedded(
                {name: array[row] for name, array in arrays.items()},
                {name: bool(mask[row]) for name, mask in masks.items()},
            )

    def _is_stored(self, item: Item) -> bool:
        known = self._stored.get(item.id)
        return self.store is not None and item.id in self.store and (known is item or known == item)

    def _is_in_store(self, item_id: str, content: str) -> bool:
        return self.store is not None and item_id in self.store and self.store.content(item_id) == content

    def add_chimera(self, item_id: str, texts_of: str, pictures_of: str) -> None:
        """Make an item with one item's text and another's pictures, to see which of the two a model reads.

        Raises:
            DataError: If one of the two is not embedded.
        """
        modalities = [m for m in MODALITIES if f"{m}_features" in self.dims]
        source = {m: texts_of if m == "text" else pictures_of for m in modalities}
        masks = {m: bool(self.mask(m, [i])[0]) for m, i in source.items()}
        arrays = {m: self.get(m, [i])[0] for m, i in source.items()}
        total = np.sum([v for m, v in arrays.items() if masks[m]], axis=0)
        arrays |= {f"{m}_features": self.get(f"{m}_features", [i])[0] for m, i in source.items()}
        arrays["fused"] = total / max(float(np.linalg.norm(total)), 1e-12)
        self._chimeras[item_id] = _Embedded(arrays, masks)

    @property
    def dims(self) -> dict[str, int]:
        """Lengths of the arrays that there are, by name."""
        if self.store is not None:
            return self.store.dims
        first = next(iter(self._at_hand.values()), _Embedded({}, {}))
        return {name: len(array) for name, array in first.arrays.items()}

    def __contains__(self, item_id: object) -> bool:
        if not isinstance(item_id, str):
            return False
        return self._own(item_id) is not None or (self.store is not None and item_id in self.store)

    def get(self, name: str, ids: list[str]) -> np.ndarray:
        """(n, d) float32 of one array."""
        found = [self._own(i) for i in ids]
        if self.store is not None and not any(found):
            return self.store.get(name, ids)
        return np.stack(
            [
                self._of_store(name, i) if e is None else e.arrays[name]
                for e, i in zip(found, ids, strict=True)
            ]
        )

    def mask(self, name: str, ids: list[str]) -> np.ndarray:
        """(n,) bool: has the item this modality."""
        found = [self._own(i) for i in ids]
        if self.store is not None and not any(found):
            return self.store.mask(name, ids)
        return np.array(
            [
                self._mask_of_store(name, i) if e is None else e.masks[name]
                for e, i in zip(found, ids, strict=True)
            ]
        )

    def _own(self, item_id: str) -> _Embedded | None:
        return self._chimeras.get(item_id) or self._at_hand.get(item_id)

    def _of_store(self, name: str, item_id: str) -> np.ndarray:
        assert self.store is not None, item_id
        return self.store.get(name, [item_id])[0]

    def _mask_of_store(self, name: str, item_id: str) -> bool:
        assert self.store is not None, item_id
        return bool(self.store.mask(name, [item_id])[0])


def _content(item: Item) -> str:
    """As :func:`mmreason.store.features.content_hash`, of media given in whatever form.

    Raises:
        MediaError: If a file cannot be read.
    """
    media = [_bytes(raw) for raw in item.images]
    return content_hash(replace(item, images=media, video=_bytes(item.video)))


def _bytes(raw: Any) -> bytes:
    if raw is None:
        return b""
    if isinstance(raw, bytes | bytearray | memoryview):
        return bytes(raw)
    if isinstance(raw, str | Path):
        try:
            return Path(raw).read_bytes()
        except (OSError, ValueError) as error:
            raise MediaError(f"{raw}: {getattr(error, 'strerror', None) or error}") from None
    array = np.asarray(raw)
    return repr((array.shape, array.dtype.str)).encode() + array.tobytes()
