import io
import json
import logging
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import packing
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.data.catalogue import Catalogue
from mmreason.data.loader import ShardLoader, decode_item, decode_reason, item_samples, reason_samples
from mmreason.data.store import EmbeddingStore, StoreWriter, content_hash
from mmreason.schema import DataError, Item, item_key

Members = list[tuple[tarfile.TarInfo, bytes]]


def ids_of(items: list[Any]) -> list[str]:
    return [item.id for item in items]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    root = tmp_path_factory.mktemp("packed")
    catalogue = packing.make_catalogue(root / "media", items=41)
    packing.pack(catalogue, root / "shards", 9)
    return root / "shards", list(catalogue.items)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_one_pass_gives_each_sample_once(
    packed: tuple[Path, list[str]], world_size: int, workers: int
) -> None:
    folder, ids = packed
    seen = []
    for rank in range(world_size):
        loader = ShardLoader(
            folder,
            "items",
            batch_size=4,
            collate=ids_of,
            rank=rank,
            world_size=world_size,
            workers=workers,
            shuffle=8,
        )
        batches = list(loader)
        assert len(batches) == len(loader) and loader.kept == sum(map(len, batches)) and not loader.skipped
        seen += [one for batch in batches for one in batch]
    assert sorted(seen) == sorted(ids)


def test_more_readers_than_samples(tmp_path: Path) -> None:
    packing.pack(packing.make_catalogue(tmp_path / "media", items=3), tmp_path, 9)
    shares = [ids_of(list(item_samples(tmp_path, rank=rank, world_size=5, workers=2))) for rank in range(5)]
    assert [len(share) for share in shares] == [1, 1, 1, 0, 0]
    assert len({one for share in shares for one in share}) == 3


