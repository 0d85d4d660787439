"""Picture encoders: timm towers and the image towers of OpenCLIP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from encoders.base import Encoder, Modality, WeightsError
from encoders.media.pictures import open_image
from encoders.state import OPEN_CLIP_FILES, load_state, read_config, read_state

Feature = Literal["pooled", "multi"]

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


# A JPEG's fast reduced decoding, to no less than so many times the target. Smallest cosine of EfficientNet-Lite0's
# features to those of full decoding, 120 photos: .957 from 1.2 on, .989 from 2, .999 from 2.4.
DRAFT = 2.4


@dataclass(frozen=True)
class Preprocessing:
    """How a tower wants its pictures; nothing is random.

    Attributes:
        size: Height and width of the square input, in pixels.
        resize: Length that the shorter side is scaled to before the central crop, at least ``size``.
        squash: Scale to the square without regard to the aspect ratio, and crop nothing.
        mean: Subtracted from RGB values in 0..1.
        std: Divided by, after the mean is subtracted.
        resampling: Filter name; all filters widen when shrinking, so nothing aliases.
    """

    size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    squash: bool = False
    resampling: str = "bicubic"

    def __call__(self, raw: Any) -> Tensor:
        """Any picture :func:`encoders.media.pictures.open_image` takes to (3, size, size) uint8."""
        image = open_image(raw, min_side=round(DRAFT * self.resize))
        box = None if self.squash else self._crop(*image.size)
        # Resizing only the crop's box gives the pixels of resize-then-crop without computing those cut off.
        image = image.resize((self.size, self.size), _RESAMPLING[self.resampling], box=box)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def _crop(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The central crop in the coordinates of the picture, rounded as torchvision rounds it."""

        def ends(length: int) -> tuple[float, float]:
            resized = int(self.resize * length / min(width, height))
            start = round((resized - self.size) / 2)
            return start * length / resized, (start + self.size) * length / resized

        (left, right), (top, bottom) = ends(width), ends(height)
        return left, top, right, bottom


class ImageEncoder(Encoder):
    """A picture tower with its preprocessing.

    Args:
        tower: (B, 3, H, W) → (B, C).
        preprocessing: The tower's own.
        feature: ``pooled`` is the tower's output. ``multi`` adds mean, maximum and standard deviation over
            the positions of every block's output: colour and texture live in early layers and fade later.
    """

    modality: ClassVar[Modality] = "image"
    mean: Tensor
    std: Tensor

    def __init__(self, tower: Any, preprocessing: Preprocessing, feature: Feature = "pooled") -> None:
        super().__init__()
        if feature not in ("pooled", "multi"):
            raise ValueError(f"feature must be 'pooled' or 'multi', not {feature!r}")
        self.tower = tower.eval().to(memory_format=torch.channels_last)
        self.preprocessing = preprocessing
        self.feature = feature
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1), persistent=False)
        if feature == "multi":
            for block in find_blocks(tower):
                block.register_forward_hook(partial(_collect, _channel_dim(tower)))
        with torch.no_grad():
            self.dim = self(
                torch.zeros(1, 3, preprocessing.size, preprocessing.size, dtype=torch.uint8)
            ).shape[1]

    def preprocess(self, raw: Any) -> Tensor:
        """One picture (path, bytes, PIL image, uint8 tensor or array) to (3, H, W) uint8."""
        return self.preprocessing(raw)

    def resize(self, size: int) -> None:
        """See pictures as squares of another size, in pixels; convolutional towers take any.

        Raises:
            ValueError: If the tower does not take it.
        """
        own = self.preprocessing
        try:
            with torch.no_grad():
                self(torch.zeros(1, 3, size, size, dtype=torch.uint8))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(f"the tower takes pictures of {own.size} pixels only ({error})") from None
        self.preprocessing = replace(own, size=size, resize=round(own.resize * size / own.size))

    def blocks(self) -> list[nn.Module]:
        """The tower's residual blocks; empty if it keeps them under none of the usual names."""
        return _list_blocks(self.tower)

    def forward(self, batch: Tensor) -> Tensor:
        """Encode pictures.

        Args:
            batch: (B, 3, H, W), uint8 in 0..255 or floating in 0..1, any device.

        Returns:
            (B, D) float32.
        """
        device = next(self.parameters()).device
        pixels = batch.to(device, non_blocking=True)
        pixels = pixels.float() / 255 if not pixels.is_floating_point() else pixels.float()
        pixels = (pixels - self.mean.float()) / self.std.float()
        inputs = self._cast(pixels).contiguous(memory_format=torch.channels_last)
        if self.feature == "pooled":
            return _pooled(self.tower(inputs))
        with _collecting() as statistics:
            pooled = _pooled(self.tower(inputs))
        return torch.cat([*statistics, pooled], dim=1)


