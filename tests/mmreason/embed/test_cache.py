"""Features through the cache: each input is encoded once, and what comes out is what the encoders say."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmreason import Embedder, Item
from mmreason.config import Config, VideoConfig
from mmreason.embed.cache import CachedReader, identity_of, kind_of
from mmreason.embed.features import FeatureReader
from mmreason.schema import item_text
from mmreason.store.features import input_key


def _picture(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.fixture
def config(make_config: Callable[..., Config], tmp_path: Path) -> Config:
    made = make_config(tmp_path)
    return replace(made, embed=replace(made.embed, decode_workers=1))


@pytest.fixture
def embedder(config: Config) -> Embedder:
    return Embedder.create(config.align, "cpu", "fp32")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many inputs each forward pass had."""
    counts: list[int] = []
    real = FeatureReader._run

    def count(self: FeatureReader, encoder: Any, samples: list[Any]) -> torch.Tensor:
        counts.append(len(samples))
        return real(self, encoder, samples)

    monkeypatch.setattr(FeatureReader, "_run", count)
    return counts


ITEMS = [
    Item("a", "rain coat", images=[_picture(1), _picture(2)]),
    Item("b", "rain coat, blue", images=[_picture(1)]),  # a variant with the same picture
    Item("c", "rain coat", images=[b"no picture"]),
    Item("d"),
]


def test_each_input_is_encoded_once_and_as_the_encoder_does(
    config: Config, embedder: Embedder, encoded: list[int]
) -> None:
    with CachedReader(config, embedder) as reader:
        first, keys = reader.start(ITEMS).result()
        assert sum(encoded) == 2 + 2  # two pictures and two texts
        cache = reader.caches["image"]
        photos = cache.get(cache.rows([input_key(_picture(1)), input_key(_picture(2))]))
    with CachedReader(config, embedder) as reader:
        again, _ = reader.start(ITEMS[::-1]).result()
    assert sum(encoded) == 4
    direct = embedder.features(ITEMS)
    for modality, values in direct.values.items():
        # Equal up to the rounding of 16 bits.
        assert torch.allclose(first.values[modality], values, rtol=2e-3, atol=1e-4)
        assert torch.equal(again.values[modality].flip(0), first.values[modality])
        assert torch.equal(first.masks[modality], direct.masks[modality])
    assert np.allclose(
        photos, embedder.encoders["image"].encode([_picture(1), _picture(2)]), rtol=2e-3, atol=1e-4
    )
    assert keys["image"].rows.tolist() == [0, 0, 1]
    assert [(item_id, modality) for item_id, modality, _ in first.errors] == [("c", "image")]
    assert first.masks["text"].tolist() == [True, True, True, False]


@pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="only Linux tells what of a file is resident"
)
def test_what_was_read_of_the_cache_does_not_stay_resident(config: Config, embedder: Embedder) -> None:
    def resident() -> int:
        """Kilobytes of the cache's files that are mapped and in memory."""
        inside, kilobytes = False, 0
        for line in Path("/proc/self/smaps").read_text().splitlines():
            name, *rest = line.split()
            if not name.endswith(":"):
                inside = str(config.path("features")) in line
            elif inside and name == "Rss:":
                kilobytes += int(rest[0])
        return kilobytes

    with CachedReader(config, embedder) as reader:
        for _ in range(2):  # the second time everything is known, and read
            pending = reader.start(ITEMS)
            assert resident() == 0
            pending.result()
            assert resident() == 0
        cache = reader.caches["text"]
        cache.get(np.zeros(1, np.int64))
        assert resident() > 0


def test_heads_over_cached_features_give_the_vectors_of_fresh_ones(
    config: Config, embedder: Embedder
) -> None:
    items = [Item(f"i{n}", f"coat {n}", images=[_picture(n)]) for n in range(12)]
    fresh = embedder.features(items)
    for name in ("image", "text"):
        embedder.model.head(name).fit(fresh.values[name])
    with CachedReader(config, embedder) as reader:
        cached, _ = reader.start(items).result()
    a, b = (embedder.project(features)[0]["fused"] for features in (fresh, cached))
    assert (a * b).sum(axis=1).min() > 0.9999  # what is kept is float16


def test_what_a_feature_depends_on_names_its_folder(
    config: Config, embedder: Embedder, make_config: Callable[..., Config], tmp_path: Path
) -> None:
    def kinds(one: Embedder, int8: bool = False) -> dict[str, str]:
        return {name: kind_of(name, identity_of(one, name, e, int8)) for name, e in one.encoders.items()}

    before = kinds(embedder)
    assert kinds(Embedder.create(config.align, "cpu", "fp32")) == before
    frames = replace(config.align, video=VideoConfig(frames=3))
    pooled = replace(config.align, image_feature="pooled")
    changed = {
        "video": [Embedder.create(frames, "cpu", "fp32")],
        "image video": [Embedder.create(pooled, "cpu", "fp32")],
        "image text video": [Embedder.create(config.align, "cpu", "bf16")],
    }
    for names, (other,) in changed.items():
        now = kinds(other)
        assert {name for name in now if now[name] != before[name]} == set(names.split())
    assert not set(kinds(embedder, int8=True).values()) & set(before.values())


def test_an_edited_text_is_another_input(config: Config, embedder: Embedder) -> None:
    item = Item("a", "red coat")
    with CachedReader(config, embedder) as reader:
        before, _ = reader.start([item]).result()
        item.title = "blue shoes"
        after, _ = reader.start([item]).result()
        cache = reader.caches["text"]
        assert (cache.rows([input_key(item_text(item)), input_key("red coat")]) >= 0).all()
    assert not torch.allclose(before.values["text"], after.values["text"], atol=1e-3)
