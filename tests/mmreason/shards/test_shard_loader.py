import gzip
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import packing
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmreason.catalogue.catalogue import Catalogue
from mmreason.schema import DataError, Interaction, Item, Reason, item_key
from mmreason.shards.loader import (
    ShardLoader,
    decode_item,
    decode_reason,
    item_samples,
    reason_samples,
)
from mmreason.shards.samples import with_histories
from mmreason.store.features import content_hash
from mmreason.store.store import EmbeddingStore, StoreWriter

Members = list[tuple[tarfile.TarInfo, bytes]]


def ids_of(items: list[Any]) -> list[str]:
    return [item.id for item in items]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Shards of 41 items, and the items' ids in packed order as stock webdataset tells it."""
    root = tmp_path_factory.mktemp("packed")
    packing.pack(packing.make_catalogue(root / "media", items=41), root / "shards", 9)
    tars = sorted(str(path) for path in (root / "shards").glob("items-*.tar"))
    stock = webdataset.WebDataset(tars, shardshuffle=False)
    return root / "shards", [json.loads(sample["json"])["id"] for sample in stock]


@pytest.fixture
def copied(packed: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of the shards, to be damaged."""
    shutil.copytree(packed[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (1, 3), (2, 0), (2, 2), (3, 0)])
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
    shares = [ids_of(list(item_samples(tmp_path, rank=rank, world_size=5))) for rank in range(5)]
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
    assert len({ids.index(one) // 9 for one in first[:16]}) > 2  # samples of different shards meet


@pytest.mark.parametrize("workers", [0, 2])
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


def length_of(item: Item) -> float:
    """Made-up, with ties; needs no media."""
    assert not item.images and not item.video
    return len(item.title) * 10 + int(item.title.split()[-1]) % 4


@dataclass(frozen=True)
class Case:
    """What a loader is made with, but for its workers."""

    batch_size: int
    world_size: int
    shuffle: int
    endless: bool
    bucketed: bool
    seed: int

    def loader(self, folder: Path, rank: int, workers: int) -> ShardLoader:
        common: dict[str, Any] = {
            "batch_size": self.batch_size,
            "collate": ids_of,
            "rank": rank,
            "world_size": self.world_size,
            "workers": workers,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "length": length_of if self.bucketed else None,
        }
        return ShardLoader(folder, "items", endless=self.endless, **common)


CASES = st.builds(
    Case,
    batch_size=st.integers(1, 7),
    world_size=st.integers(1, 2),
    shuffle=st.sampled_from([0, 5, 16, 100]),
    endless=st.booleans(),
    bucketed=st.booleans(),
    seed=st.integers(0, 3),
)


def goes_on(case: Case, folder: Path, rank: int, stop: int, before: int, after: int) -> None:
    """Stopping after a step and going on with other workers gives what not stopping gives."""
    whole = case.loader(folder, rank, 0)
    uninterrupted = list(islice(whole, 25))
    stop = min(stop, len(uninterrupted))
    first = case.loader(folder, rank, before)
    head = list(islice(first, stop))
    state = json.loads(json.dumps(first.state_dict()))
    second = case.loader(folder, rank, after)
    second.load_state_dict(state)
    assert head + list(islice(second, 25 - len(head))) == uninterrupted
    assert (second.epoch, second.kept, second.skipped) == (whole.epoch, whole.kept, whole.skipped)


@given(case=CASES, stop=st.integers(0, 25), rank=st.integers(0, 1))
@settings(max_examples=150, deadline=None)
def test_resuming_gives_the_remaining_batches(
    packed: tuple[Path, list[str]], case: Case, stop: int, rank: int
) -> None:
    goes_on(case, packed[0], min(rank, case.world_size - 1), stop, 0, 0)


@pytest.mark.parametrize(
    ("before", "after", "case"),
    [
        (0, 3, Case(3, 1, 7, False, False, 5)),
        (2, 0, Case(3, 2, 7, True, True, 5)),
        (3, 2, Case(4, 2, 16, True, True, 0)),
        (1, 3, Case(2, 1, 0, False, False, 0)),
    ],
)
def test_resuming_with_other_workers(
    packed: tuple[Path, list[str]], before: int, after: int, case: Case
) -> None:
    for rank in range(case.world_size):
        goes_on(case, packed[0], rank, 8, before, after)


@given(case=CASES)
@settings(max_examples=100, deadline=None)
def test_each_sample_once_an_epoch_over_all_ranks(packed: tuple[Path, list[str]], case: Case) -> None:
    loaders = [case.loader(packed[0], rank, 0) for rank in range(case.world_size)]
    ranks = [list(islice(loader, len(loader))) for loader in loaders]
    seen = Counter(one for batches in ranks for batch in batches for one in batch)
    assert max(seen.values()) == 1 and seen.keys() <= set(packed[1])
    assert len(seen) == 41 - loaders[0].left_out
    assert loaders[0].left_out == (41 % (case.world_size * case.batch_size) if case.endless else 0)
    if case.endless:
        assert len({len(batches) for batches in ranks}) == 1
        assert {len(batch) for batches in ranks for batch in batches} == {case.batch_size}


def test_batches_hold_samples_alike_in_length(packed: tuple[Path, list[str]]) -> None:
    def collate(items: list[Item]) -> list[float]:
        return [length_of(replace(item, images=[], video=None)) for item in items]

    options: dict[str, Any] = {"batch_size": 4, "collate": collate, "shuffle": 40, "endless": True}

    def spread(loader: ShardLoader) -> float:
        return sum(max(batch) - min(batch) for batch in islice(loader, 30))

    bucketed = ShardLoader(packed[0], "items", length=length_of, **options)
    assert spread(bucketed) < 0.4 * spread(ShardLoader(packed[0], "items", **options))


def test_samples_that_the_callers_decoder_refuses_are_counted(packed: tuple[Path, list[str]]) -> None:
    def decode(item: Item) -> str:
        if item.id == "sku.3/é":
            raise ValueError("no picture")
        return item.id

    loader = ShardLoader(packed[0], "items", batch_size=4, collate=list, decode=decode)
    seen = [one for batch in loader for one in batch]
    assert len(seen) == loader.kept == 40 and "sku.3/é" not in seen
    ((cause, _),) = loader.skipped
    assert cause == "cannot be decoded (ValueError)"


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
            info.uname = ""  # without a checksum, as tars of other writers are
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
    place = next(place for place, (info, _) in enumerate(members) if info.name.endswith(".mp4"))
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
    (duplicate_member, "duplicate key", 41, 1),
    (duplicate_key, "duplicate key", 41, 1),
    (unsafe_name, "unsafe name", 41, 1),
    (lost, "samples missing", 40, 1),
]


@pytest.mark.parametrize(
    ("fault", "cause", "kept", "skipped"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS]
)
@pytest.mark.parametrize("workers", [0])
def test_bad_samples_are_counted(
    copied: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Members], Members],
    cause: str,
    kept: int,
    skipped: int,
    workers: int,
) -> None:
    rewrite(copied / "items-000001.tar", fault)
    loader = ShardLoader(copied, "items", batch_size=4, collate=ids_of, workers=workers)
    with caplog.at_level(logging.WARNING):
        seen = [one for batch in loader for one in batch]
    assert loader.skipped == {(cause, "items-000001.tar"): skipped}
    assert loader.kept == len(seen) == len(set(seen)) == kept
    assert f"{skipped} of 41 samples skipped" in caplog.text
    assert ("the manifest says 41" in caplog.text) == (kept + skipped != 41)


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize("workers", [0])
@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda path: cut(path, 0.55), "broken tar"),
        (lambda path: cut(path, 0.0), "broken tar"),
        (lambda path: path.write_bytes(gzip.compress(path.read_bytes())), "broken tar"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + path.read_bytes()[2:]), "no json"),
        (lambda path: os.truncate(path, 1 << 40), "shard longer than packed"),
        (lambda path: path.unlink(), "shard missing"),
        (lambda path: (path.unlink(), path.mkdir()), "shard missing"),
    ],
    ids=["truncated", "empty", "compressed", "bad header", "endless", "gone", "folder"],
)
def test_broken_shards_are_counted(
    copied: Path, damage: Callable[[Path], None], cause: str, workers: int
) -> None:
    damage(copied / "items-000001.tar")
    options: dict[str, Any] = {"batch_size": 4, "collate": ids_of, "workers": workers}
    loader = ShardLoader(copied, "items", max_skip_fraction=0.5, **options)
    seen = [one for batch in loader for one in batch]
    assert len(seen) == len(set(seen)) == loader.kept < 41
    assert loader.skipped.total() == 41 - len(seen)
    causes = {named for named, shard in loader.skipped if shard == "items-000001.tar"}
    assert cause in causes and causes <= {cause, "member missing", "no json"}
    if cause != "no json":
        with pytest.raises(DataError, match=rf"of 41 samples skipped, most .* in items-000001.tar: {cause}"):
            list(ShardLoader(copied, "items", **options))


@given(share=st.floats(0, 1), flip=st.integers(0, 1 << 40), cutting=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_or_flip_anywhere_never_loses_count(
    packed: tuple[Path, list[str]], copied: Path, share: float, flip: int, cutting: bool
) -> None:
    whole = {item.id: item for item in item_samples(packed[0])}
    path = copied / "items-000001.tar"
    data = bytearray((packed[0] / path.name).read_bytes())
    data[flip // 8 % len(data)] ^= 1 << flip % 8
    path.write_bytes(data[: int(share * len(data))] if cutting else data)
    loader = ShardLoader(copied, "items", batch_size=4, collate=list, max_skip_fraction=1)
    seen = [one for batch in loader for one in batch]
    assert len(seen) == len({one.id for one in seen}) == loader.kept
    assert loader.kept + loader.skipped.total() == 41
    assert all(whole[one.id] == one for one in seen)  # nothing wrong goes through


@pytest.mark.parametrize("workers", [0, 2])
def test_training_fills_the_gaps_of_bad_samples(copied: Path, workers: int) -> None:
    rewrite(copied / "items-000001.tar", bad_json)
    loader = ShardLoader(copied, "items", batch_size=4, collate=ids_of, workers=workers, even=True)
    batches = list(loader)
    assert [len(batch) for batch in batches] == [4] * 10 and len(loader) == 10
    assert loader.repeated == 1 and loader.skipped.total() == 1 and loader.kept == 39


def test_reasons_with_bad_fields_are_skipped(tmp_path: Path) -> None:
    packing.pack(packing.make_catalogue(tmp_path / "media", users=11), tmp_path, 9)
    whole = list(reason_samples(tmp_path, "train"))
    assert len(whole) == 22 and any(sample.user.history for sample in whole)

    def edit(members: Members) -> Members:
        info, data = members[3]
        record = json.loads(data)
        record["evidence"] = [{"no": "evidence"}]
        return [*members[:3], (info, json.dumps(record).encode()), *members[4:]]

    rewrite(tmp_path / "reasons-train-000000.tar", edit)
    loader = ShardLoader(tmp_path, "reasons-train", batch_size=4, collate=list)
    assert [one for batch in loader for one in batch] == whole[:2] + whole[3:]
    assert loader.skipped == {("bad json", "reasons-train-000000.tar"): 1}


def test_a_history_is_stored_once_a_user_and_never_read_as_another_users(tmp_path: Path) -> None:
    packing.pack(packing.make_catalogue(tmp_path / "media", users=11), tmp_path, 99)
    whole = list(reason_samples(tmp_path, "train"))
    with tarfile.open(tmp_path / "reasons-train-000000.tar") as tar:
        names = tar.getnames()
    assert len(whole) == 22 and sum(name.endswith(".history.json") for name in names) == 11

    def lose(members: Members) -> Members:
        return [member for member in members if member[0].name != names[4]]  # of the second user

    assert names[4].endswith(".history.json")
    rewrite(tmp_path / "reasons-train-000000.tar", lose)
    loader = ShardLoader(tmp_path, "reasons-train", batch_size=4, collate=list, max_skip_fraction=0.5)
    assert [one for batch in loader for one in batch] == whole[:2] + whole[4:]
    assert loader.skipped == {("bad history", "reasons-train-000000.tar"): 2}


def test_decoding_stock_samples(packed: tuple[Path, list[str]]) -> None:
    stock = webdataset.WebDataset(str(packed[0] / "items-000000.tar"), shardshuffle=False)
    samples = [decode_item(sample) for sample in stock]
    assert samples and samples == list(item_samples(packed[0]))[: len(samples)]
    stock = webdataset.WebDataset(str(packed[0] / "reasons-test-000000.tar"), shardshuffle=False)
    assert [decode_reason(sample) for sample in with_histories(stock)] == list(
        reason_samples(packed[0], "test")
    )


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
    code = "import mmreason.shards.loader, mmreason.store.store, sys; sys.exit('torch' in sys.modules)"
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
@settings(max_examples=12, deadline=None)
def test_any_id_goes_through(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    folder = tmp_path_factory.mktemp("ids")
    (folder / "a.jpg").write_bytes(b"picture")
    items = {one: Item(one, title=f"Item {one}", images=["a.jpg"]) for one in ids}
    reasons = [Reason(one, one, "Because.") for one in ids]
    clicks = [Interaction(one, other) for one in ids for other in ids]
    manifest = packing.pack(Catalogue(items, clicks, reasons, folder), folder / "shards", 5)
    assert not manifest.skipped
    read = list(item_samples(folder / "shards"))
    assert sorted(ids_of(read)) == sorted(ids) and all(
        item.images == [b"picture"] and item.title == f"Item {item.id}" for item in read
    )
    targets = {target.user.id: target.user for target in reason_samples(folder / "shards", "train")}
    assert targets.keys() == set(ids) and all(len(user.history) == len(ids) - 1 for user in targets.values())
    assert len({item_key(one) for one in ids}) == len(ids)
    vectors = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)
    StoreWriter(folder / "store", {}).write_part(
        ids_of(read), [content_hash(item) for item in read], {"fused": vectors}, {}
    )
    store = EmbeddingStore.open(folder / "store")
    assert store.ids == ids_of(read)
    assert np.array_equal(store.get("fused", ids_of(read)[::-1]), vectors[::-1])
