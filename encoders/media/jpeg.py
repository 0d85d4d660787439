"""JPEG files whose pixels are whole: without an end marker, or with side segments that no reader needs."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from PIL import Image

START, END = b"\xff\xd8", b"\xff\xd9"
_NOISE = bytes(np.random.default_rng(0).integers(0, 255, 512, dtype=np.uint8))  # no marker begins in it
_NONE = 99  # more bits than a coefficient has
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xCA)
_SIDE = frozenset(range(0xE0, 0xF0)) | {0xFE}
# Side segments that tell about the pixels: marker → how they begin, and their shortest whole length in bytes.
_TELLING = {
    0xE0: (b"JFIF\0", 14),
    0xE1: (b"Exif\0\0", 6),
    0xE2: (b"ICC_PROFILE\0", 15),
    0xEE: (b"Adobe", 12),
}


@dataclass
class Scan:
    """One pass over the picture: its components, coefficients and bits, and the restart markers found in it."""

    components: list[int]
    first: int
    last: int
    low_bit: int
    interval: int
    restarts: int = 0


@dataclass
class Layout:
    """The segments of a JPEG up to its end, or to where it is cut.

    Attributes:
        parts: All bytes but those of side segments that tell nothing of the pixels or are too short.
        width: In pixels, as the height.
        factors: Component → how often it is sampled in a block of the picture, across and down.
        is_ended: Whether there is an end marker.
    """

    parts: list[bytes] = field(default_factory=lambda: [START])
    width: int = 0
    height: int = 0
    is_progressive: bool = False
    factors: dict[int, tuple[int, int]] = field(default_factory=dict)
    scans: list[Scan] = field(default_factory=list)
    is_ended: bool = False


def mended_jpeg(data: bytes) -> tuple[bytes, str] | None:
    """A file that Pillow refuses, with an end marker and without side segments that it stumbles over.

    Returns:
        The bytes of a file with the same pixels, and what was wrong; None if pixels are missing.
    """
    layout = read_layout(data)
    body = b"".join(layout.parts)
    if layout.is_ended:
        return body, "side information is damaged; only the pixels were read"
    body = body.rstrip(b"\xff")
    bits = _bits_left(layout)
    if bits is None or not _reads_no_further(body):
        return None
    if bits:
        return body + END, "the last of its scans are missing; the picture is a little coarser"
    return body + END, "the end marker is missing; the pixels are whole"


def read_layout(data: bytes) -> Layout:
    """The segments of a JPEG. Source: ITU-T T.81, annex B."""
    layout, interval, place = Layout(), 0, len(START)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a marker may have any number of these before it
            place += 1
            continue
        if marker == 0xD9:
            break
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        body = data[place + 4 : end]
        if marker in _FRAMES:
            _read_frame(layout, marker, body)
        elif marker == 0xDD:
            interval = int.from_bytes(body[:2])
        elif marker == 0xDA:
            layout.scans.append(_scan(body, interval))
            end = _end_of_scan(data, end, layout.scans[-1])
        if marker not in _SIDE or _tells(marker, body):
            layout.parts.append(data[place:end])
        place = end
    layout.is_ended = data[place : place + 2] == END
    layout.parts.append(data[place:])
    return layout


def _tells(marker: int, body: bytes) -> bool:
    start, shortest = _TELLING.get(marker, (b"", len(body) + 1))
    return body.startswith(start) and len(body) >= shortest


def _read_frame(layout: Layout, marker: int, body: bytes) -> None:
    layout.is_progressive = marker in _PROGRESSIVE
    layout.height, layout.width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    for one in range(6, len(body) - 2, 3):
        layout.factors[body[one]] = (body[one + 1] >> 4 or 1, body[one + 1] & 15 or 1)


def _scan(body: bytes, interval: int) -> Scan:
    count = body[0]
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    return Scan([body[1 + 2 * i] for i in range(count)], first, last, bits & 15, interval)


def _end_of_scan(data: bytes, place: int, scan: Scan) -> int:
    """Where the next marker begins that is no restart marker; those that are are counted."""
    while (place := data.find(b"\xff", place)) >= 0:
        following = data[place + 1] if place + 1 < len(data) else 0
        if 0xD0 <= following <= 0xD7:
            scan.restarts += 1
        elif following not in (0, 0xFF):
            return place
        place += 1
    return len(data)


def _bits_left(layout: Layout) -> int | None:
    """How many bits at most a coefficient lacks; None if one is not there at all, or the last scan is cut."""
    if not layout.scans or not layout.factors:
        return None
    bits: dict[int, Any] = {component: np.full(64, _NONE) for component in layout.factors}
    for scan in layout.scans:
        for component in scan.components:
            span = slice(scan.first, scan.last + 1) if layout.is_progressive else slice(64)
            bits.setdefault(component, np.zeros(64))[span] = scan.low_bit if layout.is_progressive else 0
    most = max(int(left.max()) for left in bits.values())
    last = layout.scans[-1]
    is_cut = last.interval and last.restarts != ceil(_units(layout, last) / last.interval) - 1
    return None if is_cut or most == _NONE else most


def _units(layout: Layout, scan: Scan) -> int:
    """How many units a scan is coded in: blocks of its one component, or blocks of the picture."""
    across, down = (max(factor[axis] for factor in layout.factors.values()) for axis in (0, 1))
    if len(scan.components) > 1:
        return ceil(layout.width / (8 * across)) * ceil(layout.height / (8 * down))
    own = layout.factors.get(scan.components[0], (1, 1))
    return ceil(ceil(layout.width * own[0] / across) / 8) * ceil(ceil(layout.height * own[1] / down) / 8)


def _reads_no_further(body: bytes) -> bool:
    """Whether noise before the end changes no pixel: a decoder that has all pixels does not read on."""
    first, second = (_pixels(body + rest + END) for rest in (b"", _NOISE))
    return np.array_equal(first, second)


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as image:
        return np.asarray(image)
