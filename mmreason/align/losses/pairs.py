"""A loss over a weighted set of modality pairs and Matryoshka prefixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreason.align.losses.gather import Gathered, gather_rows
from mmreason.align.losses.infonce import info_nce
from mmreason.align.losses.siglip import siglip
from mmreason.schema import DataError


def normalise_pairs(pairs: Mapping[str, float], modalities: Sequence[str]) -> dict[tuple[str, str], float]:
    """``{"image-text": 1.0}`` as ``{("image", "text"): 1.0}``; empty stands for every two, at weight 1.

    Raises:
        DataError: If a pair names no two modalities, or a weight is not above 0.
    """
    if not pairs:
        return dict.fromkeys(combinations(modalities, 2), 1.0)
    found = {}
    for name, weight in pairs.items():
        a, _, b = name.partition("-")
        if a not in modalities or b not in modalities or a == b or not weight > 0:
            raise DataError(
                f"align.pairs: {name}: {weight} is no pair with a weight above 0; "
                f"join two of {', '.join(modalities)} with a dash"
            )
        found[a, b] = float(weight)
    return found


@dataclass(frozen=True)
class PairLoss:
    """The weighted mean over the pairs of modalities that at least two rows have.

    Attributes:
        pairs: (modality, modality) → weight; any names that the vectors have, ``user`` and ``item`` say.
        kind: ``infonce`` or ``siglip``.
        dims: Matryoshka prefixes beside the full length, each scaled to unit length (arXiv 2205.13147).
        local: Each process computes the loss of its own rows only; same gradients, W times less work.
        chunk: Rows of logits in memory at a time; 0 for all.

    Example:
        >>> x = F.normalize(torch.eye(4), dim=-1)
        >>> loss = PairLoss({("user", "item"): 1.0})
        >>> kept = torch.ones(4).bool()
        >>> codes = torch.arange(4)[:, None] + 1
        >>> loss({"user": x, "item": x}, {"user": kept, "item": kept}, codes, torch.tensor(100.0)) < 1e-6
        tensor(True)
    """

    pairs: Mapping[tuple[str, str], float]
    kind: Literal["infonce", "siglip"] = "infonce"
    dims: Sequence[int] = ()
    local: bool = True
    chunk: int = 0

    def __call__(
        self,
        vectors: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        codes: Tensor,
        scale: Tensor,
        bias: Tensor | None = None,
        alone: bool = False,
    ) -> Tensor:
        """The loss of a batch; all processes call it together.

        Args:
            vectors: Modality → (B, D) float, unit length, of this process.
            masks: Modality → (B,) bool, is it there.
            codes: (B, K) int64, see :func:`mmreason.align.losses.negatives.item_codes`.
            scale: Scalar, inverse temperature.
            bias: Scalar, of ``siglip`` only.
            alone: These rows are all there is, whatever other processes do.

        Returns:
            Scalar; 0, with zero gradients, if no pair has two rows.
        """
        gathered = Gathered(codes, slice(0, len(codes)), 1) if alone else Gathered.of(codes, self.local)
        names = dict.fromkeys(name for pair in self.pairs for name in pair)
        rows, there = (
            {name: each[name] if alone else gather_rows(each[name]) for name in names}
            for each in (vectors, masks)
        )
        total, weights = scale.new_zeros(()), 0.0
        for (a, b), weight in self.pairs.items():
            valid = there[a] & there[b]
            weights += weight * (int(valid.sum()) >= 2)
            for dim in (None, *self.dims):
                x, y = (rows[name] if dim is None else _prefix(rows[name], dim) for name in (a, b))
                total = total + weight * self._one(x, y, scale, bias, valid, gathered)
        return total / (max(weights, 1e-12) * (1 + len(self.dims)))

    def _one(
        self, a: Tensor, b: Tensor, scale: Tensor, bias: Tensor | None, valid: Tensor, gathered: Gathered
    ) -> Tensor:
        if self.kind == "infonce":
            return info_nce(a, b, scale, valid=valid, gathered=gathered, chunk=self.chunk)
        offset = bias if bias is not None else torch.zeros_like(scale)
        return siglip(a, b, scale, offset, valid=valid, gathered=gathered, chunk=self.chunk)


def _prefix(vectors: Tensor, dim: int) -> Tensor:
    return F.normalize(vectors[:, :dim], dim=-1)
