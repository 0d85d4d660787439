"""Items of any mix of modalities to vectors in the shared space."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from encoders import CropsEncoder, Encoder, MediaError, VideoEncoder, ViewsEncoder, create_encoder
from encoders.media.frame_readers import check_reader
from mmreason.config import AlignConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.embed import hub
from mmreason.embed.features import BatchSize, Errors, FeatureReader, Features, features_of, inputs_of
from mmreason.embed.inputs import as_item
from mmreason.embed.model import MODALITIES, AlignModel, fuse
from mmreason.embed.vectors import Precision, quantise, rank, shorten, similarity
from mmreason.progress import Progress
from mmreason.schema import DataError, Item

__all__ = ["Embedder", "Features", "create_encoders"]


class Embedder:
    """Frozen encoders and the alignment heads over them.

    Example:
        >>> embedder = Embedder.from_pretrained("runs/quickstart/align")      # doctest: +SKIP
        >>> item = Item(id="a", title="Rain coat", images=["a.jpg"])
        >>> embedder.encode([item, "red hoodie", Path("clip.mp4")]).shape     # doctest: +SKIP
        (3, 256)
    """

    def __init__(
        self, encoders: dict[str, Encoder], model: AlignModel, device: str = "auto", dtype: str = "auto"
    ) -> None:
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype, self.device)
        self.encoders = {
            name: e.to(self.device, dtype=self._dtype_of(e)).eval() for name, e in encoders.items()
        }
        self.model = model.to(self.device).eval()

    @classmethod
    def create(cls, config: AlignConfig, device: str = "auto", dtype: str = "auto") -> Embedder:
        """Encoders as configured, with new heads."""
        encoders = create_encoders(config)
        model = AlignModel({name: encoders[name].dim for name in MODALITIES}, config)
        for name, pool in model.pools.items():
            encoders[name].pool = pool
        return cls(encoders, model, device, dtype)

    @classmethod
    def from_pretrained(cls, source: str | Path, device: str = "auto", dtype: str = "auto") -> Embedder:
        """Read the heads from a folder or the Hub, and the encoders from where their configuration says.

        Args:
            source: A folder, or ``hf://org/name[@revision]``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            dtype: Of the encoders: ``auto``, ``fp32`` or ``bf16``.

        Raises:
            DataError: If it is no alignment checkpoint, holds only pickles, or is of another shape.
        """
        model = AlignModel.from_pretrained(hub.checkpoint_folder(source))
        return cls(create_encoders(model.config, model.pools), model, device, dtype)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the heads and a model card; frozen encoders are named, not copied."""
        self.model.save_pretrained(folder)
        hub.write_card(Path(folder), self.model)

    def push_to_hub(
        self, repo: str, *, private: bool = False, revision: str | None = None, api: Any = None
    ) -> str:
        """Publish what :meth:`save_pretrained` writes.

        Args:
            repo: ``org/name``.
            private: Make a new repository private.
            revision: Branch; default: the main one.
            api: A :class:`huggingface_hub.HfApi` of your own, with another endpoint or token, say.

        Returns:
            The commit's address.

        Raises:
            DataError: If the encoders' weights are on this machine only, or the Hub refuses.
        """
        hub.check_public(self.model.config, repo)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.upload(Path(folder), repo, private=private, revision=revision, api=api)

    def optimize(self, int8: bool = False) -> Embedder:
        """Make the encoders faster; they can be used only, not trained or saved, from then on.

        Args:
            int8: Multiply in 8-bit integers where a layer is linear: for a CPU with VNNI and without fast bf16. The
                cosine to fp32 vectors is about 0.998, in rare texts 0.99.

        Returns:
            Itself.

        Raises:
            DataError: If ``int8`` is asked for where there is no CPU that is fast at it.
        """
        from encoders.folding import fold_batch_norms
        from encoders.image import ImageEncoder
        from encoders.int8 import is_fast, quantise_linears

        if int8 and not (self.device.type == "cpu" and is_fast()):
            raise DataError(f"int8 needs a CPU with VNNI, this is {self.device}; set embed.int8 to false")
        dtypes = [
            self._dtype_of(encoder) for encoder in self.encoders.values()
        ]  # of what is folded below, too
        for encoder, dtype in zip(self.encoders.values(), dtypes, strict=True):
            encoder.float()
            if self.device.type == "cpu":
                for part in [*encoder.modules()]:  # a video encoder holds a picture encoder
                    if isinstance(part, ImageEncoder):
                        fold_batch_norms(part)
            if int8:
                quantise_linears(encoder)
            else:
                encoder.to(dtype=dtype)
        return self

    def _dtype_of(self, encoder: Encoder) -> torch.dtype:
        """Of its weights: on a CPU convolutions stay in fp32, as bf16 spoils rare pictures there for little gain."""
        from encoders.folding import FusedConv

        convolves = any(isinstance(module, (nn.BatchNorm2d, FusedConv)) for module in encoder.modules())
        return torch.float32 if convolves and self.device.type == "cpu" else self.dtype

    def to(self, device: str) -> Embedder:
        """Move encoders and heads; where that fails, they stay where they were.

        Raises:
            DataError: If there is no such device.
        """
        before, wanted = self.device, pick_device(device)
        try:
            self._move(wanted)
        except RuntimeError:  # not enough memory there, say
            self._move(before)
            raise
        return self

    def _move(self, device: torch.device) -> None:
        for module in (*self.encoders.values(), self.model):
            module.to(device)
        self.device = device

    def encode(
        self,
        items: Any,
        batch_size: BatchSize = "auto",
        show_progress: bool = False,
        *,
        normalize: bool = True,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        device: str | None = None,
    ) -> np.ndarray:
        """Embed items, or bare texts, pictures and videos, in any mixture.

        Args:
            items: A list of what :func:`mmreason.embed.inputs.as_item` takes; or one, not in a list.
            batch_size: Inputs per forward pass; ``auto`` goes by the device.
            show_progress: Draw a progress bar.
            normalize: Scale to unit length; else the mean of an item's unit vectors, shorter the less they agree.
            truncate_dim: Keep the first numbers only (Matryoshka).
            precision: ``float32``, ``int8`` or ``binary``, see :func:`mmreason.embed.vectors.quantise`.
            device: Move to this device first, and stay there.

        Returns:
            (N, D) float32 of unit length in the order of the input, (D,) for a single one; int8, or packed
            uint8 (N, ⌈D / 8⌉), by ``precision``.

        Raises:
            MediaError: If a picture or video cannot be read.
            DataError: If an item has neither text, picture nor video, a field of a wrong type, or there is no such
                device. The embedder works on after any error.
        """
        if batch_size != "auto" and not (isinstance(batch_size, int) and batch_size > 0):
            raise DataError(f"batch_size is {batch_size!r}; give a whole number of at least 1, or 'auto'")
        single = not isinstance(items, list | tuple)
        listed = [as_item(raw, f"input {n}") for n, raw in enumerate([items] if single else items)]
        if device is not None:
            self.to(device)
        arrays, masks, errors = self.embed(listed, batch_size, show_progress)
        if errors:
            raise MediaError(f"item {errors[0][0]!r}: {errors[0][2]}")
        for item, has_any in zip(listed, np.any([*masks.values()], axis=0), strict=True):
            if not has_any:
                raise DataError(
                    f"item {item.id!r} has no title, text, picture or video; give it at least one"
                )
        vectors = arrays["fused"]
        if not normalize:
            present = np.sum([*masks.values()], axis=0)[:, None]
            vectors = np.sum([arrays[m] for m in masks], axis=0) / np.maximum(present, 1)
        vectors = quantise(shorten(vectors, truncate_dim, normalize), precision)
        return vectors[0] if single else vectors

    similarity = staticmethod(similarity)

    def rank(self, query: Any, items: Any, top_k: int = 10) -> list[tuple[int, float]]:
        """The items nearest to a query, best first.

        Args:
            query: One text, picture, video or item.
            items: A list of items, or (N, D) vectors that :meth:`encode` gave.
            top_k: How many.

        Returns:
            (position in ``items``, cosine) of each.
        """
        vectors = items if isinstance(items, np.ndarray) else self.encode(items)
        return rank(self.encode([query])[0], vectors, top_k)

    def embed(
        self, items: Sequence[Item], batch_size: BatchSize = "auto", show_progress: bool = False
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Errors]:
        """Everything that the embedding store keeps of items; unreadable media are reported, not raised.

        Returns:
            arrays: ``fused``, and per modality the shared vector ``m`` (N, D) and standardised ``m_features`` (N, F).
            masks: Modality → (N,) bool.
            errors: (item id, modality, message).
        """
        return self.project(self.features(items, batch_size, show_progress))

    @torch.no_grad()
    def project(
        self, features: Features, with_features: bool = True
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Errors]:
        """Encoder features through the heads, as :meth:`embed` returns them.

        Args:
            features: Of n items.
            with_features: Give the standardised features, too.
        """
        standard = {m: self.model.head(m).standardise(x.to(self.device)) for m, x in features.values.items()}
        masks = {m: mask.to(self.device) for m, mask in features.masks.items()}
        vectors = {m: v * masks[m][:, None] for m, v in self.model.embed(standard).items()}
        arrays = {"fused": fuse(vectors, masks)} | vectors
        if with_features:
            arrays |= {f"{m}_features": x * masks[m][:, None] for m, x in standard.items()}
        return (
            {name: x.float().cpu().numpy() for name, x in arrays.items()},
            {m: mask.numpy() for m, mask in features.masks.items()},
            features.errors,
        )

    def features(
        self, items: Sequence[Item], batch_size: BatchSize = "auto", show_progress: bool = False
    ) -> Features:
        """Raw encoder features of items; several pictures of an item are averaged."""
        inputs = {name: inputs_of(items, name, encoder) for name, encoder in self.encoders.items()}
        total = sum(len(raws) for _, raws in inputs.values())
        with (
            Progress(total, "encode", "input", shown=show_progress) as bar,
            FeatureReader(self.encoders, batch_size, threads=1 if total <= 2 else None) as reader,
        ):
            encoded = reader.start({name: raws for name, (_, raws) in inputs.items()}, bar.add).result()
        return features_of(items, {name: rows for name, (rows, _) in inputs.items()}, encoded)


