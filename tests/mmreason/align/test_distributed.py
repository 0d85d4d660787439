"""Two CPU processes train as one does; one that dies leaves the last checkpoint intact."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from processes import PAIRS, Net, contrast, losses, run_two, smaller, train

from mmreason.align.losses import PairLoss
from mmreason.align.train import align
from mmreason.checkpoint import load_tensors
from mmreason.config import AlignStage, Config
from mmreason.schema import DataError


def test_local_is_global_is_one_process_is_cached(tmp_path: Path) -> None:
    assert run_two(losses, tmp_path) == [0, 0]
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert len(found) == 8
    for (kind, _, _), (value, gradients) in found.items():
        one, expected = contrast(Net(), PairLoss(PAIRS, kind, dims=(4,)), slice(None))
        assert torch.allclose(value, one, rtol=1e-5)
        for name, gradient in gradients.items():
            assert torch.allclose(gradient, expected[name], atol=1e-6), (kind, name)


@pytest.fixture
def run(tiny_run: Config, tmp_path: Path) -> Config:
    """A copy of a run before ``align``."""
    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.path("shards"), config.path("shards"))
    shutil.copytree(tiny_run.path("features"), config.path("features"))
    return smaller(config, steps=8, batch_size=8, dropout=0.0, eval_every=1, save_every=3)


def test_two_processes_train_as_one_with_twice_the_batch(run: Config, tmp_path: Path) -> None:
    two = replace(run, run_dir=str(tmp_path / "two"))
    shutil.copytree(run.run_dir, two.run_dir)
    assert run_two(train, smaller(two, micro_batch=4), -1) == [0, 0]
    align(smaller(run, batch_size=16))
    _assert_alike(run, two)


def test_when_a_process_dies_the_others_say_so_and_the_checkpoint_is_intact(run: Config) -> None:
    assert run_two(train, run, 5) == [1, 9]
    assert "another process died in stage heads" in run.path("told-0").read_text()
    with pytest.raises(DataError, match="was stopped with 2 processes"):
        align(run)
    assert run_two(train, run, -1) == [0, 0]
    log = json.loads(run.path("align", "log.json").read_text())
    assert [row["step"] for row in log] == list(range(1, 9))


def test_sharded_weights_train_as_whole_ones_and_resume(run: Config, tmp_path: Path) -> None:
    """Heads over features: stopped after 5 steps of 8, then on from the checkpoint."""
    sharded = replace(run, run_dir=str(tmp_path / "sharded"))
    shutil.copytree(run.run_dir, sharded.run_dir)
    settings = {"micro_batch": 4, "ema": 0.9, "patience": 8}
    assert run_two(train, smaller(sharded, **settings), 5, True)[1] == 9
    assert any(sharded.path("checkpoints", "align").glob("checkpoint-*"))
    assert run_two(train, smaller(sharded, **settings), -1, True) == [0, 0]
    align(smaller(run, batch_size=16, **settings))
    _assert_alike(run, sharded)


def test_sharded_towers_train_from_pixels_as_replicated_ones(run: Config, tmp_path: Path) -> None:
    """Two stages, of which the second trains a block and a whole tower."""
    stages = [AlignStage("heads", 2), AlignStage("last", 3, ["heads", "image:1", "text"], tower_lr=1e-3)]
    pixels = smaller(run, source="pixels", batch_size=4, micro_batch=2, stages=stages, shuffle=4, ema=0.9)
    sharded = replace(pixels, run_dir=str(tmp_path / "sharded"))
    shutil.copytree(run.run_dir, sharded.run_dir)
    for config, shards in ((pixels, False), (sharded, True)):
        assert run_two(train, config, -1, shards) == [0, 0]
    _assert_alike(pixels, sharded)
    towers = [load_tensors(c.path("align", "towers", "text", "model.safetensors")) for c in (pixels, sharded)]
    assert all(torch.allclose(tensor, towers[1][name], atol=1e-4) for name, tensor in towers[0].items())


def _assert_alike(one: Config, other: Config) -> None:
    logs = [json.loads(c.path("align", "log.json").read_text()) for c in (one, other)]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
    for name in ("loss", "valid_loss", "temperature"):
        assert [r[name] for r in logs[1]] == pytest.approx([r[name] for r in logs[0]], rel=1e-3)
    weights = [load_tensors(c.path("align", "model.safetensors")) for c in (one, other)]
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=2e-4), name