class TimmEncoder(ImageEncoder):
    """Any timm model: ``timm:<name>``.

    Args:
        name: Model name, as in ``timm.list_models()``.
        weights: See :func:`encoders.weights.resolve_weights`; empty for random weights.
        feature: ``pooled`` or ``multi``, see :class:`ImageEncoder`.
    """

    def __init__(self, name: str, weights: str = "", *, feature: Feature = "pooled") -> None:
        import timm  # slow to import, like open_clip
        from timm.data import resolve_data_config

        said = read_config(weights, "config.json")
        told = said.get("pretrained_cfg") or (said if "architecture" in said else {})  # older ones are flat
        arguments = said.get("model_args") or {}  # such as another activation
        try:
            tower: Any = timm.create_model(name, pretrained=False, **{**arguments, "num_classes": 0})
        except TypeError as error:
            raise WeightsError(
                f"{weights}: config.json has model_args that timm:{name} does not take ({error})"
            ) from None
        if weights:
            load_state(tower, read_state(weights), weights)
        config = resolve_data_config(pretrained_cfg={**tower.pretrained_cfg, **told})
        height, width = config["input_size"][1:]
        if config["crop_mode"] not in ("center", "squash") or height != width:
            mode = config["crop_mode"]
            raise WeightsError(
                f"timm:{name}: input {height}x{width} with crop mode {mode!r} is not supported"
            )
        preprocessing = Preprocessing(
            size=height,
            resize=int(height / config["crop_pct"]),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            squash=config["crop_mode"] == "squash",
            resampling=config["interpolation"] if config["interpolation"] in _RESAMPLING else "bicubic",
        )
        super().__init__(tower, preprocessing, feature)

    @classmethod
    def names(cls) -> list[str]:
        """All model names of the installed timm."""
        import timm

        return timm.list_models()


class OpenClipImageEncoder(ImageEncoder):
    """The image tower of an OpenCLIP model: ``openclip:<name>``.

    Args:
        name: Model name, as in ``open_clip.list_models()``.
        weights: See :func:`encoders.weights.resolve_weights`; empty for random weights.
        feature: ``pooled`` or ``multi``, see :class:`ImageEncoder`.
        config: Architecture of a model it does not know, as ``open_clip.get_model_config`` gives it.
    """

    def __init__(
        self,
        name: str,
        weights: str = "",
        *,
        feature: Feature = "pooled",
        config: dict[str, Any] | None = None,
    ) -> None:
        from open_clip.model import _build_vision_tower

        from encoders.class_token import read_class_token_only

        config, told = openclip_config(name, weights, config)
        # Built alone: the text tower would be thrown away, and some ask the network for their shape.
        vision = {**config["vision_cfg"], "timm_model_pretrained": False}
        tower = _build_vision_tower(config["embed_dim"], vision, config.get("quick_gelu", False))
        if weights:
            load_state(tower, _tower_state(read_state(weights, OPEN_CLIP_FILES), "visual."), weights)
        size = config["vision_cfg"].get("image_size", 224)
        if feature == "pooled":
            read_class_token_only(tower)
        super().__init__(tower, _openclip_preprocessing(name, size, told), feature)

    @classmethod
    def names(cls) -> list[str]:
        """All model names of the installed open_clip."""
        import open_clip

        return open_clip.list_models()


