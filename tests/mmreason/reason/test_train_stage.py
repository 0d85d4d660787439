"""The train stage: two processes train as one, other data begin anew, no reasons are no error."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from processes import differing_weights, refuse_shards, run_two, train_reasons
from stopping import before_train, stop_at

from mmreason.checkpoint import weights_for, weights_named_in
from mmreason.config import Config
from mmreason.files import read_json
from mmreason.reason.model import ReasonModel
from mmreason.reason.train import train, train_reasoner
from mmreason.shards.manifest import read_manifest, write_manifest


@pytest.fixture
def run(tiny_run: Config, tmp_path: Path) -> Config:
    """A copy of a run before ``train``, without dropout, which draws for each process by itself."""
    copy = before_train(tiny_run, tmp_path)
    reason = replace(copy.reason, dropout=0.0, drop_modality=0.0)
    return replace(copy, reason=reason, evaluate=replace(copy.evaluate, baseline=False))


def _with_batch(run: Config, size: int, name: str) -> Config:
    other = replace(run, run_dir=str(Path(run.run_dir).parent / name))
    shutil.copytree(run.run_dir, other.run_dir)
    return replace(other, reason=replace(run.reason, batch_size=size, warmup_batch_size=2 * size))


def _log(run: Config) -> list[dict]:
    return read_json(run.path("reason", "log.json"))


def test_two_processes_train_as_one_stopped_too(run: Config) -> None:
    """Every stage: the warm-up leaves parameters unused, and rows differ in tokens."""
    one, two = _with_batch(run, 4, "one"), _with_batch(run, 2, "two")
    train(one)
    assert run_two(train_reasons, two, 15) == [1, 9]  # in the LoRA stage, after its checkpoint
    assert "another process died in stage lora" in two.path("told-0").read_text()
    assert run_two(train_reasons, two, -1) == [0, 0]
    assert {row["stage"] for row in _log(two)} == {"warmup", "projector", "lora"}
    for name in ("loss", "valid_loss"):
        values = [[row[name] for row in _log(c) if name in row] for c in (one, two)]
        assert values[1] == pytest.approx(values[0], rel=1e-5)
    for file in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert differing_weights(*(c.path("reason", file) for c in (one, two))) == []
    assert two.path("told-0").read_text() == two.path("told-1").read_text()


def test_weights_in_shards_are_refused_in_one_line(run: Config) -> None:
    assert run_two(refuse_shards, run) == [1, 1]
    told = run.path("told-0").read_text()
    assert "FSDP is not supported" in told and "ddp.yaml" in told and "\n" not in told
    assert not run.path("reason").exists()


def test_other_data_or_settings_are_never_taken_for_done(run: Config, tmp_path: Path) -> None:
    train(run)
    before = _log(run)
    train(run)
    assert _log(run) == before, "finished: taken up as it is"
    manifest = read_json(run.path("embed", "index.json"))
    changed = replace(run, reason=replace(run.reason, lr=1e-4))
    train(changed)
    assert _log(changed)[-1]["loss"] != before[-1]["loss"]
    assert manifest == read_json(run.path("embed", "index.json"))


def test_the_old_model_stays_until_the_new_one_is_complete(
    run: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(run)
    old = run.path("reason", "model.safetensors").read_bytes()
    changed = replace(run, seed=1)
    stop_at(monkeypatch, 18, lambda: train(changed))
    assert run.path("reason", "model.safetensors").read_bytes() == old
    train(changed)
    assert run.path("reason", "model.safetensors").read_bytes() != old


def test_without_reasons_it_says_so_and_leaves_no_model(run: Config) -> None:
    train_reasoner(run, run.reason, run.path("reason"))
    manifest = read_manifest(run.path("shards"))
    items = [shard for shard in manifest.shards if shard.kind == "items"]
    write_manifest(run.path("shards"), replace(manifest, shards=items))
    told = train(run)
    assert "nothing to learn from" in told and "mine-reasons" in told and "\n" not in told
    assert not run.path("reason").exists() and run.path("reason-before", "model.safetensors").exists()
    assert "reason-before" in told and "reason-before" not in train(run)


def test_a_relative_lm_is_found_from_any_folder(
    run: Config, tiny_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(tiny_models["lm"], shop / "models" / "lm")
    monkeypatch.chdir(shop)
    short = replace(run.reason, lm="models/lm", warmup_steps=1, projector_steps=0, lora_steps=1)
    train(replace(run, reason=short))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    model = ReasonModel.from_pretrained(run.path("reason"), torch.float32)
    assert model.config.lm == str(shop / "models" / "lm")


def test_weights_beside_a_checkpoint_move_with_it(tmp_path: Path) -> None:
    checkpoint, weights = tmp_path / "run" / "reason", tmp_path / "run" / "lm"
    weights.mkdir(parents=True)
    checkpoint.mkdir()
    spec = weights_for(checkpoint, str(weights))
    assert spec == os.path.join("..", "lm")  # noqa: PTH118
    (tmp_path / "run").rename(tmp_path / "moved")
    assert weights_named_in(tmp_path / "moved" / "reason", spec) == str(tmp_path / "moved" / "lm")
    assert weights_for(checkpoint, "hf://org/lm@main") == "hf://org/lm@main"