def create_encoders(config: AlignConfig, pools: nn.ModuleDict | None = None) -> dict[str, Encoder]:
    """The three encoders of a configuration; the video encoder shares the image tower.

    Args:
        config: Towers, weights, and how frames and views are pooled.
        pools: Trained poolings to use, see :class:`mmreason.embed.model.AlignModel`.

    Raises:
        DataError: If a setting names no encoder, or one of another modality.
    """
    from encoders.image import ImageEncoder

    # Towers without weights are random; from one seed, so that every stage makes the same ones.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            tower = create_encoder(config.image, config.image_weights, feature=config.image_feature)
            text = create_encoder(config.text, config.text_weights)
        except ValueError as error:
            raise DataError(f"align.image={config.image}, align.text={config.text}: {error}") from None
    if not isinstance(tower, ImageEncoder):
        raise DataError(
            f"align.image={config.image} is not an image encoder; name an openclip: or timm: model"
        )
    if config.image_size:
        try:
            tower.resize(config.image_size)
        except ValueError as error:
            raise DataError(f"align.image_size={config.image_size}: {error}") from None
    clip = config.video
    try:
        video = VideoEncoder(
            tower, clip.frames, clip.pooling, sampling=clip.sampling, fps=clip.fps, reader=clip.reader
        )
        check_reader(clip.reader)
    except ValueError as error:
        raise DataError(f"align.video: {error}") from None
    if config.crops > 1 and config.views != "mean":
        raise DataError(f"align.crops={config.crops} takes the mean; set align.views=mean")
    image: Encoder = tower if config.views == "mean" else ViewsEncoder(tower, config.views)
    image = CropsEncoder(tower, config.crops) if config.crops > 1 else image
    encoders = {"image": image, "text": text, "video": video}
    for name, pool in pools.items() if pools is not None else ():
        encoders[name].pool = pool
    return encoders
