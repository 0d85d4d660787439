"""The learning-rate schedule of every training: a function of the step, so a resumed one needs no state."""

from __future__ import annotations

import math


def cosine(step: int, steps: int, warmup: int) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to a tenth.

    Example:
        >>> [round(cosine(step, 10, 2), 2) for step in (0, 1, 2, 9)]
        [0.5, 1.0, 1.0, 0.13]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
