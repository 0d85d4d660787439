"""What training reads of the items: a table on the disk beside the feature cache, nothing of it held in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mmreason.align.batch import Batch
from mmreason.align.losses.negatives import item_codes
from mmreason.config import Config
from mmreason.embed.cache import CachedPending, CachedReader
from mmreason.embed.features import Errors
from mmreason.embed.model import Head
from mmreason.files import atomic_folder, remove, remove_leftovers
from mmreason.progress import Progress
from mmreason.schema import DataError, Item
from mmreason.shards.loader import item_samples
from mmreason.shards.manifest import read_manifest
from mmreason.store.features import FeatureCache, mean_of_inputs
from mmreason.store.standardised import InputKeys

PART_BYTES = 128 << 20  # of media held in memory at a time
FIT_ITEMS = 1024  # whose features are in memory at a time, for their mean and spread


@dataclass
class TrainingItems:
    """The N items of the shards that are not for testing, in packed order; arrays are memory-mapped.

    Attributes:
        codes: (N, K) int64, see :func:`mmreason.align.losses.negatives.item_codes`.
        train: (N,) bool; the others are for validation.
        inputs: Name of an encoder, or of a view → the keys of what it read.
        folder: Where the table lies.
    """

    codes: np.ndarray
    train: np.ndarray
    inputs: dict[str, InputKeys]
    folder: Path

    def __len__(self) -> int:
        return len(self.train)

    def present(self, name: str) -> np.ndarray:
        """(N,) bool, which items have a modality or view."""
        there = np.zeros(len(self), bool)
        there[self.inputs[name].rows] = True
        return there

    def ids(self, rows: np.ndarray) -> list[str]:
        """The ids of some items."""
        return pq.read_table(self.folder / "ids.parquet")["id"].take(pa.array(rows)).to_pylist()

    @classmethod
    def open(cls, folder: Path) -> TrainingItems:
        """Open what :func:`collect_items` wrote.

        Raises:
            DataError: If there is none, or it is damaged.
        """
        try:
            about = json.loads((folder / "items.json").read_bytes())
            count, width = int(about["items"]), int(about["codes"])

            def array(name: str, dtype: Any, *shape: int) -> np.ndarray:
                if 0 in shape:
                    return np.zeros(shape, dtype)
                return np.memmap(folder / name, dtype, "r", shape=shape)

            inputs = {
                name: InputKeys(
                    array(f"{_file(name)}.rows", np.int32, total),
                    array(f"{_file(name)}.keys", np.uint8, total, 32),
                )
                for name, total in about["inputs"].items()
            }
            return cls(
                array("codes", np.int64, count, width), array("train", np.bool_, count), inputs, folder
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder}: cannot be read ({error}); remove it and align again") from None


def collect_items(config: Config, reader: CachedReader, folder: Path) -> Errors:
    """Go through the shards once: note every item that is not for testing, and encode what the cache lacks.

    Killed, the next run finds in the cache what was encoded.

    Args:
        config: The run.
        reader: Encodes, and keeps what it encoded.
        folder: Where the table is written; what lies there is replaced.

    Returns:
        (item id, modality, message) of media that could not be read.
    """
    errors: Errors = []
    total = read_manifest(config.path("shards")).samples("items")
    remove(folder)
    remove_leftovers(folder.parent)
    with (
        Progress(total, "features") as progress,
        atomic_folder(folder) as temporary,
        _TableWriter(temporary, list(reader.caches)) as writer,
    ):
        before: tuple[list[Item], CachedPending] | None = None
        for part in _parts(config, progress):
            pending = reader.start(part)  # decoded while the models are at work on the part before
            if before is not None:
                errors += writer.write(*before, config.align.mask)
            before = part, pending
        if before is not None:
            errors += writer.write(*before, config.align.mask)
    return errors


def _parts(config: Config, progress: Progress) -> Iterator[list[Item]]:
    part: list[Item] = []
    size = 0
    for item in item_samples(config.path("shards")):
        progress.add(1)
        if item.split == "test":  # neither in the training nor in the features' mean and spread
            continue
        part.append(item)
        size += sum(len(raw) for raw in (*item.images, item.video or b""))
        if len(part) == config.embed.part_size or size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


class _TableWriter:
    """Appends items to the files of a table."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._stack = folder, ExitStack()
        arrays = ["codes", "train", *(f"{_file(name)}.{what}" for name in names for what in ("rows", "keys"))]
        self._files = {name: self._stack.enter_context((folder / name).open("wb")) for name in arrays}
        self._ids = pq.ParquetWriter(folder / "ids.parquet", pa.schema([("id", pa.string())]))
        self._about: dict[str, Any] = {"items": 0, "codes": 1, "inputs": dict.fromkeys(names, 0)}

    def __enter__(self) -> _TableWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
        self._ids.close()
        (self._folder / "items.json").write_text(json.dumps(self._about))

    def write(self, items: list[Item], pending: CachedPending, kinds: Sequence[str]) -> Errors:
        """Some items, when their features are in the cache; returns what could not be read."""
        features, inputs = pending.result()
        codes = np.array([item_codes(item, kinds) for item in items], np.int64)
        self._files["codes"].write(codes.tobytes())
        self._files["train"].write(np.array([item.split == "train" for item in items]).tobytes())
        for name, keys in inputs.items():
            self._files[f"{_file(name)}.rows"].write((keys.rows + np.int32(self._about["items"])).tobytes())
            self._files[f"{_file(name)}.keys"].write(np.ascontiguousarray(keys.keys).tobytes())
            self._about["inputs"][name] += len(keys.rows)
        self._ids.write_table(pa.table({"id": pa.array([item.id for item in items], pa.string())}))
        self._about["codes"] = codes.shape[1]
        self._about["items"] += len(items)
        return features.errors


