"""Damaged and hostile shards and media: nothing crashes or hangs, nothing is written outside, every loss is named.

    python benchmarks/faults.py
    python benchmarks/faults.py --only truncated

Each fault gets a process of its own with a time limit. For shards: a small catalogue of real pictures is packed, one
shard is damaged, and an epoch is read with every picture and video decoded; what is kept must be what was packed,
kept + skipped must cover the manifest, and the loss must be counted under an expected cause. For media: a folder of
tables is ingested and packed, and the quarantine must name the file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import multiprocessing
import os
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from bars import Bars
from jsonargparse import auto_cli
from PIL import Image

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import Config
from mmreason.schema import Interaction, Item, Reason
from mmreason.shards.loader import ShardLoader
from mmreason.shards.pack import pack, write_shards

ITEMS, SHARD, TIMEOUT = 48, "items-000001.tar", 120
BAD_MEDIA = "cannot be decoded (MediaError)"

Members = list[tuple[tarfile.TarInfo, bytes]]


def main(only: str = "", timeout: int = TIMEOUT) -> None:
    """Run the faults.

    Args:
        only: Name of one fault; empty for all.
        timeout: Seconds after which a fault counts as hanging.
    """
    bars = Bars("faults handled")
    names = [name for name in (*SHARD_FAULTS, *MEDIA_FAULTS) if only in ("", name)]
    handled = 0
    for name in names:
        problem = in_own_process(name, timeout)
        handled += not problem
        print(f"{name}: {problem or 'handled'}", flush=True)
    bars.check("share of faults handled", handled / len(names), 1)
    print(f"faults handled: {handled}/{len(names)} (bar {len(names)})")
    raise SystemExit(handled != len(names))


def in_own_process(name: str, timeout: int) -> str:
    """What went wrong with a fault; empty if it was handled."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=run_fault, args=(name, root, sender))
        process.start()
        sender.close()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            return f"hung for {timeout} s"
        with suppress(EOFError):
            if receiver.poll():
                return receiver.recv()
        return f"crashed with exit status {process.exitcode}"


def run_fault(name: str, root: Path, sender: Any) -> None:
    """In the fault's process: run it, and see that only its own folder was written to."""
    work = root / "outer" / "work"
    work.mkdir(parents=True)
    os.chdir(work)
    (root / "secret.txt").write_text("secret")
    try:
        problem = shard_fault(name, work) if name in SHARD_FAULTS else media_fault(name, work)
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
    outside = sorted(str(path.relative_to(root)) for path in root.rglob("*") if work not in path.parents)
    if outside != ["outer", "outer/work", "secret.txt"] or (root / "secret.txt").read_text() != "secret":
        problem += f"; written outside: {outside}"
    sender.send(problem)


# ---- shards


def shard_fault(name: str, work: Path) -> str:
    """Pack, damage, read; returns what is wrong with the outcome."""
    damage, causes, lost = SHARD_FAULTS[name]
    packed = {item: file_hash(work / "media" / f"{item}.jpg") for item in make_shards(work)}
    before = (work / "shards" / SHARD).stat().st_size
    damage(work / "shards" / SHARD)
    loader = ShardLoader(
        work / "shards", "items", batch_size=4, collate=list, decode=decode, shuffle=16, max_skip_fraction=1
    )
    seen = [one for batch in loader for one in batch]
    print(f"  {before} bytes, kept {loader.kept} of {ITEMS}, skipped {dict(loader.skipped)}", flush=True)
    problems = []
    if len(seen) != len({item for item, _ in seen}) or len(seen) != loader.kept:
        problems.append("a sample came twice")
    if any(packed.get(item) != digest for item, digest in seen):
        problems.append("a sample is not the packed one")
    if loader.kept + loader.skipped.total() < ITEMS:
        problems.append(f"{ITEMS - loader.kept - loader.skipped.total()} samples lost uncounted")
    if {cause for cause, _ in loader.skipped} - causes or bool(loader.skipped) != bool(causes):
        problems.append(f"counted under {loader.skipped}, not {causes}")
    if lost is not None and ITEMS - loader.kept != lost:
        problems.append(f"{ITEMS - loader.kept} samples lost, not {lost}")
    return "; ".join(problems)


