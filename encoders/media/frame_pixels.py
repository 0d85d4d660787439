"""A decoded frame to RGB pixels as a player shows them: upright, in its aspect, on white, in sRGB."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from av.video.reformatter import Colorspace

from encoders.media.colours import encode_srgb

Size = tuple[int, int]

_UNSPECIFIED = 2  # of ITU-T H.273's matrices
PQ, HLG = 16, 18  # transfer characteristics of ITU-T H.273
_WHITE = 203.0  # nits of white paper in HDR. Source: ITU-R BT.2408
_KNEE = (
    0.8  # of white: up to here light stays as it is, above it is compressed so that brighter still differs
)
# Linear BT.2020 to BT.709. Source: ITU-R BT.2087
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def turn_of(frame: Any) -> tuple[bool, bool, bool]:
    """Whether the file's display matrix swaps the axes, and then mirrors x and y."""
    matrix = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return False, False, False
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix)[:36], np.int32).tolist()
    if abs(b) > abs(a):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def upright_size(frame: Any, aspect: float) -> Size:
    """Width and height of a frame as it is shown.

    Args:
        frame: Of PyAV.
        aspect: Width of a pixel over its height.
    """
    width = max(1, round(frame.width * aspect))
    return (frame.height, width) if turn_of(frame)[0] else (width, frame.height)


def is_untagged_hd(frame: Any) -> bool:
    """Whether a frame, or a stream, is of HD size and does not say its matrix: players then take BT.709's."""
    is_hd = frame.width >= 1280 or frame.height > 576
    return is_hd and frame.colorspace in (Colorspace.DEFAULT, _UNSPECIFIED)


def to_rgb(frame: Any, size: Size) -> np.ndarray:
    """(H, W, 3) uint8 of a frame, upright.

    Args:
        frame: Of PyAV.
        size: Width and height wanted, upright.
    """
    swapped, mirror_x, mirror_y = turn_of(frame)
    width, height = size[::-1] if swapped else size
    options = {
        "width": width,
        "height": height,
        "interpolation": "BICUBIC",
        "src_color_range": frame.color_range,
        "src_colorspace": Colorspace.ITU709 if is_untagged_hd(frame) else None,
    }
    if frame.color_trc in (PQ, HLG):
        pixels = _tone_mapped(frame.to_ndarray(format="rgb48le", **options), frame.color_trc)
    elif any(component.is_alpha for component in frame.format.components):
        pixels = _on_white(frame.to_ndarray(format="rgba", **options))
    else:
        pixels = frame.to_ndarray(format="rgb24", **options)
    if swapped:
        pixels = pixels.transpose(1, 0, 2)
    return pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]


def _on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _tone_mapped(deep: np.ndarray, transfer: int) -> np.ndarray:
    """(H, W, 3) uint16 of BT.2020 in PQ or HLG to uint8 of sRGB, where white paper is nearly 255."""
    light = _nits(transfer)[deep] / _WHITE
    if transfer == HLG:  # the display's gamma, of the luminance. Source: ITU-R BT.2100
        scene = light * (_WHITE / 1000)
        luminance = scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        light = light * np.maximum(luminance, 1e-6)[..., None] ** 0.2
    light = np.maximum(light @ _TO_709.T, 0)
    peak = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    over = np.maximum(peak - _KNEE, 0) / (1 - _KNEE)
    shown = np.minimum(peak, _KNEE) + (1 - _KNEE) * (1 - np.exp(-over))
    return (encode_srgb((light * (shown / peak)).clip(0, 1)) * 255 + 0.5).astype(np.uint8)


@cache
def _nits(transfer: int) -> np.ndarray:
    """(65536,) float32: light of each 16-bit signal; of HLG the scene's, scaled to 1,000. Source: ITU-R BT.2100."""
    signal = np.arange(65536) / 65535
    if transfer == PQ:
        power = signal ** (1 / 78.84375)
        linear = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        return (10_000 * linear).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    linear = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return (1000 * linear).astype(np.float32)