class ItemFeatures:
    """Batches of standardised features of items, read out of the cache when they are asked for.

    Args:
        items: The table.
        caches: Name of an encoder or view → where its features lie.
        heads: The same names → what standardises them.
        device: Of the batches.
    """

    def __init__(
        self,
        items: TrainingItems,
        caches: Mapping[str, FeatureCache],
        heads: Mapping[str, Head],
        device: torch.device,
    ) -> None:
        self._items, self._caches, self._heads, self._device = items, caches, heads, device
        self._rows = {name: _rows_in(cache, items.inputs[name]) for name, cache in caches.items()}

    def batch(self, rows: Tensor) -> Batch:
        """Some items, given as (B,) int64."""
        chosen = rows.numpy()
        features, masks = {}, {}
        for name in self._caches:
            values, there = self.raw(name, chosen)
            features[name], masks[name] = self._standardised(name, values, there)
        codes = torch.from_numpy(self._items.codes[chosen]).to(self._device)
        return Batch(features, {}, masks, codes)

    def batch_of_photos(self, places: Tensor) -> Batch:
        """Some pictures, given as (B,) int64 places among all items' pictures, each with its item's text and video."""
        chosen = places.numpy()
        owners = self._items.inputs["image"].rows[chosen].astype(np.int64)
        features, masks = {}, {}
        for name in self._caches:
            values, there = self.raw(name, owners) if name != "image" else (self.photos(chosen), owners >= 0)
            features[name], masks[name] = self._standardised(name, values, there)
        codes = torch.from_numpy(self._items.codes[owners]).to(self._device)
        return Batch(features, {}, masks, codes)

    def photos(self, places: np.ndarray) -> Tensor:
        """(n, F) float32 features of single pictures, given by their places among all items' pictures."""
        return torch.from_numpy(self._caches["image"].get(self._rows["image"][places]))

    def _standardised(self, name: str, values: Tensor, there: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features as the head takes them, zeros where there are none, and the mask."""
        mask = torch.from_numpy(there).to(self._device)
        return self._heads[name].standardise(values.to(self._device)) * mask[:, None], mask

    def raw(self, name: str, rows: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """(n, F) float32 features of some items, zeros where there are none, and (n,) bool where there are some."""
        owners, places = self._items.inputs[name].places(rows)
        values = self._caches[name].get(self._rows[name][places])
        there = np.bincount(owners, minlength=len(rows)) > 0
        return torch.from_numpy(mean_of_inputs(values, owners, len(rows))), there

    def parts(self, name: str, rows: np.ndarray) -> Iterator[Tensor]:
        """The features of those of some items that have them, a part at a time."""
        for start in range(0, len(rows), FIT_ITEMS):
            values, there = self.raw(name, rows[start : start + FIT_ITEMS])
            if there.any():
                yield values[torch.from_numpy(there)].to(self._device)


def _file(name: str) -> str:
    """A view's name has a colon, which not every file system takes."""
    return name.replace(":", "-")


def _rows_in(cache: FeatureCache, inputs: InputKeys) -> np.ndarray:
    """(m,) int64, where the cache has each input."""
    rows = [
        cache.rows([key.tobytes() for key in inputs.keys[start : start + 65_536]])
        for start in range(0, len(inputs.keys), 65_536)
    ]
    found = np.concatenate([*rows, np.zeros(0, np.int64)])
    if (found < 0).any():
        raise DataError(f"{cache.folder}: {int((found < 0).sum())} features are gone; align again")
    return found
