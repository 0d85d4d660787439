"""Several sources in one stream of batches, drawn from by weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreason.schema import DataError
from mmreason.shards.loader import BatchLoader, open_source
from mmreason.shards.order import Line, Mixture
from mmreason.shards.reading import Reading


@dataclass(frozen=True)
class Part:
    """One source of a mixture.

    Attributes:
        folder: Folder of the shards, local.
        kind: One of ``items``, ``reasons-train``, ``reasons-valid``, ``reasons-test``.
        weight: Its share of the samples, in proportion to the other parts' weights.
    """

    folder: str | Path
    kind: str
    weight: float = 1.0


class MixedLoader(BatchLoader):
    """Endless full batches, as many for every rank, mixed from several sources in proportion to their weights.

    Each source is gone through exactly once over all ranks before any of its samples comes again, but for the fewer
    than ``world_size`` that are dropped so that ranks stay even (another rest each time when shuffling; counted in
    ``left_out``). An epoch, for counting, is as many batches as all sources would fill once. Resumes as
    :class:`ShardLoader` does, and takes the same arguments.

    Raises:
        DataError: As :class:`ShardLoader`; if a part has no sample or a weight is not above 0.

    Example:
        >>> parts = [Part("shop/shards", "items", 3), Part("news/shards", "items", 1)]
        >>> loader = MixedLoader(parts, batch_size=32, collate=list, shuffle=1000)      # doctest: +SKIP
    """

    def __init__(
        self,
        parts: Sequence[Part],
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
        max_skip_fraction: float = 0.05,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size or min(workers, shuffle) < 0 or not parts:
            raise ValueError(
                f"{len(parts)} parts, {batch_size=}, {rank=}, {world_size=}, {workers=}, {shuffle=} do not fit"
            )
        sources = [open_source(part.folder, part.kind, f"{part.folder}/") for part in parts]
        for part, source in zip(parts, sources, strict=True):
            if not source.shards or not part.weight > 0:
                raise DataError(f"{part.folder}: {part.kind} has no samples or a weight that is not above 0")
        lines = [Line(tuple(shard.samples for shard in source.shards), shuffle, seed) for source in sources]
        whole = sum(part.weight for part in parts)
        weights = tuple(part.weight / whole for part in parts)
        super().__init__(
            sources,
            Mixture(tuple(lines), weights, batch_size, rank, world_size),
            Reading(tuple(sources), decode, collate, fill=True),
            layout={"world_size": world_size, "weights": list(weights)},
            batch_size=batch_size,
            workers=workers,
            shuffle=shuffle,
            seed=seed,
            endless=True,
            length=length,
            max_skip_fraction=max_skip_fraction,
        )
