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
class Source:
    """Shards of one kind in one folder; ``label`` + a shard's name is what its losses are counted under."""

    folder: Path
    kind: str
    shards: tuple[Shard, ...]
    label: str = ""

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
        sources: Where the places are.
        decode: Applied to each sample, or None; a ValueError or OSError counts the sample as skipped.
        collate: Makes a batch of a list of samples.
        fill: Give good samples again where bad ones left a gap.
    """

    sources: tuple[Source, ...]
    decode: Callable[[Any], Any] | None
    collate: Callable[[list[Any]], Any]
    fill: bool
    _open: OrderedDict[tuple[int, int], TarReader] = field(default_factory=OrderedDict)

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
            return measure(self.sources[place[0]].decode(self._raw(place, "json"), media=False))
        except SampleError:
            return 0

    def _sample(self, place: Place) -> Any:
        sample = self.sources[place[0]].decode(self._raw(place))
        if self.decode is None:
            return sample
        try:
            return self.decode(sample)
        except (ValueError, OSError) as error:
            raise SampleError(str(place), f"cannot be decoded ({type(error).__name__})") from error

    def _raw(self, place: Place, only: str = "") -> dict[str, Any]:
        """A sample's bytes, with the user's history where it is a reason."""
        reader = self._shard(place)
        sample: dict[str, Any] = reader.read(place[2], only)
        if self.sources[place[0]].kind != "items":
            history = reader.read_latest(place[2], HISTORY)
            sample |= {} if history is None else {HISTORY: history}
        return sample

    def _spare(self, place: Place) -> list[Any]:
        """A good sample from the shards that follow, for a batch that has none of its own."""
        source, first, _ = place
        shards = self.sources[source].shards
        for step in range(len(shards)):
            shard = (first + step) % len(shards)
            for number in range(shards[shard].samples):
                try:
                    return [self._sample((source, shard, number))]
                except SampleError:
                    continue
        return []

    def _note_unplanned(self, place: Place, batch: Batch) -> None:
        """Count what a shard holds beyond the manifest, once an epoch: with the last of its samples."""
        source, shard, number = place
        if number == self.sources[source].shards[shard].samples - 1:
            batch.skipped.update((cause, self._name(place)) for cause in self._shard(place).unplanned)

    def _name(self, place: Place) -> str:
        source = self.sources[place[0]]
        return source.label + source.shards[place[1]].name

    def _shard(self, place: Place) -> TarReader:
        at = place[:2]
        if at in self._open:
            self._open.move_to_end(at)
            return self._open[at]
        if len(self._open) >= OPEN_SHARDS:
            self._open.popitem(last=False)[1].close()
        source = self.sources[at[0]]
        shard = source.shards[at[1]]
        reader = TarReader(source.folder / shard.name, shard.samples, 2 * shard.bytes)
        self._open[at] = reader
        return reader
