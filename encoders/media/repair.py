"""Picture files whose pixels are whole although something beside them is not."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from encoders.media.jpeg import START, mended_jpeg

_PNG = b"\x89PNG\r\n\x1a\n"
_SIDE = "side information is damaged or too large; only the pixels were read"
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # the pixels of a PNG; the rest tells about them
_HELPFUL = (b"eXIf", b"sRGB", b"gAMA", b"iCCP")  # kept where they are whole
_LENGTHS = {b"sRGB": 13, b"gAMA": 16}  # of the chunk
_BY_PALETTE = b"\3"  # the types of colours, as the header says them
_CLEAR = {b"\0": 2, b"\2": 6}  # of the others → bytes of what is transparent
_LARGEST = 1 << 20  # bytes of a profile, unpacked: Pillow reads no more


def mended(data: bytes) -> tuple[bytes, str] | None:
    """A file that Pillow refuses, without what it stumbles over.

    Args:
        data: The bytes of a picture file.

    Returns:
        The bytes of a file with the same pixels, and what was wrong; None if pixels are missing or it is no such file.
    """
    if data.startswith(_PNG):
        return _plain_png(data), _SIDE
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        plain = _plain_webp(data)
        return (plain, _SIDE) if plain else None
    if data.startswith(START):
        return mended_jpeg(data)
    return None


def _plain_png(data: bytes) -> bytes:
    """The file with the chunks that hold its pixels, and those of the others that are whole and small."""
    kept, longest = [_PNG], _CLEAR.get(data[25:26], 0)
    for kind, chunk, whole in _chunks(data):
        if kind == b"PLTE" and data[25:26] == _BY_PALETTE:
            longest = len(chunk) // 3 - 4
        if (
            kind in _NEEDED
            or (kind == b"tRNS" and _fits(len(chunk) - 12, longest, data[25:26]))
            or (kind in _HELPFUL and whole and len(chunk) < _LARGEST and _is_sound(kind, chunk))
        ):
            kept.append(chunk)
    return b"".join(kept)


def _fits(length: int, longest: int, colours: bytes) -> bool:
    """Whether what a PNG says of transparency is as long as its colours ask; longer than a palette means nothing."""
    return length <= longest if colours == _BY_PALETTE else length == longest


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Kind, bytes and whether the checksum is right, of each chunk of a PNG."""
    place = len(_PNG)
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4])
        end = place + 12 + length
        chunk = data[place:end]
        yield chunk[4:8], chunk, zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        place = end


def _is_sound(kind: bytes, chunk: bytes) -> bool:
    if kind != b"iCCP":
        return len(chunk) == _LENGTHS.get(kind, len(chunk))
    packed = chunk[8:-4].partition(b"\0")[2][1:]
    try:
        return 0 < len(zlib.decompressobj().decompress(packed, _LARGEST)) < _LARGEST
    except zlib.error:
        return False


def _plain_webp(data: bytes) -> bytes | None:
    """The file with the chunks that hold the pixels of a still; None if one of them is cut."""
    kept, place = b"", 12
    while place + 8 <= len(data):
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        chunk = data[place : place + 8 + length + length % 2]
        if kind == b"VP8X":  # says what other chunks there are: of these only transparency
            kept += chunk[:8] + bytes([chunk[8] & 0x10]) + chunk[9:]
        elif kind in (b"ALPH", b"VP8 ", b"VP8L"):
            if len(chunk) < 8 + length:
                return None
            kept += chunk
        place += 8 + length + length % 2
    return b"RIFF" + (4 + len(kept)).to_bytes(4, "little") + b"WEBP" + kept if kept else None
