"""A second view of a picture or a video, always the same one: what is contrasted where there is nothing else."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from encoders.base import Encoder
from encoders.crops import CropsEncoder
from encoders.image import ImageEncoder, Preprocessing
from encoders.video import ClipPreprocessing, VideoEncoder
from encoders.views import ViewsEncoder, ViewsPreprocessing

ZOOM = 1.25  # so much closer is the second view of a picture


@dataclass(frozen=True)
class MirroredCrop:
    """A picture mirrored, and from closer unless the tower wants it squashed."""

    picture: Preprocessing

    def __call__(self, raw: Any) -> Tensor:
        """Any picture :func:`encoders.media.pictures.open_image` takes to (3, size, size) uint8."""
        closer = replace(self.picture, resize=round(ZOOM * self.picture.resize))
        return closer(raw).flip(-1)


@dataclass(frozen=True)
class OtherFrames:
    """Frames of a video between those that are usually looked at, mirrored."""

    clip: ClipPreprocessing

    def __call__(self, raw: Any) -> Tensor:
        """A path, bytes or a list of pictures to (T, 3, H, W) uint8."""
        frames = replace(self.clip, num_frames=2 * self.clip.num_frames)(raw)
        return (frames[1::2] if len(frames) > 1 else frames).flip(-1)


def second_view(encoder: Encoder) -> Encoder:
    """The same encoder, its weights shared, that sees its pictures or videos in another way.

    Raises:
        ValueError: If it encodes texts, of which there is no other view.

    Example:
        >>> from encoders import create_encoder
        >>> second_view(create_encoder("timm:resnet18")).dim
        512
    """
    other = copy.copy(encoder)
    if isinstance(encoder, ImageEncoder):
        other.preprocessing = MirroredCrop(encoder.preprocessing)
    elif isinstance(encoder, CropsEncoder):
        return second_view(encoder.image_encoder)
    elif isinstance(encoder, VideoEncoder):
        other.preprocessing = OtherFrames(encoder.preprocessing)
    elif isinstance(encoder, ViewsEncoder):
        views = encoder.preprocessing
        other.preprocessing = ViewsPreprocessing(MirroredCrop(views.picture), views.max_views)  # type: ignore[arg-type]
    else:
        raise ValueError(f"{type(encoder).__name__}: a text has no second view")
    return other
