"""The errors of this package, importable without torch."""

from __future__ import annotations


class MediaError(ValueError):
    """A picture, video or text that cannot be read: the message names the input and what is wrong with it."""


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit: the message names the file or tensor and what to do."""
