"""Files and folders that appear, and go, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mmreason.files import remove
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
