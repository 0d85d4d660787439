"""What a folder of shards holds: ``manifest.json``, written last, so that a folder with one is whole."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmreason.files import atomic_write
from mmreason.progress import track
from mmreason.schema import DataError

VERSION = 3
"""Of the shards' format. 3: a user's history is stored once a shard, with the first of their targets."""

MANIFEST = "manifest.json"
SPLITS = ("train", "valid", "test")
SAMPLE_KINDS = ("items", *(f"reasons-{split}" for split in SPLITS))
SHARD_NAME = re.compile(r"(items|reasons-(?:train|valid|test))-\d{6,}\.tar")


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
        balance: Powers, range and sha256 of the training reasons' sampling weights.
    """

    shards: list[Shard]
    skipped: dict[str, int] = field(default_factory=dict)
    balance: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[Shard]:
        """The shards of one of :data:`SAMPLE_KINDS`."""
        return [shard for shard in self.shards if shard.kind == kind]

    def samples(self, kind: str) -> int:
        """How many samples there are of a kind."""
        return sum(shard.samples for shard in self.of(kind))

    def totals(self) -> dict[str, int]:
        """Samples of each kind, and the number and bytes of the shards."""
        totals = {kind: self.samples(kind) for kind in SAMPLE_KINDS}
        return totals | {"shards": len(self.shards), "bytes": sum(shard.bytes for shard in self.shards)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``."""
    record = {"version": VERSION, **asdict(manifest), "totals": manifest.totals()}
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(record, indent=1).encode())


def read_manifest(folder: str | Path) -> Manifest:
    """Read and check ``manifest.json``.

    Raises:
        DataError: If it is missing or corrupt, or names a file outside the folder.
    """
    path = Path(folder) / MANIFEST
    try:
        record = json.loads(path.read_bytes())
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']} is not {VERSION}")
        shards = [Shard(**shard) for shard in record["shards"]]
        manifest = Manifest(shards, dict(record["skipped"]), dict(record["balance"]))
        for shard in manifest.shards:
            match = SHARD_NAME.fullmatch(shard.name)
            if match is None or match[1] != shard.kind or shard.samples < 1:
                raise ValueError(f"{shard.name!r} is not a shard of kind {shard.kind!r}")
        if record["totals"] != manifest.totals():
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
    for shard in track(manifest.shards, "verify", "shard"):
        cause = _difference(Path(folder) / shard.name, shard)
        if cause:
            bad.append(f"{shard.name}: {cause}")
    if bad:
        count = f"{len(bad)} of {len(manifest.shards)} shards are bad"
        raise DataError(f"{folder}: {count}, first {bad[0]}; run pack again")
    return manifest


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
