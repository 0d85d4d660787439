"""Opening pictures as catalogues have them: turned, CMYK, with alpha, 16-bit, animated, broken or huge."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from encoders.media.errors import MediaError

MAX_PIXELS = 100_000_000
"""Pictures of more pixels than this are refused from the header, before any decoding."""

# Not every format Pillow knows: its EPS reader, for one, starts an outside program.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")


def open_image(raw: Any, min_side: int | None = None) -> Image.Image:
    """Read any picture as RGB, upright.

    EXIF orientation is applied, transparency is composited on white, 16-bit values are scaled, CMYK is
    converted and the first frame of an animation is taken.

    Args:
        raw: A path, the bytes of a file, a PIL image, or a uint8 tensor or array, (3, H, W) or (H, W, 3).
        min_side: A JPEG file may be decoded at a fraction of its size, as long as no side gets shorter than this.

    Returns:
        An RGB image.

    Raises:
        MediaError: If it is no picture, is truncated, or has more than :data:`MAX_PIXELS` pixels.
    """
    if isinstance(raw, Image.Image):
        image, name = raw, getattr(raw, "filename", "") or "PIL image"
    elif isinstance(raw, bytes | bytearray | memoryview):
        image, name = None, f"<{len(raw)} bytes>"
        raw = io.BytesIO(raw)
    elif isinstance(raw, str | Path):
        image, name = None, str(raw)
    else:
        image, name = _from_array(raw), "array"
    try:
        if image is not None:
            return _upright_rgb(image, name, None)  # a draft would shrink the caller's own picture
        with Image.open(raw, formats=_formats()) as opened:
            return _upright_rgb(opened, name, min_side)
    except MediaError:
        raise
    except Image.UnidentifiedImageError:
        raise MediaError(f"{name}: not a picture in a known format ({', '.join(_formats())})") from None
    except Image.DecompressionBombError:
        raise MediaError(_too_large(name)) from None
    except Exception as error:  # decoders of broken files raise anything from OSError to IndexError
        raise MediaError(f"{name}: cannot read picture: {error}") from error


def _upright_rgb(image: Image.Image, name: str, min_side: int | None) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise MediaError(f"{_too_large(name)}: {image.width}x{image.height}")
    if min_side and hasattr(image, "draft"):
        scale = min_side / min(image.size)
        image.draft("RGB", (int(image.width * scale + 1), int(image.height * scale + 1)))
    image.load()
    return _to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(0x0112, 1) != 1
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_to_8bit(np.asarray(image)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_8bit(values: np.ndarray) -> np.ndarray:
    """Deep grey values to uint8: floats up to 1, bytes, or 16 bits, told apart by the largest value."""
    top = float(values.max(initial=0))
    is_float = np.issubdtype(values.dtype, np.floating)
    full = 1.0 if is_float and top <= 1 else 255.0 if is_float and top <= 255 else max(65535.0, top)
    return (values.clip(0) * (255.0 / full) + 0.5).astype(np.uint8)


def _from_array(raw: Any) -> Image.Image:
    array = np.asarray(raw.detach().cpu() if hasattr(raw, "detach") else raw)
    if array.dtype != np.uint8 or array.ndim != 3 or 3 not in (array.shape[0], array.shape[2]):
        raise MediaError(
            f"a picture must be a path, bytes, a PIL image or uint8 of shape (3, H, W) or (H, W, 3), "
            f"not {type(raw).__name__} of {array.dtype} {array.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(array if array.shape[2] == 3 else array.transpose(1, 2, 0)))


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _too_large(name: str) -> str:
    return f"{name}: picture has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller"
