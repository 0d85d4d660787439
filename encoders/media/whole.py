"""Whether a video file is whole, of formats whose readers do not mind if the rest is missing."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import BinaryIO

from encoders.media.errors import MediaError, MediaWarning, name_of
from encoders.media.kinds import HEAD, is_transport_stream
from encoders.media.video_index import VideoFile

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_CLUSTER = b"\x1f\x43\xb6\x75"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_LIVE = 1  # flag of ASF: its sizes mean nothing
_PACKET = 188  # bytes of a transport stream's packet
_ELEMENTS = 1_000_000  # of a Matroska file that are looked at


def check_whole(source: VideoFile) -> None:
    """Look at what Matroska, WebM and ASF say of their length; a broadcast that ends within a packet is warned of.

    Raises:
        MediaError: If it is cut short.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(HEAD)
        if head.startswith(_EBML):
            said = _matroska_end(file, head, length)
        elif head.startswith(_ASF):
            said = _asf_length(head)
        else:
            said = length
            if (
                is_transport_stream(head)
                and head[:1] == head[_PACKET : _PACKET + 1] == b"G"
                and length % _PACKET
            ):
                warning = f"{name_of(source)}: ends within a packet; the end of the video may be missing"
                warnings.warn(warning, MediaWarning, stacklevel=2)
    if said > length:
        raise MediaError(f"{name_of(source)}: video is cut short after {length:,} of {said:,} bytes")


def _asf_length(head: bytes) -> int:
    """The length that the header says; 0 if it says none. Source: ASF specification, section 3.2."""
    place = head.find(_ASF_PROPERTIES)
    if place < 0 or len(head) < place + 92 or head[place + 88] & _LIVE:
        return 0
    return int.from_bytes(head[place + 40 : place + 48], "little")


def _matroska_end(file: BinaryIO, head: bytes, length: int) -> int:
    """Where the file says that it ends; of a live recording, which does not, where its last element does."""
    size, place = _vint(head, len(_EBML))
    place += size or 0
    if head[place : place + 4] != _SEGMENT:
        return 0
    size, place = _vint(head, place + 4)
    if size is not None:
        return place + size
    for _ in range(_ELEMENTS):
        file.seek(place)
        header = file.read(12)
        if not header:
            break
        width = 9 - header[0].bit_length()
        size, used = _vint(header, width)
        if width > 4 or used > len(header):  # no element, or the header is cut
            return length + 1 if used > len(header) else 0
        place += (
            used + (size or 0) if header[:4] != _CLUSTER else used
        )  # what is in a cluster is looked at, too
        if place > length:
            return place
    return place


def _vint(data: bytes, place: int) -> tuple[int | None, int]:
    """A size as EBML writes it, None if it says that it is unknown; and the place after it. Source: RFC 8794."""
    width = 9 - data[place].bit_length() if place < len(data) and data[place] else 9
    value = int.from_bytes(data[place : place + width]) & ((1 << 7 * width) - 1)
    return (None if width == 9 or value == (1 << 7 * width) - 1 else value), place + width
