"""Crops encoder: one picture, looked at in several ways, to one feature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from encoders.base import Modality
from encoders.image import DRAFT, ImageEncoder, Preprocessing
from encoders.media.pictures import open_image
from encoders.pooling import SequenceEncoder

CROPS = (1, 2, 4)


@dataclass(frozen=True)
class CropsPreprocessing:
    """A picture to what a picture tower wants, in several ways; see :class:`CropsEncoder`."""

    picture: Preprocessing
    crops: int

    def __call__(self, raw: Any) -> Tensor:
        """Any picture :func:`encoders.media.pictures.open_image` takes to (T, 3, H, W) uint8."""
        image = open_image(raw, min_side=round(DRAFT * self.picture.resize))
        frames = [self.picture(image)]
        if self.crops == 4:
            frames.append(replace(self.picture, squash=True)(image))
        return torch.stack([view for frame in frames for view in (frame, frame.flip(-1))][: self.crops])


class CropsEncoder(SequenceEncoder):
    """Several crops of each picture through a picture encoder, which is shared, not copied; the mean of them.

    Photos that people take are framed anyhow: the mean over crops depends less on the frame.

    Args:
        image_encoder: Encodes the crops; ``dim`` is its ``dim``.
        crops: 1, the tower's own crop; 2, it and its mirror image; 4, the whole picture besides, both ways.

    Example:
        >>> from encoders import create_encoder
        >>> crops = CropsEncoder(create_encoder("timm:test_resnet"), crops=4)
        >>> crops.encode([torch.zeros(3, 80, 60, dtype=torch.uint8)]).shape
        torch.Size([1, 96])
    """

    modality: ClassVar[Modality] = "image"

    def __init__(self, image_encoder: ImageEncoder, crops: int = 2) -> None:
        if crops not in CROPS:
            raise ValueError(f"crops must be {', '.join(map(str, CROPS))}, not {crops}")
        super().__init__(image_encoder)
        self.preprocessing = CropsPreprocessing(image_encoder.preprocessing, crops)

    def preprocess(self, raw: Any) -> Tensor:
        """One picture to (T, 3, H, W) uint8.

        Raises:
            MediaError: If it cannot be read.
        """
        return self.preprocessing(raw)
