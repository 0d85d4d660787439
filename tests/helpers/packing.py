"""What the tests of shards, loader and store share; run as a script, it is killed at every point it can be.

python packing.py pack FOLDER     every sync of a pack, one after another, is its last
python packing.py store FOLDER    the same for three parts of a store
python packing.py limit FOLDER    a pack and a store that hit a file-size limit
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.files import remove
from mmreason.schema import DataError, Evidence, Interaction, Item, Reason
from mmreason.shards.manifest import Manifest, read_manifest
from mmreason.shards.pack import write_shards
from mmreason.store.store import EmbeddingStore, StoreWriter


def make_catalogue(root: Path, items: int = 20, users: int = 3) -> Catalogue:
    """Items with one or two pictures, every fifth with a video; clicks; reasons of three splits."""
    root.mkdir(parents=True, exist_ok=True)
    made = {}
    for number in range(items):
        pictures = [f"{number}-{place}.{end}" for place, end in enumerate(["JPG", "png"][: 1 + number % 2])]
        videos = [f"{number}.mp4"] if number % 5 == 0 else []
        for name in [*pictures, *videos]:
            (root / name).write_bytes(f"bytes of {name} ".encode() * (1 + number))
        item = Item(f"sku.{number}/é", f"Coat {number}", images=pictures, video=videos[0] if videos else None)
        item.attributes, item.hidden, item.domain = {"material": ["wool"]}, {"color": ["red"]}, "shop"
        made[item.id] = item
    ids = list(made)
    clicks = [
        Interaction(f"u{user}", ids[(user + step) % items], "click", timestamp=float(100 * step + user + 1))
        for user in range(users)
        for step in range(min(items, 6))
    ]
    evidence = Evidence("material", "wool", item_ids=ids[:2], span=(8, 12))
    reasons = [
        Reason(f"u{user}", ids[(user + step) % items], "Because wool.", [evidence], split=split)
        for user in range(users)
        for step, split in enumerate(["train", "train", "valid", "test"])
    ]
    return Catalogue(made, clicks, reasons, root)


def pack(catalogue: Catalogue, folder: Path, size: int = 256, processes: int = 0) -> Manifest:
    """The shards of a catalogue that is put down in the same folder, hidden."""
    write_catalogue(catalogue, folder / ".catalogue")
    return write_shards(folder / ".catalogue", folder, size, processes=processes)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder that is not hidden, by name."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return {path.name: path.read_bytes() for path in files if path.name[0] != "."}


def part_of(number: int, rows: int = 5) -> tuple[list[str], list[str], dict, dict]:
    """The arguments of a store's part; its vectors follow from its number."""
    ids = [f"item {number * rows + row}" for row in range(rows)]
    rng = np.random.default_rng(number)
    arrays = {
        "fused": rng.normal(size=(rows, 4)).astype(np.float32),
        "image": rng.normal(size=(rows, 3)).astype(np.float16),
    }
    return ids, [f"hash {one}" for one in ids], arrays, {"image": rng.random(rows) < 0.5}


def killed_at_sync(number: int, work: Callable[[], object]) -> bool:
    """Do work in a child that gets SIGKILL in place of its ``number``-th sync; False if it ended before."""
    child = os.fork()
    if child == 0:
        left, sync = [number], os.fsync

        def fsync(handle: int) -> None:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            sync(handle)

        os.fsync = fsync
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def kill_packs(folder: Path) -> int:
    write_catalogue(make_catalogue(folder / "media", items=10, users=1), folder / "catalogue")
    write_shards(folder / "catalogue", folder / "whole", 6)
    expected = contents(folder / "whole")
    kills = 0
    while killed_at_sync(kills, lambda: write_shards(folder / "catalogue", folder / "shards", 6)):
        with suppress(DataError):  # there is no manifest unless all is there
            read_manifest(folder / "shards")
            assert contents(folder / "shards") == expected
        write_shards(folder / "catalogue", folder / "shards", 6)  # goes on
        assert contents(folder / "shards") == expected
        remove(folder / "shards")
        kills += 1
    assert contents(folder / "shards") == expected
    return kills


def fill_store(folder: Path) -> None:
    writer = StoreWriter(folder, {"model": "m"})
    for number in range(3):
        ids, hashes, *rest = part_of(number)
        if not all(writer.has(*pair) for pair in zip(ids, hashes, strict=True)):
            writer.write_part(ids, hashes, *rest)


def kill_stores(folder: Path) -> int:
    kills = 0
    while True:
        store = folder / f"store-{kills}"
        killed = killed_at_sync(kills, lambda store=store: fill_store(store))
        found = StoreWriter(store, {"model": "m"}).found
        if killed and found:
            assert found == len(EmbeddingStore.open(store))
        assert found % 5 == 0
        fill_store(store)
        read = EmbeddingStore.open(store)
        for number in range(3):
            ids, _, arrays, masks = part_of(number)
            assert np.array_equal(read.get("fused", ids), arrays["fused"])
            assert np.array_equal(read.mask("image", ids), masks["image"])
        assert sorted(path.name for path in store.iterdir()) == [
            "index.json",
            *(f"part-00000{n}" for n in range(3)),
        ]
        if not killed:
            return kills
        kills += 1


def hit_limit(folder: Path) -> int:
    write_catalogue(make_catalogue(folder / "media"), folder / "catalogue")
    (folder / "media" / "15-0.JPG").write_bytes(bytes(50_000))
    writer = StoreWriter(folder / "store", {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_960, 40_960))
    writer.write_part(["a"], ["h"], {"fused": np.ones((1, 8), np.float32)}, {})
    ids = [f"i{number}" for number in range(2000)]
    for work in (
        lambda: write_shards(folder / "catalogue", folder / "shards", 8),
        lambda: writer.write_part(ids, ids, {"fused": np.ones((2000, 8), np.float32)}, {}),
    ):
        try:
            work()
            raise AssertionError("the limit was not hit")
        except DataError as error:
            print(error)
    assert EmbeddingStore.open(folder / "store").ids == ["a"]
    return 0


if __name__ == "__main__":
    print({"pack": kill_packs, "store": kill_stores, "limit": hit_limit}[sys.argv[1]](Path(sys.argv[2])))
