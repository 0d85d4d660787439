"""The alignment model: a head per modality from encoder features into one shared space."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreason.checkpoint import load_into, load_tensors, read_json, save_tensors, write_json
from mmreason.config import AlignConfig, AlignStage
from mmreason.schema import DataError
from mmreason.training.sharding import full_tensor

MODALITIES = ("image", "text", "video")


class Head(nn.Module):
    """Standardised features through a residual MLP to a unit vector.

    Args:
        features: Length F of the encoder's feature.
        dim: Length D of the shared vector.
        dropout: On the standardised features, in training.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int, dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.dropout = nn.Dropout(dropout)
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
    """The heads into the shared space, and the temperature of their contrast.

    Args:
        dims: Feature length per modality.
        config: Size of the space, the loss and the initial temperature.

    Attributes:
        towers: Tower → folder of its weights, for towers that were trained; the others are named by the config.
    """

    def __init__(self, dims: dict[str, int], config: AlignConfig) -> None:
        super().__init__()
        self.dims = dims
        self.config = config
        self.towers: dict[str, Path] = {}
        self.heads = nn.ModuleDict({m: Head(size, config.dim, config.dropout) for m, size in dims.items()})
        # Vectors of one, as FSDP takes no scalars.
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / config.temperature)]))
        if config.loss == "siglip":
            self.logit_bias = nn.Parameter(torch.tensor([-10.0]))

    def head(self, modality: str) -> Head:
        """The head of one modality."""
        return cast(Head, self.heads[modality])

    @property
    def logit_scale(self) -> Tensor:
        """Inverse temperature; the temperature is held between its floor and 1."""
        log_scale = full_tensor(self.log_scale).squeeze(0)
        held = log_scale.detach().clamp(0.0, -math.log(self.config.min_temperature))
        # A clamp has no gradient at its bounds, and a temperature that came there would stay there.
        return held.exp() * (1 + log_scale - log_scale.detach())

    @torch.no_grad()
    def hold_temperature(self) -> None:
        """Bring the parameter itself back into its bounds, so that it does not wander off beyond them."""
        self.log_scale.clamp_(0.0, -math.log(self.config.min_temperature))

    def embed(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Standardised (B, F) features per modality to (B, D) unit vectors per modality."""
        return {name: self.heads[name](x) for name, x in features.items()}

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Like :meth:`embed`, with ``scale`` and, for SigLIP, ``bias`` of the logits beside the vectors."""
        extra = {"scale": self.logit_scale}
        if self.config.loss == "siglip":
            extra["bias"] = self.logit_bias.squeeze(0).clone()
        return self.embed(features) | extra

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``, and ``towers/`` if a tower was trained."""
        folder = Path(folder)
        config = asdict(self.config)
        for name, source in self.towers.items():
            target = folder / "towers" / name
            if source.resolve() != target.resolve():
                shutil.copytree(source, target, dirs_exist_ok=True)
            config[f"{name}_weights"] = f"towers/{name}"
        save_tensors(folder / "model.safetensors", self.state_dict())
        saved = {"type": "align", "dims": self.dims, "config": config, "towers": sorted(self.towers)}
        write_json(folder / "config.json", saved)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> AlignModel:
        """Read what :meth:`save_pretrained` wrote; its config then names the trained towers' folders.

        Raises:
            DataError: If a file is missing or of another shape, or a tensor is missing.
        """
        folder = Path(folder)
        saved = read_json(folder / "config.json")
        try:
            stages = [AlignStage(**stage) for stage in saved["config"].get("stages", [])]
            config = AlignConfig(**{**saved["config"], "stages": stages})
            dims, towers = dict(saved["dims"]), saved.get("towers", [])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{folder / 'config.json'}: not of an alignment model of this version ({error}); align again"
            ) from None
        if not set(towers) <= {"image", "text"}:  # they become folder names
            raise DataError(f"{folder / 'config.json'}: towers {towers} are not image and text; align again")
        for name in towers:
            setattr(config, f"{name}_weights", str(folder / "towers" / name))
        model = cls(dims, config)
        model.towers = {name: folder / "towers" / name for name in towers}
        load_into(model, load_tensors(folder / "model.safetensors"), folder / "model.safetensors")
        return model.eval()


def fuse(vectors: dict[str, Tensor], masks: dict[str, Tensor]) -> Tensor:
    """The item's vector: the normalised mean of the modalities it has; (B, D), zeros if it has none."""
    total = torch.stack([vectors[name] * masks[name][:, None] for name in vectors]).sum(0)
    return F.normalize(total, dim=-1)
