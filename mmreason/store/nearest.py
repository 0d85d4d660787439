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
    """Finds the rows of a store with the largest cosine to a vector.

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
        self._index = _OnDisk(store, array) if len(store) <= exact else self._inverted()

    def search(self, vectors: np.ndarray, top_k: int = 10) -> list[list[tuple[str, float]]]:
        """The nearest items of each query, best first.

        Args:
            vectors: (N, D) float32.
            top_k: How many; fewer come if the store is smaller.

        Returns:
            For each query (item id, cosine).
        """
        unit = _unit(np.ascontiguousarray(vectors, dtype=np.float32))
        scores, rows = self._index.search(unit, min(top_k, len(self.store)))
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
        stamp = {"parts": store.parts, "rows": len(store), "meta": store.meta}
        stamp["faiss"] = self._faiss.__version__
        if _read_stamp(path) != stamp:
            self._build(path, stamp)
        try:
            index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        except RuntimeError:  # cut, or of something else: it is made of the store alone
            self._build(path, stamp)
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        index.nprobe = max(8, index.nlist // 16)
        return index

    def _build(self, path: Path, stamp: dict[str, Any]) -> None:
        rows = len(self.store)
        cells = 4 * math.isqrt(rows)
        index = self._faiss.index_factory(
            self.store.dims[self.array], f"IVF{cells},SQfp16", self._faiss.METRIC_INNER_PRODUCT
        )
        sample = np.sort(np.random.default_rng(0).choice(rows, min(rows, 40 * cells), replace=False))
        index.train(_unit(self.store.get(self.array, sample)))
        for chunk in track(self._chunks(), "index", "chunk", total=-(-rows // CHUNK)):
            index.add(chunk)
        with atomic_write(path) as file:
            file.write(self._faiss.serialize_index(index).tobytes())
        with atomic_write(path.with_suffix(".json")) as file:
            file.write(json.dumps(stamp).encode())

    def _chunks(self) -> Any:
        for start in range(0, len(self.store), CHUNK):
            yield _unit(self.store.get(self.array, np.arange(start, min(start + CHUNK, len(self.store)))))


class _OnDisk:
    """Compares every row of a store, in the memory of a piece of it."""

    def __init__(self, store: EmbeddingStore, array: str) -> None:
        self._store, self._array = store, array

    def search(self, vectors: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, top_k) cosines, the largest first, and (n, top_k) rows; of equals the earlier row."""
        scores: np.ndarray = np.zeros((len(vectors), 0), np.float32)
        rows: np.ndarray = np.zeros((len(vectors), 0), np.int64)
        for start in range(0, len(self._store), PIECE):
            piece = np.arange(start, min(start + PIECE, len(self._store)))
            found = vectors @ _unit(self._store.get(self._array, piece)).T
            every = np.concatenate([scores, found], axis=1)
            numbers = np.concatenate([rows, np.broadcast_to(piece, found.shape)], axis=1)
            order = np.argsort(-every, axis=1, kind="stable")[:, :top_k]
            scores, rows = np.take_along_axis(every, order, 1), np.take_along_axis(numbers, order, 1)
        return scores, rows


def _unit(vectors: np.ndarray) -> np.ndarray:
    """At unit length; an item without this modality stays zero, and so is nearest to nothing."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _read_stamp(path: Path) -> Any:
    try:
        return json.loads(path.with_suffix(".json").read_bytes()) if path.exists() else None
    except (OSError, ValueError):
        return None
