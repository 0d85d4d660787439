from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import create_encoder
from encoders.crops import CropsEncoder

Noise = Callable[..., np.ndarray]


def test_a_feature_is_the_mean_over_the_crops(noise: Noise) -> None:
    image: Any = create_encoder("timm:test_resnet")
    pictures = [noise(60, 80, seed) for seed in range(3)]
    own = [image.preprocess(picture) for picture in pictures]
    squashed = [replace(image.preprocessing, squash=True)(picture) for picture in pictures]
    four = [torch.stack([o, o.flip(-1), s, s.flip(-1)]) for o, s in zip(own, squashed, strict=True)]
    with torch.no_grad():
        expected = torch.stack([image(views).mean(0) for views in four])
    torch.testing.assert_close(CropsEncoder(image, 4).encode(pictures, 2), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(CropsEncoder(image, 1).encode(pictures), image.encode(pictures))
    assert torch.equal(CropsEncoder(image, 2).preprocess(pictures[0]), four[0][:2])


def test_two_crops_do_not_see_which_way_round_a_picture_is(noise: Noise) -> None:
    encoder = CropsEncoder(create_encoder("timm:test_resnet"), 2)  # type: ignore[arg-type]
    picture = noise(80, 80, 0)
    both = encoder.encode([picture, picture[:, ::-1].copy()])
    torch.testing.assert_close(both[0], both[1], rtol=1e-3, atol=1e-4)


def test_preprocessing_travels_without_the_weights(photo: Path) -> None:
    encoder = CropsEncoder(create_encoder("timm:test_resnet"), 4)  # type: ignore[arg-type]
    sent = pickle.dumps(encoder.preprocessing)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent)(photo), encoder.preprocess(photo))


def test_another_number_of_crops_is_refused() -> None:
    with pytest.raises(ValueError, match="1, 2, 4, not 3"):
        CropsEncoder(create_encoder("timm:test_resnet"), 3)  # type: ignore[arg-type]
