"""Opening pictures as catalogues have them: turned, CMYK, with alpha, 16-bit, animated, flawed or huge."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from encoders.media.colours import on_white, to_srgb
from encoders.media.errors import MediaError, MediaWarning, name_of
from encoders.media.exif import orientation
from encoders.media.kinds import HEAD, PICTURES, unread
from encoders.media.repair import mended

MAX_PIXELS = 100_000_000
"""Pictures of more pixels than this are refused from the header, before any decoding."""

T = TypeVar("T")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CALLERS = threading.Lock()  # one picture of a caller may stand in several inputs, and loading it changes it


def open_image(raw: Any, min_side: int | None = None) -> Image.Image:
    """Read any picture as RGB in sRGB, upright.

    EXIF orientation is applied, ICC profiles are honoured, transparency is composited on white, 16-bit values are
    scaled, CMYK is converted and the first frame of an animation is taken. What is wrong with a file beside its
    pixels (a side chunk of a PNG, a missing end marker of a JPEG) gives a
    :class:`encoders.media.errors.MediaWarning`.

    Args:
        raw: A path, the bytes of a file, a PIL image, or a uint8 tensor or array, (3, H, W) or (H, W, 3).
        min_side: A JPEG file may be decoded at a fraction of its size, as long as no side gets shorter than this.

    Returns:
        An RGB image.

    Raises:
        MediaError: If it is no picture, is truncated, or has more than :data:`MAX_PIXELS` pixels.
    """
    if isinstance(raw, Image.Image):
        name = getattr(raw, "filename", "") or "PIL image"
        with _mistakes(raw, name):
            return _callers_own(raw, name)
    if not isinstance(raw, str | Path | bytes | bytearray | memoryview):
        return _from_array(raw)
    name = name_of(raw)
    with _mistakes(raw, name):
        return _mending(raw, name, lambda file: _read(file, name, min_side))


def picture_size(raw: str | Path | bytes) -> tuple[int, int]:
    """Width and height of a picture file as it is stored, from its header alone.

    Raises:
        MediaError: If it is no picture, or has more than :data:`MAX_PIXELS` pixels.
    """
    name = name_of(raw)

    def size(file: Any) -> tuple[int, int]:
        with Image.open(file, formats=_formats()) as image:
            return _checked_size(image, name)

    with _mistakes(raw, name):
        return _mending(raw, name, size)


def _read(file: Any, name: str, min_side: int | None) -> Image.Image:
    with Image.open(file, formats=_formats()) as image:
        _checked_size(image, name)
        if min_side and hasattr(image, "draft"):
            scale = min_side / min(image.size)
            image.draft("RGB", (int(image.width * scale + 1), int(image.height * scale + 1)))
        image.load()
        return _to_rgb(_upright(image, orientation(image)))


def _callers_own(image: Image.Image, name: str) -> Image.Image:
    """A caller's picture is loaded by one thread at a time, and what follows works on a copy."""
    with _CALLERS:
        _checked_size(image, name)
        file = getattr(image, "fp", None)  # of one that is not yet read
        try:
            image.load()
        except OSError:
            if file is None or file.closed:
                raise
            file.seek(0)
            data = file.read()
        else:
            data, turn, copy = None, orientation(image), image.copy()
    if data is not None:
        return _mending(data, name, lambda whole: _read(whole, name, None))
    return _to_rgb(_upright(copy, turn))


def _mending(raw: Any, name: str, read: Callable[[Any], T]) -> T:
    """What ``read`` makes of a file, or else of the file without what is wrong beside its pixels."""
    data = None if isinstance(raw, str | Path) else bytes(raw)
    try:
        return read(raw if data is None else io.BytesIO(data))
    except (MediaError, Image.DecompressionBombError):
        raise
    except Exception:  # decoders of broken files raise anything from OSError to IndexError
        found = None
        with suppress(Exception):
            found = mended(Path(raw).read_bytes() if data is None else data)
        if found is None:
            raise
    result = read(io.BytesIO(found[0]))
    warnings.warn(f"{name}: {found[1]}", MediaWarning, stacklevel=4)
    return result


@contextmanager
def _mistakes(raw: Any, name: str) -> Iterator[None]:
    """Whatever goes wrong becomes one MediaError that names the picture."""
    try:
        yield
    except MediaError:
        raise
    except Image.UnidentifiedImageError:
        other = unread(_head(raw))
        formats = ", ".join(_formats())
        said = f"; {other} is not read: convert it to JPEG or PNG" if other else ""
        raise MediaError(f"{name}: not a picture in a known format ({formats}){said}") from None
    except Image.DecompressionBombError:
        raise MediaError(_too_large(name)) from None
    except Exception as error:
        raise MediaError(f"{name}: cannot read picture: {error}") from error


def _head(raw: Any) -> bytes:
    if not isinstance(raw, str | Path):
        return bytes(raw[:HEAD])
    with Path(raw).open("rb") as file:
        return file.read(HEAD)


def _checked_size(image: Image.Image, name: str) -> tuple[int, int]:
    if not image.width * image.height:
        raise MediaError(f"{name}: picture is empty: {image.width}x{image.height}")
    if image.width * image.height > MAX_PIXELS:
        raise MediaError(f"{_too_large(name)}: {image.width}x{image.height}")
    return image.size


def _upright(image: Image.Image, turn: int) -> Image.Image:
    return image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _grey(image)
    return on_white(to_srgb(image))


def _grey(deep: Image.Image) -> Image.Image:
    """A picture of deep grey values as 8-bit, with what its file says of colours and transparency."""
    values = np.asarray(deep)
    is_16_bit = deep.mode.startswith("I;16") or deep.format in ("PNG", "PPM")
    image = Image.fromarray(_to_8bit(values, is_16_bit))
    clear = deep.info.get("transparency")
    if isinstance(clear, int):
        image.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    image.info = {name: value for name, value in deep.info.items() if name != "transparency"}
    return image


def _to_8bit(values: np.ndarray, is_16_bit: bool) -> np.ndarray:
    """Deep grey values to uint8: floats up to 1, bytes, or 16 bits, told apart by the largest value."""
    is_float = np.issubdtype(values.dtype, np.floating)
    if (
        is_float and not np.isfinite(values).all()
    ):  # depth and satellite pictures mark so what they do not know
        known = values[np.isfinite(values)]
        values = np.nan_to_num(values, nan=0.0, posinf=known.max(initial=0), neginf=0.0)
    top = float(values.max(initial=0))
    full = 1.0 if is_float and top <= 1 else 255.0 if top <= 255 and not is_16_bit else max(65535.0, top)
    return (values.clip(0) * (255.0 / full) + 0.5).astype(np.uint8)


def _from_array(raw: Any) -> Image.Image:
    array = np.asarray(raw.detach().cpu() if hasattr(raw, "detach") else raw)
    if (
        array.dtype != np.uint8
        or array.ndim != 3
        or 3 not in (array.shape[0], array.shape[2])
        or not array.size
    ):
        raise MediaError(
            f"a picture must be a path, bytes, a PIL image or uint8 of shape (3, H, W) or (H, W, 3), "
            f"not {type(raw).__name__} of {array.dtype} {array.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(array if array.shape[2] == 3 else array.transpose(1, 2, 0)))


def _formats() -> list[str]:
    Image.init()
    return [name for name in PICTURES if name in Image.OPEN]


def _too_large(name: str) -> str:
    return f"{name}: picture has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller"
