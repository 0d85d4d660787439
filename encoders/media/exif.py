"""How a picture is turned, read from its EXIF block entry by entry, whatever else the block holds."""

from __future__ import annotations

from typing import Any

_ORIENTATION = 0x0112
_WIDTHS = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4}  # TIFF's types of integers → bytes


def orientation(image: Any) -> int:
    """1 to 8 for a PIL picture, 1 if nothing tells; XMP is not asked, as viewers do not."""
    block = image.info.get("exif")
    if isinstance(block, bytes):
        return orientation_of(block)
    if image.format == "TIFF" or "Raw profile type exif" in image.info:
        try:
            return int(image.getexif().get(_ORIENTATION, 1))
        except Exception:  # a broken block says nothing about the pixels
            return 1
    return 1


def orientation_of(block: bytes) -> int:
    """The orientation in the first directory of an EXIF block, 1 if it holds none. Source: TIFF 6.0, section 2.

    Args:
        block: With or without ``Exif`` and two zeros before it.

    Example:
        >>> entry = b"\\x01\\x12" + b"\\0\\3" + b"\\0\\0\\0\\1" + b"\\0\\6\\0\\0"
        >>> orientation_of(b"MM\\0*" + b"\\0\\0\\0\\x08" + b"\\0\\1" + entry)
        6
    """
    block = block.removeprefix(b"Exif\0\0")
    order: Any = {b"II": "little", b"MM": "big"}.get(block[:2])
    if order is None:
        return 1

    def number(place: int, width: int) -> int:
        return int.from_bytes(block[place : place + width], order)

    start = number(4, 4) + 2
    for entry in range(start, min(start + 12 * number(start - 2, 2), len(block) - 11), 12):
        if number(entry, 2) == _ORIENTATION:
            return number(entry + 8, _WIDTHS.get(number(entry + 2, 2), 0)) or 1
    return 1
