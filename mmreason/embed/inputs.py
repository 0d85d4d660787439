"""What a caller may hand to the embedder: items, or bare texts, pictures and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmreason.schema import DataError, Item

VIDEO_SUFFIXES = {
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".ogv",
    ".flv",
    ".3gp",
}
IMAGE_SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".jp2",
    ".ppm",
    ".ico",
}


def as_item(raw: Any, name: str) -> Item:
    """One input as an item.

    Args:
        raw: An :class:`Item` or a dict of its fields; a ``str``: a text, or a file if it ends like a picture or
            video and is there; a ``Path``; the bytes of a picture or video; a PIL image; an array or tensor,
            (3, H, W) or (H, W, 3) uint8 a picture and (T, …) a video; or a list of pictures of one thing.
        name: Id of the item, if it has none of its own.

    Raises:
        DataError: If it is none of these.
    """
    if isinstance(raw, Item):
        return raw
    if isinstance(raw, Mapping):
        try:
            fields = {key: value for key, value in raw.items() if value is not None}
            if "images" in fields and not isinstance(fields["images"], list | tuple):
                fields["images"] = [fields["images"]]
            return Item(**{"id": name, **fields})
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
    kind = _kind(raw)
    if not kind:
        raise DataError(
            f"{name}: a {type(raw).__name__} is no text, picture or video; give a str, Path, bytes, image or Item"
        )
    if kind == "text":
        return Item(name, title=raw)
    return Item(name, images=[raw]) if kind == "image" else Item(name, video=raw)


def _kind(raw: Any) -> str:
    if isinstance(raw, str | Path):
        suffix = Path(raw).suffix.lower() if len(str(raw)) < 1024 and "\0" not in str(raw) else ""
        file = isinstance(raw, Path) or (suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES and Path(raw).is_file())
        return ("video" if suffix in VIDEO_SUFFIXES else "image") if file else "text"
    if isinstance(raw, bytes):
        return "video" if _is_video(raw[:16]) else "image"
    if isinstance(raw, Image.Image):
        return "image"
    if isinstance(raw, np.ndarray) or hasattr(raw, "__array__"):
        return "video" if np.ndim(raw) == 4 else "image"
    return ""


def _is_video(head: bytes) -> bool:
    """By the first bytes: ISO media except AVIF and HEIC, Matroska, AVI, MPEG, Ogg and FLV."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in (b"avif", b"avis", b"heic", b"heix", b"mif1")
    riff = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    starts = (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"OggS", b"FLV\1", b"\x47\x40")
    return riff or head.startswith(starts)
