"""What a loader's worker does: places of samples in, decoded and collated batches out, nothing lost uncounted."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from mmreason.shards.manifest import Shard
from mmreason.shards.order import Place
from mmreason.shards.samples import HISTORY, SampleError, decode_item, decode_reason
from mmreason.shards.tars import TarReader

OPEN_SHARDS = 64
"""Shards that a worker keeps open."""


@dataclass(frozen=True)
class ShardSet:
    """The shards of one kind in one folder."""

    folder: Path
    kind: str
    shards: tuple[Shard, ...]

    def decode(self, sample: dict[str, Any], media: bool = True) -> Any:
        """An :class:`Item` or a :class:`ReasonSample`."""
        return decode_item(sample, media) if self.kind == "items" else decode_reason(sample)


@dataclass
class Batch:
    """A batch and what became of its samples: ``kept`` + ``skipped`` is what was to be read."""

    value: Any = None
    size: int = 0
    kept: int = 0
    repeated: int = 0
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass
class Reading:
    """Reads the batches that a loader plans; a map-style data set whose index is a list of places.

    Args:
        shards: Where the places are.
        decode: Applied to each sample, or None; a ValueError or OSError counts the sample as skipped.
        collate: Makes a batch of a list of samples.
        fill: Give good samples again where bad ones left a gap.
    """

    shards: ShardSet
    decode: Callable[[Any], Any] | None
    collate: Callable[[list[Any]], Any]
    fill: bool
    _open: OrderedDict[int, TarReader] = field(default_factory=OrderedDict)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}  # a spawned worker opens its own

    def __getitem__(self, places: list[Place]) -> Batch:
        batch = Batch()
        samples = []
        for place in places:
            self._note_unplanned(place, batch)
            try:
                samples.append(self._sample(place))
            except SampleError as error:
                batch.skipped[error.cause, self._name(place)] += 1
        batch.kept = len(samples)
        if self.fill and len(samples) < len(places):
            again = samples or self._spare(places[0])
            samples += islice(cycle(again), len(places) - len(samples))
            batch.repeated = len(samples) - batch.kept
        batch.size = len(samples)
        batch.value = self.collate(samples) if samples else None
        return batch

    def length(self, place: Place, measure: Callable[[Any], float]) -> float:
        """What ``measure`` says of a sample without its media; of one that cannot be read 0."""
        try:
            return measure(self.shards.decode(self._raw(place, "json"), media=False))
        except SampleError:
            return 0

    def _sample(self, place: Place) -> Any:
        sample = self.shards.decode(self._raw(place))
        if self.decode is None:
            return sample
        try:
            return self.decode(sample)
        except (ValueError, OSError) as error:
            raise SampleError(str(place), f"cannot be decoded ({type(error).__name__})") from error

    def _raw(self, place: Place, only: str = "") -> dict[str, Any]:
        """A sample's bytes, with the user's history where it is a reason."""
        reader = self._reader(place)
        sample: dict[str, Any] = reader.read(place[1], only)
        if self.shards.kind != "items":
            history = reader.read_latest(place[1], HISTORY)
            sample |= {} if history is None else {HISTORY: history}
        return sample

    def _spare(self, place: Place) -> list[Any]:
        """A good sample from the shards that follow, for a batch that has none of its own."""
        first = place[0]
        shards = self.shards.shards
        for step in range(len(shards)):
            shard = (first + step) % len(shards)
            for number in range(shards[shard].samples):
                try:
                    return [self._sample((shard, number))]
                except SampleError:
                    continue
        return []

    def _note_unplanned(self, place: Place, batch: Batch) -> None:
        """Count what a shard holds beyond the manifest, once an epoch: with the last of its samples."""
        shard, number = place
        if number == self.shards.shards[shard].samples - 1:
            batch.skipped.update((cause, self._name(place)) for cause in self._reader(place).unplanned)

    def _name(self, place: Place) -> str:
        return self.shards.shards[place[0]].name

    def _reader(self, place: Place) -> TarReader:
        number = place[0]
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        if len(self._open) >= OPEN_SHARDS:
            self._open.popitem(last=False)[1].close()
        shard = self.shards.shards[number]
        reader = TarReader(self.shards.folder / shard.name, shard.samples, 2 * shard.bytes)
        self._open[number] = reader
        return reader
