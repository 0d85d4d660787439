"""Exponential moving average of what trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from mmreason.training.sharding import overwrite


class MovingAverage:
    """Keeps an average of tensors that follows them slowly.

    The decay rises to its value over the first steps, (1 + n) / (10 + n), so that a short training is not
    averaged with its random start.

    Args:
        tensors: Name → parameter.
        decay: Share of the average kept in each update.

    Example:
        >>> weight = torch.zeros(1)
        >>> average = MovingAverage({"w": weight}, decay=0.9)
        >>> _ = weight.fill_(1.0); average.update(step=0)
        >>> round(average.tensors["w"].item(), 3)
        0.9
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self._followed = dict(tensors)
        self.decay = decay
        self.tensors = {name: t.detach().clone() for name, t in tensors.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow; call it after the optimiser's step number ``step``, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), list(self._followed.values()), 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Put the average in the parameters' place while the block runs."""
        own = {name: t.detach().clone() for name, t in self._followed.items()}
        overwrite(self._followed, self.tensors)
        try:
            yield
        finally:
            overwrite(self._followed, own)