def test_order_without_shuffle_and_with(packed: tuple[Path, list[str]]) -> None:
    folder, ids = packed
    assert ids_of(list(item_samples(folder))) == ids

    def order(seed: int, epochs: int = 1) -> list[list[str]]:
        loader = ShardLoader(folder, "items", batch_size=41, collate=ids_of, shuffle=16, seed=seed)
        return [one for _ in range(epochs) for one in loader]

    first, second = order(0, 2)
    assert order(0) == [first] and order(1) != [first] and first != second
    assert sorted(first) == sorted(second) == sorted(ids) and first != ids
    assert len({ids.index(one) // 9 for one in first[:9]}) > 1  # samples of different shards meet


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_training_ranks_give_equal_full_batches(packed: tuple[Path, list[str]], workers: int) -> None:
    folder, ids = packed
    common: dict[str, Any] = {
        "batch_size": 4,
        "collate": ids_of,
        "shuffle": 16,
        "endless": True,
        "world_size": 3,
    }
    epochs: list[list[str]] = [[], []]
    for rank in range(3):
        loader = ShardLoader(folder, "items", rank=rank, workers=workers, **common)
        assert len(loader) == 41 // 12
        batches = list(islice(loader, 2 * len(loader)))
        assert {len(batch) for batch in batches} == {4}
        for epoch in range(2):
            epochs[epoch] += [one for batch in batches[3 * epoch : 3 * epoch + 3] for one in batch]
    for seen in epochs:
        assert len(set(seen)) == 36  # nothing twice
    assert set(ids) - set(epochs[0]) != set(ids) - set(epochs[1])  # another rest is left out


def test_training_leaves_out_another_rest_of_a_lone_shard(tmp_path: Path) -> None:
    catalogue = packing.make_catalogue(tmp_path / "media", items=11)
    packing.pack(catalogue, tmp_path, 20)
    loader = ShardLoader(tmp_path, "items", batch_size=4, collate=ids_of, shuffle=4, endless=True)
    seen = {one for batch in islice(loader, 20) for one in batch}
    assert seen == set(catalogue.items)


def test_training_with_less_than_a_batch_a_rank_goes_through_it_again(tmp_path: Path) -> None:
    packing.pack(packing.make_catalogue(tmp_path / "media", items=5), tmp_path, 2)
    seen: Counter[str] = Counter()
    for rank in range(2):
        loader = ShardLoader(
            tmp_path, "items", batch_size=4, collate=ids_of, rank=rank, world_size=2, even=True, shuffle=4
        )
        (batch,) = list(loader)
        assert len(batch) == 4
        seen.update(batch)
    assert len(seen) == 5 and max(seen.values()) == 2


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("endless", [True, False])
def test_resuming_gives_the_remaining_batches_in_order(
    packed: tuple[Path, list[str]], workers: int, endless: bool
) -> None:
    def loader() -> ShardLoader:
        return ShardLoader(
            packed[0],
            "items",
            batch_size=3,
            collate=ids_of,
            workers=workers,
            shuffle=7,
            endless=endless,
            seed=5,
        )

    uninterrupted = list(islice(loader(), 22))
    assert len(uninterrupted) == (22 if endless else len(loader()))
    for stop in (0, 1, 5, 12, len(loader())):
        first = loader()
        head = list(islice(first, stop))
        state = json.loads(json.dumps(first.state_dict()))
        assert state["samples"] == sum(map(len, head))
        second = loader()
        second.load_state_dict(state)
        assert head + list(islice(second, 22 - stop)) == uninterrupted


def test_an_iteration_goes_on_where_it_was_left(packed: tuple[Path, list[str]]) -> None:
    loader = ShardLoader(packed[0], "items", batch_size=5, collate=ids_of)
    head = next(iter(loader))
    rest = [one for batch in loader for one in batch]
    assert head + rest == packed[1] and loader.epoch == 1 and loader.kept == 41


def test_a_state_of_another_layout_starts_the_epoch_anew(
    packed: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    loader = ShardLoader(packed[0], "items", batch_size=5, collate=ids_of, endless=True)
    list(islice(loader, 11))
    other = ShardLoader(packed[0], "items", batch_size=6, collate=ids_of, endless=True)
    with caplog.at_level(logging.WARNING):
        other.load_state_dict(loader.state_dict())
    assert "batch_size changed: epoch 1 starts anew" in caplog.text
    assert next(iter(other)) == packed[1][:6] and other.epoch == 1


def rewrite(path: Path, edit: Callable[[Members], Members]) -> None:
    """Change the members of a shard."""
    with tarfile.open(path) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar.getmembers()]  # type: ignore[union-attr]
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in edit(members):
            info.size = 0 if info.issym() else len(data)
            tar.addfile(info, io.BytesIO(data))


def named(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def second_json(members: Members) -> int:
    return [place for place, (info, _) in enumerate(members) if info.name.endswith(".json")][1]


def bad_json(members: Members) -> Members:
    place = second_json(members)
    return [*members[:place], (members[place][0], b'{"id": '), *members[place + 1 :]]


def no_json(members: Members) -> Members:
    place = second_json(members)
    return members[:place] + members[place + 1 :]


def foreign_json(members: Members) -> Members:
    place = second_json(members)
    return [*members[:place], (members[place][0], members[0][1]), *members[place + 1 :]]


def symlink(members: Members) -> Members:
    place = second_json(members) + 1
    return [*members[:place], (named(members[place][0].name, tarfile.SYMTYPE), b""), *members[place + 1 :]]


def no_video(members: Members) -> Members:
    place = second_json(members) + 2
    assert members[place][0].name.endswith(".mp4")
    return members[:place] + members[place + 1 :]


def duplicate_member(members: Members) -> Members:
    place = second_json(members)
    return [*members[:place], members[place], members[place], *members[place + 1 :]]


def duplicate_key(members: Members) -> Members:
    place = second_json(members)
    return [*members, *members[:place]]


def unsafe_name(members: Members) -> Members:
    place = second_json(members)
    return [*members[:place], (named("../../outside.json"), members[0][1]), *members[place:]]


def lost(members: Members) -> Members:
    return members[second_json(members) :]


FAULTS: list[tuple[Callable[[Members], Members], str, int, int]] = [
    (bad_json, "bad json", 40, 1),
    (no_json, "no json", 40, 1),
    (foreign_json, "json of another item", 40, 1),
    (symlink, "member missing", 40, 1),
    (no_video, "member missing", 40, 1),
    (duplicate_member, "duplicate member", 40, 1),
    (duplicate_key, "duplicate key", 41, 1),
    (unsafe_name, "unsafe name", 41, 1),
    (lost, "samples missing", 40, 1),
]


@pytest.mark.parametrize(
    ("fault", "cause", "kept", "skipped"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_samples_are_counted(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Members], Members],
    cause: str,
    kept: int,
    skipped: int,
    workers: int,
) -> None:
    catalogue = packing.make_catalogue(tmp_path / "media", items=41)
    packing.pack(catalogue, tmp_path, 9)
    rewrite(tmp_path / "items-000001.tar", fault)
    loader = ShardLoader(tmp_path, "items", batch_size=4, collate=ids_of, workers=workers)
    with caplog.at_level(logging.WARNING):
        seen = [one for batch in loader for one in batch]
    assert loader.skipped == {(cause, "items-000001.tar"): skipped}
    assert loader.kept == len(seen) == len(set(seen)) == kept
    assert f"{skipped} of 41 samples skipped" in caplog.text
    assert ("the manifest says 41" in caplog.text) == (kept + skipped != 41)


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda path: cut(path, 0.55), "broken tar"),
        (lambda path: cut(path, 0.0), "broken tar"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + path.read_bytes()[2:]), "broken tar"),
        (lambda path: path.unlink(), "shard missing"),
        (lambda path: (path.unlink(), path.mkdir()), "shard missing"),
    ],
    ids=["truncated", "empty", "not a tar", "gone", "folder"],
)
def test_broken_shards_are_counted(
    tmp_path: Path, damage: Callable[[Path], None], cause: str, workers: int
) -> None:
    packing.pack(packing.make_catalogue(tmp_path / "media", items=41), tmp_path, 9)
    damage(tmp_path / "items-000001.tar")
    options: dict[str, Any] = {"batch_size": 4, "collate": ids_of, "workers": workers}
    loader = ShardLoader(tmp_path, "items", max_skip_fraction=0.5, **options)
    seen = [one for batch in loader for one in batch]
    assert 41 - 9 <= len(seen) == len(set(seen)) < 41
    assert loader.skipped == {(cause, "items-000001.tar"): 41 - len(seen)} and loader.kept == len(seen)
    with pytest.raises(DataError, match=rf"of 41 samples skipped, most .* in items-000001.tar: {cause}"):
        list(ShardLoader(tmp_path, "items", **options))


