"""Where training steps come from: kept features, or the media in the shards."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from encoders import Encoder, MediaError
from mmreason.align.batch import Batch, Inputs
from mmreason.align.losses.negatives import item_codes
from mmreason.align.padding import trim_padding
from mmreason.config import Config
from mmreason.embed.cache import guarded_decoding
from mmreason.embed.features import Decode, inputs_of
from mmreason.schema import DataError, Item
from mmreason.shards.loader import ShardLoader


class BatchSource(Protocol):
    """Gives each step its rows of this process, in parts small enough to be encoded with activations."""

    def parts(self, step: int) -> list[Batch]:
        """The rows of a step, counted from 0 over all stages."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is, as JSON values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was saved."""


class FeatureSource:
    """Batches of kept features: a function of the seed and the step alone, so there is no state to save.

    An epoch is one random order of all rows; its last, short batch is left out. All processes draw the same
    batch and take their share, so that W processes train on what one process would with W times the batch.

    Args:
        batch: Makes a batch of some items, given as (B,) int64, such as
            :meth:`mmreason.align.items.ItemFeatures.batch`.
        items: (N,) int64, the items that take part.
        size: Rows of this process per step.
        micro: Rows per part; 0 for all.
        seed: Seed of the order.
        rank: This process.
        world: Processes.
        hard: (N, H) places in ``items`` that are hard negatives of each, −1 where there are fewer.
    """

    def __init__(
        self,
        batch: Callable[[Tensor], Batch],
        items: np.ndarray,
        size: int,
        micro: int = 0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        hard: Tensor | None = None,
    ) -> None:
        self.batch, self.items, self.size, self.micro = batch, torch.as_tensor(items), size, micro
        self.seed, self.rank, self.world, self.hard = seed, rank, world, hard
        self._order: tuple[int, Tensor] = (-1, torch.empty(0, dtype=torch.long))

    def parts(self, step: int) -> list[Batch]:
        """See :class:`BatchSource`."""
        rows = self.items[self._own(self._rows(step))]
        return [self.batch(part) for part in rows.split(self.micro or max(1, len(rows)))]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see the class."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing: see the class."""

    def _rows(self, step: int) -> Tensor:
        """The rows of all processes."""
        total, width = len(self.items), 0 if self.hard is None else self.hard.shape[1]
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
    """Batches of media out of the shards, decoded in processes that may crash, a step ahead of the training.

    A batch that goes in parts is read when it is wanted: two of thousands of rows would fill the memory.

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
        self._micro = settings.micro_batch or settings.batch_size
        if settings.batch_size % self._micro:
            raise DataError(
                f"align.batch_size={settings.batch_size} is no multiple of micro_batch={self._micro}"
            )
        self._micros = settings.batch_size // self._micro
        self._loader = ShardLoader(
            config.path("shards"),
            "items",
            batch_size=self._micro,
            collate=list,
            rank=rank,
            world_size=world,
            workers=config.workers,
            shuffle=settings.shuffle,
            seed=config.seed,
            endless=True,
        )
        stack = ExitStack()
        weakref.finalize(self, stack.close)
        decode = guarded_decoding(encoders, config.embed, stack)
        self._collate = PixelCollator(encoders, settings.mask, decode=decode)
        self._collate_train = replace(self._collate, split="train")
        self._ahead = stack.enter_context(ThreadPoolExecutor(1, "pixels"))
        self._items: Iterator[list[Item]] | None = None
        self._next: Future[tuple[list[Batch], dict[str, Any]]] | None = None
        self._state = self._loader.state_dict()

    def parts(self, step: int) -> list[Batch]:
        """See :class:`BatchSource`; the loader counts the steps."""
        following = self._next or self._ahead.submit(self._read_step)
        batches, self._state = following.result()
        self._next = self._ahead.submit(self._read_step) if self._micros == 1 else None
        return batches

    def read(self, items: Iterable[Item]) -> Iterator[Batch]:
        """Batches of other items, of any split."""
        stream = iter(items)
        while part := list(islice(stream, self._micro)):
            yield self._collate(part)

    def state_dict(self) -> dict[str, Any]:
        """The loader's after the steps that were asked for, whatever was read ahead."""
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The loader's."""
        if self._next is not None:
            self._next.result()
        self._items = self._next = None
        self._loader.load_state_dict(state)
        self._state = state

    def _read_step(self) -> tuple[list[Batch], dict[str, Any]]:
        self._items = self._items or iter(self._loader)
        batches = [self._collate_train(next(self._items)) for _ in range(self._micros)]
        return batches, self._loader.state_dict()


@dataclass
class PixelCollator:
    """Items to a batch of media, several pictures an item.

    Attributes:
        encoders: Modality → encoder.
        kinds: See :func:`mmreason.align.losses.negatives.item_codes`.
        split: Items of other splits become empty rows; empty for all.
        decode: Modality → how its inputs are preprocessed; default: here, by the encoder.
    """

    encoders: dict[str, Encoder]
    kinds: Sequence[str]
    split: str = ""
    decode: Mapping[str, Decode] = field(default_factory=dict)

    def __call__(self, items: list[Item]) -> Batch:
        """B items to B rows; media that cannot be read are missing, and listed in ``errors``."""
        batch = Batch({}, {}, {}, torch.tensor([item_codes(item, self.kinds) for item in items]))
        batch.codes = batch.codes.reshape(len(items), -1)
        chosen = [row for row, item in enumerate(items) if self.split in ("", item.split)]
        for modality, encoder in self.encoders.items():
            places, raws = inputs_of([items[row] for row in chosen], modality, encoder)
            samples, rows = [], []
            decode = self.decode.get(modality) or partial(_decoded, encoder)
            for place, sample in zip(places, decode(raws) if raws else [], strict=True):
                if isinstance(sample, MediaError):
                    batch.errors.append((items[chosen[place]].id, modality, str(sample)))
                else:
                    samples.append(sample)
                    rows.append(chosen[place])
            mask = torch.zeros(len(items), dtype=torch.bool)
            mask[rows] = True
            batch.masks[modality] = mask
            if samples:
                tensors = trim_padding(encoder, encoder.collate(samples))
                batch.inputs[modality] = Inputs(tensors, torch.tensor(rows))
        return batch


def _decoded(encoder: Encoder, raws: Iterable[Any]) -> Iterator[Any]:
    for raw in raws:
        try:
            yield encoder.preprocess(raw)
        except MediaError as error:
            yield error


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
