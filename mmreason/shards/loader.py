"""The resumable loader: WebDataset shards to batches of items or reasons, exactly once an epoch.

Which batch holds which samples follows from the manifest, the seed, the epoch and the rank (see
:mod:`mmreason.shards.order`); workers take the planned batches in turn. So a run may stop at any step and go on with
another number of workers. **Never pass a loader to** ``accelerator.prepare``, which would split it once more.

Shards are opened here as plain files; no name of a shard ever reaches ``webdataset.gopen``, so none can be a
``pipe:`` command or a URL.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mmreason.schema import DataError, Item
from mmreason.shards.manifest import SAMPLE_KINDS, read_manifest
from mmreason.shards.order import Line, Place, Stretch
from mmreason.shards.reading import Batch, Reading, ShardSet
from mmreason.shards.samples import ReasonSample, decode_item, decode_reason

__all__ = [
    "ReasonSample",
    "ShardLoader",
    "decode_item",
    "decode_reason",
    "item_samples",
    "numbered_items",
    "reason_samples",
]

logger = logging.getLogger(__name__)

BUCKETED = 32
"""Batches that are sorted by length together, where no shuffle window says how many."""


@dataclass(frozen=True)
class _Cursor:
    """Where a rank is: ``of_pool`` batches given of those made of the samples that follow ``drawn``."""

    epoch: int = 0
    drawn: int = 0
    of_pool: int = 0


@dataclass
class _Tally:
    """What became of an epoch's samples so far."""

    samples: int = 0
    kept: int = 0
    repeated: int = 0
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, batch: Batch) -> None:
        self.samples += batch.size
        self.kept += batch.kept
        self.repeated += batch.repeated
        self.skipped.update(batch.skipped)