@given(share=st.floats(0, 1), workers=st.just(0))
@settings(max_examples=25, deadline=None)
def test_a_cut_anywhere_never_loses_count(
    tmp_path_factory: pytest.TempPathFactory, share: float, workers: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    packing.pack(packing.make_catalogue(folder / "media", items=6), folder, 6)
    cut(folder / "items-000000.tar", share)
    loader = ShardLoader(folder, "items", batch_size=4, collate=ids_of, max_skip_fraction=1, workers=workers)
    seen = [one for batch in loader for one in batch]
    assert len(seen) == loader.kept and loader.kept + sum(loader.skipped.values()) == 6


@pytest.mark.parametrize("workers", [0, 2])
def test_training_fills_the_gaps_of_bad_samples(tmp_path: Path, workers: int) -> None:
    packing.pack(packing.make_catalogue(tmp_path / "media", items=41), tmp_path, 9)
    rewrite(tmp_path / "items-000001.tar", bad_json)
    loader = ShardLoader(tmp_path, "items", batch_size=4, collate=ids_of, workers=workers, even=True)
    batches = list(loader)
    assert [len(batch) for batch in batches] == [4] * 10 and len(loader) == 10
    assert loader.repeated == 1 and loader.skipped.total() == 1 and loader.kept == 39


def test_reasons_with_bad_fields_are_skipped(tmp_path: Path) -> None:
    packing.pack(packing.make_catalogue(tmp_path / "media", users=11), tmp_path, 9)
    whole = list(reason_samples(tmp_path, "train"))
    assert len(whole) == 22 and all(sample.user.history for sample in whole[1::2])

    def edit(members: Members) -> Members:
        info, data = members[3]
        record = json.loads(data)
        record["evidence"] = [{"no": "evidence"}]
        return [*members[:3], (info, json.dumps(record).encode()), *members[4:]]

    rewrite(tmp_path / "reasons-train-000000.tar", edit)
    assert list(reason_samples(tmp_path, "train")) == whole[:3] + whole[4:]


def test_decoding_stock_samples(packed: tuple[Path, list[str]]) -> None:
    stock = webdataset.WebDataset(str(packed[0] / "items-000000.tar"), shardshuffle=False)
    assert [decode_item(sample) for sample in stock] == list(item_samples(packed[0]))[:9]
    stock = webdataset.WebDataset(str(packed[0] / "reasons-test-000000.tar"), shardshuffle=False)
    assert [decode_reason(sample) for sample in stock] == list(reason_samples(packed[0], "test"))


def test_wrong_arguments(packed: tuple[Path, list[str]], tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 2, "collate": list}
    for folder in ("pipe:cat x", "https://example.org/shards", "S3://bucket/x"):
        with pytest.raises(DataError, match="local folder"):
            ShardLoader(folder, "items", **options)
    with pytest.raises(DataError, match="no shards of kind 'users'"):
        ShardLoader(packed[0], "users", **options)
    with pytest.raises(ValueError, match="rank=2"):
        ShardLoader(packed[0], "items", rank=2, world_size=2, **options)
    catalogue = packing.make_catalogue(tmp_path / "media")
    catalogue.reasons.clear()
    packing.pack(catalogue, tmp_path)
    assert list(reason_samples(tmp_path, "valid")) == []
    assert list(ShardLoader(tmp_path, "reasons-valid", even=True, **options)) == []
    with pytest.raises(DataError, match="no samples of kind reasons-train"):
        ShardLoader(tmp_path, "reasons-train", endless=True, **options)


def test_importing_it_imports_no_torch() -> None:
    code = "import mmreason.data.loader, mmreason.data.store, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_it_reads_where_webdataset_may_open_nothing(
    packed: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset.utils, "enforce_security", True)
    with pytest.raises(ValueError, match="cannot open local files"):
        webdataset.gopen(str(packed[0] / "items-000000.tar"))
    assert len(list(item_samples(packed[0]))) == 41


