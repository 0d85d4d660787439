"""What a caller may hand to the embedder: items, or bare texts, pictures and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from encoders.media.kinds import HEAD, kind_of_file, sniff
from mmreason.schema import DataError, Item
from mmreason.values import is_nothing

LONGEST_PATH = 1024  # characters


def as_item(raw: Any, name: str) -> Item:
    """One input as an item.

    Args:
        raw: An :class:`Item` or a dict of its fields; a ``str``: a text, or a file if one of this name is there; a
            ``Path``; the bytes of a picture or video; a PIL image; an array or tensor, (3, H, W) or (H, W, 3) uint8
            a picture and (T, …) a video; or a list of pictures of one thing. What stands for nothing (None, NaN,
            an empty list) is an item without anything.
        name: Id of the item, if it has none of its own.

    Raises:
        DataError: If it is none of these, or a file that is neither picture nor video.
    """
    if isinstance(raw, Item):
        return raw
    if is_nothing(raw):
        return Item(name)
    if isinstance(raw, Mapping):
        try:
            return Item(**{"id": name, **{key: value for key, value in raw.items() if not is_nothing(value)}})
        except TypeError as error:
            raise DataError(f"{name}: not the fields of an item ({error})") from None
    if isinstance(raw, Sequence) and not isinstance(raw, str | bytes | bytearray | memoryview):
        parts = [as_item(part, name) for part in raw]
        if not parts or any(part.title or part.video is not None for part in parts):
            raise DataError(
                f"{name}: a list must hold pictures of one thing; give Item(…) for other mixtures"
            )
        return Item(name, images=[image for part in parts for image in part.images])
    raw = bytes(raw) if isinstance(raw, bytearray | memoryview) else raw
    kind = _kind(raw, name)
    if not kind:
        raise DataError(
            f"{name}: a {type(raw).__name__} is no text, picture or video; give a str, Path, bytes, image or Item"
        )
    if kind == "text":
        return Item(name, title=raw)
    return Item(name, images=[raw]) if kind == "picture" else Item(name, video=raw)


def _kind(raw: Any, name: str) -> str:
    if isinstance(raw, Path):
        return kind_of_file(raw) or "picture"
    if isinstance(raw, str):
        return _kind_of_text(raw, name)
    if isinstance(raw, bytes):
        return sniff(raw[:HEAD]) or "picture"
    if isinstance(raw, Image.Image):
        return "picture"
    if isinstance(raw, np.ndarray) or hasattr(raw, "__array__"):
        return "video" if np.ndim(raw) == 4 else "picture"
    return ""


def _kind_of_text(text: str, name: str) -> str:
    """A text that is the name of a file stands for the file, whatever its ending."""
    try:
        file = len(text) < LONGEST_PATH and Path(text).is_file()
    except (OSError, ValueError):  # a name that no file can have
        file = False
    if not file:
        return "text"
    kind = kind_of_file(text)
    if not kind and Path(text).suffix:
        raise DataError(
            f"{name}: {text} is a file, but neither picture nor video; give its text, or another file"
        )
    return kind or "text"  # a word such as README may be meant as one
