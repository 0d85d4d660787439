"""Video encoder: any picture encoder over sampled frames, pooled over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from encoders.base import MediaError, Modality
from encoders.image import ImageEncoder, Preprocessing
from encoders.media.frame_readers import Reader
from encoders.media.frames import sample_frames
from encoders.media.sampling import SAMPLINGS, Sampling
from encoders.pooling import Pool, SequenceEncoder


@dataclass(frozen=True)
class ClipPreprocessing:
    """A video to the frames that a picture tower wants; see :class:`VideoEncoder` for the attributes."""

    picture: Preprocessing
    num_frames: int
    sampling: Sampling
    fps: float
    reader: Reader

    def __call__(self, raw: Any) -> Tensor:
        """A path, bytes or a list of pictures to (T, 3, H, W) uint8."""
        frames: Any
        if isinstance(raw, Sequence | np.ndarray | Tensor) and not isinstance(
            raw, str | bytes | bytearray | memoryview
        ):
            if len(raw) == 0:
                raise MediaError("a video needs at least one frame")
            frames = [raw[(2 * i + 1) * len(raw) // (2 * self.num_frames)] for i in range(self.num_frames)]
        else:
            frames = sample_frames(
                raw,
                self.num_frames,
                self.picture.resize,
                sampling=self.sampling,
                fps=self.fps,
                reader=self.reader,
            )
        return torch.stack([self.picture(frame) for frame in frames])


class VideoEncoder(SequenceEncoder):
    """Frames through a picture encoder, which is shared, not copied, then pooled over time.

    The learned pools start out as the mean and move away from it in training.

    Args:
        image_encoder: Encodes the frames; ``dim`` is its ``dim``.
        num_frames: Frames T per video: always so many with ``sampling="uniform"``, at most with the others.
        pool: ``mean``; ``attention``, a learned weight per frame; or ``lstm``, which sees the order.
        sampling: ``uniform``, ``fps``, ``keyframes`` or ``shots``, see :func:`encoders.media.frames.sample_frames`.
        fps: Frames per second of ``sampling="fps"``.
        reader: ``auto``, ``decord``, ``av`` or ``torchcodec``.

    Example:
        >>> import torch
        >>> from encoders import create_encoder
        >>> video = VideoEncoder(create_encoder("timm:resnet18"), num_frames=4)
        >>> video(torch.zeros(2, 4, 3, 224, 224, dtype=torch.uint8)).shape
        torch.Size([2, 512])
    """

    modality: ClassVar[Modality] = "video"

    def __init__(
        self,
        image_encoder: ImageEncoder,
        num_frames: int = 8,
        pool: Pool = "mean",
        *,
        sampling: Sampling = "uniform",
        fps: float = 1.0,
        reader: Reader = "auto",
    ) -> None:
        super().__init__(image_encoder, pool)
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, not {num_frames}")
        if sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, not {sampling!r}")
        self.num_frames = num_frames
        self.preprocessing = ClipPreprocessing(image_encoder.preprocessing, num_frames, sampling, fps, reader)

    def preprocess(self, raw: Any) -> Tensor:
        """One video to (T, 3, H, W) uint8.

        Args:
            raw: A path, the bytes of a file, or a list of pictures, of which T are taken at equal distances
                (repeatedly, if there are fewer).

        Raises:
            MediaError: If it cannot be read.
        """
        return self.preprocessing(raw)
