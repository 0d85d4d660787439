"""Files and folders that appear, and go, whole or not at all."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from mmreason.files import ABANDONED, finished_name, remove, remove_leftovers, temporary
from mmreason.training.state import newest_checkpoint, save_checkpoint


class Killed(BaseException):
    """Stands in for a SIGKILL."""


def test_killed_while_a_folder_is_removed_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rmtree(folder: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            next(Path(folder).iterdir()).unlink()
            raise Killed

    save_checkpoint(tmp_path, "run", 1, {"a": torch.ones(2)}, {})
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(Killed):
            save_checkpoint(tmp_path, "run", 2, {"a": torch.ones(2)}, {})
    found = newest_checkpoint(tmp_path, "run")
    assert found is not None and found.step == 2
    save_checkpoint(tmp_path, "run", 3, {"a": torch.ones(2)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000003-run"], "leftovers went, too"


def test_a_folder_goes_though_the_rest_of_another_lies_in_its_way(tmp_path: Path) -> None:
    for _ in range(2):
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "file").touch()
        remove(folder)
        assert not list(tmp_path.iterdir())


def test_two_machines_have_different_temporary_names_and_leave_each_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = temporary(tmp_path / "index.json")
    monkeypatch.setattr("mmreason.files._machine", lambda: "0123abcd")
    there, folder = temporary(tmp_path / "index.json"), temporary(tmp_path / "part")
    monkeypatch.undo()
    assert here != there and finished_name(here) == finished_name(there) == "index.json"
    here.touch()  # of an earlier process with this one's number
    there.touch()
    folder.mkdir()
    (folder / "ids.jsonl").touch()
    remove_leftovers(tmp_path)
    assert not here.exists() and there.exists() and folder.exists()
    long_ago = time.time() - ABANDONED - 60
    os.utime(there, (long_ago, long_ago))
    os.utime(folder, (long_ago, long_ago))
    remove_leftovers(tmp_path)
    assert not there.exists() and folder.exists(), "a file in it is written to"
    os.utime(folder / "ids.jsonl", (long_ago, long_ago))
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_living_writer_of_this_machine_keeps_its_file_however_old(tmp_path: Path) -> None:
    me = str(os.getpid())
    of_parent = tmp_path / temporary(tmp_path / "part").name.replace(me, str(os.getppid()), 1)
    for path in (of_parent, tmp_path / f".tmp-{os.getppid()}-part"):  # the latter of an earlier version
        path.touch()
        os.utime(path, (0, 0))
        remove_leftovers(tmp_path)
        assert path.exists() and finished_name(path) == "part"
