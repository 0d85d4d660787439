"""The ``pack`` stage: a catalogue becomes WebDataset shards and a manifest.

    shards/items-000000.tar            <key>.json, <key>.0.jpg, <key>.1.png, <key>.mp4
    shards/reasons-train-000000.tar    train-000000.json: the target, its evidence and the user's history
    shards/manifest.json               counts, bytes and sha256 of every shard
    shards/quarantine.jsonl            what could not be packed, if anything

The same catalogue gives the same bytes, so a killed pack is simply run again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from tqdm import tqdm

from mmreason.config import Config
from mmreason.data.balance import write_weights
from mmreason.data.behaviours import aggregate
from mmreason.data.catalogue import Catalogue, read_catalogue
from mmreason.data.files import remove, remove_leftovers, whole_file
from mmreason.schema import DataError, Interaction, Item, Reason, to_record

VERSION = 1
SPLITS = ("train", "valid", "test")
KINDS = ("items", *(f"reasons-{split}" for split in SPLITS))
SHARD_NAME = re.compile(r"(items|reasons-(?:train|valid|test))-\d{6,}\.tar")

Sample = tuple[str, dict[str, bytes]]
"""Key and, in order, extension → bytes."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar: its file name, what it holds, how many samples and bytes, and its sha256 in hex."""

    name: str
    kind: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder of shards holds.

    Attributes:
        shards: In reading order.
        skipped: Cause → how many samples, files or rows could not be packed.
    """

    shards: list[Shard]
    skipped: dict[str, int] = field(default_factory=dict)

    def of(self, kind: str) -> list[Shard]:
        """The shards of one of :data:`KINDS`."""
        return [shard for shard in self.shards if shard.kind == kind]

    def samples(self, kind: str) -> int:
        """How many samples there are of a kind."""
        return sum(shard.samples for shard in self.of(kind))


def pack(config: Config) -> str:
    """The stage: :func:`write_shards` of a run's catalogue.

    Returns:
        One line that says what was packed.

    Raises:
        DataError: If the catalogue is unreadable or empty, or the disk is full.
    """
    catalogue = read_catalogue(config.path("catalogue"))
    if not catalogue.items:
        raise DataError(f"{config.path('catalogue')}: no items; nothing to pack")
    summary = _summary(write_shards(catalogue, config.path("shards"), config.pack.shard_size))
    return f"{summary}; {write_weights(catalogue, config.path('shards'), config.balance)}"


def write_shards(catalogue: Catalogue, folder: str | Path, shard_size: int = 256) -> Manifest:
    """Write a catalogue's shards; the manifest comes last, so a folder with one is whole.

    Args:
        catalogue: Items with the relative paths of their media, interactions and reasons.
        folder: Where to; what an earlier or killed pack left there is replaced.
        shard_size: Samples a tar.

    Raises:
        DataError: If the disk is full or the folder is not writable; finished shards stay.
    """
    if shard_size < 1:
        raise DataError(f"pack.shard_size is {shard_size}; it must be at least 1")
    folder = Path(folder)
    remove_leftovers(folder)
    remove(folder / "manifest.json")  # until the new one is there, the folder is not whole

    quarantine: list[dict[str, str]] = []
    samples = {"items": _item_samples(catalogue, quarantine)}
    samples |= {f"reasons-{split}": _reason_samples(catalogue, split, quarantine) for split in SPLITS}
    shards = [shard for kind in KINDS for shard in _write_kind(folder, kind, samples[kind], shard_size)]

    kept = {shard.name for shard in shards}
    for path in folder.glob("*.tar"):
        if SHARD_NAME.fullmatch(path.name) and path.name not in kept:
            remove(path)  # of an earlier, larger pack
    manifest = Manifest(shards, dict(sorted(Counter(row["cause"] for row in quarantine).items())))
    _write_quarantine(folder / "quarantine.jsonl", quarantine)
    _write_manifest(folder / "manifest.json", manifest)
    return manifest


def read_manifest(folder: str | Path) -> Manifest:
    """Read and check ``manifest.json``.

    Raises:
        DataError: If it is missing or corrupt, or names a file outside the folder.
    """
    path = Path(folder) / "manifest.json"
    try:
        record = json.loads(path.read_bytes())
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']} is not {VERSION}")
        manifest = Manifest([Shard(**shard) for shard in record["shards"]], dict(record["skipped"]))
        for shard in manifest.shards:
            match = SHARD_NAME.fullmatch(shard.name)
            if match is None or match[1] != shard.kind or shard.samples < 1:
                raise ValueError(f"{shard.name!r} is not a shard of kind {shard.kind!r}")
        if record["totals"] != _totals(manifest):
            raise ValueError("the totals are not the sum of the shards")
    except FileNotFoundError:
        raise DataError(f"{path}: no shards here, or a pack that did not finish; run pack") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a manifest ({error}); run pack again") from None
    return manifest


def verify_shards(folder: str | Path) -> Manifest:
    """Read every shard and compare its size, sha256 and number of samples with the manifest.

    Raises:
        DataError: If the manifest is unreadable or a shard differs; the line names the first and counts all.
    """
    manifest = read_manifest(folder)
    bad = []
    for shard in tqdm(manifest.shards, desc="verify", unit="shard", disable=None):
        cause = _difference(Path(folder) / shard.name, shard)
        if cause:
            bad.append(f"{shard.name}: {cause}")
    if bad:
        count = f"{len(bad)} of {len(manifest.shards)} shards are bad"
        raise DataError(f"{folder}: {count}, first {bad[0]}; run pack again")
    return manifest


def _item_samples(catalogue: Catalogue, quarantine: list[dict[str, str]]) -> Iterator[Sample]:
    for item in tqdm(catalogue.items.values(), desc="pack items", unit="item", disable=None):
        try:
            key = item.key
        except UnicodeEncodeError:
            key = ""
        if not key:
            quarantine.append({"id": ascii(item.id), "file": "", "cause": "item id is empty or not Unicode"})
            continue
        record = asdict(item) | {"images": [], "video": None}
        members: dict[str, bytes] = {"json": b""}
        for name in item.images:
            data = _read_media(catalogue, item, name, quarantine)
            if data:
                members[f"{len(record['images'])}.{_extension(name)}"] = data
                record["images"].append(name)
        if item.video:
            data = _read_media(catalogue, item, item.video, quarantine)
            if data:
                members[_extension(item.video)] = data
                record["video"] = item.video
        members["json"] = _json(record)
        yield key, members


def _read_media(catalogue: Catalogue, item: Item, name: str, quarantine: list[dict[str, str]]) -> bytes:
    """The bytes of a media file; of one that is gone or empty none, and a line in the quarantine."""
    try:
        data = catalogue.media(name).read_bytes()
        cause = "" if data else "media file empty"
    except (OSError, DataError, ValueError) as error:  # ValueError: a name with a null byte
        data = b""
        cause = "media file missing" if isinstance(error, FileNotFoundError) else "media file unreadable"
    if cause:
        quarantine.append({"id": item.id, "file": str(name), "cause": cause})
    return data


def _extension(name: str) -> str:
    suffix = Path(name).suffix[1:].lower()
    return suffix if re.fullmatch(r"[a-z0-9]{1,8}", suffix) and suffix != "json" else "bin"


def _reason_samples(catalogue: Catalogue, split: str, quarantine: list[dict[str, str]]) -> Iterator[Sample]:
    histories: dict[str, list[Interaction]] = {}
    for interaction in catalogue.interactions:
        histories.setdefault(interaction.user_id, []).append(interaction)
    reasons = [reason for reason in catalogue.reasons if reason.split == split]
    number = 0
    for reason in tqdm(reasons, desc=f"pack reasons-{split}", unit="reason", disable=None):
        if reason.item_id not in catalogue.items:
            row = {"id": reason.item_id, "file": "", "cause": "reason for an item not in the catalogue"}
            quarantine.append(row | {"user_id": reason.user_id})
            continue
        history = history_before(histories.get(reason.user_id, []), reason)
        record = asdict(reason) | {"history": [to_record(interaction) for interaction in history]}
        yield f"{split}-{number:06d}", {"json": _json(record)}
        number += 1


def history_before(interactions: Iterable[Interaction], reason: Reason) -> list[Interaction]:
    """What a user did before the target, oldest first, so that the target cannot leak into its own reason.

    The target's time is that of the user's first interaction with the item. Interactions with the item
    itself are left out, and so is all that happened at that time or later; where a time is unknown (0),
    only the item itself is left out. What is left is added up per item and event.

    Args:
        interactions: All of the user's.
        reason: The target.
    """
    interactions = list(interactions)
    times = [i.first or i.timestamp for i in interactions if i.item_id == reason.item_id and i.timestamp > 0]
    limit = min(times, default=float("inf"))
    before = [i for i in interactions if i.item_id != reason.item_id and i.timestamp < limit]
    return aggregate(sorted(before, key=lambda interaction: interaction.timestamp))


def _write_kind(folder: Path, kind: str, samples: Iterator[Sample], size: int) -> Iterator[Shard]:
    for number, first in enumerate(samples):
        path = folder / f"{kind}-{number:06d}.tar"
        with whole_file(path) as file:
            hashed = _Hashed(file)
            count = 0
            # TarInfo's owner and time are 0, so same input, same bytes; GNU headers fit keys of any length.
            with tarfile.open(fileobj=cast(BinaryIO, hashed), mode="w", format=tarfile.GNU_FORMAT) as tar:
                for key, members in chain([first], islice(samples, size - 1)):
                    count += 1
                    for extension, data in members.items():
                        info = tarfile.TarInfo(f"{key}.{extension}")
                        info.size, info.mode = len(data), 0o644
                        tar.addfile(info, io.BytesIO(data))
        yield Shard(path.name, kind, count, hashed.size, hashed.sha256.hexdigest())


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.size


def _write_quarantine(path: Path, rows: list[dict[str, str]]) -> None:
    if not rows:
        remove(path)
        return
    with whole_file(path) as file:
        file.writelines(_json(row) + b"\n" for row in rows)


def _write_manifest(path: Path, manifest: Manifest) -> None:
    record = {"version": VERSION, **asdict(manifest), "totals": _totals(manifest)}
    with whole_file(path) as file:
        file.write(json.dumps(record, indent=1).encode())


def _totals(manifest: Manifest) -> dict[str, int]:
    totals = {kind: manifest.samples(kind) for kind in KINDS}
    return totals | {"shards": len(manifest.shards), "bytes": sum(shard.bytes for shard in manifest.shards)}


def _summary(manifest: Manifest) -> str:
    totals = _totals(manifest)
    reasons = " + ".join(str(totals[f"reasons-{split}"]) for split in SPLITS)
    skipped = ", ".join(f"{count} {cause}" for cause, count in manifest.skipped.items()) or "nothing"
    return (
        f"packed {totals['items']} items and {reasons} reasons into {totals['shards']} shards, "
        f"{totals['bytes'] / 1e6:.1f} MB; skipped: {skipped}"
    )


def _difference(path: Path, shard: Shard) -> str:
    """How a file differs from its line in the manifest, empty if it does not."""
    if not path.is_file():
        return "missing"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if path.stat().st_size != shard.bytes or digest != shard.sha256:
            return "its bytes are not the packed ones"
        with tarfile.open(path, "r:") as tar:
            samples = len({name.partition(".")[0] for name in tar.getnames()})
    except (OSError, tarfile.TarError) as error:
        return f"cannot be read ({error})"
    return "" if samples == shard.samples else f"{samples} samples, not {shard.samples}"


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