ODD = [
    "..",
    ".",
    "a.b.c",
    "a/b",
    "/",
    "100%",
    "%2F",
    "__x__",
    "-",
    " ",
    "\n",
    "\0",
    "ключ",
    "商品.1",
    "😀" * 60,
]


@given(ids=st.lists(st.text(min_size=1) | st.sampled_from(ODD), min_size=1, max_size=12, unique=True))
@settings(max_examples=25, deadline=None)
def test_any_id_goes_through(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    folder = tmp_path_factory.mktemp("ids")
    (folder / "a.jpg").write_bytes(b"picture")
    items = {one: Item(one, title=one, images=["a.jpg"]) for one in ids}
    manifest = packing.pack(Catalogue(items, [], [], folder), folder / "shards", 5)
    assert not manifest.skipped
    read = list(item_samples(folder / "shards"))
    assert ids_of(read) == ids and all(item.images == [b"picture"] and item.title == item.id for item in read)
    assert len({item_key(one) for one in ids}) == len(ids)
    vectors = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)
    StoreWriter(folder / "store", {}).write_part(
        ids, [content_hash(item) for item in read], {"fused": vectors}, {}
    )
    store = EmbeddingStore.open(folder / "store")
    assert store.ids == ids
    assert np.array_equal(store.get("fused", ids[::-1]), vectors[::-1])
