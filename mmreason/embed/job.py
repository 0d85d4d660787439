"""The ``embed`` stage: every item of the shards, or of the catalogue, into the embedding store."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from encoders.digest import weights_digest
from encoders.errors import WeightsError
from encoders.media.errors import NamedBytes
from mmreason.catalogue.index import read_index
from mmreason.catalogue.tables import stream_table
from mmreason.config import Config
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.cache import CachedPending, CachedReader, standardised
from mmreason.embed.embedder import Embedder
from mmreason.embed.features import INPUTS, Errors
from mmreason.files import atomic_write, read_json, remove
from mmreason.processes import Share, on_main_process, share_of, wait_for_others
from mmreason.progress import PartProgress, Progress
from mmreason.readers.source import inside
from mmreason.schema import DataError, Item
from mmreason.shards.loader import item_samples
from mmreason.shards.manifest import read_manifest
from mmreason.store.features import content_hash
from mmreason.store.index import index_files
from mmreason.store.standardised import read_features, write_features
from mmreason.store.store import EmbeddingStore, StoreWriter

PART_BYTES = (
    128 << 20
)  # of media held in memory at a time, so that a part of videos is no larger than one of texts


def embed(config: Config) -> str:
    """Embed what is missing or changed; killed at any moment, the next run goes on with the next part.

    Items that are no longer there leave the store, if this is the only process. Media that cannot be read are listed
    in ``embed/quarantine.jsonl``; the item keeps its other modalities. With ``embed.shard`` or under ``accelerate
    launch`` several processes write into one store.

    Raises:
        DataError: If there is nothing to read, no alignment model, or the disk is full.
    """
    share = share_of(config.embed.shard)
    folder = config.path("embed")
    _forget_without_features(folder)
    meta = store_meta(config)
    total, items, lost = source_items(config, share)
    writer = StoreWriter(folder, meta, overwrite=True, shard=share)
    job = BulkJob(config, writer, folder / f"quarantine{writer.suffix}.jsonl")
    job.note(lost)
    with Progress(total, "embed") as progress:
        job.run(items, progress)
    missing = total - job.counts["embedded"] - job.counts["unchanged"]
    gone = writer.forget_unseen() if total and not missing and share == (1, 1) else 0
    if share[1] > 1 and not config.embed.shard:
        wait_for_others()
        gone = on_main_process(lambda: _forget_gone(config, meta))
    store = EmbeddingStore.open(folder) if writer.found or job.counts["embedded"] else None
    if store is None:
        return "no items to embed"
    unreadable = job.counts["unreadable"]
    lost_text = f", {unreadable} media unreadable (embed/{job.quarantine.name})" if unreadable else ""
    lost_text += f", {job.counts['flawed']} read in spite of flaws" if job.counts["flawed"] else ""
    kept = f"{job.counts['unchanged']:,} were there already"
    kept += f", {gone:,} no longer there were taken out" if gone else ""
    kept += f", {missing:,} items could not be read from the shards" if missing else ""
    part = f"share {share[0]} of {share[1]}: " if share[1] > 1 else ""
    return f"{part}{len(store):,} items embedded ({kept}{lost_text}); {store.dims['fused']} dimensions"


def store_meta(config: Config) -> dict[str, Any]:
    """What the vectors of the embedding store depend on: the heads, the encoders' weights and their precision.

    Raises:
        DataError: If there is no alignment model, or weights that it names are gone.
    """
    folder = config.path("align")
    made = fingerprint(folder)
    dtype = pick_dtype(config.dtype, pick_device(config.device))
    precision = "int8" if config.embed.int8 else str(dtype).removeprefix("torch.")
    return {"model": made, "weights": encoder_weights(folder), "dtype": precision}


def encoder_weights(folder: Path) -> dict[str, str]:
    """Tower → digest of the weights that an alignment checkpoint names.

    Raises:
        DataError: If they are gone.
    """
    saved = read_json(folder / "config.json")
    try:
        specs = {
            name: str(folder / "towers" / name)
            if name in saved["towers"]
            else saved["config"][f"{name}_weights"]
            for name in ("image", "text")
        }
        return {name: weights_digest(spec) for name, spec in specs.items()}
    except (KeyError, TypeError):
        raise DataError(f"{folder / 'config.json'}: not of an alignment model; align again") from None
    except WeightsError as error:
        raise DataError(str(error)) from None


def _forget_without_features(folder: Path) -> None:
    """Start anew where the feature cache of a store was removed: its items would have no features."""
    if any(not one.cache.is_dir() for one in read_features(folder).values()):
        for path in index_files(folder):
            remove(path)


def _forget_gone(config: Config, meta: dict[str, Any]) -> int:
    """Take out what the catalogue no longer has, when several processes have embedded what it has; returns how many."""
    writer = StoreWriter(config.path("embed"), meta)
    items = pq.read_table(read_index(config.path("catalogue")).paths["items"], columns=["id"])["id"]
    for item_id in items.to_pylist():
        writer.has(item_id, "")
    return writer.forget_unseen()


def fingerprint(folder: Path) -> str:
    """sha256 of a checkpoint's weights and configuration."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        try:
            digest.update((folder / name).read_bytes())
        except FileNotFoundError:
            raise DataError(f"{folder / name}: no such file; run align first") from None
    return digest.hexdigest()


