"""A picture is upright whatever stands beside its orientation."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from encoders.media.exif import orientation_of
from encoders.media.pictures import open_image

FAR = 0xFFFFFE


def block(order: str, entries: list[tuple[int, int, int, bytes]]) -> bytes:
    """An EXIF block of entries: tag, type, count, value."""
    start = (
        b"Exif\0\0" + (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    )
    parts = [
        struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
        for tag, kind, count, value in entries
    ]
    return start + b"".join(parts) + bytes(4)


def photo(exif: bytes) -> bytes:
    """A JPEG of 60x40 with this EXIF block, as it is."""
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "form"), [(1, "B"), (3, "H"), (4, "I"), (8, "h"), (9, "i")])
@pytest.mark.parametrize(("other", "count"), [(2, 5), (3, 3), (4, 2), (5, 1), (7, 99)])
def test_a_tag_that_points_outside_the_block_costs_no_orientation(
    order: str, kind: int, form: str, other: int, count: int
) -> None:
    for tag in (0x010E, 0x010F, 0x0111):
        flawed = (tag, other, count, struct.pack(order + "I", FAR))
        exif = block(order, [flawed, (0x0112, kind, 1, struct.pack(order + form, 6))])
        assert open_image(photo(exif)).size == (40, 60)
        assert open_image(Image.open(io.BytesIO(photo(exif)))).size == (40, 60)


def test_a_count_that_is_too_large_and_a_cut_block_are_read_as_far_as_they_go() -> None:
    whole = block("<", [(0x0112, 3, 1, b"\6\0")])
    assert orientation_of(whole[:14] + struct.pack("<H", 30) + whole[16:]) == 6
    assert orientation_of(whole[:20]) == orientation_of(b"Exif\0\0") == 1
    assert orientation_of(block("<", [(0x0112, 2, 1, b"6\0")])) == 1


def test_xmp_alone_turns_nothing() -> None:
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'
    assert open_image(photo(xmp)).size == (60, 40)


@given(st.binary(max_size=80))
def test_any_block_gives_a_number(data: bytes) -> None:
    assert orientation_of(b"Exif\0\0II*\0\x08\0\0\0" + data) >= 0
