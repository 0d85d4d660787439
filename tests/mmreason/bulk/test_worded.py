"""The table of worded plans: it spares work, and is never wrong."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mmreason.bulk.worded import Worded, WordedPlans

MUG, HAT = (Worded("A mug.", -0.25),), (Worded("A hat, like the [1].", -0.5), Worded("A hat.", -0.75))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    WordedPlans(tmp_path / "worded.sqlite", "a").add({"mug": MUG, "hat": HAT})
    return tmp_path / "worded.sqlite"


def test_texts_are_there_the_next_night_and_another_model_has_none_of_them(path: Path) -> None:
    assert WordedPlans(path, "a").find(["hat", "coat", "mug"]) == {"hat": HAT, "mug": MUG}
    assert WordedPlans(path, "b").find(["hat", "mug"]) == {}
    assert WordedPlans(None, "a").find(["hat"]) == {}


def test_a_blank_text_is_known_while_the_job_lasts_and_not_the_next_night(tmp_path: Path) -> None:
    path, blank = tmp_path / "worded.sqlite", (Worded("", None),)
    worded = WordedPlans(path, "a")
    worded.add({"mug": blank, "hat": (Worded("", None), *HAT)})
    assert worded.find(["mug"]) == {"mug": blank}
    assert WordedPlans(path, "a").find(["mug", "hat"]) == {"hat": (Worded("", None), *HAT)}
    worker = WordedPlans(path, "a", writes=False)
    worker.add({"coat": blank})
    assert not worker.new, "what a worker of a cluster hands on"


def test_what_was_edited_is_not_used_and_told_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(path)) as table, table:
        table.execute("UPDATE worded SET texts = replace(texts, 'A mug', 'Buy now')")
        table.execute("INSERT INTO worded VALUES (x'00', 5, 'y')")
    worded = WordedPlans(path, "a")
    assert worded.find(["mug", "hat"]) == {"hat": HAT} and worded.find(["mug"]) == {}
    assert capsys.readouterr().err.count("written again") == 1
    worded.add({"mug": MUG})
    assert WordedPlans(path, "a").find(["mug"]) == {"mug": MUG}


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "text", "other table"])
def test_a_damaged_table_is_begun_anew(path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = path.read_bytes()
    if damage == "other table":
        path.unlink()
        with closing(sqlite3.connect(path)) as table, table:
            table.execute("CREATE TABLE worded (a)")
    else:
        changed = {"cut": data[: len(data) // 2], "noise": b"\xff" * len(data), "empty": b"", "text": b"no"}
        path.write_bytes(changed[damage])
    worded = WordedPlans(path, "a")
    found = worded.find(["mug", "hat"])
    assert found.items() <= {"mug": MUG, "hat": HAT}.items()
    worded.add({"mug": MUG, "hat": HAT})
    assert worded.find(["mug", "hat"]) == {"mug": MUG, "hat": HAT}
    told = capsys.readouterr().err
    assert told.count("\n") <= 2 and (str(path) in told or damage == "empty")
    assert WordedPlans(path, "a").find(["mug", "hat"]) == {"mug": MUG, "hat": HAT}, "on disk"


def test_the_oldest_go_past_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "worded.sqlite"
    worded = WordedPlans(path, most=10)
    for n in range(25):
        worded.add({f"plan {n}": MUG})
    assert list(WordedPlans(path).find(f"plan {n}" for n in range(25))) == [
        f"plan {n}" for n in range(15, 25)
    ]


def test_a_look_writes_nothing(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    worded = WordedPlans(path, "a", writes=False)
    worded.add({"coat": MUG})
    assert worded.find(["coat", "mug"]) == {"coat": MUG, "mug": MUG} and path.read_bytes() == before
    looked = WordedPlans(tmp_path / "none.sqlite", "a", writes=False)
    looked.add({"coat": MUG})
    assert looked.find(["mug"]) == {} and not (tmp_path / "none.sqlite").exists()


WRITER = """
import sys
from pathlib import Path
from mmreason.bulk.worded import Worded, WordedPlans
worded = WordedPlans(Path(sys.argv[1]), "a", own=Path(sys.argv[2]) if sys.argv[2:] else None)
for n in range(100_000):
    worded.add({f"plan {n} {m}": (Worded(f"text {n} {m}", -1.0),) for m in range(50)})
    print(n, flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_texts(tmp_path: Path) -> None:
    path = tmp_path / "worded.sqlite"
    for delay in (0.0, 0.013, 0.031):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        last = int(process.stdout.readline())
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
        process.wait()
        worded = WordedPlans(path, "a")
        for n in range(last + 2):
            found = worded.find(f"plan {n} {m}" for m in range(50))
            assert len(found) in ((50,) if n <= last else (0, 50))
            assert all(found[f"plan {n} {m}"][0].text == f"text {n} {m}" for m in range(50) if found)


def test_two_processes_keep_texts_side_by_side_and_one_that_is_killed_loses_the_latest_at_most(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [tmp_path / "worded-2.sqlite", tmp_path / "worded-3.sqlite"]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(o)], stdout=subprocess.PIPE, text=True)
        for o in own
    ]
    first, last = WordedPlans(path, "a"), []
    first.add({"coat": MUG})
    for process in writers:
        assert process.stdout is not None
        last.append(int(process.stdout.readline()))
        assert WordedPlans(path, "a", own=own[0]).find(["mug", "coat"]) == {"mug": MUG, "coat": MUG}
        process.kill()
        last[-1] = max([last[-1], *(int(line) for line in process.stdout if line.endswith("\n"))])
        process.wait()
    assert len(WordedPlans(path, "a", own=own[0]).find(["plan 0 0", "mug"])) == 2, "both are read"
    (tmp_path / "worded-4.sqlite").write_bytes(b"no table" * 1000)
    first.take_in(sorted(tmp_path.glob("worded-*.sqlite")))
    assert "worded-4.sqlite" in capsys.readouterr().err and {p.name for p in tmp_path.iterdir()} == {
        path.name
    }
    there = WordedPlans(path, "a")
    assert there.find(["mug", "hat", "coat"]) == {"mug": MUG, "hat": HAT, "coat": MUG}
    wanted = [f"plan {n} {m}" for n in range(max(last) + 1) for m in range(50)]
    assert len(there.find(wanted)) == len(wanted)