def make_shards(work: Path) -> list[str]:
    """Shards of pictures; returns the item ids."""
    (work / "media").mkdir()
    ids = [f"item{number}" for number in range(ITEMS)]
    rng = np.random.default_rng(0)
    for one in ids:
        picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(picture).save(work / "media" / f"{one}.jpg")
    items = {one: Item(one, title=f"Title of {one}", images=[f"{one}.jpg"]) for one in ids}
    clicks = [Interaction("user", one, timestamp=1.0 + n) for n, one in enumerate(ids)]
    reasons = [Reason("user", ids[-1], "Because.")]
    write_catalogue(Catalogue(items, clicks, reasons, work / "media"), work / "catalogue")
    write_shards(work / "catalogue", work / "shards", 12)
    return ids


def decode(item: Item) -> tuple[str, str]:
    """Decode all media as training does; the id and the hash of the picture's file."""
    from encoders.media.frames import sample_frames
    from encoders.media.pictures import open_image

    for image in item.images:
        open_image(image)
    if item.video:
        sample_frames(item.video, 2)
    return item.id, hashlib.sha256(item.images[0]).hexdigest()


def file_hash(path: Path) -> str:
    """Sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rewritten(edit: Callable[[Members], Members]) -> Callable[[Path], None]:
    """A damage that changes the members of a shard, as a tar of another writer (without checksums)."""

    def damage(path: Path) -> None:
        with tarfile.open(path) as tar:
            members = [(info, tar.extractfile(info).read()) for info in tar.getmembers()]  # type: ignore[union-attr]
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for info, data in edit(members):
                info.size, info.uname = 0 if info.issym() else len(data), ""
                tar.addfile(info, io.BytesIO(data))

    return damage


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 100])


def flip_at(offset: int) -> Callable[[Path], None]:
    """A damage that flips one bit so many bytes behind the second member's header."""

    def damage(path: Path) -> None:
        with tarfile.open(path) as tar:
            place = tar.getmembers()[1].offset_data + offset
        data = bytearray(path.read_bytes())
        data[place] ^= 4
        path.write_bytes(data)

    return damage


def swap_shards(path: Path) -> None:
    other = path.with_name("items-000000.tar")
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


def replaced(data: Callable[[], bytes], ending: str = ".jpg") -> Callable[[Path], None]:
    """A damage that puts other data into the first member with such a name."""

    def edit(members: Members) -> Members:
        place = next(i for i, (info, _) in enumerate(members) if info.name.endswith(ending))
        return [*members[:place], (members[place][0], data()), *members[place + 1 :]]

    return rewritten(edit)


def symlink(members: Members) -> Members:
    info = members[1][0]
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return members


def escaping(members: Members) -> Members:
    names = ["../../escaped.json", "/tmp/escaped-by-mmreason.json", "..%2F/x.json"]
    return [*((tarfile.TarInfo(name), b"{}") for name in names), *members]


def text_as_video(members: Members) -> Members:
    (info, data), key = members[0], members[0][0].name.partition(".")[0]
    record = json.dumps(json.loads(data) | {"video": "clip.mp4"}).encode()
    return [(info, record), (tarfile.TarInfo(f"{key}.mp4"), b"just a text\n" * 50), *members[1:]]


def gunzippable(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))


