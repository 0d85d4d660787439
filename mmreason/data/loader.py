"""The resumable loader: WebDataset shards to batches of items or reasons, exactly once an epoch.

Who reads what is planned from the manifest alone. An epoch is a line of all samples of a kind: the
shards in an order drawn from (seed, epoch), one after another. Each rank, and within it each worker,
gets one stretch of that line, so there may be fewer shards than ranks, and only shards that a stretch
touches are read. **Never pass a loader to** ``accelerator.prepare``, which would split it once more.

Shards are opened here and handed to webdataset's tar iterators as streams; no name of a shard ever
reaches ``webdataset.gopen``, so none can be a ``pipe:`` command or a URL.
"""

from __future__ import annotations

import hashlib
import logging
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmreason.data.samples import ReasonSample, SampleError, decode_item, decode_reason
from mmreason.data.shards import KINDS, Manifest, Shard, read_manifest
from mmreason.schema import DataError, Item

__all__ = ["ReasonSample", "ShardLoader", "decode_item", "decode_reason", "item_samples", "reason_samples"]

logger = logging.getLogger(__name__)

Stretch = tuple[Shard, int, int]
"""Samples lo <= position < hi of a shard."""


class ShardLoader:
    """Batches of one kind of sample, split by rank and worker, resumable in the middle of an epoch.

    Two ways to end an epoch:

    - ``even=False`` (one pass): every sample exactly once over all ranks; the last batch of a worker may be
      short, and ranks may differ by a batch. For embedding, generating and evaluating.
    - ``even=True`` (training, the default when endless): every rank gives the same number of full
      batches, ``max(1, samples // (world_size * batch_size))``. The rest of the epoch's line is left out;
      when shuffling, the line starts at a random place each epoch, so it is another rest each time. If
      there is not one full batch a rank, the line is gone through again. Where bad samples leave a gap,
      the worker gives good ones of its stretch again, and ``repeated`` counts them.

    Iterating gives one epoch (or endless ones) and goes on where an iteration was left. Samples that
    cannot be read are counted and left out; at the epoch's end ``kept`` + skipped is checked against the
    manifest.

    Args:
        folder: Folder of the shards, local.
        kind: One of ``items``, ``reasons-train``, ``reasons-valid``, ``reasons-test``.
        batch_size: Samples a batch, per rank.
        collate: Makes a batch of a list of :class:`Item` or :class:`ReasonSample`; runs in the worker.
        rank: This process.
        world_size: How many processes read together.
        workers: Worker processes of this rank; 0 reads in this one.
        shuffle: Samples in the shuffle window; 0 keeps the packed order.
        seed: Seed of the order; give all ranks the same.
        endless: Epoch after epoch, without end.
        even: See above; None is the value of ``endless``.
        max_skip_fraction: A larger share of bad samples in this rank's epoch is an error.

    Attributes:
        epoch: The epoch being read, from 0.
        skipped: (cause, shard) → samples left out, in the epoch last read from and so far, as the next two.
        kept: Samples read well, read-ahead of the workers included.
        repeated: Samples given again to fill gaps (``even`` only).

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
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        shuffle: int = 0,
        seed: int = 0,
        endless: bool = False,
        even: bool | None = None,
        max_skip_fraction: float = 0.05,
    ) -> None:
        if re.match(r"pipe:|[a-z0-9+]+://", str(folder), re.IGNORECASE):
            raise DataError(f"{folder}: shards are read from a local folder only; copy them here first")
        if kind not in KINDS:
            raise DataError(f"{folder}: no shards of kind {kind!r}; there are {', '.join(KINDS)}")
        if batch_size < 1 or not 0 <= rank < world_size or min(workers, shuffle) < 0:
            raise ValueError(f"{batch_size=}, {rank=}, {world_size=}, {workers=}, {shuffle=} do not fit")
        manifest = read_manifest(folder)
        self.even = endless if even is None else even
        self.endless = endless
        self.workers = workers
        self.max_skip_fraction = max_skip_fraction
        self._collate = collate
        self._plan = _Plan(
            manifest.of(kind), batch_size, rank, world_size, max(1, workers), shuffle, seed, self.even
        )
        self._folder = Path(folder)
        self._layout = asdict(replace(self._plan, shards=[])) | {"shards": _fingerprint(manifest, kind)}
        del self._layout["rank"]  # a state says as much for any rank
        if endless and not self._plan.total:
            raise DataError(f"{folder}: no samples of kind {kind}")
        self._begin(0)
        self._forget()

    def __len__(self) -> int:
        """Batches of this rank an epoch."""
        return sum(self._plan.batches(worker) for worker in range(self._plan.workers))

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self._rest_of_epoch()
            self._check()
            self._begin(self.epoch + 1)
            if not self.endless:
                return

    def state_dict(self) -> dict[str, Any]:
        """Where this rank is, as JSON values: the epoch and how much of it was given out.

        Save it after using a batch; a loader that loads it goes on with the next one.
        """
        return {
            "epoch": self.epoch,
            "samples": self._samples,
            "batches": list(self._given),
            "next_worker": self._next_worker,
            "layout": dict(self._layout),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was saved, with the same samples in the same order.

        With other shards, batch size, seed or number of ranks or workers that place does not exist: then
        the epoch starts from its beginning, with a warning.
        """
        self._begin(int(state["epoch"]))
        changed = [name for name, value in self._layout.items() if state["layout"].get(name) != value]
        if changed:
            logger.warning("the loader's %s changed: epoch %d starts anew", ", ".join(changed), self.epoch)
            return
        self._samples = int(state["samples"])
        self._given = [int(count) for count in state["batches"]]
        self._next_worker = int(state["next_worker"])

    def _begin(self, epoch: int) -> None:
        self.epoch = epoch
        self._samples = 0
        self._given = [0] * self._plan.workers
        self._next_worker = 0

    def _forget(self) -> None:
        self.skipped: Counter[tuple[str, str]] = Counter()
        self.kept = 0
        self.repeated = 0

    def _rest_of_epoch(self) -> Iterator[Any]:
        import torch
        import webdataset

        self._forget()
        place = (self.epoch, self._next_worker, tuple(self._given))
        reader = _Reader(self._folder, self._plan, self._collate, *place)
        batches = webdataset.WebLoader(
            webdataset.DataPipeline(reader),
            batch_size=None,
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(self._plan.seed),  # else it draws from the global one
        )
        tallies = [_Tally()] * self._plan.workers
        for given in batches:
            tallies[given.worker] = given.tally
            self.kept = sum(tally.kept for tally in tallies)
            self.repeated = sum(tally.repeated for tally in tallies)
            self.skipped = sum((tally.skipped for tally in tallies), Counter())
            if given.samples:
                self._given[given.worker] += 1
                self._next_worker = (given.worker + 1) % self._plan.workers
                self._samples += given.samples
                yield given.batch

    def _check(self) -> None:
        planned = sum(self._plan.count(worker) for worker in range(self._plan.workers))
        skipped = sum(self.skipped.values())
        if self.kept + skipped != planned:
            logger.warning(
                "%s: kept %d + skipped %d samples of epoch %d, but the manifest says %d; verify the shards",
                *(self._folder, self.kept, skipped, self.epoch, planned),
            )
        if not skipped:
            return
        (cause, shard), count = self.skipped.most_common(1)[0]
        line = f"{self._folder}: {skipped} of {planned} samples skipped, most ({count}) in {shard}: {cause}"
        if skipped > self.max_skip_fraction * planned:
            raise DataError(f"{line}; run pack again")
        if self.even and sum(self._given) != len(self):
            raise DataError(f"{line}; a worker had nothing left to repeat; run pack again")
        logger.warning(line)


