"""Catalogues that lack a modality altogether: batch, fusion and probe go without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmreason.config import ReasonConfig
from mmreason.probes.picture import PictureProbe, has_picture, picture_features
from mmreason.reason.batch import fusion_batch
from mmreason.reason.fusion import Fusion
from mmreason.reason.model import feature_sizes
from mmreason.schema import Interaction, Item
from mmreason.store.store import EmbeddingStore, StoreWriter

IDS = [f"i{n}" for n in range(12)]
SIZES = {"image": 6, "text": 5, "video": 6}


def _store(folder: Path, modalities: tuple[str, ...]) -> EmbeddingStore:
    rng = np.random.default_rng(0)
    arrays = {"fused": rng.normal(size=(12, 4)).astype(np.float16)}
    for m in modalities:
        arrays[m] = rng.normal(size=(12, 4)).astype(np.float16)
        arrays[f"{m}_features"] = rng.normal(size=(12, SIZES[m])).astype(np.float16)
        arrays[f"{m}_features"][:6, 0] += 4  # what the colour is told by
    writer = StoreWriter(folder, {})
    writer.write_part(IDS, ["?"] * 12, arrays, {m: np.ones(12, dtype=bool) for m in modalities})
    return EmbeddingStore.open(folder)


@pytest.mark.parametrize("modalities", [("text",), ("image",), ("video",), ("image", "video")])
def test_the_fusion_reads_what_there_is(tmp_path: Path, modalities: tuple[str, ...]) -> None:
    store = _store(tmp_path / "store", modalities)
    sizes = feature_sizes(store)
    config = ReasonConfig(hidden_size=8, heads=2, layers=1, soft_tokens=2)
    torch.manual_seed(0)
    fusion = Fusion({m: size for m, size in sizes.items() if m != "shared"}, sizes["shared"], config).eval()
    pairs = [("i0", [Interaction("u", "i1", "click")]), ("i2", [])]
    fused = fusion(fusion_batch(pairs, store, 4))
    assert fused.shape == (2, 2, 8) and torch.isfinite(fused).all()
    other = fusion(fusion_batch([("i3", pairs[0][1]), ("i2", [])], store, 4))
    assert not torch.allclose(other[0], fused[0]) and torch.allclose(other[1], fused[1])


def test_the_probe_reads_videos_where_there_are_no_pictures_and_nothing_where_there_is_neither(
    tmp_path: Path,
) -> None:
    items = [
        Item(i, split="train", hidden={"color": ["red" if n < 6 else "blue"]}) for n, i in enumerate(IDS)
    ]
    for modality in ("image", "video"):
        store = _store(tmp_path / modality, (modality,))
        probe = PictureProbe.fit(items, store)
        shown = probe.predict(picture_features(store, IDS))["color"].argmax(1)
        assert [probe.values["color"][n] for n in shown] == [item.hidden["color"][0] for item in items]
    texts = _store(tmp_path / "texts", ("text",))
    blind = PictureProbe.fit(items, texts)
    assert blind.values == {} and blind.features == 0 and not has_picture(texts, IDS).any()
    blind.save_pretrained(tmp_path / "probe")
    assert PictureProbe.from_pretrained(tmp_path / "probe").predict(picture_features(texts, IDS)) == {}
