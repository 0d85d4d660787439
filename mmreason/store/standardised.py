"""The features behind an embedding store: not copied into it, but read out of the cache and standardised."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmreason.files import atomic_write
from mmreason.schema import DataError
from mmreason.store.features import KEY_BYTES, FeatureCache, mean_of_inputs

LIMIT = 8.0
"""Standardised features are cut off at ± this many standard deviations."""


@dataclass(frozen=True)
class InputKeys:
    """The inputs (texts, pictures, videos) of n items.

    Attributes:
        rows: (m,) int32 ascending, the item that each input belongs to.
        keys: (m, 32) uint8, see :func:`mmreason.store.features.input_key`.
    """

    rows: np.ndarray
    keys: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[int], keys: Sequence[bytes]) -> InputKeys:
        """From lists of the same length."""
        return cls(np.array(rows, np.int32), np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES))

    def of_items(self, items: Sequence[int]) -> InputKeys:
        """Those of some items, which are numbered anew in the order given."""
        rows, keys = self.take(np.asarray(items))
        return InputKeys.of(rows.tolist(), keys)

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, list[bytes]]:
        """The inputs of some items: (k,) positions in ``rows``, ascending, and their k keys."""
        owners, places = self.places(rows)
        return owners, [key.tobytes() for key in self.keys[places]]

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inputs of some items: (k,) positions in ``rows``, ascending, and (k,) places among the inputs."""
        starts = np.searchsorted(self.rows, rows, side="left")
        counts = np.searchsorted(self.rows, rows, side="right") - starts
        owners = np.repeat(np.arange(len(rows)), counts)
        before = np.repeat(np.cumsum(counts) - counts, counts)
        return owners, np.repeat(starts, counts) + np.arange(len(owners)) - before

    def save(self, folder: Path, modality: str) -> None:
        """Write two ``.npy`` files."""
        np.save(folder / f"{modality}_rows.npy", self.rows)
        np.save(folder / f"{modality}_keys.npy", self.keys)

    @classmethod
    def load(cls, folder: Path, modality: str) -> InputKeys:
        """Read what :meth:`save` wrote; no items in a part that holds none any more.

        Raises:
            DataError: If a file is damaged.
        """
        paths = [folder / f"{modality}_{name}.npy" for name in ("rows", "keys")]
        try:
            rows, keys = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{paths[0]}: cannot be read ({error}); remove the store and embed again"
            ) from None
        if rows.ndim != 1 or keys.shape != (len(rows), KEY_BYTES):
            raise DataError(f"{paths[1]}: {keys.shape} keys of {len(rows)} inputs; embed again")
        return cls(rows, keys)


@dataclass(frozen=True)
class StandardisedFeatures:
    """Features of one modality, as the heads of an alignment model take them.

    Attributes:
        cache: Folder of the raw features, see :class:`mmreason.store.features.FeatureCache`.
        mean: (F,) float32, subtracted.
        std: (F,) float32, divided by.
    """

    cache: Path
    mean: np.ndarray
    std: np.ndarray

    @property
    def dim(self) -> int:
        """F."""
        return len(self.mean)

    def of(self, inputs: InputKeys, rows: np.ndarray) -> np.ndarray:
        """(n, F) float32: the mean over each item's inputs, standardised; zeros where it has none.

        Raises:
            DataError: If the cache lacks one: it was removed, or cut.
        """
        owners, keys = inputs.take(rows)
        found = self._opened.rows(keys)
        if (found < 0).any():
            self._opened.refresh()
            found = self._opened.rows(keys)
        if (found < 0).any():
            raise DataError(
                f"{self.cache}: {int((found < 0).sum())} features of embedded items are gone; remove the embedding "
                "store and embed again"
            )
        means = mean_of_inputs(self._opened.get(found), owners, len(rows))
        standard = ((means - self.mean) / self.std).clip(-LIMIT, LIMIT)
        standard[np.bincount(owners, minlength=len(rows)) == 0] = 0
        return standard

    @cached_property
    def _opened(self) -> FeatureCache:
        return FeatureCache(self.cache, self.dim)


def write_features(folder: Path, features: Mapping[str, StandardisedFeatures]) -> None:
    """Write ``features.json`` and ``features-<modality>.npy`` (mean and std) into a store's folder."""
    where = {}
    for name, one in features.items():
        with atomic_write(folder / f"features-{name}.npy") as file:
            np.save(file, np.stack([one.mean, one.std]).astype(np.float32))
        where[name] = os.path.relpath(one.cache.resolve(), folder.resolve())
    with atomic_write(folder / "features.json") as file:
        file.write(json.dumps(where, indent=1).encode())


def read_features(folder: Path) -> dict[str, StandardisedFeatures]:
    """What :func:`write_features` wrote; empty for a store without features.

    Raises:
        DataError: If a file is damaged.
    """
    path = folder / "features.json"
    if not path.exists():
        return {}
    try:
        found = {}
        for name, cache in json.loads(path.read_bytes()).items():
            mean, std = np.load(folder / f"features-{Path(name).name}.npy", allow_pickle=False)
            found[name] = StandardisedFeatures(folder / cache, mean, std)
        return found
    except (OSError, ValueError, EOFError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove the store and embed again") from None
