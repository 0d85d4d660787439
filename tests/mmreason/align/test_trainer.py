"""The trainer: stopped is unstopped, accumulated is large, from features is from pixels, and bad input is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from processes import smaller
from stopping import stop_at

from encoders import create_encoder
from mmreason import DataError, Embedder, Item
from mmreason.align.batch import Batch
from mmreason.align.losses import PairLoss, item_codes
from mmreason.align.padding import take_short_texts, trim_padding
from mmreason.align.retrieval import mean_reciprocal_rank
from mmreason.align.sources import FeatureSource, PixelCollator, drop_modalities
from mmreason.align.stages import describe, parameter_groups, set_trained, stages_of
from mmreason.align.task import AlignTask
from mmreason.align.towers import Towers
from mmreason.align.train import align
from mmreason.checkpoint import load_tensors, save_tensors
from mmreason.config import AlignStage, Config
from mmreason.embed.features import FeatureReader
from mmreason.embed.model import AlignModel
from mmreason.shards.loader import item_samples
from mmreason.training.average import MovingAverage

Copy = Callable[..., Config]


@pytest.fixture
def copy(tiny_run: Config, tmp_path: Path) -> Copy:
    """``copy(name, **align_settings)``: a run that has come up to ``align``."""

    def make(name: str, **changes: Any) -> Config:
        config = replace(tiny_run, run_dir=str(tmp_path / name))
        for folder in ("shards", "features"):
            shutil.copytree(tiny_run.path(folder), config.path(folder))
        return smaller(config, **{"steps": 8, "eval_every": 1, "save_every": 3, "batch_size": 8, **changes})

    return make


def _log(config: Config) -> list[dict[str, Any]]:
    return json.loads(config.path("align", "log.json").read_text())


PIXELS = {
    "source": "pixels",
    "batch_size": 4,
    "micro_batch": 2,
    "stages": [AlignStage("heads", 3), AlignStage("last", 4, ["heads", "image:1", "text"], tower_lr=1e-3)],
    "shuffle": 4,
    "save_every": 2,
    "ema": 0.9,
}


@pytest.mark.parametrize("settings", [{"patience": 5, "ema": 0.9}, PIXELS], ids=["features", "pixels"])
@pytest.mark.parametrize("stop", [4, 5])
def test_stopped_and_resumed_is_unstopped(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], stop: int
) -> None:
    unstopped, stopped = copy("unstopped", **settings), copy("stopped", **settings)
    align(unstopped)
    stop_at(monkeypatch, stop, lambda: align(stopped))
    align(stopped)
    assert _log(stopped) == _log(unstopped)
    a, b = (load_tensors(c.path("align", "model.safetensors")) for c in (stopped, unstopped))
    assert all(torch.equal(a[name], b[name]) for name in b)


def _gradients(task: AlignTask, parts: list) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    task.towers.train()
    loss = task.backward(task.accelerator.prepare(task.towers), parts, task.accelerator)
    found = {n: p.grad.clone() for n, p in task.towers.named_parameters() if p.grad is not None}
    task.towers.zero_grad(set_to_none=True)
    return {"loss": loss, **found}


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
def test_accumulated_is_the_large_batch_end_to_end(copy: Copy, kind: str) -> None:
    config = copy("run", source="pixels", loss=kind, batch_size=6, dropout=0.0)
    embedder = Embedder.create(config.align, "cpu", "fp32")
    towers = Towers(embedder.encoders, embedder.model)
    set_trained(towers, AlignStage(trains=["heads", "image", "text"]))
    items = list(item_samples(config.path("shards")))
    items = [*[i for i in items if i.video][:2], *[i for i in items if not i.video][:4]]
    collate = PixelCollator(embedder.encoders, config.align.mask)
    for encoder in embedder.encoders.values():  # dropout draws for each shape anew
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    task = AlignTask(config.align, towers, None, [], Accelerator(cpu=True))  # type: ignore[arg-type]
    large = _gradients(task, [collate(items)])
    small = _gradients(task, [collate(items[i : i + 2]) for i in (0, 2, 4)])
    assert large.keys() == small.keys() and len(large) > 20
    for name, value in large.items():
        assert torch.allclose(value, small[name], rtol=1e-3, atol=1e-5), name


def test_from_features_is_from_pixels_with_frozen_towers(copy: Copy) -> None:
    config = copy("run", dropout=0.0)
    embedder = Embedder.create(config.align, "cpu", "fp32")
    items = [item for item in item_samples(config.path("shards")) if item.split != "test"][:8]
    model = embedder.model
    found = embedder.features(items)
    for m in model.dims:
        model.head(m).fit(found.values[m][found.masks[m]])
    standard = {m: model.head(m).standardise(x) for m, x in found.values.items()}
    codes = torch.tensor([item_codes(item) for item in items])
    kept = Batch(standard, {}, found.masks, codes)
    towers = Towers(embedder.encoders, model)
    set_trained(towers, AlignStage())
    seen = towers.encode_frozen(PixelCollator(embedder.encoders, config.align.mask)(items))
    assert not seen.inputs and torch.equal(seen.codes, kept.codes)
    task = AlignTask(config.align, towers, None, [], Accelerator(cpu=True))  # type: ignore[arg-type]
    a, b = _gradients(task, [kept]), _gradients(task, [seen])
    for name, value in a.items():
        assert torch.allclose(value, b[name], rtol=1e-3, atol=1e-4), name


def test_trained_towers_are_saved_and_found_again(copy: Copy, capsys: pytest.CaptureFixture) -> None:
    config = copy("run", **{**PIXELS, "ema": 0.0})
    align(config)
    told = capsys.readouterr().out
    assert "stage heads: 3 steps" in told and "image  frozen" in told
    assert "stage last: 4 steps" in told and "text   trains" in told
    before = Embedder.create(config.align, "cpu", "fp32")
    moved = config.path("moved")
    AlignModel.from_pretrained(config.path("align")).save_pretrained(moved)  # as the reason model keeps it
    shutil.rmtree(config.path("align"))
    after = Embedder.from_pretrained(moved, "cpu", "fp32")
    changed = {
        m: [
            n
            for n, p in after.encoders[m].named_parameters()
            if not torch.equal(p, dict(e.named_parameters())[n])
        ]
        for m, e in before.encoders.items()
    }
    groups = before.encoders["image"].layer_groups()
    assert set(changed["image"]) <= {*groups[-1], *groups[-2]} and changed["image"] and changed["text"]
    assert after.encode([Item("a", title="Coat")]).shape == (1, 16)


def test_layers_by_depth_learn_slower_the_deeper(copy: Copy) -> None:
    config = copy("run", source="pixels", layer_decay=0.5)
    embedder = Embedder.create(config.align, "cpu", "fp32")
    towers = Towers(embedder.encoders, embedder.model)
    stage = AlignStage("all", 5, ["heads", "image", "text"], lr=1e-3, tower_lr=1e-4)
    set_trained(towers, stage)
    groups = embedder.encoders["image"].layer_groups()
    rate = {id(p): g["peak"] for g in parameter_groups(towers, stage, config.align) for p in g["params"]}
    parameters = dict(embedder.encoders["image"].named_parameters())
    for depth, group in enumerate(reversed(groups)):
        for name in group:
            assert rate[id(parameters[name])] == pytest.approx(1e-4 * 0.5**depth)
    trained = {n for n, p in towers.named_parameters() if p.requires_grad}
    assert "model.log_scale" in trained and not any("pooler" in n for n in trained)
    assert rate[id(towers.model.log_scale)] == 1e-3
    assert "heads  trains" in describe(towers, stage, config.align)
    with pytest.raises(DataError, match="names no parameter"):
        set_trained(towers, AlignStage("x", 1, ["sound"]))
    with pytest.raises(DataError, match=r"align\.source=pixels"):
        stages_of(smaller(config, source="features", stages=[stage]).align)


def test_padding_that_no_token_sees_is_cut_and_changes_nothing() -> None:
    small = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    encoder = create_encoder("openclip-text:small", config={"embed_dim": 8, "text_cfg": small})
    whole = encoder.collate([encoder.preprocess(t) for t in ("a red coat", "a hat", "")])
    expected = encoder(whole)
    take_short_texts(encoder)
    cut = trim_padding(encoder, whole)
    assert cut.shape == (3, 5) and whole.shape == (3, 24)
    assert torch.allclose(encoder(cut), expected, atol=1e-6)
    looks_behind = create_encoder(
        "openclip-text:small", config={"embed_dim": 8, "text_cfg": {**small, "no_causal_mask": True}}
    )
    assert trim_padding(looks_behind, whole) is whole


def test_batchnorm_and_frozen_towers_stay_in_evaluation(copy: Copy) -> None:
    config = copy("run", source="pixels")
    embedder = Embedder.create(config.align, "cpu", "fp32")
    towers = Towers(embedder.encoders, embedder.model)
    set_trained(towers, AlignStage(trains=["heads", "image"]))
    towers.train()
    norms = [m for m in embedder.encoders["image"].modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms)
    assert embedder.encoders["image"].training and not embedder.encoders["text"].training


def test_early_stopping_keeps_the_best_weights(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.1, 0.9, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    real = AlignTask.evaluate
    seen: list[dict[str, torch.Tensor]] = []

    def scored(self: AlignTask, stage: Any) -> dict[str, float]:
        seen.append({n: p.detach().clone() for n, p in self.towers.model.named_parameters()})
        return real(self, stage) | {"retrieval": next(scores)}

    monkeypatch.setattr(AlignTask, "evaluate", scored)
    config = copy("run", patience=2)
    align(config)
    assert len(_log(config)) == 4
    kept = load_tensors(config.path("align", "model.safetensors"))
    assert all(torch.equal(kept[name], tensor) for name, tensor in seen[1].items())


def test_the_moving_average_follows_and_steps_aside() -> None:
    weight = torch.zeros(1)
    average = MovingAverage({"w": weight}, 0.5)
    weight.fill_(1.0)
    average.update(100)
    with average.swapped_in():
        assert weight.item() == 0.5
    assert weight.item() == 1.0


def test_mean_reciprocal_rank_counts_variants_as_right_and_ties_as_wrong() -> None:
    x = torch.eye(3)
    y = x[[0, 2, 1]]
    there = torch.ones(3).bool()
    plain = mean_reciprocal_rank(
        {"a": x, "b": y}, {"a": there, "b": there}, torch.tensor([[1], [2], [3]]), [("a", "b")]
    )
    same = mean_reciprocal_rank(
        {"a": x, "b": y}, {"a": there, "b": there}, torch.tensor([[1], [2], [2]]), [("a", "b")]
    )
    assert plain == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)  # the right one ties with the remaining wrong one
    assert same == 1.0


def _numbered(rows: torch.Tensor) -> Batch:
    """Items whose only code is their number."""
    return Batch({}, {}, {"x": torch.ones(len(rows)).bool()}, rows[:, None])


def test_every_row_once_an_epoch_whatever_the_processes() -> None:
    items = np.arange(100, 110)
    alone = FeatureSource(_numbered, items, size=4, seed=3)
    halves = [FeatureSource(_numbered, items, size=2, seed=3, rank=r, world=2) for r in (0, 1)]
    for step in (0, 1, 2, 7):
        one = alone.parts(step)[0].codes
        two = torch.cat([half.parts(step)[0].codes for half in halves])
        assert torch.equal(one, two)
    epoch = torch.cat([alone.parts(step)[0].codes for step in (0, 1)])
    assert len(epoch.unique()) == 8 and set(epoch.flatten().tolist()) <= set(items.tolist())


def test_hard_negatives_follow_their_row() -> None:
    hard = torch.tensor([[1, 2], [0, -1], [0, 1], [4, 5], [3, 5], [3, 4]])
    source = FeatureSource(_numbered, np.arange(10, 16), size=6, hard=hard)
    rows = source.parts(0)[0].codes.flatten() - 10
    for row, *negatives in rows.reshape(-1, 3).tolist():
        assert negatives == [n if n >= 0 else row for n in hard[row].tolist()]


def test_modalities_dropped_are_one_draw_over_processes() -> None:
    batch, parts = _numbered(torch.arange(4)), [_numbered(torch.arange(2))] * 2
    together = drop_modalities([batch], 0.5, 1, 0, 1)[0].masks["x"]
    split = torch.cat([part.masks["x"] for part in drop_modalities(parts, 0.5, 1, 0, 1)])
    assert torch.equal(together, split) and drop_modalities(parts, 0.0, 1, 0, 1) is parts


def test_features_are_kept_and_computed_once(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(FeatureReader, "_run", never)
    first = copy("run", loss="siglip", matryoshka=[4, 8], steps=2)
    assert "contrastive loss" in align(first)
    # Another run shares the cache, wherever it lies.
    second = copy("other", steps=2, features=str(first.path("features")))
    shutil.rmtree(second.path("features"))
    assert "contrastive loss" in align(second)


def test_weights_replaced_in_place_give_other_features(
    copy: Copy, tiny_models: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(tiny_models["text"], tmp_path / "text")
    config = copy("run", text_weights=str(tmp_path / "text"), steps=2)
    align(config)
    assert len(list(config.path("features").glob("text-*/about.json"))) == 1  # of the same content: the same
    tensors = load_tensors(tmp_path / "text" / "model.safetensors")
    save_tensors(tmp_path / "text" / "model.safetensors", {n: t * 1.5 for n, t in tensors.items()})
    align(config)
    assert len(list(config.path("features").glob("text-*/about.json"))) == 2
    assert len(list(config.path("features").glob("image-*/about.json"))) == 1


def test_features_that_are_not_finite_are_named(copy: Copy) -> None:
    config = copy("run")
    for values in config.path("features").glob("text-*/*.values"):
        array = np.memmap(values, np.float16, "r+")
        array[:] = np.nan
        array.flush()
    with pytest.raises(DataError, match=r"text-.* features are not finite; the files are damaged"):
        align(config)


def test_a_loss_that_is_not_finite_leaves_weights_and_checkpoint_intact(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = copy("run")
    real = PairLoss.__call__
    calls: list[int] = []

    def broken(self: PairLoss, *args: Any, **options: Any) -> torch.Tensor:
        calls.append(0)
        loss = real(self, *args, **options)
        return loss * float("nan") if not options.get("alone") and len(calls) > 8 else loss

    with monkeypatch.context() as patch:
        patch.setattr(PairLoss, "__call__", broken)
        with pytest.raises(DataError, match=r"the loss is nan .*checkpoint is intact"):
            align(config)
    align(config)
    assert len(_log(config)) == 8 and all(np.isfinite(row["loss"]) for row in _log(config))


def test_hard_negatives_need_a_store(copy: Copy) -> None:
    with pytest.raises(DataError, match=r"needs align\.mine_from"):
        align(copy("run", hard_negatives=1))


def test_tensorboard_gets_the_curves(copy: Copy) -> None:
    pytest.importorskip("tensorboard")
    config = copy("run", trackers=["tensorboard"], steps=2)
    align(config)
    assert list(config.path("logs", "align").rglob("events.out.tfevents*"))
    with pytest.raises(DataError, match="no 'paper'"):
        align(smaller(config, trackers=["paper"]))


def test_hard_negatives_come_out_of_the_store(copy: Copy, tiny_run: Config) -> None:
    config = copy("run", hard_negatives=1, mine_from=str(tiny_run.path("embed")), steps=3)
    assert "contrastive loss" in align(config)


def test_a_video_tower_does_not_run_on_nothing_beside_its_pictures(copy: Copy) -> None:
    config = copy("run", source="pixels")
    embedder = Embedder.create(config.align, "cpu", "fp32")
    towers = Towers(embedder.encoders, embedder.model)
    set_trained(towers, AlignStage(trains=["heads", "image", "text"]))
    items = [item for item in item_samples(config.path("shards")) if item.images and not item.video][:2]
    batch = PixelCollator(embedder.encoders, config.align.mask)(items)
    ran: list[str] = []
    for name, encoder in embedder.encoders.items():
        encoder.register_forward_hook(lambda *_, name=name: ran.append(name))
    towers(batch)
    assert sorted(ran) == ["image", "text"]
    ran.clear()
    towers(replace(batch, inputs={"text": batch.inputs["text"]}))
    assert {"image", "text"} <= set(ran)