def named_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def huge_picture() -> bytes:
    """200 megapixels of one colour, some 25 KB."""
    file = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(file, "PNG")
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of some KB whose header promises 4.2 billion pixels."""
    data = bytearray(huge_picture())
    data[16:24] = (65_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def brackets() -> bytes:
    return b"[" * 40_000  # far deeper than any parser goes, and the shard still less than twice as long


ShardFault = tuple[Callable[[Path], None], set[str], int | None]
"""Damage, causes that may be counted, and how many samples are lost, if that is certain."""

SHARD_FAULTS: dict[str, ShardFault] = {
    "truncated shard": (truncate, {"broken tar", "member missing"}, None),
    "empty shard": (lambda path: path.write_bytes(b""), {"broken tar"}, None),
    "bit flipped in a picture": (flip_at(300), {"bytes differ from the packed ones"}, 1),
    "bit flipped in a header": (flip_at(-500), {"member missing"}, 1),
    "members in another order": (rewritten(lambda members: members[::2] + members[1::2]), set(), 0),
    "members backwards": (rewritten(lambda members: members[::-1]), set(), 0),
    "two shards swapped": (swap_shards, {"samples missing", "sample not in the manifest"}, None),
    "duplicate keys": (rewritten(lambda members: members + members[:6]), {"duplicate key"}, 0),
    "escaping member names": (rewritten(escaping), {"unsafe name"}, 0),
    "symlink member": (rewritten(symlink), {"member missing"}, 1),
    "200-megapixel picture": (replaced(huge_picture), {BAD_MEDIA}, 1),
    "decompression bomb": (replaced(bomb), {BAD_MEDIA}, 1),
    "text as picture": (replaced(lambda: b"just a text"), {BAD_MEDIA}, 1),
    "text as video": (rewritten(text_as_video), {BAD_MEDIA}, 1),
    "brackets without end": (replaced(brackets, ".json"), {"bad json"}, 1),
    "compressed shard": (gunzippable, {"broken tar"}, None),
    "shard of a terabyte": (lambda path: os.truncate(path, 1 << 40), {"shard longer than packed"}, None),
    "shard is a pipe": (named_pipe, {"shard missing"}, None),
}


# ---- media


def media_fault(name: str, work: Path) -> str:
    """Ingest and pack a folder of tables with one bad file; returns what is wrong with the outcome."""
    make, path, reasons = MEDIA_FAULTS[name]
    source = work / "source"
    source.mkdir()
    Image.new("RGB", (32, 32), "red").save(source / "good.jpg")
    make(source)
    rows = [{"id": f"good {n}", "title": "Good", "images": ["good.jpg"]} for n in range(4)]
    kind = {"video": path} if path.endswith(".mp4") else {"images": ["good.jpg", path]}
    rows.append({"id": "bad", "title": "Bad", **kind})
    (source / "items.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    config = Config(run_dir=str(work / "run"))
    config.catalogue.source, config.catalogue.root = "tables", str(source)
    config.simulate.users = 0
    print(f"  {ingest(config)}; {pack(config)}", flush=True)
    quarantine = config.path("catalogue", "quarantine.jsonl").read_text().splitlines()
    named = [row["reason"] for row in map(json.loads, quarantine) if path in json.dumps(row)]
    loader = ShardLoader(config.path("shards"), "items", batch_size=4, collate=list)
    kept = {item.id: item for batch in loader for item in batch}
    if len(named) != 1 or named[0] not in reasons:
        return f"{path} is quarantined for {named}, not for one of {reasons}"
    if len(kept) != 5 or kept["bad"].video or len(kept["bad"].images) != ("images" in kind):
        return "the item did not stay without the file"
    return ""


MediaFault = tuple[Callable[[Path], Any], str, set[str]]
"""Makes the file, its path as the catalogue names it, and the reasons that its quarantine may give."""

MEDIA_FAULTS: dict[str, MediaFault] = {
    "ingest of a 200-megapixel picture": (
        lambda folder: (folder / "huge.png").write_bytes(huge_picture()),
        "huge.png",
        {"over the pixel limit"},
    ),
    "ingest of a decompression bomb": (
        lambda folder: (folder / "bomb.png").write_bytes(bomb()),
        "bomb.png",
        {"over the pixel limit"},
    ),
    "ingest of a text called .mp4": (
        lambda folder: (folder / "clip.mp4").write_text("just a text\n" * 50),
        "clip.mp4",
        {"not a video", "no video stream"},
    ),
    "ingest of a playlist called .mp4": (
        lambda folder: (folder / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        "list.mp4",
        {"not a video", "no video stream"},
    ),
    "ingest of an escaping path": (
        lambda folder: None,
        "../../../secret.txt",
        {"path leads out of the media folder"},
    ),
}


if __name__ == "__main__":
    auto_cli(main)