def item_samples(
    folder: str | Path, *, rank: int = 0, world_size: int = 1, workers: int = 0
) -> Iterator[Item]:
    """Each item of this rank's share once, in packed order if ``workers`` is 0 or 1; media as bytes.

    Raises:
        DataError: As :class:`ShardLoader`.
    """
    yield from _each(folder, "items", rank, world_size, workers)


def reason_samples(
    folder: str | Path, split: str, *, rank: int = 0, world_size: int = 1, workers: int = 0
) -> Iterator[ReasonSample]:
    """Each target of a split and of this rank's share once, in packed order if ``workers`` is 0 or 1.

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


@dataclass(frozen=True)
class _Plan:
    """Which samples each worker of a rank reads; the same on every rank, without their talking."""

    shards: list[Shard]
    batch_size: int
    rank: int
    world_size: int
    workers: int
    shuffle: int
    seed: int
    even: bool

    @property
    def total(self) -> int:
        return sum(shard.samples for shard in self.shards)

    def count(self, worker: int) -> int:
        """Samples that a worker of this rank is to give."""
        return self._share(worker)[1]

    def batches(self, worker: int) -> int:
        return -(-self.count(worker) // self.batch_size)

    def stretches(self, epoch: int, worker: int) -> list[Stretch]:
        """The worker's stretch of the epoch's line, cut at the shards' ends; past its end it starts again."""
        if not self.total:
            return []
        rng = random.Random(f"{self.seed} {epoch}")
        shards = rng.sample(self.shards, len(self.shards)) if self.shuffle else self.shards
        start, left = self._share(worker)
        if self.shuffle:
            start += rng.randrange(self.total)
        position = start % self.total
        found: list[Stretch] = []
        while left:
            begin = 0
            for shard in shards:
                low, high = max(position - begin, 0), min(position - begin + left, shard.samples)
                if low < high:
                    found.append((shard, low, high))
                    position, left = position + high - low, left - high + low
                begin += shard.samples
            position = 0
        return found

    def _share(self, worker: int) -> tuple[int, int]:
        """Start and length of the worker's stretch."""
        if self.even:
            whole = max(1, self.total // (self.world_size * self.batch_size)) if self.total else 0
            start, count = _part(whole, self.workers, worker)
            return (self.rank * whole + start) * self.batch_size, count * self.batch_size
        start, count = _part(self.total, self.world_size, self.rank)
        inner, count = _part(count, self.workers, worker)
        return start + inner, count


def _part(total: int, parts: int, index: int) -> tuple[int, int]:
    """Start and length of one of nearly equal parts, the longer ones first."""
    size, rest = divmod(total, parts)
    return index * size + min(index, rest), size + (index < rest)


@dataclass
class _Tally:
    kept: int = 0
    repeated: int = 0
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Given:
    """What a worker sends: a batch of some samples, and its tally so far; at its end a tally alone."""

    worker: int
    batch: Any
    samples: int
    tally: _Tally


@dataclass(frozen=True)
class _Reader:
    """One epoch as one worker reads it; picklable, so that workers can be spawned."""

    folder: Path
    plan: _Plan
    collate: Callable[[list[Any]], Any]
    epoch: int
    first_worker: int
    given: tuple[int, ...]

    def __call__(self) -> Iterator[_Given]:
        from torch.utils.data import get_worker_info

        info = get_worker_info()
        # The loader asks its workers in turn from its first; the one whose turn was next must be that one.
        worker = ((info.id if info else 0) + self.first_worker) % self.plan.workers
        tally = _Tally()
        samples = self._samples(worker, tally)
        for number in range(self.plan.batches(worker)):
            batch = list(islice(samples, self.plan.batch_size))
            if not batch:
                break
            if number >= self.given[worker]:
                now = _Tally(tally.kept, tally.repeated, tally.skipped.copy())
                yield _Given(worker, self.collate(batch), len(batch), now)
        for _ in samples if not self.plan.even else ():
            pass  # what the manifest does not know of, for the tally
        yield _Given(worker, None, 0, tally)

    def _samples(self, worker: int, tally: _Tally) -> Iterator[Any]:
        import webdataset

        rng = random.Random(f"{self.plan.seed} {self.epoch} {self.plan.rank} {worker}")
        samples = self._read(worker, tally)
        if self.plan.shuffle > 1:
            window = webdataset.shuffle(self.plan.shuffle, initial=self.plan.shuffle, rng=rng)
            samples = iter(window(samples))
        yield from samples
        again = _Tally(kept=1)
        while self.plan.even and again.kept:
            again = _Tally()
            for sample in self._read(worker, again):
                tally.repeated += 1
                yield sample

    def _read(self, worker: int, tally: _Tally) -> Iterator[Any]:
        for shard, low, high in self.plan.stretches(self.epoch, worker):
            yield from _read_shard(self.folder / shard.name, shard, low, high, tally)


def _read_shard(path: Path, shard: Shard, low: int, high: int, tally: _Tally) -> Iterator[Any]:
    """Decoded samples low <= position < high of a shard; what is bad or lost of them goes to the tally."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    decode = decode_item if shard.kind == "items" else decode_reason
    causes: list[str] = []

    def note(error: Exception) -> bool:
        causes.append("duplicate member" if isinstance(error, ValueError) else "broken tar")
        return True  # go on

    if not path.is_file():  # a pipe would wait for ever
        tally.skipped["shard missing", shard.name] += high - low
        return
    seen: set[str] = set()
    found = noted = 0
    with path.open("rb") as stream:
        members = tar_file_expander([{"url": str(path), "stream": stream}], handler=note)
        for position, sample in enumerate(group_by_keys(members, handler=note)):
            if position >= high and high < shard.samples:  # else: more than the manifest says
                break
            key = sample["__key__"]
            bad = causes[-1] if len(causes) > noted else ""
            if "/" in key or key in seen:
                bad = bad or ("unsafe name" if "/" in key else "duplicate key")
            noted = len(causes)
            seen.add(key)
            if position < low:
                continue
            found += 1
            try:
                if bad:
                    raise SampleError(key, bad)
                decoded = decode(sample)
            except SampleError as error:
                tally.skipped[error.cause, shard.name] += 1
            else:
                tally.kept += 1
                yield decoded
    if found < high - low:
        cause = "broken tar" if "broken tar" in causes else "samples missing"
        tally.skipped[cause, shard.name] += high - low - found


def _fingerprint(manifest: Manifest, kind: str) -> str:
    return hashlib.sha256("".join(shard.sha256 for shard in manifest.of(kind)).encode()).hexdigest()
