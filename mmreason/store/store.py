"""The embedding store: parts of memory-mapped arrays, one row an item, safe against a kill at any moment.

    store/index.json                     parts (with the CRC-32 of each file), arrays (size and dtype), masks, meta
    store/index-2-of-4.json              the same of the second of four processes that write together
    store/part-000000/<array>.npy        (rows, dim) float16 or float32; none if all of its items are gone
    store/part-000000/rows.parquet       id, hash (empty: the item is gone), has_<modality>
    store/part-000000/<modality>_keys.npy, <modality>_rows.npy   which vectors of the feature cache are whose
    store/features.json                  where the feature cache lies, and what its vectors are standardised by

One writer an index file at a time; any number of readers, who see the parts of all index files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmreason.files import atomic_write, finished_name, has_writer, move, remove
from mmreason.schema import DataError
from mmreason.store.index import (
    GONE,
    VERSION,
    CorruptIndex,
    Index,
    check_file,
    ids_of,
    index_files,
    number_of,
    read_index,
    read_rows,
    sorted_parts,
)
from mmreason.store.part import Part, check_part, make_part, shape_of
from mmreason.store.standardised import InputKeys, read_features

FORGET_ROWS = 8192
OPEN_MAPS = 128  # every map holds a file handle, and some systems allow 256


class StoreWriter:
    """Appends parts to a store.

    Opening keeps the parts that an index lists and removes the rest: a part that a kill kept out of
    the index is written again.

    Args:
        folder: The store's folder, made if it is not there.
        meta: JSON values that say what made the vectors, such as the model's fingerprint.
        overwrite: Start anew if the store was made by something else.
        shard: (number from 1, of how many): this writer is one of several that write other items into the
            same store at the same time, each with an index file of its own.

    Attributes:
        found: How many items the store held when it was opened.
        suffix: Of the names of this writer's files, ``-2-of-4`` or empty.

    Raises:
        DataError: If the store has another ``meta`` and ``overwrite`` is off, or an index is corrupt.

    Example:
        >>> writer = StoreWriter("embed", {"model": "abc"})
        >>> writer.write_part(["sku-1"], ["hash"], {"fused": np.ones((1, 4), np.float32)}, {"image": np.array([True])})
        >>> EmbeddingStore.open("embed").ids
        ['sku-1']
    """

    def __init__(
        self,
        folder: str | Path,
        meta: Mapping[str, Any],
        overwrite: bool = False,
        shard: tuple[int, int] = (1, 1),
    ) -> None:
        self.folder = Path(folder)
        self.suffix = "" if shard[1] == 1 else f"-{shard[0]}-of-{shard[1]}"
        self._path = self.folder / f"index{self.suffix}.json"
        wanted = json.loads(json.dumps(meta))  # as it will be read back: tuples are lists
        self._number = (
            0  # of the next part; no name is given twice, as readers of parts that go may be at work
        )
        others = self._matching(wanted, overwrite)
        empty: Index = {"version": VERSION, "meta": wanted, "arrays": {}, "masks": [], "parts": []}
        self._index = others.get(self._path.name, empty)
        self._filled = next((index for index in others.values() if index["parts"]), empty)
        self._remove_leftovers(others)
        parts = sorted_parts(others.values())
        tables = [read_rows(self.folder, part) for part in parts]
        self._known = ids_of(tables)
        self._hashes = pa.chunked_array([c for t in tables for c in t["hash"].chunks], pa.string())
        self._seen = np.zeros(len(self._known), dtype=bool)
        self.found = len(self._known)
        self._number = max([self._number, *(1 + number_of(part["name"]) for part in parts)])

    def has(self, item_id: str, content: str) -> bool:
        """Whether the store held, when it was opened, an item with this content hash."""
        row = self._known.row(item_id)
        if row is None:
            return False
        self._seen[row] = True
        return self._hashes[int(self._known.places[row])].as_py() == content

    def forget_unseen(self) -> int:
        """Take out every item that :meth:`has` was not asked for since the store was opened; returns how many."""
        unseen = np.flatnonzero(~self._seen)
        filled = self._index if self._index["parts"] else self._filled
        for start in range(0, len(unseen), FORGET_ROWS):
            ids = [self._known.id(row) for row in unseen[start : start + FORGET_ROWS]]
            masks = {name: np.zeros(len(ids), dtype=bool) for name in filled["masks"]}
            self._append(ids, [GONE] * len(ids), {}, masks, filled["arrays"])
        return len(unseen)

    def _matching(self, meta: Any, overwrite: bool) -> dict[str, Index]:
        """Index files of this ``meta`` by name; with ``overwrite`` those of another go, with their parts."""
        kept: dict[str, Index] = {}
        for path in index_files(self.folder):
            try:
                index = read_index(path)
            except CorruptIndex:
                if not overwrite:
                    raise
                index = {"meta": None, "parts": []}
            if index["meta"] == meta:
                kept[path.name] = index
            elif overwrite:
                remove(path)  # first, so that no index ever lists a part that is gone
                for part in index["parts"]:
                    self._number = max(self._number, 1 + number_of(part["name"]))
                    remove(self.folder / part["name"])
            else:
                raise DataError(f"{self.folder}: made by another model or setting; remove or overwrite it")
        return kept

    def _remove_leftovers(self, indexes: Mapping[str, Index]) -> None:
        """What a kill left of this writer, or of any if it writes alone; other writers may be at work."""
        listed = {part["name"] for index in indexes.values() for part in index["parts"]}
        mine = re.compile(rf"part-\d+{self.suffix or '.*'}|index{self.suffix or '.*'}\.json")
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            name = finished_name(path)
            kept = path.name in listed | indexes.keys() or has_writer(path)
            if mine.fullmatch(name) and not kept:
                remove(path)

    def write_part(
        self,
        ids: Sequence[str],
        hashes: Sequence[str],
        arrays: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
        inputs: Mapping[str, InputKeys] | None = None,
    ) -> None:
        """Write rows as one part; when this returns, they survive a kill. The last row of an id counts.

        Args:
            ids: n item ids.
            hashes: n content hashes.
            arrays: Name → (n, dim) float16 or float32; every part must have the same names, sizes and dtypes.
            masks: Modality → (n,) bool, true where the item has it.
            inputs: Modality → the keys of the items' features in the cache.

        Raises:
            DataError: If a vector is not finite or the disk is full; the store stays as it was.
            ValueError: If names, shapes or dtypes do not fit each other or the parts before.
        """
        check_part(ids, hashes, arrays, masks)
        shape = shape_of(arrays)
        self._check_fits(shape, sorted(masks))
        if ids:
            self._append(ids, hashes, arrays, masks, shape, inputs)

    def adopt(self, folder: Path, part: Part) -> None:
        """Take over a part that another process made on the same disk; when this returns, it survives a kill.

        Args:
            folder: Of :func:`mmreason.store.part.make_part`; it is moved into the store.
            part: What that returned.

        Raises:
            DataError: If the index cannot be written.
            ValueError: If names, sizes or dtypes do not fit the parts before.
        """
        self._check_fits(part.arrays, part.masks)
        name = self._next_name
        move(folder, self.folder / name)
        self._list(name, part)

    @property
    def _next_name(self) -> str:
        return f"part-{self._number:06d}{self.suffix}"

    def _check_fits(self, shape: Mapping[str, Any], masks: list[str]) -> None:
        if self._index["parts"] and (shape != self._index["arrays"] or masks != self._index["masks"]):
            raise ValueError(f"{shape} and masks {masks} do not fit the parts of {self.folder}")

    def _append(
        self,
        ids: Sequence[str],
        hashes: Sequence[str],
        arrays: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
        shape: dict[str, Any],
        inputs: Mapping[str, InputKeys] | None = None,
    ) -> None:
        name = self._next_name
        part = make_part(self.folder / name, ids, hashes, arrays, masks, inputs)
        self._list(name, replace(part, arrays=shape))

    def _list(self, name: str, part: Part) -> None:
        listed = {"name": name, "rows": part.rows, "crc32": part.crc32}
        made = {"arrays": part.arrays, "masks": part.masks, "parts": [*self._index["parts"], listed]}
        index = self._index | made
        try:
            with atomic_write(self._path) as file:
                file.write(json.dumps(index, ensure_ascii=False, indent=1).encode())
        except DataError:
            remove(self.folder / name)
            raise
        self._index = index
        self._number += 1


class EmbeddingStore:
    """Reads a store; arrays are memory-mapped, so opening costs the ids only.

    Rows are numbered in the order in which their ids were first written; of several rows of an id the
    last one counts.

    Attributes:
        dims: Array name → size of its vectors.
        names: Array names.
        meta: What the writer was given.

    Example:
        >>> store = EmbeddingStore.open("run/embed")
        >>> store.get("fused", ["sku-2", "sku-1"]).shape
        (2, 256)
    """

    def __init__(self, folder: Path, indexes: Sequence[Index]) -> None:
        self.folder = folder
        index = next((i for i in indexes if i["parts"]), indexes[0])
        for other in indexes:
            if other["parts"] and any(other[k] != index[k] for k in ("meta", "arrays", "masks")):
                raise DataError(
                    f"{folder}: its index files are of different models; remove it and embed again"
                )
        self.meta: dict[str, Any] = index["meta"]
        self.dims: dict[str, int] = {name: a["dim"] for name, a in index["arrays"].items()}
        self._features = read_features(folder)
        self.dims |= {f"{name}_features": view.dim for name, view in self._features.items()}
        self.names = list(self.dims)
        self._parts = sorted_parts(indexes)
        self._dtypes = {name: np.dtype(a["dtype"]) for name, a in index["arrays"].items()}
        tables = [read_rows(folder, part) for part in self._parts]
        self._ids = ids_of(tables)
        self._starts = np.cumsum([0, *(part["rows"] for part in self._parts)])
        self._masks = {
            name: np.concatenate([t[f"has_{name}"].to_numpy() for t in tables])[self._ids.places]
            for name in index["masks"]
            if tables
        }
        self._map = lru_cache(maxsize=OPEN_MAPS)(self._load)
        self._keys = lru_cache(maxsize=OPEN_MAPS)(self._load_keys)
        self._hashes = lru_cache(maxsize=OPEN_MAPS)(self._load_hashes)

    @classmethod
    def open(cls, folder: str | Path) -> EmbeddingStore:
        """Open a store.

        Raises:
            DataError: If there is none, or a file of it is missing or corrupt.
        """
        folder = Path(folder)
        paths = index_files(folder) or [folder / "index.json"]
        return cls(folder, [read_index(path) for path in paths])

    @cached_property
    def ids(self) -> list[str]:
        """Item ids, by row."""
        return self._ids.all()

    @property
    def masks(self) -> list[str]:
        """Modalities that :meth:`mask` knows."""
        return list(self._masks)

    @property
    def parts(self) -> list[str]:
        """Names of the parts, later ones last."""
        return [part["name"] for part in self._parts]

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item_id: object) -> bool:
        return isinstance(item_id, str) and self._ids.row(item_id) is not None

    def id(self, row: int) -> str:
        """The id of a row."""
        return self._ids.id(row)

    def content(self, item_id: str) -> str:
        """The content hash that an item had when it was embedded.

        Raises:
            DataError: If the id has no row.
        """
        place = int(self._ids.places[self.index(item_id)])
        part = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._hashes(part)[place - int(self._starts[part])].as_py()

    def index(self, item_id: str) -> int:
        """The row of an id.

        Raises:
            DataError: If the id has no row.
        """
        row = self._ids.row(item_id)
        if row is None:
            raise DataError(f"{self.folder}: no embedding of item {item_id!r}; run embed again")
        return row

    def get(self, name: str, which: Sequence[str] | Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Vectors in the order asked for.

        Args:
            name: An array, e.g. ``fused`` or ``image_features``.
            which: n ids or n rows; None for all rows.

        Returns:
            (n, dim) float32, a copy.

        Raises:
            DataError: If the array or an id is unknown, or a file is corrupt.
        """
        if name not in self.dims:
            raise DataError(f"{self.folder}: no array {name!r}; there are {', '.join(self.names) or 'none'}")
        places = self._ids.places[self._rows(which)]
        parts = np.searchsorted(self._starts, places, side="right") - 1
        vectors = np.zeros((len(places), self.dims[name]), dtype=np.float32)
        modality = name.removesuffix("_features")
        for part in np.unique(parts):
            asked = np.flatnonzero(parts == part)
            rows = places[asked] - self._starts[part]
            if name in self._dtypes:
                vectors[asked] = self._map(name, int(part))[rows]
            else:
                vectors[asked] = self._features[modality].of(self._keys(modality, int(part)), rows)
        return vectors

    def mask(self, name: str, which: Sequence[str] | Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Whether items have a modality: (n,) bool, in the order asked for.

        Raises:
            DataError: If the mask or an id is unknown.
        """
        if name not in self._masks:
            raise DataError(f"{self.folder}: no mask {name!r}; there are {', '.join(self._masks) or 'none'}")
        return self._masks[name][self._rows(which)]

    def _rows(self, which: Sequence[str] | Sequence[int] | np.ndarray | None) -> np.ndarray:
        if which is None:
            return np.arange(len(self))
        rows = [self.index(one) if isinstance(one, str) else int(one) for one in which]
        return np.array(rows, dtype=np.int64)

    def _load_hashes(self, part: int) -> pa.ChunkedArray:
        return read_rows(self.folder, self._parts[part])["hash"]

    def _load_keys(self, modality: str, part: int) -> InputKeys:
        for name in ("rows", "keys"):
            check_file(self.folder, self._parts[part], f"{modality}_{name}.npy")
        return InputKeys.load(self.folder / self._parts[part]["name"], modality)

    def _load(self, name: str, part: int) -> np.ndarray:
        path = self.folder / self._parts[part]["name"] / f"{name}.npy"
        check_file(self.folder, self._parts[part], path.name)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: cannot be read ({error}); remove the store and embed again") from None
        if array.shape != (self._parts[part]["rows"], self.dims[name]) or array.dtype != self._dtypes[name]:
            raise DataError(f"{path}: {array.shape} {array.dtype} is not what the index says; embed again")
        return array
