"""The nearest rows of an embedding store, over faiss."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmreason.files import whole_file
from mmreason.schema import DataError
from mmreason.store.store import EmbeddingStore

EXACT = 200_000  # rows up to which every one is compared; above, an index is trained once and kept
CHUNK = 65_536


class Nearest:
    """Finds the rows of a store with the largest cosine to a vector.

    Up to :data:`EXACT` rows every row is compared. Larger stores get an inverted file over float16 vectors, kept
    beside them as ``nearest-<array>.faiss`` and made anew when the store has grown or changed; it finds nearly all
    of the true nearest (recall is what the number of cells looked into makes it).

    Args:
        store: The store.
        array: Which of its arrays.
        exact: See above.

    Raises:
        DataError: If faiss is not installed, or the store has no such array.

    Example:
        >>> store = EmbeddingStore.open("run/embed")
        >>> Nearest(store).search(store.get("fused", ["sku-2"]), top_k=1)
        [[('sku-2', 1.0)]]
    """

    def __init__(self, store: EmbeddingStore, array: str = "fused", exact: int = EXACT) -> None:
        try:
            import faiss
        except ImportError:
            raise DataError("search needs faiss; pip install 'mmreason[search]'") from None
        if array not in store.dims:
            raise DataError(
                f"{store.folder}: no array {array!r}; there are {', '.join(store.names) or 'none'}"
            )
        self.store, self.array, self._faiss = store, array, faiss
        self._index = self._flat() if len(store) <= exact else self._inverted()

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

    def _flat(self) -> Any:
        index = self._faiss.IndexFlatIP(self.store.dims[self.array])
        for chunk in self._chunks():
            index.add(chunk)
        return index

    def _inverted(self) -> Any:
        path = self.store.folder / f"nearest-{self.array}.faiss"
        store = self.store
        stamp = {"parts": store.parts, "rows": len(store), "meta": store.meta}
        stamp["faiss"] = self._faiss.__version__
        if _read_stamp(path) != stamp:
            self._build(path, stamp)
        index: Any = self._faiss.read_index(str(path), self._faiss.IO_FLAG_MMAP)
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
        for chunk in tqdm(self._chunks(), "index", total=-(-rows // CHUNK), unit="chunk", disable=None):
            index.add(chunk)
        with whole_file(path) as file:
            file.write(self._faiss.serialize_index(index).tobytes())
        with whole_file(path.with_suffix(".json")) as file:
            file.write(json.dumps(stamp).encode())

    def _chunks(self) -> Any:
        for start in range(0, len(self.store), CHUNK):
            yield _unit(self.store.get(self.array, np.arange(start, min(start + CHUNK, len(self.store)))))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """At unit length; an item without this modality stays zero, and so is nearest to nothing."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _read_stamp(path: Path) -> Any:
    try:
        return json.loads(path.with_suffix(".json").read_bytes()) if path.exists() else None
    except (OSError, ValueError):
        return None
