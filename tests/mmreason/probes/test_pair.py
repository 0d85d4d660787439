"""The two towers of a run, compared in the space in which they were trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_folders import make

from encoders import create_encoder
from mmreason.config import AlignConfig, Config
from mmreason.embed.embedder import Embedder
from mmreason.probes.pair import PROMPTS, TowerPair
from mmreason.schema import Item
from mmreason.store.store import EmbeddingStore, StoreWriter


def _made(folder: Path, settings: AlignConfig, items: list[Item]) -> tuple[Config, EmbeddingStore]:
    """A run whose heads standardise as those of a real one do, and its store."""
    embedder = Embedder.create(settings, "cpu", "fp32")
    for name, size in embedder.model.dims.items():
        torch.manual_seed(len(name))
        embedder.model.head(name).fit(torch.randn(9, size) * 3 + 1)
    embedder.save_pretrained(folder / "align")
    arrays, masks, _ = embedder.embed(items)
    StoreWriter(folder / "embed", {}).write_part([i.id for i in items], ["?"] * len(items), arrays, masks)
    config = Config(run_dir=str(folder), device="cpu", dtype="fp32", align=settings)
    return config, EmbeddingStore.open(folder / "embed")


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("feature", ["pooled", "multi"])
def test_pictures_and_prompts_are_what_the_towers_give(
    tmp_path: Path, noise: Callable[..., np.ndarray], feature: str
) -> None:
    folder = str(make("clip", tmp_path / "clip"))
    settings = AlignConfig("hf-image:clip", folder, feature, text="hf-text:clip", text_weights=folder, dim=8)  # type: ignore[arg-type]
    pictures = [Image.fromarray(noise(40, 40, seed)) for seed in range(3)]
    items = [Item(str(n), images=[picture]) for n, picture in enumerate(pictures)]  # type: ignore[list-item]
    pair = TowerPair.open(*_made(tmp_path, settings, items))
    assert pair is not None
    wanted = create_encoder("hf-image:clip", folder).encode(pictures).numpy()
    np.testing.assert_allclose(pair.pictures(["2", "0"]), _units(wanted)[[2, 0]], atol=5e-3)
    texts = [prompt.format(name="color", value="red") for prompt in PROMPTS]
    said = _units(create_encoder("hf-text:clip", folder).encode(texts).numpy()).mean(0, keepdims=True)
    found = pair.prompts("color", ["red", "蓝色"])
    np.testing.assert_allclose(found[:1], _units(said), atol=5e-3)
    assert found.shape == (2, wanted.shape[1]) and not np.allclose(found[0], found[1], atol=1e-2)


def test_towers_of_two_models_are_no_pair(tmp_path: Path, noise: Callable[..., np.ndarray]) -> None:
    folder, text = str(make("clip", tmp_path / "clip")), str(make("bge", tmp_path / "bge"))
    settings = AlignConfig("hf-image:clip", folder, "pooled", text="hf-text:bge", text_weights=text, dim=8)
    items = [Item("a", images=[Image.fromarray(noise(40, 40))])]  # type: ignore[list-item]
    config, store = _made(tmp_path, settings, items)
    assert TowerPair.open(config, store) is None
    assert TowerPair.open(replace(config, run_dir=str(tmp_path / "none")), store) is None
