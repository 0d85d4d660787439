"""The bulk job: one row a request, whatever kills it, and nothing written twice."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmreason.bulk import known
from mmreason.bulk.asked import GROUP, Asked, AskedTable, write_asked
from mmreason.bulk.attempts import Attempts, Pair
from mmreason.bulk.job import Job
from mmreason.bulk.parts import part, part_size, read_parts, read_progress
from mmreason.bulk.windows import Done
from mmreason.schema import DataError, Item, Reason, User

REQUESTS = [Asked(f"u{n}", f"i{n}", content=f"T{n}") for n in range(10)]
NEW = Asked("new", "new", content="New")
CHANGED = replace(REQUESTS[6], content="Better")


class Writer:
    """Writes a row for each request, and remembers which it was asked for."""

    def __init__(self, dies_after: int = 1_000_000) -> None:
        self.asked: list[str] = []
        self.dies_after = dies_after

    def __call__(self, pairs: list[Pair]) -> list[Reason]:
        if len(self.asked) + len(pairs) > self.dies_after:
            raise KeyboardInterrupt
        self.asked += [item.id for _, item in pairs]
        return [Reason(u.id, i.id, f"{i.title} for {u.id}", score=0.5, verified=True) for u, i in pairs]


def pair_of(asked: Asked) -> Pair:
    return User(asked.user_id), Item(asked.item_id, title=asked.content)


def keyed(requests: Iterable[Asked], model: str = "a") -> list[Asked]:
    return [replace(a, key=f"{model}-{a.user_id}-{a.item_id}-{a.content}{a.error}") for a in requests]


def run(
    requests: Sequence[Asked],
    folder: Path,
    write: Callable | None = None,
    model: str = "a",
    size: int = 4,
    **settings: float,
) -> int:
    """Run a job; returns how many rows were there."""
    job = Job(folder, size)
    outlook = job.prepare(lambda: keyed(requests, model))
    assert job.look(lambda: keyed(requests, model)) == outlook
    job.run(outlook, pair_of, lambda: write or Writer(), **settings)
    return outlook.there


def texts(folder: Path) -> list[str]:
    table = read_parts(folder)
    assert table["request"].to_pylist() == list(range(len(table)))
    return table["text"].to_pylist()


def test_a_job_writes_one_row_per_request_and_only_what_is_missing(tmp_path: Path) -> None:
    assert run(REQUESTS, tmp_path) == 0
    first = read_parts(tmp_path)
    assert first["text"].to_pylist() == [f"T{n} for u{n}" for n in range(10)]
    part(tmp_path, 1).unlink()
    with pytest.raises(DataError, match=r"not exactly one row per request \(4 of 10 in order\)"):
        read_parts(tmp_path)
    assert run(REQUESTS, tmp_path) == 6
    assert read_parts(tmp_path).equals(first)


def test_another_models_rows_are_not_mixed_in(tmp_path: Path) -> None:
    run(REQUESTS, tmp_path)
    assert run(REQUESTS[:5], tmp_path, model="b") == 0
    assert len(read_parts(tmp_path)) == 5


@pytest.mark.parametrize(
    ("requests", "size", "asked"),
    [
        ([NEW, *REQUESTS], 4, ["new"]),
        ([*REQUESTS, NEW], 4, ["new"]),
        ([*REQUESTS[:6], CHANGED, *REQUESTS[7:]], 4, ["i6"]),
        (REQUESTS[1:], 4, []),
        (REQUESTS, 3, []),
        ([*REQUESTS[::-1], NEW], 5, ["new"]),
        ([*REQUESTS, REQUESTS[0]], 4, []),
    ],
    ids=["first", "last", "changed", "removed", "other part size", "other order", "twice"],
)
def test_only_changed_requests_are_written_again(
    requests: list[Asked], size: int, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_SORTED", 4)  # rows are taken over a part at a time
    run(REQUESTS, tmp_path / "again")
    writer = Writer()
    done = run(requests, tmp_path / "again", writer, size=size)
    assert writer.asked == asked and done == len(requests) - len(asked)
    run(requests, tmp_path / "fresh", size=size)
    again, fresh = (
        {path.name: pq.read_table(path) for path in (tmp_path / name).glob("*.parquet")}
        for name in ("again", "fresh")
    )
    assert again.keys() == fresh.keys() and all(again[name].equals(fresh[name]) for name in fresh)
    assert not (tmp_path / "again" / "before").exists()


@pytest.mark.parametrize("dies_after", range(0, 11, 2))
def test_a_job_killed_anywhere_keeps_the_rows_it_can(
    dies_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The requests change, the job dies, and they change again: rows are written once, and none is lost."""
    monkeypatch.setattr("mmreason.bulk.windows.WINDOW", 1)
    run(REQUESTS[:6], tmp_path, size=3)
    writer, more = Writer(dies_after), [NEW, *REQUESTS]
    try:
        run(more, tmp_path, writer, size=2)
    except KeyboardInterrupt:
        assert (tmp_path / "before").exists()
    second = Writer()
    run([CHANGED, *more], tmp_path, second, size=4)
    assert len(texts(tmp_path)) == len(more) + 1
    written = [*writer.asked, *second.asked]
    assert sorted(written) == sorted(["i6", "new", *(f"i{n}" for n in range(6, 10))])


