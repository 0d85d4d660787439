"""The alignment model: a head per modality from encoder features into one shared space."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreason.align.losses import contrastive_loss
from mmreason.checkpoint import load_into, load_tensors, read_json, save_tensors, write_json
from mmreason.config import AlignConfig

MODALITIES = ("image", "text", "video")


class Head(nn.Module):
    """Standardised features through a residual MLP to a unit vector.

    Args:
        features: Length F of the encoder's feature.
        dim: Length D of the shared vector.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.dropout = nn.Dropout(0.1)
        self.linear = nn.Linear(features, dim)
        self.mlp = nn.Sequential(nn.GELU(), nn.Linear(dim, dim))

    def fit(self, features: Tensor) -> None:
        """Take mean and spread from (N, F) training features, so that every depth counts alike."""
        self.mean.copy_(features.mean(0))
        self.std.copy_(features.std(0).clamp_min(1e-4) if len(features) > 1 else torch.ones_like(self.std))

    def standardise(self, features: Tensor) -> Tensor:
        """(B, F) raw to (B, F) standardised features, clipped to ±8 against outliers."""
        return ((features - self.mean) / self.std).clamp(-8, 8)

    def forward(self, standardised: Tensor) -> Tensor:
        """(B, F) standardised features to (B, D) unit vectors."""
        hidden = self.linear(self.dropout(standardised))
        return F.normalize(hidden + self.mlp(hidden), dim=-1)


class AlignModel(nn.Module):
    """Heads over frozen towers, trained with a contrast between every two modalities of an item.

    Args:
        dims: Feature length per modality.
        config: Size of the space and the initial temperature.
    """

    def __init__(self, dims: dict[str, int], config: AlignConfig) -> None:
        super().__init__()
        self.dims = dims
        self.config = config
        self.heads = nn.ModuleDict({name: Head(size, config.dim) for name, size in dims.items()})
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / config.temperature)))

    def head(self, modality: str) -> Head:
        """The head of one modality."""
        return cast(Head, self.heads[modality])

    @property
    def logit_scale(self) -> Tensor:
        """Inverse temperature, held below 100 as in CLIP so that it cannot run away."""
        return self.log_scale.exp().clamp(max=100.0)

    def embed(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Standardised (B, F) features per modality to (B, D) unit vectors per modality."""
        return {name: self.heads[name](x) for name, x in features.items()}

    def forward(self, features: dict[str, Tensor], masks: dict[str, Tensor], same: Tensor) -> Tensor:
        """The loss of a batch: mean over the pairs of modalities that at least two rows have.

        Args:
            features: Modality → (B, F) standardised features.
            masks: Modality → (B,) bool, is it there.
            same: (B, B) bool, see :func:`contrastive_loss`.
        """
        vectors = self.embed(features)
        losses = []
        for a, b in combinations(vectors, 2):
            valid = masks[a] & masks[b]
            loss = contrastive_loss(vectors[a], vectors[b], self.logit_scale, same, valid)
            losses.append((loss, int(valid.sum()) >= 2))
        return torch.stack([loss for loss, _ in losses]).sum() / max(1, sum(counts for _, counts in losses))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        folder = Path(folder)
        save_tensors(folder / "model.safetensors", self.state_dict())
        write_json(folder / "config.json", {"type": "align", "dims": self.dims, "config": vars(self.config)})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> AlignModel:
        """Read what :meth:`save_pretrained` wrote.

        Raises:
            DataError: If a file is missing or of another shape.
        """
        folder = Path(folder)
        saved = read_json(folder / "config.json")
        model = cls(saved["dims"], AlignConfig(**saved["config"]))
        load_into(model, load_tensors(folder / "model.safetensors"), folder / "model.safetensors")
        return model.eval()


def fuse(vectors: dict[str, Tensor], masks: dict[str, Tensor]) -> Tensor:
    """The item's vector: the normalised mean of the modalities it has; (B, D), zeros if it has none."""
    total = torch.stack([vectors[name] * masks[name][:, None] for name in vectors]).sum(0)
    return F.normalize(total, dim=-1)
