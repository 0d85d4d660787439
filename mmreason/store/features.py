"""Features by content: vectors under the sha256 of what they were computed from, shared by stages, runs and processes.

    features/image-3f2a90c1d2e4b5a6/about.json     what the vectors depend on beside their input; their size
    features/image-3f2a90c1d2e4b5a6/8c1d….values   n × dim float16
    features/image-3f2a90c1d2e4b5a6/8c1d….keys     n × 32 bytes, the inputs' sha256

Every writer appends to a pair of files of its own, the values first: a key is there only if its vector is. A kill or
a full disk cuts a tail off, no more, and what is cut off is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmreason.files import atomic_write
from mmreason.schema import DataError, Item, item_text

KEY_BYTES = 32
FILE_ROWS = 1 << 40  # a row is (file number) × this + (place in the file)


def input_key(raw: str | bytes) -> bytes:
    """The key of one text or medium: sha256 of its bytes.

    Example:
        >>> input_key("Coat").hex()[:8]
        '1e025c02'
    """
    return hashlib.sha256(raw.encode("utf-8", "replace") if isinstance(raw, str) else raw).digest()


def content_hash(item: Item) -> str:
    """A fingerprint of what the encoders see of an item: its text and the bytes of its media.

    Args:
        item: An item whose ``images`` and ``video`` are bytes, as the loader gives them.

    Example:
        >>> content_hash(Item(id="a", title="Coat")) == content_hash(Item(id="b", title="Coat"))
        True
    """
    digest = hashlib.sha256()
    for part in (item_text(item), *item.images, item.video or b""):
        digest.update(input_key(part))
    return digest.hexdigest()


class FeatureCache:
    """Vectors of one kind by key; memory-mapped, append-only, safe for several processes.

    In memory are 16 bytes a vector; the vectors themselves stay on the disk.

    Args:
        folder: Where this kind lies.
        dim: Length of a vector; None reads it from the folder.
        about: Of a writer, who makes the folder: JSON values that say what the vectors depend on, for people.

    Raises:
        DataError: If the folder is of vectors of another length, or, without ``dim``, holds none.

    Example:
        >>> cache = FeatureCache(Path("features/text"), dim=2, about={})
        >>> cache.write([input_key("Coat")], np.ones((1, 2)))
        >>> cache.rows([input_key("Coat"), input_key("Hat")])
        array([ 0, -1])
    """

    def __init__(self, folder: Path, dim: int | None = None, about: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        found = _read_about(folder / "about.json")
        if dim is None and found is None:
            raise DataError(f"{folder}: no features here; run embed again")
        if dim is not None and found is not None and found != dim:
            raise DataError(f"{folder}: features of length {found}, not {dim}; remove the folder")
        self.dim: int = dim if dim is not None else found  # type: ignore[assignment]
        self._about = about
        if about is not None and found is None:
            with atomic_write(folder / "about.json") as file:
                file.write(json.dumps({"dim": self.dim, "of": about}, indent=1).encode())
        self._writer = uuid.uuid4().hex
        self._lock = threading.RLock()
        self._files: list[tuple[np.ndarray, np.ndarray]] = []
        self._numbers: dict[str, int] = {}
        self._prefixes = np.zeros(0, np.uint64)  # the keys' first bytes, sorted, and the row of each
        self._rows = np.zeros(0, np.int64)
        self.refresh()

    def __len__(self) -> int:
        return len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "dim": self.dim, "about": self._about}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def refresh(self) -> None:
        """See what this and other processes have written since; rows that are known keep their numbers."""
        with self._lock:
            for path in sorted(self.folder.glob("*.keys")):
                number = self._numbers.setdefault(path.stem, len(self._numbers))
                if number == len(self._files):
                    self._files.append(_no_vectors(self.dim))
                before = len(self._files[number][0])
                self._files[number] = keys, _ = self._map(path)
                self._insert(keys[before:], number * FILE_ROWS + before)

    def rows(self, keys: Sequence[bytes]) -> np.ndarray:
        """(n,) int64, the row of each key, which is good for this object; -1 where there is none."""
        with self._lock:
            wanted = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)
            prefixes = _prefixes(wanted)
            places = np.searchsorted(self._prefixes, prefixes)
            rows = np.full(len(keys), -1, np.int64)
            open_keys = np.arange(len(keys))
            while True:  # once, but for keys that share their first bytes or were written twice
                open_keys = open_keys[places[open_keys] < len(self._prefixes)]
                open_keys = open_keys[self._prefixes[places[open_keys]] == prefixes[open_keys]]
                if not len(open_keys):
                    return rows
                found = self._rows[places[open_keys]]
                same = (self._gather(found, 0, np.uint8, KEY_BYTES) == wanted[open_keys]).all(axis=1)
                rows[open_keys[same]] = found[same]
                open_keys = open_keys[~same]
                places[open_keys] += 1

    def get(self, rows: np.ndarray) -> np.ndarray:
        """(n, dim) float32 of the rows asked for, a copy; zeros for row -1.

        Raises:
            DataError: If a vector is not finite: the file is damaged.
        """
        rows = np.asarray(rows, np.int64)
        values = self._gather(rows, 1, np.float32, self.dim)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise DataError(
                f"{self.folder}: {len(bad)} features are not finite; the files are damaged: remove the folder and "
                "run align and embed again"
            )
        return values

    def write(self, keys: Sequence[bytes], values: np.ndarray) -> None:
        """Append vectors; when this returns they survive a kill. Of one key written twice the first counts.

        Args:
            keys: n keys of :func:`input_key`.
            values: (n, dim) floating; numbers beyond float16 are brought to its largest.

        Raises:
            DataError: If they cannot be written (a full disk, say).
            ValueError: If the shapes do not fit.
        """
        if values.shape != (len(keys), self.dim):
            raise ValueError(f"{len(keys)} keys and values {values.shape}; want ({len(keys)}, {self.dim})")
        if not keys:
            return
        largest = np.finfo(np.float16).max
        half = np.ascontiguousarray(np.clip(values, -largest, largest), np.float16)
        try:
            _append(self.folder / f"{self._writer}.values", half.tobytes())
            _append(self.folder / f"{self._writer}.keys", b"".join(keys))
        except OSError as error:
            self._writer = uuid.uuid4().hex  # what is half written there is never added to
            raise DataError(
                f"{self.folder}: cannot be written ({error.strerror or error}); free space or mend the folder"
            ) from error
        self.refresh()

    def _gather(self, rows: np.ndarray, column: int, dtype: Any, width: int) -> np.ndarray:
        """(n, width): the keys (column 0) or the values (1) of rows; zeros for row -1."""
        gathered = np.zeros((len(rows), width), dtype)
        files = np.where(rows < 0, -1, rows // FILE_ROWS)
        for file in np.unique(files[files >= 0]).tolist():
            asked = np.flatnonzero(files == file)
            gathered[asked] = self._files[file][column][rows[asked] % FILE_ROWS]
        return gathered

    def _map(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values of one writer, without what a kill cut."""
        values = path.with_suffix(".values")
        size = values.stat().st_size if values.exists() else 0
        count = min(path.stat().st_size // KEY_BYTES, size // (2 * self.dim))
        if not count:
            return _no_vectors(self.dim)
        keys = np.memmap(path, np.uint8, "r", shape=(count, KEY_BYTES))
        return keys, np.memmap(values, np.float16, "r", shape=(count, self.dim))

    def _insert(self, keys: np.ndarray, first_row: int) -> None:
        if len(keys):
            prefixes = _prefixes(keys)
            order = np.argsort(prefixes, kind="stable")
            places = np.searchsorted(self._prefixes, prefixes[order], side="right")
            self._prefixes = np.insert(self._prefixes, places, prefixes[order])
            self._rows = np.insert(self._rows, places, first_row + order)


def mean_of_inputs(values: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """(size, F) float32: the mean of the inputs of each item, zeros where it has none.

    Args:
        values: (n, F) features of inputs.
        rows: (n,) the item of each input, ascending.
        size: Items.

    Example:
        >>> mean_of_inputs(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 2]), 3).ravel().tolist()
        [2.0, 0.0, 5.0]
    """
    counts = np.bincount(rows, minlength=size)
    if (counts <= 1).all():
        means = np.zeros((size, values.shape[1]), np.float32)
        means[rows] = values
        return means
    sums = np.zeros((size, values.shape[1]), np.float32)
    np.add.at(sums, rows, values)
    return sums / np.maximum(counts, 1)[:, None].astype(np.float32)


def _prefixes(keys: np.ndarray) -> np.ndarray:
    return keys[:, :8].copy().view(np.uint64).ravel()


def _no_vectors(dim: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((0, KEY_BYTES), np.uint8), np.zeros((0, dim), np.float16)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_about(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_bytes())["dim"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove {path.parent} and run again") from None
