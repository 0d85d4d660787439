"""Views encoder: the several pictures of one item to one feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from encoders.base import MediaError, Modality
from encoders.image import ImageEncoder, Preprocessing
from encoders.pooling import SequenceEncoder


@dataclass(frozen=True)
class ViewsPreprocessing:
    """The pictures of an item to what a picture tower wants; see :class:`ViewsEncoder`."""

    picture: Preprocessing
    max_views: int

    def __call__(self, raw: Any) -> Tensor:
        """One picture or a sequence of them to (T, 3, H, W) uint8."""
        several = isinstance(raw, Sequence) and not isinstance(raw, str | bytes | bytearray | memoryview)
        several |= isinstance(raw, np.ndarray | Tensor) and raw.ndim == 4
        views = raw[: self.max_views] if several else [raw]
        if len(views) == 0:
            raise MediaError("an item needs at least one picture")
        return torch.stack([self.picture(view) for view in views])


class ViewsEncoder(SequenceEncoder):
    """All pictures of an item through a picture encoder, which is shared, not copied, then pooled.

    Args:
        image_encoder: Encodes the pictures; ``dim`` is its ``dim``.
        pool: ``mean``, or ``attention``, a learned weight per picture that starts out as the mean.
        max_views: An item's further pictures are left out.

    Example:
        >>> from encoders import create_encoder
        >>> views = ViewsEncoder(create_encoder("timm:resnet18"), pool="attention")
        >>> views.encode([["front.jpg", "back.jpg"], "only.jpg"]).shape
        torch.Size([2, 512])
    """

    modality: ClassVar[Modality] = "image"

    def __init__(
        self, image_encoder: ImageEncoder, pool: Literal["mean", "attention"] = "mean", max_views: int = 8
    ) -> None:
        if pool not in ("mean", "attention"):
            raise ValueError(f"pool must be 'mean' or 'attention', not {pool!r}: views have no order")
        if max_views < 1:
            raise ValueError(f"max_views must be at least 1, not {max_views}")
        super().__init__(image_encoder, pool)
        self.preprocessing = ViewsPreprocessing(image_encoder.preprocessing, max_views)

    def preprocess(self, raw: Any) -> Tensor:
        """An item's pictures to (T, 3, H, W) uint8.

        Args:
            raw: A picture as :func:`encoders.media.pictures.open_image` takes it, or a sequence of 1 to ``max_views``.

        Raises:
            MediaError: If one cannot be read, or there is none.
        """
        return self.preprocessing(raw)
