"""Reasons by user and item: the newest that still holds, quickly."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmreason import ReasonStore
from mmreason.bulk.asked import Asked
from mmreason.bulk.attempts import Pair
from mmreason.bulk.export import export_reasons
from mmreason.bulk.index import COLUMNS, LOCK, REASONS
from mmreason.bulk.job import Job
from mmreason.bulk.parts import note_progress
from mmreason.schema import DataError, Evidence, Item, Reason, User


def write(pairs: list[Pair]) -> list[Reason]:
    found = []
    for user, item in pairs:
        if item.id == "broken":
            raise DataError("no picture")
        evidence = [Evidence("material", "wool", "picture" if item.id == "scarf" else "attribute")]
        found.append(Reason(user.id, item.id, f"{item.title} for {user.id}", evidence, 0.5, True))
    return found


def job(run: Path, name: str, *asked: Asked, stopped: bool = False, model: str = "a") -> int:
    """A job over items that say ``v1``, stopped after the first window or not at all; returns what is left."""
    job = Job(run / "generate" / name, 1)
    outlook = job.prepare(
        lambda: [replace(a, key=f"{model} {name} {a}", content=a.content or "v1") for a in asked]
    )
    ends = 0.0 if stopped else inf
    return job.run(outlook, lambda a: (User(a.user_id), Item(a.item_id, title=model)), lambda: write, ends)


def facts(run: Path, **contents: str) -> None:
    """Facts of items: read from what they say, and where a slash is in it from what their pictures show."""
    (run / "evidence").mkdir(exist_ok=True)
    said = [(item, each.partition("/")[0], "attribute") for item, each in contents.items()]
    shown = [(item, each.partition("/")[2], "picture") for item, each in contents.items() if "/" in each]
    rows = dict(zip(("item_id", "content", "source"), zip(*said, *said, *shown, strict=True), strict=True))
    pq.write_table(pa.table(rows), run / "evidence" / "facts.parquet")


ANN, BOB = Asked("ann", "coat"), Asked("bob", "hat")


def test_reasons_by_user_and_item(tmp_path: Path) -> None:
    job(tmp_path, "spring", ANN, BOB, Asked("ann", "hat"), Asked("ann", "broken"), Asked("", "coat"))
    store = ReasonStore.open(tmp_path)
    reason = store.get("ann", "coat")
    assert reason == Reason(
        "ann", "coat", "a for ann", [Evidence("material", "wool", "attribute")], 0.5, verified=True
    )
    assert [each.item_id for each in store.of_user("ann")] == ["coat", "hat"]
    assert store.get("", "coat") and len(store) == 4
    assert store.get("ann", "broken") is None and store.get("nobody", "coat") is None
    with pytest.raises(DataError, match="run `mmreason generate` first"):
        ReasonStore.open(tmp_path / "elsewhere")


def test_the_newest_job_wins_and_one_that_is_at_work_leaves_what_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(tmp_path, "spring", ANN, BOB)
    os.utime(tmp_path / "generate" / "spring" / "progress.json", (0, 1000))
    assert ReasonStore.open(tmp_path).get("ann", "coat").text == "a for ann"  # type: ignore[union-attr]
    job(tmp_path, "autumn", ANN, model="b")
    store = ReasonStore.open(tmp_path)
    assert [store.get(a.user_id, a.item_id).text for a in (ANN, BOB)] == ["b for ann", "a for bob"]  # type: ignore[union-attr]
    monkeypatch.setattr("mmreason.bulk.windows.WINDOW", 1)
    assert job(tmp_path, "autumn", Asked("zoe", "hat"), ANN, model="c", stopped=True) == 1
    store = ReasonStore.open(tmp_path)
    assert store.get("ann", "coat").text == "b for ann"  # type: ignore[union-attr]
    assert store.get("bob", "hat").text == "a for bob"  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "generate" / "autumn")
    assert ReasonStore.open(tmp_path).get("ann", "coat").text == "a for ann"  # type: ignore[union-attr]


def test_a_reason_ends_with_what_its_item_said(tmp_path: Path) -> None:
    job(tmp_path, "spring", ANN, BOB)
    facts(tmp_path, coat="v1", hat="v2")
    store = ReasonStore.open(tmp_path)
    assert store.get("ann", "coat") and store.get("bob", "hat") is None and len(store) == 1
    facts(tmp_path, hat="v1")
    store = ReasonStore.open(tmp_path)
    assert store.get("ann", "coat") is None and store.get("bob", "hat") and not store.of_user("ann")


def test_a_reason_that_rests_on_a_picture_ends_with_it(tmp_path: Path) -> None:
    asked = [replace(ANN, content="v1/p1"), Asked("ann", "scarf", content="v1/p1")]
    job(tmp_path, "spring", *asked)
    for now, (coat, scarf) in {"v1/p1": (1, 1), "v1/p2": (1, 0), "v1": (1, 0), "v2/p1": (0, 0)}.items():
        facts(tmp_path, coat=now, scarf=now)
        store = ReasonStore.open(tmp_path)
        found = [store.get("ann", "coat") is not None, store.get("ann", "scarf") is not None]
        assert found == [coat, scarf], now


def test_a_reason_ends_with_its_age_which_a_later_run_does_not_renew(tmp_path: Path) -> None:
    job(tmp_path, "spring", ANN)
    long_ago = time.time() - 10 * 86_400
    os.utime(tmp_path / "generate" / "spring" / "progress.json", (long_ago, long_ago))
    assert ReasonStore.open(tmp_path).get("ann", "coat")
    job(tmp_path, "spring", ANN, BOB)
    store = ReasonStore.open(tmp_path, max_days=9)
    assert store.get("ann", "coat") is None and store.get("bob", "hat")
    assert ReasonStore.open(tmp_path, max_days=11).get("ann", "coat")


def test_an_older_reason_that_is_taken_over_does_not_hide_a_newer_one(tmp_path: Path) -> None:
    job(tmp_path, "nightly", ANN)
    long_ago = time.time() - 10 * 86_400
    os.utime(tmp_path / "generate" / "nightly" / "progress.json", (long_ago, long_ago))
    ReasonStore.open(tmp_path)
    job(tmp_path, "spring", ANN, model="b")
    assert ReasonStore.open(tmp_path).get("ann", "coat").text == "b for ann"  # type: ignore[union-attr]
    job(tmp_path, "nightly", ANN, BOB)
    assert ReasonStore.open(tmp_path).get("ann", "coat").text == "b for ann"  # type: ignore[union-attr]
    job(tmp_path, "nightly", ANN, BOB, ANN, ANN, Asked("zoe", "hat"), stopped=True)
    assert ReasonStore.open(tmp_path).get("ann", "coat").text == "b for ann"  # type: ignore[union-attr]
    job(tmp_path, "nightly", ANN, BOB, ANN, ANN)
    assert ReasonStore.open(tmp_path).get("ann", "coat").text == "b for ann"  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "generate" / "spring")
    assert ReasonStore.open(tmp_path, max_days=11).get("ann", "coat").text == "a for ann"  # type: ignore[union-attr]
    assert ReasonStore.open(tmp_path, max_days=9).get("ann", "coat") is None, "its age was not renewed"


def test_a_reason_stays_while_writing_it_anew_fails_unless_a_rule_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(pairs: list[Pair]) -> list[Reason]:
        raise DataError("the server does not answer")

    note_progress(tmp_path / "generate" / "spring", settings={"rules": "1"})
    job(tmp_path, "spring", ANN, BOB)
    facts(tmp_path, coat="v1", hat="v1")
    ReasonStore.open(tmp_path)
    monkeypatch.setattr("test_reason_store.write", fails)
    for night in ("b", "c"):
        job(tmp_path, "spring", ANN, Asked("bob", "scarf"), model=night)
        store = ReasonStore.open(tmp_path)
        assert store.get("ann", "coat").text == "a for ann"  # type: ignore[union-attr]
        assert store.get("bob", "hat") is None, "it is asked for no more"
    facts(tmp_path, coat="v2")
    assert ReasonStore.open(tmp_path).get("ann", "coat") is None, "its item was edited"
    facts(tmp_path, coat="v1")
    note_progress(tmp_path / "generate" / "spring", settings={"rules": "2"})
    job(tmp_path, "spring", ANN, model="d")
    assert ReasonStore.open(tmp_path).get("ann", "coat") is None


def test_what_a_killed_process_left_goes_and_two_that_open_at_once_wait_for_each_other(
    tmp_path: Path,
) -> None:
    job(tmp_path, "spring", ANN, *(Asked(f"u{n}", "hat") for n in range(300)))
    left = [
        tmp_path / "generate" / f".tmp-{pid}-{name}"
        for pid in (os.getpid(), 2**22 + 1)
        for name in ("r", "sort")
    ]
    for path in left:
        path.mkdir()
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: ReasonStore.open(tmp_path), range(4)))
    assert all(len(store) == 301 for store in stores)
    assert {path.name for path in (tmp_path / "generate").iterdir()} == {"spring", REASONS, LOCK}


def test_a_lookup_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    many = [Asked(f"u{n % 997}", f"i{n}") for n in range(20_000)]
    big = Job(tmp_path / "generate" / "all", 4096)
    asked = [replace(a, key=f"{n}", content="v") for n, a in enumerate(many)]
    big.run(big.prepare(lambda: asked), lambda a: (User(a.user_id), Item(a.item_id)), lambda: write)
    facts(tmp_path, **{f"i{n}": "v" for n in range(20_000)})
    store = ReasonStore.open(tmp_path)
    started = time.process_time()
    for each in many[::20]:
        assert store.get(each.user_id, each.item_id) is not None
    assert (time.process_time() - started) / 1000 < 1e-3


@pytest.mark.parametrize("name", ["r.parquet", "r.jsonl", "r.csv", "r.jsonl.gz", "r.csv.gz"])
def test_export(name: str, tmp_path: Path) -> None:
    job(tmp_path, "spring", ANN, Asked("=1+1", "hat"), BOB)
    job(tmp_path, "other", Asked("zoe", "hat"))
    path = tmp_path / name
    assert export_reasons(str(path), str(tmp_path), job="spring") == f"3 reasons: {path}"
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if ".csv" in name:
        rows = list(csv.DictReader(data.decode().splitlines()))
        assert [row["user_id"] for row in rows] == ["'=1+1", "ann", "bob"] and [*rows[0]] == COLUMNS
        return
    if name == "r.parquet":
        rows = pq.read_table(path).to_pylist()
        rows = [row | {"evidence": json.loads(row["evidence"])} for row in rows]
    else:
        rows = [json.loads(line) for line in data.decode().splitlines()]
    assert [row["user_id"] for row in rows] == ["=1+1", "ann", "bob"]
    assert rows[1]["text"] == "a for ann" and rows[1]["evidence"][0]["value"] == "wool"


def test_an_export_of_no_known_kind_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ends in none of"):
        export_reasons(str(tmp_path / "r.xml"))
    with pytest.raises(DataError, match="ends in none of"):
        export_reasons(str(tmp_path / "r.parquet.gz"))


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    job(tmp_path, "spring", ANN)
    ReasonStore.open(tmp_path).close()
    (tmp_path / "generate" / REASONS).write_bytes(b"SQLite format 3\0 and no more")
    assert ReasonStore.open(tmp_path).get("ann", "coat")
