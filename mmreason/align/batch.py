"""What one training step reads: rows of items, as features, as media, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor


@dataclass
class Inputs:
    """What a tower reads of a batch.

    Attributes:
        tensors: n collated inputs, as the encoder takes them.
        rows: (n,) int64, the row of the batch that each belongs to; a row's inputs are averaged.
    """

    tensors: Any
    rows: Tensor


@dataclass
class Batch:
    """B rows of one process.

    Attributes:
        features: Modality → (B, F) standardised features, of towers that need not run.
        inputs: Modality → what its tower is to read; none for a modality that no row has.
        masks: Modality → (B,) bool, is it there.
        codes: (B, K) int64, see :func:`mmreason.align.losses.negatives.item_codes`.
        errors: (item id, modality, message) of media that could not be read.
    """

    features: dict[str, Tensor]
    inputs: dict[str, Inputs]
    masks: dict[str, Tensor]
    codes: Tensor
    errors: list[tuple[str, str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.codes)

    def to(self, device: Any) -> Batch:
        """The same on a device."""
        return replace(
            self,
            features=_to(self.features, device),
            inputs={m: Inputs(_to(i.tensors, device), i.rows.to(device)) for m, i in self.inputs.items()},
            masks=_to(self.masks, device),
            codes=self.codes.to(device),
        )


def _to(value: Any, device: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to(inner, device) for name, inner in value.items()}
    return value.to(device, non_blocking=True)
