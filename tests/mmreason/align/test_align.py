"""Losses, heads, the embedder and the align and embed stages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from encoders import MediaError
from mmreason import DataError, Embedder, Item
from mmreason.align.embed import embed
from mmreason.align.losses import contrastive_loss
from mmreason.align.model import MODALITIES, AlignModel, fuse
from mmreason.align.train import same_product
from mmreason.config import AlignConfig, Config
from mmreason.data.loader import item_samples
from mmreason.data.store import EmbeddingStore


def _unit(rows: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_contrastive_loss_is_clips_where_nothing_is_masked() -> None:
    a, b, scale = _unit(5), _unit(5, 1), torch.tensor(10.0)
    logits = 10 * a @ b.T
    target = torch.arange(5)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    loss = contrastive_loss(a, b, scale, torch.eye(5).bool(), torch.ones(5).bool())
    assert torch.allclose(loss, expected)


def test_rows_of_one_product_are_no_negatives_of_each_other() -> None:
    a = _unit(4)
    b = a.clone()
    a[1], b[1] = a[0], b[0]  # two variants that look and read the same
    scale, everything = torch.tensor(100.0), torch.ones(4).bool()
    plain = contrastive_loss(a, b, scale, torch.eye(4).bool(), everything)
    same = torch.eye(4).bool()
    same[0, 1] = same[1, 0] = True
    assert contrastive_loss(a, b, scale, same, everything) < 1e-3 < 0.1 < plain


def test_rows_without_a_modality_do_not_count() -> None:
    a, b, scale, same = _unit(4), _unit(4, 1), torch.tensor(5.0), torch.eye(4).bool()
    valid = torch.tensor([True, True, False, True])
    kept = contrastive_loss(a[valid], b[valid], scale, same[:3, :3], torch.ones(3).bool())
    assert torch.allclose(contrastive_loss(a, b, scale, same, valid), kept)
    alone = torch.tensor([True, False, False, False])
    assert contrastive_loss(a, b, scale, same, alone) == 0


def test_same_product_goes_by_group_and_by_text() -> None:
    items = [Item("a", "Coat", group="g"), Item("b", "Hat", group="g"), Item("c", "Coat"), Item("d", "Shoe")]
    same = same_product(items)
    assert same[0].tolist() == [True, True, True, False]
    assert same[3].tolist() == [False, False, False, True]


def test_fuse_takes_only_what_is_there() -> None:
    vectors = {"image": _unit(2), "text": _unit(2, 1)}
    masks = {"image": torch.tensor([True, False]), "text": torch.tensor([False, False])}
    fused = fuse(vectors, masks)
    assert torch.allclose(fused[0], vectors["image"][0])
    assert torch.equal(fused[1], torch.zeros(8))


def test_the_temperature_cannot_run_away() -> None:
    model = AlignModel(dict.fromkeys(MODALITIES, 4), AlignConfig(dim=4))
    with torch.no_grad():
        model.log_scale.fill_(50.0)
    assert model.logit_scale == 100


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
    assert np.abs(store.get("fused", store.ids[:5]) - embedder.encode(items[:5])).max() < 2e-3  # float16


def test_embed_goes_on_where_it_was_and_keeps_going_over_bad_media(
    tiny_run: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    config = replace(tiny_run, run_dir=str(tmp_path))
    for name in ("align", "shards"):
        shutil.copytree(tiny_run.path(name), config.path(name))
    seen: list[int] = []
    real = Embedder.embed

    def broken(self: Embedder, items: list[Item], *args: object) -> object:
        seen.append(len(items))
        if len(seen) == 1:
            items[0].images = [b"no picture"]
        return real(self, items, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Embedder, "embed", broken)
    summary = embed(config)
    assert "1 media unreadable" in summary
    row = json.loads(config.path("embed", "quarantine.jsonl").read_text())
    store = EmbeddingStore.open(config.path("embed"))
    assert row["item_id"] == store.ids[0] and row["modality"] == "image"
    assert not store.mask("image", [store.ids[0]])[0] and store.mask("text", [store.ids[0]])[0]
    seen.clear()
    embed(config)
    # Only the item whose bytes differ from those embedded is done again.
    assert sum(seen) <= 1


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
