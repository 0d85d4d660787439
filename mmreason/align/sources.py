"""Where training steps come from: kept features, or the media in the shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from encoders import Encoder, MediaError
from mmreason.align.batch import Batch, Inputs
from mmreason.align.losses.negatives import item_codes
from mmreason.align.padding import trim_padding
from mmreason.config import Config
from mmreason.embed.embedder import READERS
from mmreason.schema import DataError, Item
from mmreason.shards.loader import ShardLoader


class Source(Protocol):
    """Gives each step its rows of this process, in parts small enough to be encoded with activations."""

    def parts(self, step: int) -> list[Batch]:
        """The rows of a step, counted from 0 over all stages."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is, as JSON values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was saved."""


@dataclass
class FeatureSource:
    """Batches of kept features: a function of the seed and the step alone, so there is no state to save.

    An epoch is one random order of all rows; its last, short batch is left out. All processes draw the same
    batch and take their share, so that W processes train on what one process would with W times the batch.

    Attributes:
        features: Modality → (N, F) standardised features.
        masks: Modality → (N,) bool.
        codes: (N, K) int64.
        size: Rows of this process per step.
        micro: Rows per part; 0 for all.
        seed: Seed of the order.
        rank: This process.
        world: Processes.
        hard: (N, H) rows that are hard negatives of each, −1 where there are fewer.
    """

    features: dict[str, Tensor]
    masks: dict[str, Tensor]
    codes: Tensor
    size: int
    micro: int = 0
    seed: int = 0
    rank: int = 0
    world: int = 1
    hard: Tensor | None = None

    def __post_init__(self) -> None:
        self._order: tuple[int, Tensor] = (-1, torch.empty(0, dtype=torch.long))

    def parts(self, step: int) -> list[Batch]:
        """See :class:`Source`."""
        rows = self._own(self._rows(step))
        return [self.batch(part) for part in rows.split(self.micro or max(1, len(rows)))]

    def batch(self, rows: Tensor) -> Batch:
        """Some rows, given as (B,) int64."""
        features = {m: x[rows] for m, x in self.features.items()}
        return Batch(features, {}, {m: x[rows] for m, x in self.masks.items()}, self.codes[rows])

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see the class."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing: see the class."""

    def _rows(self, step: int) -> Tensor:
        """The rows of all processes."""
        total, width = len(self.codes), 0 if self.hard is None else self.hard.shape[1]
        size = min(self.size * self.world // (1 + width), total)
        size -= size % self.world
        epoch, place = divmod(step, total // size)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = (epoch, torch.randperm(total, generator=generator))
        rows = self._order[1][place * size : (place + 1) * size]
        return rows if self.hard is None else self._with_hard(rows)

    def _with_hard(self, rows: Tensor) -> Tensor:
        """Each row followed by its hard negatives; one it lacks is the row itself, which the mask leaves out."""
        assert self.hard is not None
        negatives = self.hard[rows]
        return torch.cat([rows[:, None], torch.where(negatives < 0, rows[:, None], negatives)], 1).flatten()

    def _own(self, rows: Tensor) -> Tensor:
        share = len(rows) // self.world
        return rows[self.rank * share : (self.rank + 1) * share]


class PixelSource:
    """Batches of media out of the shards, decoded by the loader's workers.

    The shards hold the items of all splits: those not in training are left out of a batch after it was read, so
    a batch has ``size`` rows at most. Every part has the same number of rows in every process.

    Args:
        config: The run.
        encoders: Modality → encoder, for its preprocessing.
        rank: This process.
        world: Processes.

    Raises:
        DataError: If the batch is no multiple of the micro-batch; as :class:`ShardLoader`.
    """

    def __init__(self, config: Config, encoders: dict[str, Encoder], rank: int = 0, world: int = 1) -> None:
        settings = config.align
        micro = settings.micro_batch or settings.batch_size
        if settings.batch_size % micro:
            raise DataError(f"align.batch_size={settings.batch_size} is no multiple of micro_batch={micro}")
        self._micros = settings.batch_size // micro
        self._loader = ShardLoader(
            config.path("shards"),
            "items",
            batch_size=micro,
            collate=PixelCollator(encoders, settings.mask, "train"),
            rank=rank,
            world_size=world,
            workers=config.workers,
            shuffle=settings.shuffle,
            seed=config.seed,
            endless=True,
        )
        self._batches: Iterator[Batch] | None = None

    def parts(self, step: int) -> list[Batch]:
        """See :class:`Source`; the loader counts the steps."""
        self._batches = self._batches or iter(self._loader)
        return [next(self._batches) for _ in range(self._micros)]

    def state_dict(self) -> dict[str, Any]:
        """The loader's."""
        return self._loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The loader's."""
        self._batches = None
        self._loader.load_state_dict(state)


@dataclass
class PixelCollator:
    """Items to a batch of media, several pictures an item; runs in the loader's workers.

    Attributes:
        encoders: Modality → encoder.
        kinds: See :func:`mmreason.align.losses.negatives.item_codes`.
        split: Items of other splits become empty rows; empty for all.
    """

    encoders: dict[str, Encoder]
    kinds: Sequence[str]
    split: str = ""

    def __call__(self, items: list[Item]) -> Batch:
        """B items to B rows; media that cannot be read are missing, and listed in ``errors``."""
        batch = Batch({}, {}, {}, torch.tensor([item_codes(item, self.kinds) for item in items]))
        batch.codes = batch.codes.reshape(len(items), -1)
        for modality, encoder in self.encoders.items():
            samples, rows = [], []
            for row, item in enumerate(items):
                if self.split and item.split != self.split:
                    continue
                for raw in READERS[modality](item):
                    try:
                        samples.append(encoder.preprocess(raw))
                        rows.append(row)
                    except MediaError as error:
                        batch.errors.append((item.id, modality, str(error)))
            mask = torch.zeros(len(items), dtype=torch.bool)
            mask[rows] = True
            batch.masks[modality] = mask
            if samples:
                tensors = trim_padding(encoder, encoder.collate(samples))
                batch.inputs[modality] = Inputs(tensors, torch.tensor(rows))
        return batch


def drop_modalities(parts: list[Batch], chance: float, seed: int, rank: int, world: int) -> list[Batch]:
    """Hide modalities of rows at random (modality dropout), from the seed alone.

    The draw is one over the rows of all processes, of which each takes its own.
    """
    if not chance:
        return parts
    generator = torch.Generator().manual_seed(seed)
    total = sum(len(part) for part in parts)
    dropped, start = [], 0
    draws = {m: torch.rand(world, total, generator=generator)[rank] >= chance for m in parts[0].masks}
    for part in parts:
        kept = {
            m: mask & draws[m][start : start + len(part)].to(mask.device) for m, mask in part.masks.items()
        }
        dropped.append(replace(part, masks=kept))
        start += len(part)
    return dropped
