import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import packing
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.schema import DataError, Item
from mmreason.store.features import content_hash
from mmreason.store.store import EmbeddingStore, StoreWriter


def write(folder: Path, *numbers: int) -> StoreWriter:
    writer = StoreWriter(folder, {"model": "m", "size": (4, 3)})
    for number in numbers:
        writer.write_part(*packing.part_of(number))
    return writer


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, 0, 1, 2)
    store = EmbeddingStore.open(tmp_path)
    assert len(store) == 15 and store.names == ["fused", "image"] and store.dims == {"fused": 4, "image": 3}
    assert store.meta == {"model": "m", "size": [4, 3]}
    ids = [one for number in range(3) for one in packing.part_of(number)[0]]
    assert store.ids == ids and "item 3" in store and "item 99" not in store
    for name in store.names:
        expected = np.concatenate([packing.part_of(number)[2][name] for number in range(3)])
        assert store.get(name).dtype == np.float32
        assert np.array_equal(store.get(name), expected.astype(np.float32))
        order = [14, 0, 7, 7, 3]
        asked = [ids[row] for row in order]
        assert np.array_equal(store.get(name, asked), expected[order].astype(np.float32))
        assert np.array_equal(store.get(name, np.array(order)), store.get(name, asked))
    expected = np.concatenate([packing.part_of(number)[3]["image"] for number in range(3)])
    assert np.array_equal(store.mask("image", ids[::-1]), expected[::-1])
    assert store.get("fused", []).shape == (0, 4)


@given(
    parts=st.lists(
        st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-50, 50), min_size=1), max_size=6
    ),
    reopen=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_later_rows_win(
    tmp_path_factory: pytest.TempPathFactory, parts: list[dict[str, int]], reopen: bool
) -> None:
    folder = tmp_path_factory.mktemp("store")
    writer = StoreWriter(folder, {})
    latest: dict[str, int] = {}
    for part in parts:
        writer = StoreWriter(folder, {}) if reopen else writer
        values = list(part.values())
        arrays = {"fused": np.array([[value, -value] for value in values], dtype=np.float16)}
        masks = {"text": np.array([value > 0 for value in values])}
        writer.write_part(list(part), [f"h{value}" for value in values], arrays, masks)
        latest |= part
    expected = {one: f"h{value}" for one, value in latest.items()}
    writer = StoreWriter(folder, {})
    assert writer.found == len(expected) and not writer.has("z", "h0")
    assert all(writer.has(one, content) and not writer.has(one, "h") for one, content in expected.items())
    if parts:
        store = EmbeddingStore.open(folder)
        assert store.ids == list(latest) and len(store) == len(latest)
        assert store.get("fused")[:, 0].tolist() == list(latest.values())
        assert store.mask("text").tolist() == [value > 0 for value in latest.values()]
        assert [store.index(one) for one in latest] == list(range(len(latest)))


def test_a_kill_at_any_sync_keeps_finished_parts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, packing.__file__, "store", tmp_path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15


