from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import MediaError, VideoEncoder, create_encoder

POOLS = ["mean", "attention", "lstm"]


def _video(pool: str = "mean", num_frames: int = 4) -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder(create_encoder("timm:test_resnet"), num_frames, pool)  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_starts_as_the_mean_of_the_frames_features(pool: str) -> None:
    video = _video(pool)
    frames = torch.randint(0, 256, (3, 4, 3, 160, 160), dtype=torch.uint8)
    with torch.no_grad():
        expected = torch.stack([video.image_encoder(clip).mean(dim=0) for clip in frames])
        torch.testing.assert_close(video(frames), expected, rtol=1e-4, atol=1e-5)
    assert expected.shape == (3, video.dim)


@pytest.mark.parametrize("pool", ["attention", "lstm"])
def test_learned_pools_learn(pool: str) -> None:
    video = _video(pool).train()
    before = {name: value.clone() for name, value in video.pool.named_parameters()}
    optimizer = torch.optim.SGD(video.pool.parameters(), lr=1.0)
    features = torch.randn(6, 4, video.dim)
    for _ in range(2):  # what starts at zero hides the rest from the first step
        video.pool(features).square().mean().backward()
        optimizer.step()
    for name, value in video.pool.named_parameters():
        if name != "score.bias":  # the softmax does not see it
            assert not torch.equal(before[name], value), name


def test_the_lstm_sees_the_order_and_the_others_do_not() -> None:
    for pool in POOLS:
        video = _video(pool)
        for parameter in video.pool.parameters():
            torch.nn.init.normal_(parameter)
        features = torch.randn(2, 4, video.dim)
        same = torch.allclose(video.pool(features), video.pool(features.flip(1)), atol=1e-4)
        assert same == (pool != "lstm")


def test_files_lists_and_arrays_are_videos(make_video: Callable[..., Path]) -> None:
    video = _video()
    path = make_video(frames=12)
    assert video.preprocess(path).shape == (4, 3, 160, 160)
    assert video.preprocess(path).dtype == torch.uint8
    assert torch.equal(video.preprocess(path), video.preprocess(path.read_bytes()))
    frames = [np.full((50, 60, 3), 20 * i, dtype=np.uint8) for i in range(8)]
    tensors = video.preprocess(frames)
    assert tensors[:, 0, 0, 0].tolist() == [20, 60, 100, 140]
    assert torch.equal(tensors, video.preprocess(np.stack(frames)))
    assert video.preprocess(frames[:1]).shape == (4, 3, 160, 160)
    empty: Any
    for empty in ([], np.empty((0, 4, 4, 3), np.uint8)):
        with pytest.raises(MediaError, match="at least one frame"):
            video.preprocess(empty)


def test_encode_is_in_order_and_bf16_is_close(make_video: Callable[..., Path]) -> None:
    video = _video("attention")
    clips = [make_video(f"{i}.mp4", frames=3 + 8 * i) for i in range(3)]
    full = video.encode(clips, batch_size=2)
    torch.testing.assert_close(
        full, torch.cat([video.encode([clip]) for clip in clips]), rtol=1e-4, atol=1e-5
    )
    half = video.to(dtype=torch.bfloat16).encode(clips)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half).min() > 0.99


def test_the_picture_encoder_is_shared_not_copied() -> None:
    image = create_encoder("timm:test_resnet")
    assert VideoEncoder(image).image_encoder is image  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        VideoEncoder(image, num_frames=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'max'"):
        VideoEncoder(image, pool="max")  # type: ignore[arg-type]
