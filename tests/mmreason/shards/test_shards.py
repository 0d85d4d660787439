import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import packing
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from mmreason.catalogue import catalogue as catalogues
from mmreason.config import Config
from mmreason.schema import DataError, Interaction, Item, Reason
from mmreason.shards.buckets import shard_of
from mmreason.shards.histories import history_before
from mmreason.shards.loader import item_samples, reason_samples
from mmreason.shards.manifest import read_manifest, verify_shards
from mmreason.shards.pack import (
    SHARDS_A_PROCESS,
    pack,
    write_shards,
)


def script(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, packing.__file__, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shards_of_20(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 20 items; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("shards")
    packing.pack(packing.make_catalogue(folder / "media"), folder, 8)
    return folder


def _pair(reason: Reason) -> tuple[str, str]:
    return reason.user_id, reason.item_id


def test_pack_writes_shards_that_give_the_catalogue_back(tmp_path: Path) -> None:
    config = Config(run_dir=str(tmp_path / "run"))
    config.pack.shard_size = 8
    catalogue = packing.make_catalogue(tmp_path / "media")
    catalogues.write_catalogue(catalogue, config.path("catalogue"))
    line = pack(config)
    assert line.startswith("packed 20 items and 6 + 3 + 3 reasons into 6 shards") and "\n" not in line
    manifest = verify_shards(config.path("shards"))
    items = list(item_samples(config.path("shards")))
    assert sorted(item.id for item in items) == sorted(catalogue.items)
    shards = [shard for shard in manifest.of("items") for _ in range(shard.samples)]
    assert [shard.name for shard in shards] == [f"items-{shard_of(item.id, 3):06d}.tar" for item in items]
    for item in items:
        packed = catalogue.items[item.id]
        assert item.images == [(tmp_path / "media" / name).read_bytes() for name in packed.images]
        assert item.video == ((tmp_path / "media" / packed.video).read_bytes() if packed.video else None)
        item.images, item.video = packed.images, packed.video
        assert item == packed
    targets = list(reason_samples(config.path("shards"), "train"))
    train = [reason for reason in catalogue.reasons if reason.split == "train"]
    assert sorted((t.reason for t in targets), key=_pair) == sorted(train, key=_pair)
    for target in targets:
        assert target.user.history == history_before(
            [i for i in catalogue.interactions if i.user_id == target.user.id], target.reason
        )
    assert [target.user.id for target in targets] == [target.reason.user_id for target in targets]


def test_stock_webdataset_reads_the_shards(tmp_path: Path) -> None:
    catalogue = packing.make_catalogue(tmp_path / "media")
    packing.pack(catalogue, tmp_path / "shards", 8)
    paths = sorted(str(path) for path in (tmp_path / "shards").glob("items-*.tar"))
    samples = {sample["__key__"]: sample for sample in webdataset.WebDataset(paths, shardshuffle=False)}
    assert {json.loads(sample["json"])["id"] for sample in samples.values()} == set(catalogue.items)
    fifth = samples["sku%2E5%2F%C3%A9"]
    assert set(fifth) - {"__key__", "__url__", "__local_path__"} == {"json", "0.jpg", "1.png", "mp4"}
    assert fifth["1.png"] == (tmp_path / "media" / "5-1.png").read_bytes()


def test_same_catalogue_same_bytes(tmp_path: Path) -> None:
    packing.pack(packing.make_catalogue(tmp_path / "a"), tmp_path / "one", 7)
    time.sleep(1.1)  # a tar's times are whole seconds
    again = packing.make_catalogue(tmp_path / "b")
    packing.pack(again, tmp_path / "two", 3)
    packing.pack(again, tmp_path / "two", 7)  # fewer shards: the old ones go
    assert packing.contents(tmp_path / "one") == packing.contents(tmp_path / "two")
    with tarfile.open(tmp_path / "one" / "items-000000.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.gname) for m in tar} == {(0, 0, 0, "")}


def test_a_change_rewrites_its_own_shard_only(tmp_path: Path) -> None:
    media, shards = tmp_path / "media", tmp_path / "shards"
    catalogue = packing.make_catalogue(media, items=60, users=20)

    def rewritten() -> set[str]:
        """Packs again; says which tars are other files than before."""
        before = {path.name: path.stat().st_ino for path in shards.glob("*.tar")}
        packing.pack(catalogue, shards, 8)
        after = {path.name: path.stat().st_ino for path in shards.glob("*.tar")}
        return {name for name, inode in after.items() if before.get(name) != inode}

    def shard(item_id: str, shards: int = 8) -> str:
        return f"items-{shard_of(item_id, shards):06d}.tar"

    assert len([name for name in rewritten() if name.startswith("items")]) == 8
    assert rewritten() == set()
    first = next(iter(catalogue.items))
    catalogue.items[first].title = "Another title"
    assert rewritten() == {shard(first)}
    (media / "7-0.JPG").write_bytes(b"another picture")
    assert rewritten() == {shard("sku.7/é")}
    catalogue.items = {"new": Item("new"), **catalogue.items}
    assert rewritten() == {shard("new")}
    del catalogue.items["new"]
    assert rewritten() == {shard("new")}
    catalogue.interactions.append(Interaction("u3", "sku.55/é", timestamp=1.0))
    changed = rewritten()
    assert {name.rpartition("-")[0] for name in changed} == {"reasons-train", "reasons-valid", "reasons-test"}
    assert len(changed) == 3
    for number in range(4):  # 64 items and one: a ninth shard, split off one that was there
        catalogue.items[f"more {number}"] = Item(f"more {number}")
    rewritten()
    catalogue.items["one more"] = Item("one more")
    assert rewritten() <= {"items-000000.tar", "items-000008.tar", shard("one more", 9)}
    packing.pack(catalogue, tmp_path / "anew", 8)
    assert packing.contents(shards) == packing.contents(tmp_path / "anew")


def test_two_processes_write_what_one_does(tmp_path: Path) -> None:
    catalogue = packing.make_catalogue(tmp_path / "media", items=70)
    one = packing.pack(catalogue, tmp_path / "one", 2, processes=1)
    assert len(one.shards) >= 2 * SHARDS_A_PROCESS
    assert packing.pack(catalogue, tmp_path / "two", 2, processes=2) == one
    assert packing.contents(tmp_path / "one") == packing.contents(tmp_path / "two")


@given(st.text(min_size=1), st.integers(1, 10_000))
def test_a_sample_moves_only_when_its_shard_is_split(text: str, shards: int) -> None:
    before, after = shard_of(text, shards), shard_of(text, shards + 1)
    assert 0 <= before < shards
    split = shards - (1 << (shards.bit_length() - 1))  # the shard that gives samples to the new last one
    assert after == before or (before == split and after == shards)


def test_history_ends_before_the_target() -> None:
    clicks = [
        Interaction("u", item, timestamp=when) for item, when in [("b", 5), ("a", 2), ("t", 4), ("c", 4)]
    ]
    clicks += [Interaction("u", "t", "purchase", timestamp=9), Interaction("u", "n", timestamp=0)]
    assert [i.item_id for i in history_before(clicks, Reason("u", "t", ""))] == ["n", "a"]
    assert [i.item_id for i in history_before(clicks, Reason("u", "new", ""))] == [
        "n",
        "a",
        "t",
        "c",
        "b",
        "t",
    ]
    untimed = [Interaction("u", item) for item in ("x", "t", "y")]
    assert [i.item_id for i in history_before(untimed, Reason("u", "t", ""))] == ["x", "y"]


def test_missing_media_and_items_are_counted_and_left_out(tmp_path: Path) -> None:
    catalogue = packing.make_catalogue(tmp_path / "media")
    ids = list(catalogue.items)
    (tmp_path / "media" / "1-0.JPG").unlink()
    (tmp_path / "media" / "5.mp4").write_bytes(b"")
    (tmp_path / "media" / "folder").mkdir()
    catalogue.items[ids[2]].images = ["folder", "../outside.jpg", "2-0.JPG"]
    catalogue.items[""] = Item("")
    catalogue.reasons.append(Reason("u0", "gone", "Because."))
    manifest = packing.pack(catalogue, tmp_path / "shards", 8)
    assert manifest.skipped == {
        "item id is empty": 1,
        "media file empty": 1,
        "media file missing": 1,
        "media file unreadable": 2,
        "reason for an item not in the catalogue": 1,
    }
    rows = [json.loads(row) for row in (tmp_path / "shards" / "quarantine.jsonl").read_text().splitlines()]
    assert len(rows) == sum(manifest.skipped.values())
    assert {"id": ids[1], "file": "1-0.JPG", "cause": "media file missing"} in rows
    items = {item.id: item for item in item_samples(tmp_path / "shards")}
    assert sorted(items) == sorted(ids)
    assert items[ids[1]].images == [(tmp_path / "media" / "1-1.png").read_bytes()]
    assert items[ids[2]].images == [(tmp_path / "media" / "2-0.JPG").read_bytes()]
    assert items[ids[5]].video is None
    assert read_manifest(tmp_path / "shards") == manifest


def test_odd_extensions(tmp_path: Path) -> None:
    names = ["a.JPEG", "noextension", "b.tar.webp", "c.json", "d.j p", "e.jpg?width=3"]
    for name in [*names, "clip.json"]:
        (tmp_path / name).write_bytes(name.encode())
    item = Item("x", images=names, video="clip.json")
    packing.pack(catalogues.Catalogue({"x": item}, [], [], tmp_path), tmp_path / "shards")
    with tarfile.open(tmp_path / "shards" / "items-000000.tar") as tar:
        ends = ["json", "0.jpeg", "1.bin", "2.webp", "3.bin", "4.bin", "5.bin", "bin"]
        assert tar.getnames() == [f"x.{end}" for end in ends]
    (read,) = item_samples(tmp_path / "shards")
    assert read.images == [name.encode() for name in names] and read.video == b"clip.json"


def test_a_kill_at_any_sync_of_a_pack(tmp_path: Path) -> None:
    assert int(script("pack", str(tmp_path))) > 10


def test_kills_at_random_moments_of_a_pack(tmp_path: Path) -> None:
    catalogues.write_catalogue(packing.make_catalogue(tmp_path / "media", items=60), tmp_path / "catalogue")
    write_shards(tmp_path / "catalogue", tmp_path / "whole", 2)
    code = (
        "import sys, packing; from pathlib import Path; root = Path(sys.argv[1]); print('ready', flush=True);"
        "[packing.write_shards(root / 'catalogue', root / 'shards', 2) for _ in range(1000)]"
    )
    rng = random.Random(0)
    environment = {**os.environ, "PYTHONPATH": str(Path(packing.__file__).parent)}
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.02, 0.3))
        child.kill()
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
    write_shards(tmp_path / "catalogue", tmp_path / "shards", 2)
    assert packing.contents(tmp_path / "shards") == packing.contents(tmp_path / "whole")


def test_a_file_size_limit_is_one_line(tmp_path: Path) -> None:
    shard, part, _ = script("limit", str(tmp_path)).splitlines()
    assert "items-000002.tar: cannot be written (File too large)" in shard
    assert "part-000001: cannot be written" in part
    names = {path.name for path in (tmp_path / "shards").iterdir()}
    assert names == {".packed.jsonl", "items-000000.tar", "items-000001.tar"}
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["index.json", "part-000000"]


@pytest.mark.parametrize("number", [0, 4, 6, 8])
def test_a_full_disk_keeps_finished_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    catalogue = packing.make_catalogue(tmp_path / "media")
    packing.pack(catalogue, tmp_path / "whole", 8)
    catalogues.write_catalogue(catalogue, tmp_path / "catalogue")
    sync, left = os.fsync, [number]

    def full(handle: int) -> None:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        sync(handle)

    packing.pack(catalogue, tmp_path / "shards", 20)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        DataError, match=r"(tar|jsonl?|parquet): cannot be written \(No space left on device\)"
    ) as caught:
        write_shards(tmp_path / "catalogue", tmp_path / "shards", 8)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    found, whole = packing.contents(tmp_path / "shards"), packing.contents(tmp_path / "whole")
    assert len(found.items() & whole.items()) >= min(number // 2, 6)
    with pytest.raises(DataError, match="did not finish"):  # what an earlier pack promised no longer holds
        read_manifest(tmp_path / "shards")
    (tmp_path / "shards" / ".tmp-items-000099.tar").write_bytes(b"of a killed, larger pack")
    packing.pack(catalogue, tmp_path / "shards", 8)
    assert packing.contents(tmp_path / "shards") == whole


def test_verify_names_the_bad_shard(shards_of_20: Path, tmp_path: Path) -> None:
    shutil.copytree(shards_of_20, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "items-000001.tar"
    data = path.read_bytes()
    path.write_bytes(data[:600] + bytes([data[600] ^ 1]) + data[601:])
    with pytest.raises(DataError, match=r"1 of 6 shards are bad, first items-000001.tar: its bytes"):
        verify_shards(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"items-000001.tar: missing"):
        verify_shards(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda record: record.pop("totals"),
        lambda record: record.update(version=1),
        lambda record: record["totals"].update(items=3),
        lambda record: record["shards"][0].update(name="../items-000000.tar"),
        lambda record: record["shards"][0].update(name="pipe:rm items-000000.tar"),
        lambda record: record["shards"][0].update(kind="reasons-train"),
        lambda record: record["shards"][0].update(samples="8"),
        lambda record: record.update(shards=None),
    ],
)
def test_a_corrupt_manifest_is_refused(shards_of_20: Path, tmp_path: Path, edit) -> None:
    shutil.copytree(shards_of_20, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "manifest.json"
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"manifest.json: not a manifest .*run pack again"):
        read_manifest(tmp_path)


def test_no_or_cut_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run pack"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"version": 1, "sh')
    with pytest.raises(DataError, match="not a manifest"):
        read_manifest(tmp_path)


def test_nothing_to_pack(tmp_path: Path) -> None:
    config = Config(run_dir=str(tmp_path))
    catalogues.write_catalogue(catalogues.Catalogue({}, [], [], tmp_path), config.path("catalogue"))
    with pytest.raises(DataError, match="no items"):
        pack(config)
    with pytest.raises(DataError, match="shard_size"):
        packing.pack(packing.make_catalogue(tmp_path / "media"), tmp_path / "shards", 0)
    with pytest.raises(DataError, match="no catalogue"):
        write_shards(tmp_path / "nowhere", tmp_path / "shards")


def test_a_training_history_shows_no_held_out_pair(tmp_path: Path) -> None:
    items = {name: Item(name, split="test" if name == "b" else "train") for name in "abc"}
    done = [Interaction("u", item, timestamp=float(n)) for n, item in enumerate("bca", 1)]
    reasons = [Reason("u", "a", "Why."), Reason("u", "b", "Why.", split="test")]
    catalogues.write_catalogue(catalogues.Catalogue(items, done, reasons, tmp_path), tmp_path / "catalogue")
    write_shards(tmp_path / "catalogue", tmp_path / "shards")
    (sample,) = reason_samples(tmp_path / "shards", "train")
    assert [step.item_id for step in sample.user.history] == ["c"]
