"""Heads from photos of products: the closed form against scikit-learn, and the contrast on top of it."""

from __future__ import annotations

import pytest
import torch

from mmreason.align.fit_photos import PhotoSet, fit_photos, start_at_discriminants
from mmreason.config import AlignConfig
from mmreason.embed.model import AlignModel, Head
from mmreason.schema import DataError


def _photos(products: int = 12, each: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Products differ in the last 8 features, where what all photos vary in leaks in from the first 8."""
    generator = torch.Generator().manual_seed(seed)
    product = torch.arange(products).repeat_interleave(each)
    signal = torch.randn(products, 8, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(len(product), 16, generator=generator)
    noise[:, :8] *= 2.5
    noise[:, 8:] *= 0.5
    noise[:, 8:] += 0.6 * noise[:, :8]  # the nuisance leaks into the signal
    noise[:, 8:] += signal[product]
    return noise, product


def _model(dim: int = 16) -> AlignModel:
    torch.manual_seed(0)
    return AlignModel({"image": 16, "text": 10}, AlignConfig(dim=dim))


def _found(vectors: torch.Tensor, gallery: torch.Tensor, product: torch.Tensor) -> float:
    return float(((vectors @ gallery.T).argmax(1) == product).float().mean())


def test_discriminants_find_what_gradients_and_plain_features_miss() -> None:
    features, product = _photos()
    unseen, unseen_product = _photos(seed=1)
    head = Head(16, 16).eval()
    start_at_discriminants(head, features, product)
    with torch.no_grad():
        vectors, asked = head(head.standardise(features)), head(head.standardise(unseen))
    means = torch.nn.functional.normalize(
        torch.stack([vectors[product == p].mean(0) for p in range(12)]), dim=-1
    )
    raw = torch.nn.functional.normalize(head.standardise(features), dim=-1)
    raw_means = torch.stack([raw[product == p].mean(0) for p in range(12)])
    plain = _found(torch.nn.functional.normalize(head.standardise(unseen), dim=-1), raw_means, unseen_product)
    assert _found(asked, means, unseen_product) > 0.8 > plain + 0.2


def test_a_frozen_head_stays_and_the_texts_come_to_it() -> None:
    features, product = _photos()
    texts = torch.randn(12, 2, 10, generator=torch.Generator().manual_seed(5))
    model = _model()
    start_at_discriminants(model.head("image"), features, product)
    before = {n: p.clone() for n, p in model.heads["image"].state_dict().items()}
    pictures = torch.stack([features[product == p][0] for p in range(12)])[:, None]
    data = PhotoSet(features[:, None], product, texts, pictures)
    losses = fit_photos(model, data, steps=150, frozen=["image"], lr=3e-3)
    assert losses[-1] < losses[0] / 2
    assert all(torch.equal(p, before[n]) for n, p in model.heads["image"].state_dict().items())
    unseen, unseen_product = _photos(seed=1)
    with torch.no_grad():
        photo = model.heads["image"](model.head("image").standardise(unseen))
        text = model.heads["text"](model.head("text").standardise(texts[:, 0]))
    assert _found(photo, text, unseen_product) > 4 / 12  # four times chance, from six photos a product


def test_training_is_seeded_whatever_was_drawn_before() -> None:
    features, product = _photos()
    data = PhotoSet(features[:, None], product, torch.randn(12, 1, 10))
    runs = []
    for number in range(2):
        model = _model()
        torch.manual_seed(number)
        runs.append(fit_photos(model, data, steps=5, seed=7))
    assert runs[0] == runs[1]


def test_what_cannot_be_learned_is_named() -> None:
    features, product = _photos()
    texts = torch.randn(12, 1, 10)
    with pytest.raises(DataError, match="product 11, but there are 5"):
        PhotoSet(features[:, None], product, texts[:5])
    with pytest.raises(DataError, match="fewer than two products"):
        fit_photos(_model(), PhotoSet(features[:3, None], product[:3], texts), steps=1)
    with pytest.raises(DataError, match="give two products"):
        start_at_discriminants(_model().head("image"), features[::6], product[::6])
    features[3] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        fit_photos(_model(), PhotoSet(features[:, None], product, texts), steps=2)
