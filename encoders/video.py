"""Video encoder: any picture encoder over sampled frames, pooled over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from encoders.base import Encoder, MediaError, Modality
from encoders.frames import sample_frames
from encoders.image import ImageEncoder

Pool = Literal["mean", "attention", "lstm"]


class VideoEncoder(Encoder):
    """Frames through a picture encoder, which is shared, not copied, then pooled over time.

    The learned pools start out as the mean and move away from it in training.

    Args:
        image_encoder: Encodes the frames; ``dim`` is its ``dim``.
        num_frames: Frames T per video.
        pool: ``mean``; ``attention``, a learned weight per frame; or ``lstm``, which sees the order.

    Example:
        >>> from encoders import create_encoder
        >>> video = VideoEncoder(create_encoder("timm:resnet18"), num_frames=4)
        >>> video(torch.zeros(2, 4, 3, 224, 224, dtype=torch.uint8)).shape
        torch.Size([2, 512])
    """

    modality: ClassVar[Modality] = "video"

    def __init__(self, image_encoder: ImageEncoder, num_frames: int = 8, pool: Pool = "mean") -> None:
        super().__init__()
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, not {num_frames}")
        if pool not in _POOLS:
            raise ValueError(f"pool must be one of {', '.join(_POOLS)}, not {pool!r}")
        self.image_encoder = image_encoder
        self.num_frames = num_frames
        self.dim = image_encoder.dim
        self.pool = _POOLS[pool](self.dim)
        self.eval()

    def preprocess(self, raw: Any) -> Tensor:
        """One video to (T, 3, H, W) uint8.

        Args:
            raw: A path, the bytes of a file, or a list of pictures, of which T are taken at equal distances
                (repeatedly, if there are fewer).

        Raises:
            MediaError: If it cannot be read.
        """
        frames: Any
        if isinstance(raw, Sequence | np.ndarray | Tensor) and not isinstance(raw, str | bytes):
            if len(raw) == 0:
                raise MediaError("a video needs at least one frame")
            frames = [raw[(2 * i + 1) * len(raw) // (2 * self.num_frames)] for i in range(self.num_frames)]
        else:
            frames = sample_frames(raw, self.num_frames, size=self.image_encoder.preprocessing.resize)
        return torch.stack([self.image_encoder.preprocess(frame) for frame in frames])

    def forward(self, batch: Tensor) -> Tensor:
        """(B, T, 3, H, W), uint8 in 0..255 or floating in 0..1, to (B, D) float32."""
        features = self.image_encoder(batch.flatten(0, 1)).unflatten(0, batch.shape[:2])
        return self.pool(features)


class MeanPool(nn.Module):
    """(B, T, D) → (B, D): the mean over time."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, frames: Tensor) -> Tensor:
        """Pool float32 frame features."""
        return frames.mean(dim=1)


class AttentionPool(nn.Module):
    """(B, T, D) → (B, D): a mean weighted by a learned score of each frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.score = nn.Linear(dim, 1)
        nn.init.zeros_(self.score.weight)

    def forward(self, frames: Tensor) -> Tensor:
        """Pool float32 frame features."""
        weights = self.score(self.norm(frames.to(self.score.weight.dtype))).float().softmax(dim=1)
        return (weights * frames).sum(dim=1)


class LstmPool(nn.Module):
    """(B, T, D) → (B, D): the mean plus what an LSTM makes of the order."""

    def __init__(self, dim: int, max_hidden: int = 512) -> None:
        super().__init__()
        hidden = min(dim, max_hidden)  # the LSTM's size grows with the product of both
        self.norm = nn.LayerNorm(dim)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Pool float32 frame features."""
        _, (last, _) = self.lstm(self.norm(frames.to(self.out.weight.dtype)))
        return frames.mean(dim=1) + self.out(last[-1]).float()


_POOLS: dict[str, type[nn.Module]] = {"mean": MeanPool, "attention": AttentionPool, "lstm": LstmPool}
