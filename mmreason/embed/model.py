"""The alignment model: a head per modality from encoder features into one shared space."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.pooling import POOLS
from mmreason.checkpoint import load_into, load_tensors, save_tensors
from mmreason.config import AlignConfig, AlignStage, VideoConfig
from mmreason.files import read_json, write_json
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
        """Take mean and spread from (N, F) training features, so that every depth counts alike; N of at least 2."""
        self.fit_parts([features])

    def fit_parts(self, parts: Iterable[Tensor]) -> None:
        """As :meth:`fit`, from (n, F) features that come a part at a time and need not fit into memory."""
        count, shift, total, squares = 0, *torch.zeros(3, len(self.mean), dtype=torch.double)
        for part in parts:
            part = part.double().cpu()
            shift = part.mean(0) if not count else shift  # near the mean, or the squares lose too much
            count += len(part)
            total += (part - shift).sum(0)
            squares += (part - shift).square().sum(0)
        if count < 2:  # of one, nothing would be left without its mean
            return
        self.mean.copy_(shift + total / count)
        variance = (squares - total.square() / count).clamp_min(0) / (count - 1)
        self.std.copy_(variance.sqrt().clamp_min(1e-4))

    @torch.no_grad()
    def project(self, features: Tensor, seed: int = 0) -> None:
        """Keep the encoder's own space: an orthogonal projection onto the principal directions, nothing learned.

        Args:
            features: (N, F) raw features to take the directions from, after :meth:`fit`; N may be 0.
            seed: Of the directions beyond those that N features tell.
        """
        size, dim = self.linear.in_features, self.linear.out_features
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(size, min(dim, size), generator=generator)
        if len(features) > 1:
            standard = self.standardise(features.to(self.mean.device)).float().cpu()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                found = torch.pca_lowrank(standard, q=min(dim, *standard.shape), center=True)[2]
            directions[:, : found.shape[1]] = found
        basis = torch.linalg.qr(directions).Q
        for parameter in (*self.linear.parameters(), *cast(nn.Linear, self.mlp[-1]).parameters()):
            parameter.zero_()
        self.linear.weight[: basis.shape[1]] = basis.T.to(self.linear.weight.device)

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
        pools: Modality → how its frames or views become one feature, where that is trained.
    """

    def __init__(self, dims: dict[str, int], config: AlignConfig) -> None:
        super().__init__()
        self.dims = dims
        self.config = config
        self.towers: dict[str, Path] = {}
        self.heads = nn.ModuleDict({m: Head(size, config.dim, config.dropout) for m, size in dims.items()})
        learned = {"video": config.video.pooling, "image": config.views}
        self.pools = nn.ModuleDict({m: POOLS[pool](dims[m]) for m, pool in learned.items() if pool != "mean"})
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
        """Standardised (B, F) features per modality, or view of one (``image:mirrored``), to (B, D) unit vectors."""
        return {name: self.heads[name.partition(":")[0]](x) for name, x in features.items()}

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
            video = VideoConfig(**saved["config"]["video"])
            config = AlignConfig(**{**saved["config"], "stages": stages, "video": video})
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
