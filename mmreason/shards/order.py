"""In which order each rank reads: arithmetic on the manifest's counts, the same for any number of workers.

An epoch is a line of all samples of a kind: their shards in an order drawn from (seed, epoch), one after another,
begun at a random place. Each rank goes through one stretch of the line, so there may be fewer shards than ranks, and
shuffles within windows of it, so that shards are still read one after another.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

Place = tuple[int, int]
"""Shard and sample, by number."""

UNSHUFFLED = 1024
"""Places worked out at a time where no window says how many."""


@dataclass(frozen=True, eq=False)
class Line:
    """The samples of one kind.

    Attributes:
        sizes: Samples of each shard.
        window: Samples shuffled together; 0 keeps the packed order.
        seed: Of the order.
        weights: Of the samples in packed order, 1 on average; None takes each once. With them the line is a
            systematic sample (Madow, 1949): as long, and each sample on it ``floor(weight)`` or ``ceil(weight)``
            times, its weight on average.
    """

    sizes: tuple[int, ...]
    window: int
    seed: int
    weights: np.ndarray | None = None

    @cached_property
    def _passed(self) -> list[np.ndarray]:
        """Per shard, the sums of its weights up to and with each sample."""
        assert self.weights is not None
        return [np.cumsum(part) for part in np.split(self.weights, np.cumsum(self.sizes)[:-1])]

    @property
    def total(self) -> int:
        """Samples in all."""
        return sum(self.sizes)

    def places(self, epoch: int, start: int, length: int, skip: int = 0) -> Iterator[tuple[int, int]]:
        """(shard, sample) along a stretch of an epoch's line; past the line's end it starts again.

        Args:
            epoch: Which line.
            start: Where the stretch begins.
            length: Of the stretch.
            skip: Leave out so many from its beginning; costs no more than a window.
        """
        if not self.total:
            return
        rng = random.Random(f"{self.seed} {epoch}")
        shards = list(range(len(self.sizes)))
        if self.window:
            rng.shuffle(shards)
            start += rng.randrange(self.total)
        find = self._find_once(shards) if self.weights is None else self._find_weighted(shards, rng.random())
        window = self.window or UNSHUFFLED
        for low in range(skip - skip % window, length, window):
            positions = [(start + i) % self.total for i in range(low, min(low + window, length))]
            if self.window:
                random.Random(f"{self.seed} {epoch} {start + low}").shuffle(positions)
            yield from map(find, positions[max(0, skip - low) :])

    def _find_once(self, shards: list[int]) -> Callable[[int], tuple[int, int]]:
        ends = list(accumulate(self.sizes[shard] for shard in shards))

        def find(position: int) -> tuple[int, int]:
            at = bisect(ends, position)
            return shards[at], position - ends[at] + self.sizes[shards[at]]

        return find

    def _find_weighted(self, shards: list[int], offset: float) -> Callable[[int], tuple[int, int]]:
        passed = self._passed
        ends = list(accumulate(float(passed[shard][-1]) for shard in shards))
        scale = ends[-1] / self.total  # 1 but for rounding

        def find(position: int) -> tuple[int, int]:
            at = min(bisect(ends, (position + offset) * scale), len(shards) - 1)
            sums = passed[shards[at]]
            within = (position + offset) * scale - (ends[at] - float(sums[-1]))
            return shards[at], min(int(np.searchsorted(sums, within, side="right")), len(sums) - 1)

        return find


@dataclass(frozen=True)
class Stretch:
    """What a rank reads in an epoch: its stretch of the line, or, if ``even``, as many full batches as every rank."""

    line: Line
    batch_size: int
    rank: int
    world_size: int
    even: bool

    @property
    def samples(self) -> int:
        """How many samples this rank reads in an epoch."""
        if self.even:
            whole = max(1, self.line.total // (self.world_size * self.batch_size)) if self.line.total else 0
            return whole * self.batch_size
        return self._whole_part()[1]

    @property
    def left_out(self) -> int:
        """How many samples all ranks leave out of an epoch so that they are even; below 0, how many they read twice."""
        return self.line.total - self.world_size * self.samples if self.even else 0

    def places(self, epoch: int, drawn: int) -> Iterator[Place]:
        """The rest of an epoch, after so many samples drawn."""
        start, _ = self._whole_part() if not self.even else (self.rank * self.samples, 0)
        yield from self.line.places(epoch, start, self.samples, drawn)

    def _whole_part(self) -> tuple[int, int]:
        """Start and length of this rank's part of the line."""
        return _part(self.line.total, self.world_size, self.rank)


def _part(total: int, parts: int, index: int) -> tuple[int, int]:
    """Start and length of one of nearly equal parts, the longer ones first."""
    size, rest = divmod(total, parts)
    return index * size + min(index, rest), size + (index < rest)