def openclip_config(
    name: str, weights: str, config: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What a model is like, its activation included: what its weights say of themselves, else what its name says.

    Args:
        name: Model name.
        weights: Where ``open_clip_config.json`` is looked for.
        config: Of a model that OpenCLIP does not know: stands before both.

    Returns:
        model: As ``open_clip.get_model_config`` gives it.
        preprocessing: As told beside the weights; None if they say nothing.
    """
    import open_clip

    told = read_config(weights, "open_clip_config.json")
    model = config or told.get("model_cfg") or open_clip.get_model_config(name)
    return model, told.get("preprocess_cfg", {}) if told else None


def _openclip_preprocessing(
    name: str, size: int | tuple[int, int], told: dict[str, Any] | None
) -> Preprocessing:
    """What is told beside the weights, else what the model's published weights were trained with."""
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    tags = open_clip.list_pretrained_tags_by_model(name) if told is None else []
    published = open_clip.get_pretrained_cfg(name, tags[0]) if tags else {}
    told = told or {}
    config = merge_preprocess_dict(merge_preprocess_dict(PreprocessCfg(), published), {**told, "size": size})
    height, width = (size, size) if isinstance(size, int) else size
    if config["resize_mode"] not in ("shortest", "squash") or height != width:
        mode = config["resize_mode"]
        raise WeightsError(
            f"openclip:{name}: input {height}x{width} with resize mode {mode!r} is not supported"
        )
    return Preprocessing(
        size=height,
        resize=height,
        mean=_per_channel(config["mean"]),
        std=_per_channel(config["std"]),
        squash=config["resize_mode"] == "squash",
        resampling=config["interpolation"] if config["interpolation"] in _RESAMPLING else "bicubic",
    )


def _per_channel(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (float(value),) * 3


def _tower_state(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one tower of a two-tower file; a file of that tower alone is taken as it is."""
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return inside or state


def find_blocks(tower: nn.Module) -> list[nn.Module]:
    """Every residual block of a timm or OpenCLIP picture tower, in order.

    Raises:
        ValueError: If the tower keeps its blocks under none of the usual names.
    """
    blocks = _list_blocks(tower)
    if not blocks:
        raise ValueError(f"{type(tower).__name__} has no blocks, stages or layers: use feature='pooled'")
    return blocks


def _list_blocks(tower: nn.Module) -> list[nn.Module]:
    tower = getattr(tower, "trunk", tower)
    tower = getattr(tower, "transformer", tower)
    found = [
        child
        for name, child in tower.named_children()
        if name in ("blocks", "stages", "layers", "resblocks")
        or (name.startswith("layer") and name[5:].isdigit())
    ]
    return [block for child in found for block in _flatten(child)]


def _flatten(module: nn.Module) -> Iterator[nn.Module]:
    """Stages nest blocks in lists, or in an attribute of their own beside a downsampling."""
    inner = getattr(module, "blocks", module)
    if isinstance(inner, nn.Sequential | nn.ModuleList):
        for child in inner:
            yield from _flatten(child)
    else:
        yield module


_COLLECTOR = threading.local()  # several threads may run one tower at the same time


@contextmanager
def _collecting() -> Iterator[list[Tensor]]:
    """Gather the statistics of each block's output of the forward pass that this thread runs inside."""
    collected: list[Tensor] = []
    _COLLECTOR.statistics = collected
    try:
        yield collected
    finally:
        _COLLECTOR.statistics = None


def _collect(channel_dim: int, _module: nn.Module, _inputs: Any, output: Any) -> None:
    """Forward hook of every block."""
    collected = getattr(_COLLECTOR, "statistics", None)
    if collected is not None:
        collected.append(_statistics(output[0] if isinstance(output, tuple) else output, channel_dim))


def _statistics(values: Tensor, channel_dim: int) -> Tensor:
    """Mean, maximum and standard deviation over positions, (B, 3 C) float32."""
    if values.ndim == 4 and channel_dim == 1:
        values = values.permute(0, 2, 3, 1)  # no copy: the tower runs in channels-last
    values = values.flatten(1, -2)
    maximum = values.amax(dim=1).float()
    values = values.float()  # sums over thousands of positions lose too much in bf16
    mean = values.mean(dim=1)
    # Two plain sums take half the time of torch.var_mean, for an error of about 1e-6 of the mean squared.
    variance = (values.square().mean(dim=1) - mean.square()).clamp(min=0)
    return torch.cat([mean, maximum, (variance + 1e-6).sqrt()], dim=1)


def _channel_dim(tower: nn.Module) -> int:
    """Which axis of a 4-D block output is the channels': some window transformers keep them last."""
    return 3 if getattr(getattr(tower, "trunk", tower), "output_fmt", "NCHW") == "NHWC" else 1


def _pooled(output: Any) -> Tensor:
    """(B, C) float32; towers that also give tokens put the pooled output first."""
    return (output[0] if isinstance(output, tuple) else output).float()
