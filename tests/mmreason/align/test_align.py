"""Losses, heads, the embedder and the align and embed stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from encoders import MediaError
from mmreason import DataError, Embedder, Item
from mmreason.checkpoint import load_tensors, save_tensors
from mmreason.config import AlignConfig, Config
from mmreason.embed.model import MODALITIES, AlignModel, fuse
from mmreason.shards.loader import item_samples
from mmreason.store.store import EmbeddingStore


def _unit(rows: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_fuse_takes_only_what_is_there() -> None:
    vectors = {"image": _unit(2), "text": _unit(2, 1)}
    masks = {"image": torch.tensor([True, False]), "text": torch.tensor([False, False])}
    fused = fuse(vectors, masks)
    assert torch.allclose(fused[0], vectors["image"][0])
    assert torch.equal(fused[1], torch.zeros(8))


def test_the_temperature_cannot_run_away() -> None:
    model = AlignModel(dict.fromkeys(MODALITIES, 4), AlignConfig(dim=4, min_temperature=0.02))
    for value, held in ((50.0, 50.0), (-50.0, 1.0)):
        with torch.no_grad():
            model.log_scale.fill_(value)
        assert model.logit_scale.item() == pytest.approx(held)
        model.hold_temperature()
        model.logit_scale.backward()
        assert model.log_scale.grad is not None and model.log_scale.grad != 0  # it can come back
        model.log_scale.grad = None


def test_embedder_gives_unit_vectors_alone_or_in_any_batch(tiny_run: Config) -> None:
    embedder = Embedder.from_pretrained(tiny_run.path("align"), device="cpu", dtype="fp32")
    items = list(item_samples(tiny_run.path("shards")))[:9]
    together = embedder.encode(items, batch_size=4)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.encode([item]) for item in items])
    assert (together * alone).sum(1).min() > 1 - 1e-5


def test_embedder_takes_what_an_item_has(tiny_run: Config) -> None:
    embedder = Embedder.from_pretrained(tiny_run.path("align"), device="cpu", dtype="fp32")
    items = list(item_samples(tiny_run.path("shards")))
    clip = next(item for item in items if item.video)
    vectors = embedder.encode([Item("t", title="Rain coat"), Item("v", video=clip.video), items[0]])
    assert vectors.shape == (3, 16)
    with pytest.raises(DataError, match="'nothing' has no title"):
        embedder.encode([Item("nothing")])
    with pytest.raises(MediaError, match=r"'x'.*no-such\.jpg"):
        embedder.encode([Item("x", title="t", images=["no-such.jpg"])])


def test_store_holds_the_embedders_vectors(tiny_run: Config) -> None:
    store = EmbeddingStore.open(tiny_run.path("embed"))
    items = list(item_samples(tiny_run.path("shards")))
    assert store.ids == [item.id for item in items]
    embedder = Embedder.from_pretrained(tiny_run.path("align"), device="cpu", dtype="fp32")
    cosines = (store.get("fused", store.ids[:5]) * embedder.encode(items[:5])).sum(axis=1)
    assert cosines.min() > 0.9999  # features and vectors are kept in float16


def test_a_checkpoint_of_another_shape_is_named(tiny_run: Config, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_run.path("align"), tmp_path / "align")
    path = tmp_path / "align" / "config.json"
    saved = json.loads(path.read_text())
    saved["config"]["dim"] = 8
    path.write_text(json.dumps(saved))
    with pytest.raises(DataError, match=r"model\.safetensors: tensor .* has shape"):
        AlignModel.from_pretrained(tmp_path / "align")
    with pytest.raises(DataError, match="no such file"):
        AlignModel.from_pretrained(tmp_path)


def test_a_checkpoint_that_lacks_a_tensor_is_named(tiny_run: Config, tmp_path: Path) -> None:
    model = AlignModel.from_pretrained(tiny_run.path("align"))
    model.save_pretrained(tmp_path)
    tensors = load_tensors(tmp_path / "model.safetensors")
    del tensors["heads.text.linear.bias"]
    save_tensors(tmp_path / "model.safetensors", tensors)
    with pytest.raises(DataError, match=r"'heads\.text\.linear\.bias' is missing"):
        AlignModel.from_pretrained(tmp_path)
