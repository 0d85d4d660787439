"""The ``pack`` stage: a catalogue becomes WebDataset shards and a manifest.

    shards/items-000000.tar            <key>.json, <key>.0.jpg, <key>.1.png, <key>.mp4
    shards/reasons-train-000000.tar    <hash>-1.json: the target and its evidence; with the first target of each user
                                       <hash>-1.history.json: what the user did
    shards/manifest.json               counts, bytes and sha256 of every shard
    shards/quarantine.jsonl            what could not be packed, if anything
    shards/weights.parquet             how often training draws each target, see mmreason.shards.balance
    shards/.packed.jsonl               what each shard was made from, so that only changed ones are made again

The same catalogue gives the same bytes, whatever lay in the folder before and however many processes write, so a
killed pack is simply run again and goes on. Which sample goes where is told in :mod:`mmreason.shards.buckets`.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmreason.catalogue.sources import source_weights
from mmreason.config import BalanceConfig, Config
from mmreason.files import TEMPORARY, atomic_write, remove, remove_leftovers
from mmreason.progress import Progress
from mmreason.schema import DataError, Interaction, Item, Reason, from_record
from mmreason.shards.balance import write_weights
from mmreason.shards.buckets import CatalogueRows, Group
from mmreason.shards.manifest import (
    MANIFEST,
    SAMPLE_KINDS,
    SHARD_NAME,
    SPLITS,
    VERSION,
    Manifest,
    Shard,
    write_manifest,
)
from mmreason.shards.samples import encode_item, encode_reasons, to_json
from mmreason.shards.tars import Sample, write_tar

PACKED = ".packed.jsonl"
SHARDS_A_PROCESS = 16
"""Fewer do not repay starting one."""


def pack(config: Config) -> str:
    """The stage: :func:`write_shards` of a run's catalogue, by ``workers`` processes (0: as many as cores).

    Returns:
        One line that says what was packed.

    Raises:
        DataError: If the catalogue is unreadable or empty, or the disk is full.
    """
    folders = config.path("catalogue"), config.path("shards")
    size, balance = config.pack.shard_size, config.balance
    sources = source_weights(config)
    return _summary(write_shards(*folders, size, balance, processes=config.workers, sources=sources))


def write_shards(
    catalogue: str | Path,
    folder: str | Path,
    shard_size: int = 256,
    balance: BalanceConfig | None = None,
    *,
    processes: int = 0,
    sources: Mapping[str, float] | None = None,
) -> Manifest:
    """Write the shards that a catalogue has changed; the manifest comes last, so a folder with one is whole.

    Memory holds the rows of some shards at a time, never the catalogue.

    Args:
        catalogue: Folder that :func:`mmreason.catalogue.catalogue.write_catalogue` wrote.
        folder: Where to; what an earlier or killed pack left there is used again or replaced.
        shard_size: Mean number of samples a tar.
        balance: Of the training reasons' sampling weights; None for the default.
        processes: That write; 0 for one a core. A small catalogue is always written by this process. Processes are
            spawned, so a script that calls this needs ``if __name__ == "__main__"``.
        sources: Name of one of several sources → a factor on the sampling weights of its reasons.

    Raises:
        DataError: If the catalogue is unreadable or has no items, the disk is full or the folder is not writable;
            finished shards stay.
    """
    if shard_size < 1:
        raise DataError(f"pack.shard_size is {shard_size}; it must be at least 1")
    folder = Path(folder)
    remove_leftovers(folder)
    with CatalogueRows(Path(catalogue), shard_size, folder / f"{TEMPORARY}sorting") as rows:
        remove(folder / MANIFEST)  # until the new one is there, the folder is not whole
        shards, lost = _write_all(rows, folder, processes or os.cpu_count() or 1)
        weights = write_weights(rows, folder, balance or BalanceConfig(), sources)
    _write_quarantine(folder / "quarantine.jsonl", lost)
    remove_leftovers(folder)  # of a killed pack whose processes were still ending when this one began
    skipped = dict(sorted(Counter(row["cause"] for row in lost).items()))
    manifest = Manifest(shards, skipped, weights)
    write_manifest(folder, manifest)
    return manifest


@dataclass(frozen=True, slots=True)
class _Job:
    """One shard to write, picklable: ``known`` is what is recorded of the file of that name, if anything."""

    folder: Path
    name: str
    kind: str
    media_root: Path
    tables: tuple[bytes, ...]
    known: dict[str, Any] | None


def _write_all(rows: CatalogueRows, folder: Path, processes: int) -> tuple[list[Shard], list[dict[str, str]]]:
    """Write what changed of all kinds; returns all shards and what could not be packed."""
    shards = {kind: rows.shards(kind) for kind in SAMPLE_KINDS}
    if not shards["items"]:
        raise DataError(f"{rows.folder}: no items; nothing to pack")
    lost = [{"id": "", "file": "", "cause": "item id is empty"}] * rows.empty_ids
    cause = "reason for an item not in the catalogue"
    lost += [{"id": item, "file": "", "cause": cause, "user_id": user} for user, item in rows.orphans()]
    known = {record["shard"]["name"]: record for record in _read_packed(folder / PACKED)}
    total = sum(shards.values())
    jobs = (
        _job(folder, group, rows.media_root, known) for kind in SAMPLE_KINDS for group in rows.groups(kind)
    )
    records = []
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / PACKED).open("ab") as journal,
        Progress(total, "pack", "shard") as progress,
    ):
        journal.write(b"\n")  # a kill may have left half a line
        for record in _run(jobs, min(processes, total // SHARDS_A_PROCESS)):
            journal.write(to_json(record) + b"\n")
            journal.flush()
            records.append(record)
            progress.add()
    kept = {record["shard"]["name"] for record in records}
    for path in folder.glob("*.tar"):
        if SHARD_NAME.fullmatch(path.name) and path.name not in kept:
            remove(path)  # of an earlier pack
    with atomic_write(folder / PACKED) as file:
        file.writelines(to_json(record) + b"\n" for record in records)
    lost += [row for record in records for row in record["lost"]]
    return [Shard(**record["shard"]) for record in records], lost


def _job(folder: Path, group: Group, media_root: Path, known: dict[str, Any]) -> _Job:
    name = f"{group.kind}-{group.number:06d}.tar"
    tables = (group.rows,) if group.history is None else (group.rows, group.history)
    return _Job(folder, name, group.kind, media_root, tuple(map(_to_ipc, tables)), known.get(name))


def _run(jobs: Iterator[_Job], processes: int) -> Iterator[dict[str, Any]]:
    """The records of the jobs, in order; no more jobs are in memory than keep the processes busy."""
    if processes <= 1:
        yield from map(_write_shard, jobs)
        return
    with ExitStack() as stack:
        pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _die_with_parent)
        stack.callback(pool.shutdown, cancel_futures=True)
        running: deque[Future[dict[str, Any]]] = deque()
        for job in jobs:
            running.append(pool.submit(_write_shard, job))
            if len(running) > 2 * processes:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _die_with_parent() -> None:
    """Else the processes of a killed pack would go on writing beside those of the next one."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_shard(job: _Job) -> dict[str, Any]:
    """Write one shard, unless it is there and made from just this; returns its record."""
    tables = [_from_ipc(data) for data in job.tables]
    path = job.folder / job.name
    made_from = _fingerprint(tables, job)
    if job.known and job.known["made_from"] == made_from and job.known["file"] == _stamp(path):
        return job.known
    lost: list[dict[str, str]] = []
    with atomic_write(path) as file:
        written = write_tar(file, _samples(tables, job, lost))
    shard = Shard(job.name, job.kind, *written)
    return {"shard": asdict(shard), "made_from": made_from, "file": _stamp(path), "lost": lost}


