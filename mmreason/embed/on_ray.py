"""Embedding on a Ray cluster: workers read items and make parts, and this process lists them in the store.

A part that a worker made lies beside the store until this process takes it over, in the order of the items. So the
store has one writer, whoever dies; what a worker computed in vain is in the feature cache.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from mmreason.cluster import on_shared_disk, results
from mmreason.config import Config
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.bulk import BulkJob, open_models
from mmreason.embed.features import Errors
from mmreason.embed.quarantine import Quarantine
from mmreason.embed.source import ItemSource
from mmreason.files import TEMPORARY, remove
from mmreason.progress import Progress
from mmreason.schema import DataError
from mmreason.store.features import content_hash
from mmreason.store.part import Part, check_part, make_part
from mmreason.store.standardised import InputKeys
from mmreason.store.store import StoreWriter

MADE = f"{TEMPORARY}made"
"""Folder in the store for parts that workers made."""

_LOOKED_AT = 2048  # items whose contents a task compares
_MOST_PARTS = 4  # of a task, so that a worker reads one while it computes another

Run = tuple[int, int]
"""Items from one number to before another."""


def embed_on_ray(
    config: Config, source: ItemSource, writer: StoreWriter, quarantine: Quarantine, progress: Progress
) -> Counter[str]:
    """Embed what a store lacks.

    Args:
        config: The run.
        source: Its items.
        writer: Of the store, which is written by this process alone.
        quarantine: Gets media that cannot be read.
        progress: Counts items.

    Returns:
        Counts as of :class:`mmreason.embed.bulk.BulkJob`.

    Raises:
        DataError: If a worker's disk is full, or Ray is not there; the next run goes on with what is in the store.
    """
    if config.embed.shard:
        raise DataError("embed.shard and engine: ray both say who embeds what; leave one of them out")
    counts: Counter[str] = Counter()
    config = _for_workers(config)
    numbers = (
        _missing(config, source.total, writer, progress, counts) if writer.found else range(source.total)
    )
    made = writer.folder / MADE
    remove(made)
    for result in results(config, partial(_Embedding, config), tasks(numbers, config.embed.part_size)):
        for name, part in result["parts"].items():
            ids = pq.read_table(made / name / "rows.parquet", columns=["id"])["id"].to_pylist()
            errors = [cast(tuple[str, str, str], tuple(error)) for error in result["errors"].get(name, [])]
            quarantine.replace(ids, errors)
            writer.adopt(made / name, Part(**part))
        counts.update(result["counts"])
        progress.add(result["counts"].get("embedded", 0))
    remove(made)
    return counts


def tasks(numbers: Sequence[int] | np.ndarray, part_size: int) -> list[list[Run]]:
    """Items by number, a task each: a part, or a few where there are many.

    Example:
        >>> tasks([0, 1, 2, 3, 4, 7, 8, 9], part_size=4)
        [[(0, 4)], [(4, 5), (7, 10)]]
    """
    parts = ceil(len(numbers) / part_size)
    size = part_size * max(1, min(_MOST_PARTS, parts // 64))
    return [
        list(_runs(np.asarray(numbers[low : low + size]).tolist())) for low in range(0, len(numbers), size)
    ]


def _runs(numbers: list[int]) -> Iterator[Run]:
    first = past = -1
    for number in numbers:
        if number != past:
            if past > first:
                yield first, past
            first = number
        past = number + 1
    if past > first:
        yield first, past


def _for_workers(config: Config) -> Config:
    """What all workers do alike, whatever machine they are on."""
    precision = pick_dtype(config.dtype, pick_device(config.device))
    settings = replace(
        config.embed, decode_workers=config.embed.decode_workers or max(1, int(config.ray.cpus))
    )
    return replace(
        on_shared_disk(config),
        embed=settings,
        dtype="bf16" if str(precision).endswith("bfloat16") else "fp32",
    )


def _missing(
    config: Config, total: int, writer: StoreWriter, progress: Progress, counts: Counter[str]
) -> np.ndarray:
    """Numbers of the items that the store has not, or with another content; the workers look what that is."""
    found: list[np.ndarray] = []
    looks = [(low, min(low + _LOOKED_AT, total)) for low in range(0, total, _LOOKED_AT)]
    for rows in results(config, partial(_Contents, config), looks):
        some = [number for number, item_id, content in rows if not writer.has(item_id, content)]
        found.append(np.array(some, np.int64))
        counts["unchanged"] += len(rows) - len(some)
        progress.add(len(rows) - len(some))
    return np.concatenate([np.zeros(0, np.int64), *found])


class _Contents:
    """Called with a stretch of items, gives the number, id and content hash of each."""

    def __init__(self, config: Config) -> None:
        self._source = ItemSource(config)

    def __call__(self, task: Run) -> list[tuple[int, str, str]]:
        items = self._source.numbered(range(*task))
        return [(number, item.id, content_hash(item)) for number, item in items]


class _Embedding:
    """What a worker holds: the models; called with stretches of items, it makes parts of them."""

    def __init__(self, config: Config) -> None:
        self._config, self._source, self._open = config, ItemSource(config), ExitStack()
        self._models = self._open.enter_context(open_models(config, config.path("embed")))

    def __call__(self, task: Sequence[Run]) -> dict[str, Any]:
        numbers = [number for run in task for number in range(*run)]
        made = _Made(self._config.path("embed"))
        job = BulkJob(self._config, made, made)
        job.note(self._source.lost)
        items = (item for _, item in self._source.numbered(numbers))
        with Progress(len(numbers), "embed", shown=False) as progress:
            job.run(items, progress, nullcontext(self._models))
        return {"parts": made.parts, "errors": made.errors, "counts": job.counts}


class _Made:
    """Keeps parts, and what of them could not be read, for the process that writes the store."""

    def __init__(self, store: Path) -> None:
        self.folder = store
        self.parts: dict[str, Any] = {}
        self.errors: dict[str, Errors] = {}
        self._following: Errors = []

    def has(self, item_id: str, content: str) -> bool:
        return False

    def replace(self, ids: Iterable[str], errors: Errors) -> None:
        self._following = errors

    def write_part(
        self,
        ids: Sequence[str],
        hashes: Sequence[str],
        arrays: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
        inputs: Mapping[str, InputKeys] | None = None,
    ) -> None:
        check_part(ids, hashes, arrays, masks)
        name = uuid.uuid4().hex
        part = make_part(self.folder / MADE / name, ids, hashes, arrays, masks, inputs)
        self.parts[name], self.errors[name] = asdict(part), self._following
