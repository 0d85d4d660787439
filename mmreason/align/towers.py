"""Towers and heads as one module that trains: media in, vectors out."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from encoders import Encoder
from encoders.sentence_folder import transformer_folder
from encoders.weights import resolve_weights
from mmreason.align.batch import Batch, Inputs
from mmreason.align.padding import take_short_texts
from mmreason.checkpoint import save_tensors
from mmreason.embed.model import AlignModel


class Towers(nn.Module):
    """Encoders, of which some layers may train, and the heads over them.

    BatchNorm always runs with its stored statistics: a product's vector must not depend on its neighbours, and
    cached gradients must be those of the whole batch.

    Args:
        encoders: Modality → encoder; empty if only features come in.
        model: The heads.
        bf16: Compute towers under bf16 autocast; see also :meth:`set_precision`.

    Attributes:
        sharded: Weights are in shards, so that each tower must run as often in every process.
    """

    def __init__(self, encoders: dict[str, Encoder], model: AlignModel, bf16: bool = False) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.model = model
        self.bf16 = bf16
        self.sharded = False
        for encoder in encoders.values():
            take_short_texts(encoder)
        # Accelerate has FSDP gather the weights of one module of these classes at a time.
        self._no_split_modules = sorted({type(b).__name__ for e in encoders.values() for b in e.blocks()})
        self._blanks = {m: e.collate([e.preprocess(_BLANKS[m])]) for m, e in encoders.items()}

    def encoder(self, modality: str) -> Encoder:
        """The tower of one modality."""
        encoder: Any = self.encoders[modality]
        return encoder

    def trains(self, modality: str) -> bool:
        """Whether any layer of a tower trains."""
        return any(p.requires_grad for p in self.encoders[modality].parameters())

    def _trains_alone(self, modality: str, batch: Batch) -> bool:
        """Whether layers train that no tower with inputs runs anyway; a video's tower is the pictures'."""
        used = {id(p) for m in batch.inputs for p in self.encoders[m].parameters()}
        return any(p.requires_grad and id(p) not in used for p in self.encoders[modality].parameters())

    def set_precision(self, trained: Iterable[str]) -> None:
        """Towers that no stage trains to bf16, if ``bf16``; the others keep fp32 weights for all stages."""
        if self.bf16:
            for modality in set(self.encoders) - set(trained):
                self.encoders[modality].to(torch.bfloat16)

    def train(self, mode: bool = True) -> Towers:
        """Dropout only where something trains, and no BatchNorm."""
        super().train(mode)
        for modality, encoder in self.encoders.items():
            encoder.train(mode and self.trains(modality))
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    @torch.no_grad()
    def encode_frozen(self, batch: Batch) -> Batch:
        """Run the frozen towers, once: gradient caching then repeats the trained ones only."""
        frozen = [m for m in (self.encoders if self.sharded else batch.inputs) if not self.trains(m)]
        features = {m: self._features(m, batch) for m in frozen}
        inputs = {m: i for m, i in batch.inputs.items() if m not in frozen}
        return replace(batch, features=batch.features | features, inputs=inputs)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Modality → (B, D) unit vectors, and ``scale`` and ``bias``, see :meth:`AlignModel.forward`."""
        features = {m: batch.features.get(m) for m in batch.masks}
        return self.model({m: x if x is not None else self._features(m, batch) for m, x in features.items()})

    def _features(self, modality: str, batch: Batch) -> Tensor:
        """(B, F) standardised features; zeros where a row has no input."""
        head, device = self.model.head(modality), batch.codes.device
        sums = torch.zeros(len(batch), self.model.dims[modality], device=device)
        inputs = batch.inputs.get(modality)
        if inputs is None:
            if modality not in self.encoders or not (self.sharded or self._trains_alone(modality, batch)):
                return sums
            # A tower must run in every step of every process, or the others wait for its gradients or weights.
            inputs = Inputs(self._blanks[modality], torch.zeros(1, dtype=torch.long, device=device))
        with torch.autocast(device.type, torch.bfloat16) if self.bf16 else nullcontext():
            encoded = self.encoders[modality](inputs.tensors)
        sums = sums.index_add(0, inputs.rows, encoded.float())
        counts = torch.zeros(len(batch), device=device).index_add(
            0, inputs.rows, torch.ones(len(inputs.rows), device=device)
        )
        there = batch.masks[modality][:, None]
        return head.standardise(sums / counts.clamp_min(1)[:, None]) * (there | (counts > 0)[:, None])


_BLANKS: dict[str, Any] = {
    "image": Image.new("RGB", (32, 32)),
    "text": "",
    "video": [Image.new("RGB", (32, 32))],
}


def save_towers(towers: Towers, names: Iterable[str], folder: Path) -> None:
    """Write trained towers so that ``create_encoder`` reads them; the heads' checkpoint then names them.

    Args:
        towers: The towers.
        names: ``image`` or ``text``; a video's tower is the image's.
        folder: Folder of the alignment checkpoint.
    """
    for name in names:
        target = folder / "towers" / name
        encoder: Any = towers.encoders[name]
        encoder = getattr(encoder, "image_encoder", encoder)  # several views pass through one tower
        inner = encoder.tower if hasattr(encoder, "tower") else encoder.model
        target.mkdir(parents=True, exist_ok=True)
        spec = getattr(towers.model.config, f"{name}_weights")
        source = resolve_weights(spec) if spec else None
        if source is not None and source.resolve() != target.resolve():
            _copy_sayings(source, target)
        if hasattr(inner, "save_pretrained"):
            inner.save_pretrained(target, safe_serialization=True)
            if hasattr(encoder, "tokenizer"):
                encoder.tokenizer.save_pretrained(target)
        else:
            save_tensors(target / "model.safetensors", inner.state_dict())
        towers.model.towers[name] = target


def _copy_sayings(source: Path, target: Path) -> None:
    """What weights say of themselves beside their tensors: how to preprocess, tokenize and pool."""
    if source.is_file():
        sides = [source.with_name(name) for name in ("config.json", "open_clip_config.json")]
    else:
        sides = [*source.glob("*.json"), *source.glob("*_*/*.json"), *source.glob("*_*/*.safetensors")]
    inner = transformer_folder(source)  # the tower itself is saved in the target
    for side in [*inner.glob("*.json"), *(side for side in sides if side.parent != inner)]:
        if side.is_file() and not side.name.endswith(".index.json"):
            outside = source.is_file() or side.parent == inner
            place = target / (side.name if outside else side.relative_to(source))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(side, place)
