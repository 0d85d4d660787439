"""What every encoder is: raw inputs in, one float32 feature vector each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from encoders.errors import MediaError, WeightsError
from encoders.trainable import Trainable

__all__ = ["Encoder", "MediaError", "Modality", "WeightsError"]

Modality = Literal["image", "text", "video"]


class Encoder(Trainable, ABC):
    """Turns raw inputs of one modality into features.

    Attributes:
        modality: ``image``, ``text`` or ``video``.
        dim: Length D of a feature.
        preprocessing: What :meth:`preprocess` does, without the weights: small and picklable, for worker
            processes such as :class:`encoders.media.guarded.GuardedPool`.
    """

    modality: ClassVar[Modality]
    dim: int
    preprocessing: Any

    @classmethod
    def names(cls) -> list[str]:
        """Names that the registry knows for this kind; empty if any name will do."""
        return []

    @abstractmethod
    def preprocess(self, raw: Any) -> Any:
        """One raw input to a tensor, or a dict of tensors, on the CPU.

        Raises:
            MediaError: If the input cannot be read.
        """

    def preprocess_many(self, raws: Iterable[Any]) -> list[Any]:
        """As :meth:`preprocess`, for many inputs at once, where that is faster."""
        return [self.preprocess(raw) for raw in raws]

    def collate(self, samples: list[Any]) -> Any:
        """Preprocessed inputs to one batch: stacked here; texts pad."""
        return torch.stack(samples)

    @abstractmethod
    def forward(self, batch: Any) -> Tensor:
        """A batch to (B, D) float32; the batch may be on any device and of any dtype."""

    @torch.no_grad()
    def encode(self, raws: Sequence[Any], batch_size: int = 32) -> Tensor:
        """Encode raw inputs without gradients, in evaluation mode, which it leaves on.

        Args:
            raws: Raw inputs, as :meth:`preprocess` takes them.
            batch_size: Inputs per forward pass.

        Returns:
            (N, D) float32 on the CPU, in the order of the input.

        Raises:
            MediaError: If an input cannot be read.
        """
        self.eval()
        features = torch.empty(len(raws), self.dim)
        order = sorted(range(len(raws)), key=lambda i: self._length(raws[i]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self.collate(self.preprocess_many(raws[i] for i in rows))
            features[rows] = self(batch).float().cpu()
        return features

    def _length(self, raw: Any) -> int:
        """Inputs of like length share a batch in :meth:`encode`; those of one shape are all alike."""
        return 0

    def _cast(self, tensor: Tensor) -> Tensor:
        """A floating tensor in the parameters' dtype and device; an integer one on their device."""
        parameter = next(self.parameters())
        dtype = parameter.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(device=parameter.device, dtype=dtype, non_blocking=True)
