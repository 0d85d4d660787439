"""The user tower: two processes train as one, stopped and resumed too."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from processes import differing_weights, run_two, train_users

from mmreason.config import Config, UserConfig
from mmreason.files import read_json
from mmreason.users.train import align_users

SETTINGS = UserConfig(layers=1, heads=2, dropout=0.0, steps=12, check_every=4, negatives=8, adapt_items=True)


def _run(tiny_run: Config, folder: Path, batch: int) -> Config:
    run = replace(tiny_run, run_dir=str(folder), users=replace(SETTINGS, batch_size=batch))
    for name in ("catalogue", "shoppers", "embed"):
        shutil.copytree(tiny_run.path(name), run.path(name))
    return run


def test_two_processes_train_as_one(tiny_run: Config, tmp_path: Path) -> None:
    one, two = _run(tiny_run, tmp_path / "one", 16), _run(tiny_run, tmp_path / "two", 8)
    told = align_users(one)
    assert run_two(train_users, two, 9) == [1, 9]
    assert not two.path("users").exists()
    assert run_two(train_users, two, -1) == [0, 0]
    assert two.path("told-0").read_text() == told
    logs = [read_json(run.path("users", "log.json")) for run in (one, two)]
    for name in ("step", "loss", "valid_recall@10"):
        assert [row[name] for row in logs[1]] == pytest.approx([row[name] for row in logs[0]], rel=1e-5)
    assert differing_weights(*(run.path("users", "model.safetensors") for run in (one, two))) == []
