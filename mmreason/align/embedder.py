"""Items of any mix of modalities to vectors in the shared space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from encoders import Encoder, MediaError, create_encoder
from mmreason.align.model import MODALITIES, AlignModel, fuse
from mmreason.config import AlignConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.schema import DataError, Item, item_text


@dataclass
class Features:
    """Encoder features of N items.

    Attributes:
        values: Modality → (N, F) float32, zeros where it is missing.
        masks: Modality → (N,) bool.
        errors: (item id, modality, message) of media that could not be read.
    """

    values: dict[str, Tensor]
    masks: dict[str, Tensor]
    errors: list[tuple[str, str, str]] = field(default_factory=list)


class Embedder:
    """Frozen encoders and the alignment heads over them.

    Example:
        >>> embedder = Embedder.from_pretrained("runs/quickstart/align")      # doctest: +SKIP
        >>> embedder.encode([Item(id="a", title="Rain coat", images=["a.jpg"])]).shape   # doctest: +SKIP
        (1, 256)
    """

    def __init__(
        self, encoders: dict[str, Encoder], model: AlignModel, device: str = "auto", dtype: str = "auto"
    ) -> None:
        self.device = pick_device(device)
        tower_dtype = pick_dtype(dtype, self.device)
        self.encoders = {name: e.to(self.device, dtype=tower_dtype).eval() for name, e in encoders.items()}
        self.model = model.to(self.device).eval()

    @classmethod
    def create(cls, config: AlignConfig, device: str = "auto", dtype: str = "auto") -> Embedder:
        """Encoders as configured, with new heads."""
        encoders = create_encoders(config)
        model = AlignModel({name: encoders[name].dim for name in MODALITIES}, config)
        return cls(encoders, model, device, dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "auto", dtype: str = "auto") -> Embedder:
        """Read the heads from a folder, and the encoders from where its configuration says.

        Raises:
            DataError: If the folder is no alignment checkpoint, or is of another shape.
        """
        model = AlignModel.from_pretrained(folder)
        return cls(create_encoders(model.config), model, device, dtype)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the heads; frozen encoders are named, not copied."""
        self.model.save_pretrained(folder)

    def encode(self, items: Sequence[Item], batch_size: int = 32, show_progress: bool = False) -> np.ndarray:
        """Embed items.

        Args:
            items: Items with any of title, text, images and video.
            batch_size: Items per forward pass.
            show_progress: Draw a progress bar.

        Returns:
            (N, D) float32, unit length, in the order of the input.

        Raises:
            MediaError: If a picture or video cannot be read.
            DataError: If an item has neither text, picture nor video.
        """
        arrays, masks, errors = self.embed(items, batch_size, show_progress)
        if errors:
            raise MediaError(f"item {errors[0][0]!r}: {errors[0][2]}")
        for item, has_any in zip(items, np.any([*masks.values()], axis=0), strict=True):
            if not has_any:
                raise DataError(
                    f"item {item.id!r} has no title, text, picture or video; give it at least one"
                )
        return arrays["fused"]

    @torch.no_grad()
    def embed(
        self, items: Sequence[Item], batch_size: int = 32, show_progress: bool = False
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[tuple[str, str, str]]]:
        """Everything that the embedding store keeps of items; unreadable media are reported, not raised.

        Returns:
            arrays: ``fused``, and per modality the shared vector ``m`` (N, D) and standardised ``m_features`` (N, F).
            masks: Modality → (N,) bool.
            errors: (item id, modality, message).
        """
        features = self.features(items, batch_size, show_progress)
        standard = {m: self.model.head(m).standardise(x.to(self.device)) for m, x in features.values.items()}
        masks = {m: mask.to(self.device) for m, mask in features.masks.items()}
        vectors = {m: v * masks[m][:, None] for m, v in self.model.embed(standard).items()}
        arrays = {"fused": fuse(vectors, masks)} | vectors
        arrays |= {f"{m}_features": x * masks[m][:, None] for m, x in standard.items()}
        return (
            {name: x.float().cpu().numpy() for name, x in arrays.items()},
            {m: mask.numpy() for m, mask in features.masks.items()},
            features.errors,
        )

    def features(self, items: Sequence[Item], batch_size: int = 32, show_progress: bool = False) -> Features:
        """Raw encoder features of items; several pictures of an item are averaged."""
        total = sum(len(read(item)) for read in READERS.values() for item in items)
        errors: list[tuple[str, str, str]] = []
        with tqdm(total=total, desc="encode", unit="input", disable=not show_progress or None) as bar:
            parts = {m: self._encode(m, items, batch_size, errors, bar) for m in READERS}
        return Features({m: p[0] for m, p in parts.items()}, {m: p[1] for m, p in parts.items()}, errors)

    def _encode(
        self,
        modality: str,
        items: Sequence[Item],
        batch_size: int,
        errors: list[tuple[str, str, str]],
        bar: tqdm,
    ) -> tuple[Tensor, Tensor]:
        """(N, F) mean features and (N,) mask of one modality."""
        encoder = self.encoders[modality]
        sums = torch.zeros(len(items), encoder.dim)
        counts = torch.zeros(len(items))
        inputs = [(row, raw) for row, item in enumerate(items) for raw in READERS[modality](item)]
        if modality == "text":  # texts of like length share a batch, so that little is padding
            inputs.sort(key=lambda pair: len(pair[1]))
        for start in range(0, len(inputs), batch_size):
            rows, samples = [], []
            for row, raw in inputs[start : start + batch_size]:
                try:
                    samples.append(encoder.preprocess(raw))
                    rows.append(row)
                except MediaError as error:
                    errors.append((items[row].id, modality, str(error)))
            if samples:
                with torch.no_grad():
                    encoded = encoder(encoder.collate(samples)).float().cpu()
                sums.index_add_(0, torch.tensor(rows), encoded)
                counts.index_add_(0, torch.tensor(rows), torch.ones(len(rows)))
            bar.update(min(batch_size, len(inputs) - start))
        return sums / counts.clamp_min(1)[:, None], counts > 0


def _texts(item: Item) -> list[Any]:
    text = item_text(item)
    return [text] if text else []


READERS: dict[str, Callable[[Item], list[Any]]] = {
    "image": lambda item: item.images,
    "text": _texts,
    "video": lambda item: [item.video] if item.video else [],
}


def create_encoders(config: AlignConfig) -> dict[str, Encoder]:
    """The three encoders of a configuration; the video encoder shares the image tower."""
    from encoders.image import ImageEncoder
    from encoders.video import VideoEncoder

    # Towers without weights are random; from one seed, so that every stage makes the same ones.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            image = create_encoder(config.image, config.image_weights, feature=config.image_feature)
            text = create_encoder(config.text, config.text_weights)
        except ValueError as error:
            raise DataError(f"align.image={config.image}, align.text={config.text}: {error}") from None
    if not isinstance(image, ImageEncoder):
        raise DataError(
            f"align.image={config.image} is not an image encoder; name an openclip: or timm: model"
        )
    return {"image": image, "text": text, "video": VideoEncoder(image, num_frames=config.video_frames)}
