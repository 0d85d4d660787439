"""The bulk job: items in, parts of vectors out, reading, decoding, computing and writing at the same time."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from mmreason.config import Config
from mmreason.embed.cache import CachedPending, CachedReader, standardised
from mmreason.embed.embedder import Embedder
from mmreason.embed.features import INPUTS, Errors
from mmreason.progress import PartProgress, Progress
from mmreason.schema import Item
from mmreason.store.features import content_hash
from mmreason.store.standardised import InputKeys, write_features

PART_BYTES = 128 << 20
"""Of media held in memory at a time, so that a part of videos is no larger than one of texts."""


@dataclass
class PartOfItems:
    """Items on their way through the models, with their content hashes and what of them could not be read."""

    items: list[Item] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    errors: Errors = field(default_factory=list)
    bytes: int = 0

    def add(self, item: Item, content: str) -> None:
        """One more item."""
        self.items.append(item)
        self.hashes.append(content)
        self.bytes += sum(len(raw) for raw in (*item.images, item.video or b""))


class Writer(Protocol):
    """Where parts go: a :class:`~mmreason.store.store.StoreWriter`, or what keeps them for one elsewhere."""

    folder: Path

    def has(self, item_id: str, content: str) -> bool:
        """Whether an item is there already."""

    def write_part(
        self,
        ids: Sequence[str],
        hashes: Sequence[str],
        arrays: Mapping[str, np.ndarray],
        masks: Mapping[str, np.ndarray],
        inputs: Mapping[str, InputKeys] | None = None,
    ) -> None:
        """As of the store's writer."""


class Rows(Protocol):
    """Where unreadable media go: a :class:`~mmreason.embed.quarantine.Quarantine`, or what keeps them for one."""

    def replace(self, ids: Iterable[str], errors: Errors) -> None:
        """As of the quarantine."""


@dataclass(frozen=True)
class Models:
    """What embeds: the heads with their encoders, and what decodes for these."""

    embedder: Embedder
    reader: CachedReader


@contextmanager
def open_models(config: Config, store: Path, embedder: Embedder | None = None) -> Iterator[Models]:
    """Load the models of a run and start what decodes for them.

    Args:
        config: The run.
        store: The store's folder, which learns where its features are.
        embedder: Default: the run's own.
    """
    if embedder is None:
        embedder = Embedder.from_pretrained(config.path("align"), config.device, config.dtype)
        embedder.optimize(config.embed.int8)
    with CachedReader(config, embedder) as reader:
        write_features(store, standardised(reader.caches, embedder))
        yield Models(embedder, reader)


class BulkJob:
    """Reads, decodes, computes and writes at the same time, a part at a time each.

    Args:
        config: The run.
        writer: Where parts go; items that it has are left out.
        quarantine: Gets what of a part cannot be read, before the part is written.

    Attributes:
        counts: ``embedded``, ``unchanged``, ``unreadable`` and ``flawed`` (media that were read all the same).
        seconds: Busy seconds of ``read``, ``decode`` (waiting for it), ``model`` (all threads) and ``write``.
    """

    def __init__(self, config: Config, writer: Writer, quarantine: Rows) -> None:
        self.config, self.writer, self.quarantine = config, writer, quarantine
        self.counts: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._found: Errors = []

    def note(self, lost: Errors) -> None:
        """Take unreadable media from a list that the reading fills."""
        self._found = lost

    def run(
        self,
        items: Iterator[Item],
        progress: Progress,
        models: AbstractContextManager[Models] | None = None,
    ) -> None:
        """Embed items.

        Args:
            items: With their media as bytes.
            progress: Counts items.
            models: Opened when the first item needs them; default: those of :func:`open_models`.
        """
        models = models or open_models(self.config, self.writer.folder)
        parts = self._parts(items, progress)
        with ExitStack() as stack:
            reading = stack.enter_context(ThreadPoolExecutor(1, "read"))
            writing = stack.enter_context(ThreadPoolExecutor(1, "write"))
            opened: Models | None = None
            flaws, waiting = 0, deque[Future]()
            following = reading.submit(next, parts, None)
            while (part := following.result()) is not None:
                if opened is None:
                    opened = stack.enter_context(models)
                    flaws = opened.reader.flaws
                following = reading.submit(next, parts, None)
                inputs = sum(len(read(item)) for read in INPUTS.values() for item in part.items)
                shown = progress.part(len(part.items), inputs)
                pending = opened.reader.start(part.items, shown)
                waiting.append(writing.submit(self._write, opened.embedder, pending, part, shown, progress))
                if (
                    len(waiting) == 2
                ):  # one is written while the next is computed; more would only fill memory
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
            if opened is not None:
                self.counts["flawed"] = opened.reader.flaws - flaws
                for name, seconds in opened.reader.reader.seconds.items():
                    self.seconds[name] += seconds

    def _parts(self, items: Iterator[Item], progress: Progress) -> Iterator[PartOfItems]:
        """Items that still need embedding, so many at a time."""
        part = PartOfItems()
        started = time.thread_time()
        for item in items:
            content = content_hash(item)
            errors, self._found[:] = [*self._found], []
            if self.writer.has(item.id, content):  # what of it is lost was noted before
                self.counts["unchanged"] += 1
                progress.add(1)
                continue
            part.add(item, content)
            part.errors += errors
            if len(part.items) == self.config.embed.part_size or part.bytes >= PART_BYTES:
                self.seconds["read"] += time.thread_time() - started
                yield part
                part, started = PartOfItems(), time.thread_time()
        if part.items:
            yield part

    def _write(
        self,
        embedder: Embedder,
        pending: CachedPending,
        part: PartOfItems,
        shown: PartProgress,
        progress: Progress,
    ) -> None:
        features, inputs = pending.result()
        started = time.perf_counter()
        arrays, masks, errors = embedder.project(features, with_features=False)
        errors = [*part.errors, *errors]
        half = {name: array.astype(np.float16) for name, array in arrays.items()}
        # The last of two rows of one id counts; a part holds an id once.
        last = sorted({item.id: row for row, item in enumerate(part.items)}.values())
        self.quarantine.replace((item.id for item in part.items), errors)
        self.writer.write_part(
            [part.items[row].id for row in last],
            [part.hashes[row] for row in last],
            {name: array[last] for name, array in half.items()},
            {name: mask[last] for name, mask in masks.items()},
            {name: keys.of_items(last) for name, keys in inputs.items()},
        )
        self.counts.update(embedded=len(part.items), unreadable=len(errors))
        if self.counts["unreadable"]:
            progress.note(unreadable=self.counts["unreadable"])
        shown.finish()
        self.seconds["write"] += time.perf_counter() - started