def _samples(tables: list[list[dict[str, Any]]], job: _Job, lost: list[dict[str, str]]) -> Iterable[Sample]:
    if job.kind == "items":
        items = (from_record(Item, row) for row in tables[0])
        return (encode_item(item, job.media_root, lost) for item in items)
    events = tables[1] if len(tables) > 1 else []
    interactions = (from_record(Interaction, row) for row in events)
    return encode_reasons((from_record(Reason, row) for row in tables[0]), interactions)


def _fingerprint(tables: list[list[dict[str, Any]]], job: _Job) -> str:
    """A hash of all that a shard is made from; of media the name, size and time, so that none need be read."""
    made_from = hashlib.sha256(to_json([VERSION, str(job.media_root), tables]))
    for row in tables[0] if job.kind == "items" else ():
        for name in (*json.loads(row["images"] or "[]"), row["video"] or ""):
            made_from.update(to_json(_stamp(job.media_root / name)))
    return made_from.hexdigest()


def _stamp(path: Path) -> list[int]:
    """Size and time of a file in nanoseconds; empty if there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # the latter for a name with a null byte
        return []
    return [status.st_size, status.st_mtime_ns]


def _read_packed(path: Path) -> Iterator[dict[str, Any]]:
    """What earlier packs recorded of their shards; of one name the last counts."""
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
            Shard(**record["shard"])
            if record.keys() == {"shard", "made_from", "file", "lost"}:
                yield record
        except (ValueError, TypeError, KeyError):
            continue  # cut by a kill: that shard is made again


def _to_ipc(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _from_ipc(data: bytes) -> list[dict[str, Any]]:
    return pa.ipc.open_stream(data).read_all().to_pylist()


def _write_quarantine(path: Path, rows: list[dict[str, str]]) -> None:
    if not rows:
        remove(path)
        return
    with atomic_write(path) as file:
        file.writelines(to_json(row) + b"\n" for row in rows)


def _summary(manifest: Manifest) -> str:
    totals = manifest.totals()
    reasons = " + ".join(str(totals[f"reasons-{split}"]) for split in SPLITS)
    skipped = ", ".join(f"{count} {cause}" for cause, count in manifest.skipped.items()) or "nothing"
    packed = (
        f"packed {totals['items']} items and {reasons} reasons into {totals['shards']} shards, "
        f"{totals['bytes'] / 1e6:.1f} MB; skipped: {skipped}"
    )
    if not totals["reasons-train"]:
        return packed
    least, most, effective = (manifest.balance[name] for name in ("least", "most", "effective"))
    return f"{packed}; weights {least:.2f} to {most:.2f}, effective sample {effective:.0%}"