def source_items(config: Config, share: Share) -> tuple[int, Iterator[Item], Errors]:
    """How many items this share has, the items with their media as bytes, and a list that gets what is unreadable.

    Raises:
        DataError: If there are neither shards nor a catalogue.
    """
    source = config.embed.source
    if source == "auto":
        source = "shards" if config.path("shards", "manifest.json").exists() else "catalogue"
    number, of = share
    lost: Errors = []
    if source == "shards":
        folder = config.path("shards")
        total = read_manifest(folder).samples("items")
        return (
            total // of + (number <= total % of),
            item_samples(folder, rank=number - 1, world_size=of),
            lost,
        )
    index = read_index(config.path("catalogue"))
    total = index.counts["items"]
    items = islice(stream_table(index.paths["items"], Item), number - 1, None, of)
    return total // of + (number <= total % of), _with_media(items, index.media_root, lost), lost


def _with_media(items: Iterable[Item], root: Path, lost: Errors) -> Iterator[Item]:
    """Items with their media as bytes, a list of what cannot be read beside them."""

    def read(item: Item, modality: str, name: Any) -> bytes:
        try:
            if data := inside(root, name).read_bytes():
                return NamedBytes(data, name)
            cause = "file is empty"
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or str(error)
        lost.append((item.id, modality, f"{name}: {cause}"))
        return b""

    for item in items:
        images = [read(item, "image", name) for name in item.images]
        video = (read(item, "video", item.video) or None) if item.video else None
        yield replace(item, images=[data for data in images if data], video=video)


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


class BulkJob:
    """Reads, decodes, computes and writes at the same time, a part at a time each.

    Args:
        config: The run.
        writer: Where parts go; items that it has are left out.
        quarantine: File for media that cannot be read, a row each; rows of an item last as long as its vector.

    Attributes:
        counts: ``embedded``, ``unchanged``, ``unreadable`` and ``flawed`` (media that were read all the same).
        seconds: Busy seconds of ``read``, ``decode`` (waiting for it), ``model`` (all threads) and ``write``.
    """

    def __init__(self, config: Config, writer: StoreWriter, quarantine: Path) -> None:
        self.config, self.writer, self.quarantine = config, writer, quarantine
        self.counts: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._found: Errors = []
        if not writer.found:
            remove(quarantine)
        lines = quarantine.read_text(encoding="utf-8").splitlines() if quarantine.exists() else []
        self._lost: defaultdict[str, list[str]] = defaultdict(list)
        for line in lines:
            self._lost[json.loads(line)["item_id"]].append(line)

    def note(self, lost: Errors) -> None:
        """Take unreadable media from a list that the reading fills."""
        self._found = lost

    def run(self, items: Iterator[Item], progress: Progress, embedder: Embedder | None = None) -> None:
        """Embed items.

        Args:
            items: With their media as bytes.
            progress: Counts items.
            embedder: Default: the run's own, loaded when the first item needs it.
        """
        parts = self._parts(items, progress)
        with ExitStack() as stack:
            reading = stack.enter_context(ThreadPoolExecutor(1, "read"))
            writing = stack.enter_context(ThreadPoolExecutor(1, "write"))
            reader: CachedReader | None = None
            waiting: deque[Future] = deque()
            following = reading.submit(next, parts, None)
            while (part := following.result()) is not None:
                if embedder is None:
                    config = self.config
                    embedder = Embedder.from_pretrained(config.path("align"), config.device, config.dtype)
                    embedder.optimize(config.embed.int8)
                if reader is None:
                    reader = stack.enter_context(CachedReader(self.config, embedder))
                    write_features(self.writer.folder, standardised(reader.caches, embedder))
                following = reading.submit(next, parts, None)
                inputs = sum(len(read(item)) for read in INPUTS.values() for item in part.items)
                shown = progress.part(len(part.items), inputs)
                pending = reader.start(part.items, shown)
                waiting.append(writing.submit(self._write, embedder, pending, part, shown, progress))
                if (
                    len(waiting) == 2
                ):  # one is written while the next is computed; more would only fill memory
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
            self.counts["flawed"] = reader.flaws if reader else 0
            for name, seconds in reader.reader.seconds.items() if reader else ():
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
        self._quarantine(part, errors)
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

    def _quarantine(self, part: PartOfItems, errors: Errors) -> None:
        """Replace what earlier runs noted of these items: a part that a kill kept out of the store comes twice."""
        before = [self._lost.pop(item.id, []) for item in part.items]
        for item_id, modality, reason in errors:
            row = {"item_id": item_id, "modality": modality, "reason": reason}
            self._lost[item_id].append(json.dumps(row, ensure_ascii=False))
        if errors or any(before):
            with atomic_write(self.quarantine) as file:
                for line in (line for lines in self._lost.values() for line in lines):
                    file.write(f"{line}\n".encode("utf-8", "replace"))