@pytest.mark.parametrize("damage", ["cut", "a bit", "an older version"])
def test_a_damaged_part_is_written_again(damage: str, tmp_path: Path) -> None:
    run(REQUESTS, tmp_path)
    whole, path = read_parts(tmp_path), part(tmp_path, 0)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(b"PAR1 and no more")
    elif damage == "a bit":
        data[len(data) // 8] ^= 1  # in a page of some column
        path.write_bytes(data)
    else:
        pq.write_table(pq.read_table(path).drop_columns(["content"]), path)
    writer = Writer()
    assert run(REQUESTS, tmp_path, writer) == 6 and writer.asked == ["i0", "i1", "i2", "i3"]
    assert read_parts(tmp_path).equals(whole)


def test_one_bad_request_costs_one_row_and_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    def fails(part: list[Pair]) -> list[Reason]:
        for _, item in part:
            if item.id == "i5":
                raise RuntimeError("no more\nroom")
        return [Reason(u.id, i.id, "fine") for u, i in part]

    bad = Asked("u", "gone", error="item 'gone' is not in the catalogue")
    run([*REQUESTS, bad], tmp_path, fails)
    rows = read_parts(tmp_path).to_pylist()
    assert [row["error"] for row in rows if row["error"]] == ["RuntimeError: no more room", bad.error]
    assert rows[5]["text"] == "" and sum(row["text"] == "fine" for row in rows) == 9
    writer = Writer()
    assert run([*REQUESTS, bad], tmp_path, writer) == 10
    assert writer.asked == ["i5"] and [r["error"] for r in read_parts(tmp_path).to_pylist()][5] is None


def test_what_failed_once_by_chance_is_written(tmp_path: Path) -> None:
    calls: list[int] = []

    def fails_at_first(pairs: list[Pair]) -> list[Reason]:
        calls.append(len(pairs))
        if len(calls) == 1:
            raise DataError("busy")
        return Writer()(pairs)

    assert [r.text for r in Attempts(fails_at_first)([pair_of(REQUESTS[0])]) if isinstance(r, Reason)]
    assert calls == [1, 1]


def test_too_many_failures_stop_the_job_in_one_line(tmp_path: Path) -> None:
    many = [Asked(f"u{n}", f"i{n}", content="T") for n in range(300)]
    works = True

    def breaks_down(pairs: list[Pair]) -> list[Reason]:
        if not works:
            raise DataError("the server is away")
        return Writer()(pairs)

    run(many[:200], tmp_path, breaks_down, size=50, max_failures=0.1)
    works = False
    with pytest.raises(DataError, match=r"100 of 100 requests failed \(generate.max_failures is 0.1\).*away"):
        run(many, tmp_path, breaks_down, size=50, max_failures=0.1)
    works = True
    assert run(many, tmp_path, breaks_down, size=50, max_failures=0.1) == 200
    assert len(texts(tmp_path)) == 300


def test_time_that_is_up_stops_after_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmreason.bulk.windows.WINDOW", 1)
    job = Job(tmp_path, 2)
    left = job.run(job.prepare(lambda: keyed(REQUESTS)), pair_of, Writer, ends=0.0)
    assert left == 8 and not read_progress(tmp_path)["done"]
    outlook = job.prepare(lambda: keyed(REQUESTS))
    assert outlook.there == 10 - left and job.run(outlook, pair_of, Writer) == 0
    assert len(texts(tmp_path)) == 10 and read_progress(tmp_path)["done"]


def test_what_all_processes_wrote_side_by_side_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = Done(written=996, seconds=100.0, plans=6, worded=1)
    monkeypatch.setattr("mmreason.bulk.job.wait_for_others", lambda done: [done, another])
    run([replace(REQUESTS[0], user_id=f"u{n}") for n in range(4)], tmp_path)
    noted = read_progress(tmp_path)
    assert (noted["reasons_per_second"], noted["plans"], noted["worded"]) == (10, 6, 1)


def test_requests_of_one_key_do_not_meet_each_others_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines without an item id have one key: of n of them, n x n rows would be joined."""
    joined, first_of_each = [], known._first_of_each
    monkeypatch.setattr(
        known, "_first_of_each", lambda *rows: joined.append(rows[0].num_rows) or first_of_each(*rows)
    )
    bad = [Asked("", "", error="no item id", key="one")] * 300
    twice = [replace(REQUESTS[n % 2], key=f"{n % 2}") for n in range(300)]
    job, changed, writer = Job(tmp_path), [NEW, *twice, *bad], Writer()
    job.run(job.prepare(lambda: [*bad, *twice]), pair_of, Writer)
    assert job.look(lambda: changed).there == 600
    outlook = job.prepare(lambda: changed)
    assert outlook.to_write == 1 and sum(joined) == 600
    job.run(outlook, pair_of, lambda: writer)
    assert writer.asked == ["new"] and len(texts(tmp_path)) == 601
    assert texts(tmp_path)[:5] == ["New for new", *["T0 for u0", "T1 for u1"] * 2]


def test_requests_of_the_same_making_are_not_made_again(tmp_path: Path) -> None:
    job, asked = Job(tmp_path, 4), []

    def make() -> list[Asked]:
        asked.append(1)
        return keyed(REQUESTS)

    for made_of in ("a", "a", "b"):
        job.run(job.prepare(make, made_of), pair_of, Writer)
        assert job.look(make, made_of).to_write == 0
    assert len(asked) == 2


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the same error from the same calls."""
    many = [Asked(f"u{n}", f"i{n}", content=os.urandom(40).hex()) for n in range(40)]
    job = Job(tmp_path, 400)
    outlook = job.prepare(lambda: keyed(many))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(
            DataError, match=r"part-000000.parquet: cannot be written \(File too large\); allow"
        ):
            job.run(outlook, pair_of, Writer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.glob("*part-*"))
    assert run(many, tmp_path, size=400) == 0 and len(texts(tmp_path)) == 40


def test_a_kill_at_any_moment_leaves_the_rows_of_an_uninterrupted_run(tmp_path: Path) -> None:
    """SIGKILL from outside, over and over, at random moments; half of the rows are there from an earlier order."""
    code = (
        "import sys, time; sys.path[:0] = sys.argv[3:]; import mmreason.bulk.windows as w; w.WINDOW = 8;"
        "from pathlib import Path; from test_job import *;"
        "many = [Asked(f'u{n}', f'i{n}', content=f'T{n}') for n in range(400)];"
        "run(many[::2][::-1] if sys.argv[2] == 'first' else many, Path(sys.argv[1]), size=10); print('done')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "killed")]
    paths = [str(Path(__file__).parent)]
    subprocess.run([*command, "first", *paths], check=True)
    rng, kills = random.Random(0), 0
    while True:
        process = subprocess.Popen([*command, "all", *paths], stdout=subprocess.PIPE)
        try:
            out, _ = process.communicate(timeout=0.5 + rng.random() if kills < 2 else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0 and out == b"done\n"
        break
    run([Asked(f"u{n}", f"i{n}", content=f"T{n}") for n in range(400)], tmp_path / "whole", size=10)
    for path in (tmp_path / "whole").glob("*.parquet"):
        assert (tmp_path / "killed" / path.name).read_bytes() == path.read_bytes()
    names = {path.name for path in (tmp_path / "killed").iterdir()}
    assert names == {path.name for path in (tmp_path / "whole").iterdir()}


def test_requests_are_read_a_group_at_a_time(tmp_path: Path) -> None:
    count = 2 * GROUP + 5
    write_asked(tmp_path / "r.parquet", (Asked(str(n), "i") for n in range(count)))
    with AskedTable(tmp_path / "r.parquet") as table:
        assert len(table) == count
        asked = [each.user_id for each in table.rows(GROUP - 2, GROUP + 2)]
        assert asked == [str(n) for n in range(GROUP - 2, GROUP + 2)]
        assert len(list(table.rows(count - 1, count + 9))) == 1
    write_asked(tmp_path / "r.parquet", [])
    with AskedTable(tmp_path / "r.parquet") as table:
        assert len(table) == 0 and not table.keys(0, 9)


@pytest.mark.parametrize("requests", [0, 1, 10**4, 10**6, 10**7, 10**9])
def test_there_are_about_a_thousand_parts_at_most(requests: int) -> None:
    size = part_size(requests)
    assert 256 <= size <= 16_384 and (requests / size <= 1024 or size == 16_384)


def test_a_request_whose_error_the_writer_gives_has_failed_and_is_not_tried_again() -> None:
    asked: list[int] = []

    def write(pairs: list[Pair]) -> list[Reason | str]:
        asked.append(len(pairs))
        return ["no answer" if item.id == "i3" else Reason(user.id, item.id, "Warm.") for user, item in pairs]

    pairs = [(User("ann"), Item(f"i{n}")) for n in range(200)]
    attempts = Attempts(write, max_failures=0.01)
    found = attempts(pairs)
    assert [n for n, each in enumerate(found) if each == "no answer"] == [3]
    assert (asked, attempts.tried, attempts.failed) == ([200], 200, 1)
    with pytest.raises(DataError, match=r"4 of 203 requests failed .* the last one with: no answer;"):
        attempts(pairs[3:4] * 3)
    assert asked == [200, 3]
