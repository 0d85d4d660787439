"""The nearest rows of an embedding store, over faiss."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mmreason.files import atomic_write
from mmreason.progress import track
from mmreason.schema import DataError
from mmreason.store.store import EmbeddingStore

EXACT = 200_000  # rows up to which every one is compared; above, an index is trained once and kept
CHUNK = 65_536
PIECE = 8192  # rows compared at a time


class Nearest:
    """Finds the rows of a store with the largest cosine to a vector; items without the modality take no part.

    Up to :data:`EXACT` rows every row is compared, read from the disk a piece at a time. Larger stores get an
    inverted file over float16 vectors, kept beside them as ``nearest-<array>.faiss`` and made anew when the store has
    grown or changed; it finds nearly all of the true nearest (recall is what the number of cells looked into makes
    it).

    Args:
        store: The store.
        array: Which of its arrays.
        exact: See above.

    Raises:
        DataError: If the store has no such array, or is larger than ``exact`` and faiss is not installed.

    Example:
        >>> store = EmbeddingStore.open("run/embed")
        >>> Nearest(store).search(store.get("fused", ["sku-2"]), top_k=1)
        [[('sku-2', 1.0)]]
    """

    def __init__(self, store: EmbeddingStore, array: str = "fused", exact: int = EXACT) -> None:
        if array not in store.dims:
            raise DataError(
                f"{store.folder}: no array {array!r}; there are {', '.join(store.names) or 'none'}"
            )
        self.store, self.array = store, array
        self._rows = _rows_with(store, array.removesuffix("_features"))
        self._index = _OnDisk(store, array, self._rows) if len(self._rows) <= exact else self._inverted()

    def search(self, vectors: np.ndarray, top_k: int = 10) -> list[list[tuple[str, float]]]:
        """The nearest items of each query, best first.

        Args:
            vectors: (N, D) float32.
            top_k: How many; fewer come if the store is smaller.

        Returns:
            For each query (item id, cosine).

        Raises:
            DataError: If ``top_k`` is not 1 or more, or the vectors are of another size than the array's.
        """
        if not isinstance(top_k, int | np.integer) or top_k < 1:
            raise DataError(f"top_k is {top_k!r}; give a whole number of at least 1")
        dim = self.store.dims[self.array]
        if np.ndim(vectors) != 2 or vectors.shape[1] != dim:
            raise DataError(
                f"array {self.array} holds vectors of {dim} numbers; the queries are {np.shape(vectors)}"
            )
        if not len(self._rows):
            return [[] for _ in vectors]
        unit = _unit(np.ascontiguousarray(vectors, dtype=np.float32))
        scores, places = self._index.search(unit, min(top_k, len(self._rows)))
        rows = np.where(places < 0, -1, self._rows[places])
        return [
            [(self.store.id(row), float(score)) for row, score in zip(*pair, strict=True) if row >= 0]
            for pair in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def _inverted(self) -> Any:
        try:
            import faiss
        except ImportError:
            raise DataError(
                "search in so large a store needs faiss; pip install 'mmreason[search]'"
            ) from None
        self._faiss = faiss
        path = self.store.folder / f"nearest-{self.array}.faiss"
        store = self.store
        stamp = {"parts": store.parts, "rows": len(self._rows), "meta": store.meta}
        stamp["faiss"] = self._faiss.__version__
        if _read_stamp(path) != stamp:  # also if it was cut: then a search would end the process
            self._build(path, stamp)
        try:
            index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        except RuntimeError:  # cut, or of something else: it is made of the store alone
            self._build(path, stamp)
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        index.nprobe = max(8, index.nlist // 16)
        return index

    def _build(self, path: Path, stamp: dict[str, Any]) -> None:
        rows = len(self._rows)
        cells = 4 * math.isqrt(rows)
        index = self._faiss.index_factory(
            self.store.dims[self.array], f"IVF{cells},SQfp16", self._faiss.METRIC_INNER_PRODUCT
        )
        sample = np.sort(np.random.default_rng(0).choice(rows, min(rows, 40 * cells), replace=False))
        index.train(_unit(self.store.get(self.array, self._rows[sample])))
        for chunk in track(self._chunks(), "index", "chunk", total=-(-rows // CHUNK)):
            index.add(chunk)
        with atomic_write(path) as file:
            file.write(self._faiss.serialize_index(index).tobytes())
        with atomic_write(path.with_suffix(".json")) as file:
            file.write(json.dumps({**stamp, "bytes": path.stat().st_size}).encode())

    def _chunks(self) -> Any:
        for start in range(0, len(self._rows), CHUNK):
            yield _unit(self.store.get(self.array, self._rows[start : start + CHUNK]))


class _OnDisk:
    """Compares some rows of a store, in the memory of a piece of them."""

    def __init__(self, store: EmbeddingStore, array: str, rows: np.ndarray) -> None:
        self._store, self._array, self._rows = store, array, rows

    def search(self, vectors: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, top_k) cosines, the largest first, and (n, top_k) places among the rows; of equals the earlier one."""
        scores: np.ndarray = np.zeros((len(vectors), 0), np.float32)
        rows: np.ndarray = np.zeros((len(vectors), 0), np.int64)
        for start in range(0, len(self._rows), PIECE):
            piece = np.arange(start, min(start + PIECE, len(self._rows)))
            found = vectors @ _unit(self._store.get(self._array, self._rows[piece])).T
            every = np.concatenate([scores, found], axis=1)
            numbers = np.concatenate([rows, np.broadcast_to(piece, found.shape)], axis=1)
            order = np.argsort(-every, axis=1, kind="stable")[:, :top_k]
            scores, rows = np.take_along_axis(every, order, 1), np.take_along_axis(numbers, order, 1)
        return scores, rows


def _rows_with(store: EmbeddingStore, modality: str) -> np.ndarray:
    """The rows of items that have a modality; of the fused vector, any."""
    if modality in store.masks:
        return np.flatnonzero(store.mask(modality))
    if not store.masks:
        return np.arange(len(store))
    return np.flatnonzero(np.any([store.mask(name) for name in store.masks], axis=0))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """At unit length; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _read_stamp(path: Path) -> Any:
    """What an index file was made of; None if it is not there or has another size than it had."""
    try:
        stamp = json.loads(path.with_suffix(".json").read_bytes())
        return stamp if stamp.pop("bytes", None) == path.stat().st_size else None
    except (OSError, ValueError, AttributeError):
        return None
