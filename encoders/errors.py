"""The errors of this package, importable without torch."""

from __future__ import annotations

from encoders.media.errors import MediaError

__all__ = ["MediaError", "WeightsError"]


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit: the message names the file or tensor and what to do."""
