from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import MediaError, ViewsEncoder, create_encoder

Noise = Callable[..., np.ndarray]


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_an_items_pictures_become_one_feature(pool: str, noise: Noise, photo: Path) -> None:
    image: Any = create_encoder("timm:test_resnet")
    views = ViewsEncoder(image, pool, max_views=3)  # type: ignore[arg-type]
    pictures = [noise(60, 80, seed) for seed in range(4)]
    items = [pictures[:2], [photo], photo, pictures, np.stack(pictures[:2])]
    features = views.encode(items, batch_size=5)
    single = image.encode([*pictures, photo])
    expected = torch.stack([single[:2].mean(0), single[4], single[4], single[:3].mean(0), single[:2].mean(0)])
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(views.encode(items, batch_size=2), features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(views.encode([[photo, photo]])[0], single[4], rtol=1e-4, atol=1e-5)


def test_attention_learns_which_view_counts_and_padding_does_not() -> None:
    image: Any = create_encoder("timm:test_resnet")
    views = ViewsEncoder(image, "attention")
    torch.nn.init.normal_(views.pool.score.weight)  # type: ignore[union-attr, arg-type]
    features = torch.randn(2, 3, views.dim)
    pooled = views.pool(features, torch.tensor([3, 2]))
    torch.testing.assert_close(pooled[1:], views.pool(features[1:, :2]))
    assert not torch.allclose(pooled[1], features[1, :2].mean(0), atol=1e-3)


def test_preprocessing_travels_without_the_weights(photo: Path) -> None:
    image: Any = create_encoder("timm:test_resnet")
    views = ViewsEncoder(image)
    sent = pickle.dumps(views.preprocessing)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent)([photo]), views.preprocess([photo]))


def test_what_is_no_item_is_refused() -> None:
    image: Any = create_encoder("timm:test_resnet")
    with pytest.raises(MediaError, match="at least one picture"):
        ViewsEncoder(image).preprocess([])
    with pytest.raises(ValueError, match="no order"):
        ViewsEncoder(image, "lstm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_views"):
        ViewsEncoder(image, max_views=0)