def test_kills_at_random_moments(tmp_path: Path) -> None:
    code = (
        "import sys, packing; writer = packing.StoreWriter(sys.argv[1], {});"
        "print(writer.found, flush=True);"
        "[writer.write_part(*packing.part_of(n)) for n in range(writer.found // 5, 10_000)]"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(packing.__file__).parent)}
    rng = random.Random(0)
    rows = 0
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, env=environment
        )
        assert child.stdout is not None
        assert int(child.stdout.readline()) == rows
        time.sleep(rng.uniform(0.05, 0.3))
        child.kill()
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
        store = EmbeddingStore.open(tmp_path)  # readable as it was left
        assert len(store) > rows
        rows = len(store)
        for number in range(rows // 5):
            ids, _, arrays, _ = packing.part_of(number)
            assert np.array_equal(store.get("fused", ids), arrays["fused"])


def test_leftovers_go_when_a_writer_opens(tmp_path: Path) -> None:
    write(tmp_path, 0)
    (tmp_path / ".tmp-part-000001").mkdir()
    (tmp_path / ".tmp-part-000001" / "fused.npy").write_bytes(b"half")
    (tmp_path / "part-000001").mkdir()
    (tmp_path / ".tmp-index.json").write_bytes(b"{")
    write(tmp_path, 1)
    assert EmbeddingStore.open(tmp_path).ids == [f"item {n}" for n in range(10)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "part-000000", "part-000001"]


def test_another_model_starts_anew_only_if_asked(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    with pytest.raises(DataError, match="another model"):
        StoreWriter(tmp_path, {"model": "other"})
    assert len(EmbeddingStore.open(tmp_path)) == 10
    writer = StoreWriter(tmp_path, {"model": "other"}, overwrite=True)
    assert writer.found == 0
    writer.write_part(["a"], ["h"], {"text": np.zeros((1, 7), np.float32)}, {})
    store = EmbeddingStore.open(tmp_path)
    assert store.ids == ["a"] and store.dims == {"text": 7}
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(DataError, match=r"index.json: cannot be read"):
        StoreWriter(tmp_path, {"model": "other"})
    assert StoreWriter(tmp_path, {"model": "other"}, overwrite=True).found == 0


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write(tmp_path, 0)
    before = packing.contents(tmp_path)
    sync = os.fsync
    for number in range(6):
        left = [number]

        def full(handle: int, left: list[int] = left) -> None:
            if left[0] == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left[0] -= 1
            sync(handle)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
            writer.write_part(*packing.part_of(1))
        monkeypatch.undo()
        assert packing.contents(tmp_path) == before and len(EmbeddingStore.open(tmp_path)) == 5
    writer.write_part(*packing.part_of(1))
    assert len(EmbeddingStore.open(tmp_path)) == 10


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    writer = write(tmp_path, 0)
    ids, hashes, arrays, masks = packing.part_of(1)
    one = np.ones((5, 4), np.float32)
    for bad in (
        {"fused": arrays["fused"]},
        {**arrays, "fused": one[:, :3]},
        {**arrays, "fused": one.astype(np.float64)},
        {**arrays, "fused": one[:4]},
        {**arrays, "fused": one.astype(np.float16)},
    ):
        with pytest.raises(ValueError, match=r"fit the parts|want"):
            writer.write_part(ids, hashes, bad, masks)
    with pytest.raises(ValueError, match="bool"):
        writer.write_part(ids, hashes, arrays, {"image": np.ones(5)})
    with pytest.raises(ValueError, match="fit the parts"):
        writer.write_part(ids, hashes, arrays, {})
    with pytest.raises(ValueError, match="each id once"):
        writer.write_part(["a"] * 5, hashes, arrays, masks)
    arrays["fused"][2, 1] = np.nan
    with pytest.raises(DataError, match="item 'item 7': its fused vector is not finite"):
        writer.write_part(ids, hashes, arrays, masks)
    assert len(EmbeddingStore.open(tmp_path)) == 5


def test_unknown_names_and_damage_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no embedding store here"):
        EmbeddingStore.open(tmp_path)
    write(tmp_path, 0, 1)
    store = EmbeddingStore.open(tmp_path)
    with pytest.raises(DataError, match="no embedding of item 'x'"):
        store.get("fused", ["item 1", "x"])
    with pytest.raises(DataError, match=r"no array 'video'; there are fused, image"):
        store.get("video")
    with pytest.raises(DataError, match="no mask 'video'"):
        store.mask("video")
    with pytest.raises(IndexError):
        store.get("fused", [10])
    path = tmp_path / "part-000001" / "fused.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"fused.npy: cannot be read"):
        EmbeddingStore.open(tmp_path).get("fused")
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"fused.npy: cannot be read"):
        EmbeddingStore.open(tmp_path).get("fused")
    (tmp_path / "part-000001" / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"rows.parquet: cannot be read"):
        EmbeddingStore.open(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    index["parts"][0]["name"] = "../elsewhere"
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="not an index"):
        EmbeddingStore.open(tmp_path)


def test_many_parts_need_few_file_handles_and_a_lookup_is_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # 900 of them are slow
    writer = StoreWriter(tmp_path, {})
    for number in range(150):
        writer.write_part([f"i{number}"], ["h"], {"fused": np.full((1, 2), number, np.float32)}, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 140, hard))
    try:
        store = EmbeddingStore.open(tmp_path)
        assert store.get("fused")[:, 0].tolist() == list(range(150))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    times = []
    for number in range(150):
        start = time.perf_counter()
        assert store.index(f"i{number}") == number
        times.append(time.perf_counter() - start)
    assert sorted(times)[75] < 1e-4