class ShardLoader:
    """Batches of one kind of sample, split by rank and worker, resumable in the middle of an epoch.

    Two ways to end an epoch:

    - ``even=False`` (one pass): every sample exactly once over all ranks; the last batch may be short, as are those
      with samples that cannot be read, and ranks may differ by a batch. For embedding, generating and evaluating.
    - ``even=True`` (training, the default when endless): every rank gives the same number of full batches,
      ``max(1, samples // (world_size * batch_size))``. The rest of the epoch's line is dropped, and counted in
      ``left_out``; when shuffling, the line starts at a random place each epoch, so it is another rest each time. If
      there is not one full batch a rank, the line is gone through again. Where bad samples leave a gap, good ones of
      the batch are given again, and ``repeated`` counts them.

    Samples that cannot be read are counted by cause and shard and left out; past ``max_skip_fraction`` it stops. At
    the epoch's end ``kept`` + skipped is checked against the manifest.

    Args:
        folder: Folder of the shards, local.
        kind: One of ``items``, ``reasons-train``, ``reasons-valid``, ``reasons-test``.
        batch_size: Samples a batch, per rank.
        collate: Makes a batch of a list of :class:`Item` or :class:`ReasonSample`; runs in the worker.
        decode: Applied to each sample before that, in the worker. A ValueError or OSError that it raises (a picture
            that is none, say) leaves out and counts the sample.
        length: Measures a sample (without its media); batches are then made of samples alike in length, sorted
            within the shuffle window, or within 32 batches where there is none.
        rank: This process.
        world_size: How many processes read together.
        workers: Worker processes of this rank; 0 reads in this one. Does not change the batches.
        shuffle: Samples in the shuffle window; 0 keeps the packed order.
        seed: Seed of the order; give all ranks the same.
        endless: Epoch after epoch, without end.
        even: See above; None is the value of ``endless``.
        weights: How often an epoch gives each sample of the kind, on average; (samples,) in packed order, of mean 1,
            as :func:`mmreason.shards.balance.read_weights` reads them. None gives each once.
        max_skip_fraction: A larger share of bad samples in this rank's epoch is an error.

    Iterating gives one epoch (or endless ones) and goes on where an iteration was left.

    Attributes:
        left_out: Samples that all ranks together leave out of an epoch, so that all ranks have as many batches;
            below 0, how many are read twice for it.

    Raises:
        DataError: If there is no manifest, no such kind or, when endless, no sample; while iterating, past
            ``max_skip_fraction``.

    Example:
        >>> loader = ShardLoader("run/shards", "items", batch_size=32, collate=list)     # doctest: +SKIP
        >>> for items in loader: ...                                                     # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | Path,
        kind: str,
        *,
        batch_size: int,
        collate: Callable[[list[Any]], Any],
        decode: Callable[[Any], Any] | None = None,
        length: Callable[[Any], float] | None = None,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        shuffle: int = 0,
        seed: int = 0,
        endless: bool = False,
        even: bool | None = None,
        weights: np.ndarray | None = None,
        max_skip_fraction: float = 0.05,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size or min(workers, shuffle) < 0:
            raise ValueError(f"{batch_size=}, {rank=}, {world_size=}, {workers=}, {shuffle=} do not fit")
        shards = open_shards(folder, kind)
        line = Line(tuple(shard.samples for shard in shards.shards), shuffle, seed, weights)
        if weights is not None and len(weights) != line.total:
            raise ValueError(f"{len(weights)} weights for {line.total} samples of kind {kind}")
        if endless and not line.total:
            raise DataError(f"{folder}: no samples of kind {kind}")
        self.workers, self.endless, self.max_skip_fraction = workers, endless, max_skip_fraction
        self.even = endless if even is None else even
        self._order = Stretch(line, batch_size, rank, world_size, self.even)
        self.left_out = self._order.left_out
        self._reading = Reading(shards, decode, collate, fill=self.even)
        self._batch_size, self._shuffle, self._seed, self._length = batch_size, shuffle, seed, length
        contents = [shard.sha256 for shard in shards.shards]
        self._layout = {
            "world_size": world_size,
            "even": self.even,
            "weights": _digest(weights),
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "length": length is not None,
            "shards": hashlib.sha256(json.dumps([kind, contents]).encode()).hexdigest(),
        }
        self._cursor = _Cursor()
        self._tally = self._shown = _Tally()

    @property
    def epoch(self) -> int:
        """The epoch being read, from 0."""
        return self._cursor.epoch

    @property
    def kept(self) -> int:
        """Samples read well, of the epoch last read from and so far, as the next two."""
        return self._shown.kept

    @property
    def skipped(self) -> Counter[tuple[str, str]]:
        """(cause, shard) → samples left out."""
        return self._shown.skipped

    @property
    def repeated(self) -> int:
        """Samples given again to fill gaps (``even`` only)."""
        return self._shown.repeated

    def __len__(self) -> int:
        """Batches of this rank an epoch."""
        return -(-self._order.samples // self._batch_size)

    def __iter__(self) -> Iterator[Any]:
        from torch import Generator
        from torch.utils.data import DataLoader

        after: deque[_Cursor] = deque()
        reading: Any = self._reading  # needs no length, as a sampler says what to read
        plan: Any = self._plan(self._cursor, after)
        batches: Any = DataLoader(
            reading,
            sampler=plan,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            generator=Generator().manual_seed(self._seed),  # else it draws from the global one
        )
        self._shown = self._tally
        for batch in batches:
            cursor = after.popleft()
            if cursor.epoch != self.epoch:
                self._end_epoch(cursor.epoch)
            self._shown = self._tally
            self._cursor = cursor
            self._tally.add(batch)
            self._stop_if_too_many(batch)
            if batch.size:
                yield batch.value
        self._end_epoch(self.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Where this rank is, as JSON values: the epoch and how much of it was given out.

        Save it after using a batch; a loader that loads it goes on with the next one.
        """
        skipped = [[cause, shard, n] for (cause, shard), n in sorted(self._tally.skipped.items())]
        return {
            **asdict(self._cursor),
            **asdict(self._tally),
            "skipped": skipped,
            "layout": dict(self._layout),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was saved, with the same samples in the same order, whatever the workers.

        With other shards, batch size, seed or number of ranks that place does not exist: then the epoch starts from
        its beginning, with a warning.
        """
        epoch = int(state["epoch"])
        changed = [name for name, value in self._layout.items() if state["layout"].get(name) != value]
        if changed:
            logger.warning("the loader's %s changed: epoch %d starts anew", ", ".join(changed), epoch)
            self._cursor, self._tally = _Cursor(epoch), _Tally()
            return
        self._cursor = _Cursor(epoch, int(state["drawn"]), int(state["of_pool"]))
        skipped = Counter({(cause, shard): int(n) for cause, shard, n in state["skipped"]})
        samples, kept, repeated = (int(state[name]) for name in ("samples", "kept", "repeated"))
        self._tally = self._shown = _Tally(samples, kept, repeated, skipped)

    def _plan(self, cursor: _Cursor, after: deque[_Cursor]) -> Iterator[list[Place]]:
        """Batches of places; for each the cursor that holds once it was given is put into ``after``."""
        size = self._batch_size
        pool_size = size if self._length is None else -(-(self._shuffle or BUCKETED * size) // size) * size
        while True:
            places = self._order.places(cursor.epoch, cursor.drawn)
            while pool := list(islice(places, pool_size)):
                end = cursor.drawn + len(pool)
                batches = self._cut(pool, f"{self._seed} {cursor.epoch} {cursor.drawn}")
                for given in range(cursor.of_pool + 1, len(batches) + 1):
                    whole = given == len(batches)
                    after.append(_Cursor(cursor.epoch, *((end, 0) if whole else (cursor.drawn, given))))
                    yield batches[given - 1]
                cursor = _Cursor(cursor.epoch, end)
            if not self.endless:
                return
            cursor = _Cursor(cursor.epoch + 1)

    def _cut(self, pool: list[Place], seed: str) -> list[list[Place]]:
        """Batches of a pool, of samples alike in length if there is a measure of it."""
        if self._length is not None:
            lengths = {place: self._reading.length(place, self._length) for place in pool}
            pool = sorted(pool, key=lengths.__getitem__)
        size = self._batch_size
        batches = [pool[low : low + size] for low in range(0, len(pool), size)]
        if self._length is not None and self._shuffle:
            random.Random(seed).shuffle(batches)
        return batches

    def _stop_if_too_many(self, batch: Batch) -> None:
        if not batch.size and self._reading.fill:
            raise DataError(f"{self._losses()}; not one good sample is left to repeat; run pack again")
        if self._tally.skipped.total() > self.max_skip_fraction * self._order.samples:
            raise DataError(f"{self._losses()}; run pack again")

    def _losses(self) -> str:
        skipped = self._tally.skipped
        (cause, shard), count = skipped.most_common(1)[0]
        return (
            f"{self._reading.shards.folder}: {skipped.total()} of {self._order.samples} samples skipped, "
            f"most ({count}) in {shard}: {cause}"
        )

    def _end_epoch(self, following: int) -> None:
        """Hold the epoch's counts against the manifest and begin the next."""
        tally, planned = self._tally, self._order.samples
        if tally.kept + tally.skipped.total() != planned:
            logger.warning(
                "%s: kept %d + skipped %d samples of epoch %d, but the manifest says %d; verify the shards",
                *(self._reading.shards.folder, tally.kept, tally.skipped.total(), self.epoch, planned),
            )
        if tally.skipped:
            logger.warning(self._losses())
        self._cursor = _Cursor(following)
        self._tally = _Tally()


def open_shards(folder: str | Path, kind: str) -> ShardSet:
    """The shards of one kind in a local folder.

    Raises:
        DataError: If the folder is none, has no manifest, or there is no such kind.
    """
    if re.match(r"pipe:|[a-z0-9+]+://", str(folder), re.IGNORECASE):
        raise DataError(f"{folder}: shards are read from a local folder only; copy them here first")
    if kind not in SAMPLE_KINDS:
        raise DataError(f"{folder}: no shards of kind {kind!r}; there are {', '.join(SAMPLE_KINDS)}")
    return ShardSet(Path(folder), kind, tuple(read_manifest(folder).of(kind)))


def item_samples(
    folder: str | Path, *, rank: int = 0, world_size: int = 1, workers: int = 0
) -> Iterator[Item]:
    """Each item of this rank's share once, in packed order; media as bytes.

    Raises:
        DataError: As :class:`ShardLoader`.
    """
    yield from _each(folder, "items", rank, world_size, workers)


def numbered_items(folder: str | Path, numbers: Iterable[int]) -> Iterator[tuple[int, Item]]:
    """Items by their numbers in packed order, each with its number; what cannot be read is left out.

    Raises:
        DataError: If the folder has no manifest.
    """
    shards = open_shards(folder, "items")
    starts = np.cumsum([0, *(shard.samples for shard in shards.shards)])
    reading = Reading(shards, None, list, fill=False)
    for number in numbers:
        shard = int(np.searchsorted(starts, number, side="right")) - 1
        batch = reading[[(shard, number - int(starts[shard]))]]
        yield from ((number, item) for item in batch.value or ())


def reason_samples(
    folder: str | Path, split: str, *, rank: int = 0, world_size: int = 1, workers: int = 0
) -> Iterator[ReasonSample]:
    """Each target of a split and of this rank's share once, in packed order.

    Raises:
        DataError: As :class:`ShardLoader`.
    """
    yield from _each(folder, f"reasons-{split}", rank, world_size, workers)


def _each(folder: str | Path, kind: str, rank: int, world_size: int, workers: int) -> Iterator[Any]:
    loader = ShardLoader(
        folder, kind, batch_size=16, collate=list, rank=rank, world_size=world_size, workers=workers
    )
    for batch in loader:
        yield from batch


def _digest(weights: np.ndarray | None) -> str:
    return "" if weights is None else hashlib.sha256(weights.tobytes()).hexdigest()


def _as_it_is(batch: Any) -> Any:
    return batch
