"""Photos of products: each picture a row of its own, and a picture head in closed form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import smaller
from stopping import stop_at

from mmreason import DataError, Embedder, Item
from mmreason.align.discriminants import some_products, start_at_discriminants
from mmreason.align.train import align
from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.checkpoint import load_tensors
from mmreason.config import AlignStage, Config
from mmreason.embed.job import embed
from mmreason.embed.model import Head
from mmreason.shards.pack import pack
from mmreason.store.store import EmbeddingStore

PRODUCTS, PHOTOS = 6, 5
NAMES = ("apple", "garlic", "yoghurt", "juice", "pepper", "lemon")
TEXTS = AlignStage("texts", 40, ["heads:text"], lr=1e-2)


def _photo(product: int, number: int) -> Image.Image:
    """A product's two colours in stripes, in some light, at some place, with noise."""
    rng = np.random.default_rng(1000 * product + number)
    colours = np.random.default_rng(product).integers(0, 255, (2, 3))
    stripes = (np.arange(48) + rng.integers(8)) // 8 % 2
    pixels = np.broadcast_to(colours[stripes][:, None], (48, 48, 3)) * rng.uniform(0.7, 1)
    return Image.fromarray((pixels + rng.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture
def make_run(make_config: Callable[..., Config], tmp_path: Path) -> Callable[..., Config]:
    """``make_run(name, **align)``: a run over products with several photos each that has come up to ``align``."""
    media = tmp_path / "media"
    media.mkdir()
    items = {}
    for product, name in enumerate(NAMES):
        images = [f"{name}-{number}.png" for number in range(PHOTOS)]
        for number, image in enumerate(images):
            _photo(product, number).save(media / image)
        items[name] = Item(name, f"fresh {name}", images=images)

    def make(run: str, **settings: object) -> Config:
        config = make_config(tmp_path / run)
        write_catalogue(Catalogue(items, [], [], media), config.path("catalogue"))
        pack(config)
        config = replace(config, embed=replace(config.embed, decode_workers=1))
        recipe = {"photos": True, "start": "discriminants", "stages": [TEXTS], "drop_modality": 0.0}
        return smaller(config, **{**recipe, "batch_size": 16, "eval_every": 10, **settings})

    return make


def test_unseen_photos_find_their_products(make_run: Callable[..., Config]) -> None:
    config = make_run("run", crops=2, image_size=64)
    assert "6 items with 30 photos" in align(config)
    embed(config)
    store = EmbeddingStore.open(config.path("embed"))
    embedder = Embedder.from_pretrained(config.path("align"), device="cpu", dtype="fp32")
    assert embedder.encoders["image"].preprocess(_photo(0, 0)).shape == (2, 3, 64, 64)
    unseen = [(product, _photo(product, 100 + number)) for product in range(PRODUCTS) for number in range(4)]
    queries = embedder.encode([Item(str(n), images=[photo]) for n, (_, photo) in enumerate(unseen)])
    truth = np.array([store.ids.index(NAMES[product]) for product, _ in unseen])
    for array in ("text", "fused"):
        found = (queries @ store.get(array, store.ids).T).argmax(axis=1)
        assert (found == truth).mean() > 0.8, array  # chance is a sixth


def test_only_the_text_head_moves_when_asked(make_run: Callable[..., Config]) -> None:
    stopped = make_run("start", stages=[replace(TEXTS, steps=1)])
    trained = make_run("trained")
    for config in (stopped, trained):
        align(config)
    a, b = (load_tensors(c.path("align", "model.safetensors")) for c in (stopped, trained))
    moved = {name for name in a if not torch.equal(a[name], b[name])}
    assert moved <= {name for name in a if name.startswith(("heads.text.", "log_scale"))}
    assert not torch.equal(a["heads.text.linear.weight"], b["heads.text.linear.weight"])


def test_photos_of_one_product_are_not_each_others_negatives(make_run: Callable[..., Config]) -> None:
    """With one batch of all photos, what is perfect for every photo at once has a loss near nought."""
    config = make_run("run", batch_size=PRODUCTS * PHOTOS, stages=[replace(TEXTS, steps=150)])
    align(config)
    log = json.loads(config.path("align", "log.json").read_text())
    assert log[-1]["loss"] < 0.2 < np.log(PHOTOS) < log[0]["loss"]  # as negatives they would leave log 5


def test_stopped_and_resumed_is_unstopped(
    make_run: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    unstopped, stopped = make_run("unstopped", save_every=5), make_run("stopped", save_every=5)
    align(unstopped)
    stop_at(monkeypatch, 17, lambda: align(stopped))
    align(stopped)
    a, b = (load_tensors(c.path("align", "model.safetensors")) for c in (stopped, unstopped))
    assert all(torch.equal(a[name], b[name]) for name in b)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"photos": False}, "set align.photos=true"),
        ({"source": "pixels"}, "set align.source=features"),
        ({"hard_negatives": 1}, "set align.hard_negatives=0"),
        (
            {"photos": False, "start": "random", "source": "pixels", "crops": 2, "views": "attention"},
            "views=mean",
        ),
        ({"stages": [AlignStage("x", 1, ["heads:smell"])]}, "heads:text"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    make_run: Callable[..., Config], settings: dict, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        align(make_run("run", **settings))


def _features(products: int = 12, each: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Products differ in the last 8 numbers, where what all photos vary in leaks in from the first 8."""
    generator = torch.Generator().manual_seed(seed)
    product = torch.arange(products).repeat_interleave(each)
    signal = torch.randn(products, 8, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(len(product), 16, generator=generator)
    noise[:, :8] *= 2.5
    noise[:, 8:] = 0.5 * noise[:, 8:] + 0.6 * noise[:, :8] + signal[product]
    return noise, product


def _found(vectors: torch.Tensor, gallery: torch.Tensor, product: torch.Tensor) -> float:
    return float(((vectors @ gallery.T).argmax(1) == product).float().mean())


def test_discriminants_see_past_what_all_photos_vary_in() -> None:
    features, product = _features()
    unseen, truth = _features(seed=1)
    head = Head(16, 16).eval()
    head.fit(features)
    start_at_discriminants(head, features, product)

    def means(vectors: torch.Tensor) -> torch.Tensor:
        parts = torch.stack([vectors[product == p].mean(0) for p in range(12)])
        return torch.nn.functional.normalize(parts, dim=-1)

    with torch.no_grad():
        known, asked = (head(head.standardise(x)) for x in (features, unseen))
    plain = [torch.nn.functional.normalize(head.standardise(x), dim=-1) for x in (features, unseen)]
    assert _found(asked, means(known), truth) > 0.8 > _found(plain[1], means(plain[0]), truth) + 0.2


def test_one_photo_a_product_tells_nothing_of_what_photos_vary_in() -> None:
    features, product = _features()
    with pytest.raises(DataError, match="one with two photos"):
        start_at_discriminants(Head(16, 16), features[::6], product[::6])


def test_products_are_drawn_whole() -> None:
    product = np.repeat(np.arange(50), 7)
    rows = some_products(product, seed=3, most=100)
    assert len(rows) == 98
    assert (np.bincount(product[rows])[np.unique(product[rows])] == 7).all()
    assert len(some_products(product)) == len(product)