def test_content_hash_follows_what_the_encoders_see() -> None:
    item = Item("a", "Coat", images=[b"1", b"23"], video=b"v", attributes={"color": ["red"]})
    same = Item(
        "b", "Coat", images=[b"1", b"23"], video=b"v", attributes={"color": ["red"]}, hidden={"x": ["y"]}
    )
    assert content_hash(item) == content_hash(same)
    changed = [
        Item("a", "Boat", images=[b"1", b"23"], video=b"v", attributes={"color": ["red"]}),
        Item("a", "Coat", images=[b"12", b"3"], video=b"v", attributes={"color": ["red"]}),
        Item("a", "Coat", images=[b"1", b"23", b"v"], attributes={"color": ["red"]}),
        Item("a", "Coat", images=[b"1", b"23"], video=b"v", attributes={"color": ["blue"]}),
    ]
    assert len({content_hash(one) for one in [item, *changed]}) == 5


def test_several_writers_share_a_store(tmp_path: Path) -> None:
    writers = [StoreWriter(tmp_path, {"model": "m"}, shard=(n, 2)) for n in (1, 2)]
    for number, writer in enumerate(writers):
        writer.write_part(*packing.part_of(number))
    assert len(EmbeddingStore.open(tmp_path)) == 10
    (tmp_path / ".tmp-part-000009-2-of-2").mkdir()  # of the other, at work: not the first one's to remove
    first = StoreWriter(tmp_path, {"model": "m"}, shard=(1, 2))
    assert first.found == 10 and (tmp_path / ".tmp-part-000009-2-of-2").exists()
    # A later writer of any shard counts, whatever its index file is called.
    ids, _, arrays, masks = packing.part_of(1)
    StoreWriter(tmp_path, {"model": "m"}).write_part(
        ids, ["new"] * 5, {n: a + 1 for n, a in arrays.items()}, masks
    )
    store = EmbeddingStore.open(tmp_path)
    assert len(store) == 10 and np.array_equal(store.get("fused", ids), arrays["fused"] + 1)
    assert StoreWriter(tmp_path, {"model": "m"}, shard=(2, 3)).has(ids[0], "new")
    StoreWriter(tmp_path, {"model": "other"}, overwrite=True, shard=(1, 2))
    assert not list(tmp_path.glob("part-*"))


@pytest.mark.parametrize("shards", [(1, 1), (2, 2)])
def test_what_is_no_longer_there_is_taken_out_and_may_come_back(
    tmp_path: Path, shards: tuple[int, int]
) -> None:
    parts = [packing.part_of(number) for number in range(2)]
    for number, part in enumerate(parts):
        StoreWriter(tmp_path, {}, shard=(min(number + 1, shards[0]), shards[1])).write_part(*part)
    ids, hashes, arrays, masks = parts[1]
    writer = StoreWriter(tmp_path, {})
    assert all(writer.has(*row) for row in zip(ids, hashes, strict=True))
    assert writer.forget_unseen() == 5
    store = EmbeddingStore.open(tmp_path)
    assert store.ids == ids and parts[0][0][0] not in store
    assert np.array_equal(store.get("fused"), arrays["fused"].astype(np.float32))
    assert np.array_equal(store.mask("image"), masks["image"])
    again = StoreWriter(tmp_path, {})
    assert again.found == 5 and not again.has(parts[0][0][0], parts[0][1][0])
    again.write_part(*parts[0])
    assert sorted(EmbeddingStore.open(tmp_path).ids) == sorted([*parts[0][0], *ids])


def test_an_index_that_cannot_be_read_is_not_a_corrupt_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    StoreWriter(tmp_path, {"model": "m"}).write_part(*packing.part_of(0))

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        with pytest.raises(DataError, match="Permission denied"):
            StoreWriter(tmp_path, {"model": "m"}, overwrite=True)
    assert len(EmbeddingStore.open(tmp_path)) == 5
    # Readers of the old parts must not find other vectors under their names.
    StoreWriter(tmp_path, {"model": "other"}, overwrite=True).write_part(*packing.part_of(1))
    assert EmbeddingStore.open(tmp_path).parts == ["part-000001"]


def test_ids_that_share_a_hash_are_told_apart() -> None:
    class Same(str):
        def __hash__(self) -> int:
            return 7

    from mmreason.store import ids as module

    found = module.Ids([pa.array(["a", "b", "a"])])
    assert found.all() == ["a", "b"] and found.places.tolist() == [2, 1] and found.row("zz") is None
    found._hashes[:] = 7
    assert found.row(Same("b")) == 1 and found.row(Same("a")) == 0 and found.row(Same("c")) is None
