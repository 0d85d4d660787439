"""Colours as their files mean them, brought to sRGB: ICC profiles, a PNG's gamma, transparency, HDR."""

from __future__ import annotations

import io
from functools import cache, lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_SAME = 3  # levels of 255 by which a profile may differ from sRGB and need no conversion
_SRGB_GAMMA = 1 / 2.2


def to_srgb(image: Image.Image) -> Image.Image:
    """An 8-bit picture as RGB, or RGBA if it is transparent anywhere, in sRGB.

    A profile that is broken, or of other channels than the picture's, is ignored; nearly all that there are say sRGB.
    """
    clear = image.has_transparency_data
    alpha = image.convert("RGBA").getchannel("A") if clear else None
    profile = image.info.get("icc_profile")
    gamma = image.info.get("gamma")
    convert = _to_srgb(profile) if profile else None
    if convert is not None:
        rgb = convert(image)
    elif gamma and not profile and "srgb" not in image.info and abs(gamma - _SRGB_GAMMA) > 0.02:
        rgb = image.convert("RGB").point(_gamma_table(gamma))
    else:
        rgb = image.convert("RGB")
    if alpha is not None:
        rgb.putalpha(alpha)
    return rgb


@lru_cache(maxsize=64)
def _to_srgb(profile: bytes) -> Any:
    """A function that converts a picture of this profile; None if there is nothing to do."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _SPACES[opened.profile.xcolor_space]
        transform = ImageCms.buildTransform(opened, _srgb(), mode, "RGB")
    except (KeyError, OSError, ImageCms.PyCMSError):
        return None
    if mode != "CMYK":
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        probe = Image.fromarray(grid if mode == "RGB" else grid[..., 0].copy())
        before = np.asarray(probe.convert("RGB"), np.int16)
        after: Any = ImageCms.applyTransform(probe, transform)
        if np.abs(np.asarray(after, np.int16) - before).max() <= _SAME:
            return None

    def convert(image: Image.Image) -> Image.Image:
        grey = image.mode in ("1", "L", "LA")
        if (mode == "L") != grey or (mode == "CMYK") != (image.mode == "CMYK"):
            return image.convert("RGB")
        converted: Any = ImageCms.applyTransform(image.convert(mode), transform)
        return converted

    return convert


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=64)
def _gamma_table(gamma: float) -> list[int]:
    """256 levels for each of R, G and B: what a PNG with this ``gAMA`` means, in sRGB."""
    linear = np.linspace(0, 1, 256) ** (1 / max(gamma, 0.05))
    return (encode_srgb(linear) * 255 + 0.5).astype(int).tolist() * 3


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light, 0..1, to sRGB's values, 0..1. Source: IEC 61966-2-1."""
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )


def on_white(image: Image.Image) -> Image.Image:
    """RGB or RGBA to RGB, white where it is transparent."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
