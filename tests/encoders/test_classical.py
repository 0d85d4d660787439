from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from encoders import WeightsError, create_encoder, list_encoders
from encoders.classical import TfidfEncoder, Word2VecEncoder

WEAR = ["red wool hat", "blue wool hat", "warm wool scarf", "red cotton shirt", "blue cotton shirt"]
FOOD = ["sweet apple juice", "fresh orange juice", "sweet orange cake", "fresh apple cake", "好吃的蛋糕"]
TEXTS = (WEAR + FOOD) * 4


@pytest.fixture(params=["tfidf", "word2vec"])
def fitted(request: pytest.FixtureRequest) -> Any:
    return create_encoder(request.param, dim=8).fit(TEXTS)  # type: ignore[operator]


def test_fitted_encoders_survive_saving(fitted: Any, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocabulary.json",
    ]
    texts = [*TEXTS[:10], "", "unknown", "wool"]
    expected = fitted.encode(texts)
    for loaded in (create_encoder(fitted.kind, str(tmp_path)), type(fitted).from_pretrained(tmp_path)):
        torch.testing.assert_close(loaded.encode(texts), expected)
        assert loaded.dim == fitted.dim == expected.shape[1]
    assert not expected[10:12].any()
    assert expected[12].any()


def test_fitting_twice_gives_the_same(fitted: Any) -> None:
    again: Any = create_encoder(fitted.kind, dim=8)
    torch.testing.assert_close(again.fit(TEXTS).encode(TEXTS[:10]), fitted.encode(TEXTS[:10]))


def test_like_texts_are_near_and_bf16_is_close(fitted: Any) -> None:
    hat, shirt, juice = torch.nn.functional.normalize(
        fitted.encode(["red wool hat", "blue wool hat", "apple juice"])
    )
    assert hat @ shirt > hat @ juice
    full = fitted.encode(TEXTS[:10])
    half = fitted.to(dtype=torch.bfloat16).encode(TEXTS[:10])
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half).min() > 0.99


def test_tfidf_is_scikit_learns() -> None:
    encoder = TfidfEncoder(dim=6, ngrams=1).fit(WEAR + FOOD[:4])
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    matrix = vectorizer.fit_transform(WEAR + FOOD[:4])
    expected = TruncatedSVD(6, random_state=0).fit(matrix).transform(matrix)
    np.testing.assert_allclose(encoder.encode(WEAR + FOOD[:4]).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_word2vec_is_the_mean_of_known_words() -> None:
    encoder = Word2VecEncoder(dim=5).fit(TEXTS)
    a, b, both = encoder.encode(["Wool", "hat", "wool hat nowhere"])
    torch.testing.assert_close(both, (a + b) / 2)


def test_what_does_not_fit_says_why(tmp_path: Path, fitted: Any) -> None:
    with pytest.raises(WeightsError, match="not fitted"):
        create_encoder("tfidf").encode(["a"])
    with pytest.raises(WeightsError, match="not fitted"):
        TfidfEncoder().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tfidf: cannot fit on 2 texts"):
        TfidfEncoder().fit(["", "!"])
    with pytest.raises(ValueError, match="no word occurs 2 times"):
        Word2VecEncoder().fit(["once"])
    fitted.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({**state, "table": torch.zeros(2, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="do not belong together"):
        create_encoder(fitted.kind, str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"type": "bert"}))
    with pytest.raises(WeightsError, match=f"no saved {fitted.kind} encoder"):
        create_encoder(fitted.kind, str(tmp_path))


def test_listing_knows_them_and_ignores_case() -> None:
    assert list_encoders("tfidf") == ["tfidf"]
    assert "word2vec" in list_encoders()
    siglip = list_encoders("*siglip*")
    assert "openclip:ViT-B-16-SigLIP2" in siglip
    assert any(spec.startswith("timm:") for spec in siglip)
