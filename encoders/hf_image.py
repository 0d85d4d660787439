"""Picture towers in the layout of Hugging Face transformers: CLIP, SigLIP, Chinese-CLIP, DINOv2, ViT."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from encoders.base import WeightsError
from encoders.hf import load_hf_model
from encoders.image import Feature, ImageEncoder, Preprocessing
from encoders.state import read_config

_OTHER_TOWER = ("text_model.", "text_projection.", "logit_", "pooler.")
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class HfTower(nn.Module):
    """The picture tower of a transformers model: its projected feature, else its pooled output or class token."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.projects = hasattr(model, "get_image_features")
        if self.projects:
            model.text_model = None

    @property
    def trunk(self) -> Any:
        """What holds the blocks."""
        inner = self.model.vision_model if self.projects else self.model
        return getattr(inner, "encoder", inner)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, D)."""
        if self.projects:
            output = self.model.get_image_features(pixel_values=pixels)
            return getattr(output, "pooler_output", output)
        output = self.model(pixel_values=pixels)
        pooled = getattr(output, "pooler_output", None)
        return (output.last_hidden_state[:, 0] if pooled is None else pooled).flatten(1)

    def save_pretrained(self, folder: Any, **options: Any) -> None:
        """As the model's own."""
        self.model.save_pretrained(folder, **options)


class HfImageEncoder(ImageEncoder):
    """A Hugging Face picture model, or the picture tower of one of two towers: ``hf-image:<any name>``.

    Args:
        name: A label, for messages only.
        weights: Folder with ``config.json``, safetensors and ``preprocessor_config.json``, see
            :func:`encoders.weights.resolve_weights`. No code from it is run.
        feature: ``pooled`` or ``multi``, see :class:`ImageEncoder`.

    Raises:
        WeightsError: If the folder lacks something, or wants its pictures in a way that is not supported.
    """

    def __init__(self, name: str, weights: str = "", *, feature: Feature = "pooled") -> None:
        if not weights:
            raise WeightsError(f"hf-image:{name} needs weights, a folder or hf://org/name")
        model, folder = load_hf_model(weights, "picture encoder", _OTHER_TOWER)
        vision = getattr(model.config, "vision_config", model.config)
        said = read_config(weights, "preprocessor_config.json")
        super().__init__(HfTower(model), _preprocessing(said, vision.image_size, str(folder)), feature)


def _preprocessing(said: dict[str, Any], image_size: int, folder: str) -> Preprocessing:
    """What ``preprocessor_config.json`` says, without one what CLIP was trained with."""
    size = said.get("size", {"shortest_edge": image_size})
    size = {"shortest_edge": size} if isinstance(size, int) else size
    shortest, height, width = (size.get(name) for name in ("shortest_edge", "height", "width"))
    crop = said.get("crop_size") or {"height": shortest or height, "width": shortest or width}
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    resize = shortest or height
    side = crop.get("height") if shortest or said.get("do_center_crop") else height
    if (
        (shortest is None and height != width)
        or crop.get("height") != crop.get("width")
        or not (side and resize)
    ):
        raise WeightsError(
            f"{folder}: preprocessor_config.json wants pictures of {size} cut to {crop}; not supported"
        )
    normal = said.get("do_normalize", True)
    return Preprocessing(
        size=side,
        resize=resize,
        mean=tuple(said.get("image_mean") or _CLIP[0]) if normal else (0.0, 0.0, 0.0),
        std=tuple(said.get("image_std") or _CLIP[1]) if normal else (1.0, 1.0, 1.0),
        squash=shortest is None,
        resampling=_FILTERS.get(said.get("resample", 3), "bicubic"),
    )
