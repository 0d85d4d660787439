"""A JPEG without its end marker is read if all its pixels are there, and only then."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encoders import MediaError
from encoders.media.errors import MediaWarning
from encoders.media.jpeg import read_layout
from encoders.media.pictures import open_image

Noise = Callable[..., np.ndarray]
PATTERN = Image.effect_mandelbrot((160, 100), (-2, -1, 1, 1), 50).convert("RGB")
FLAT = Image.new("RGB", (160, 100), (90, 100, 110))


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::encoders.media.errors.MediaWarning")
@pytest.mark.parametrize("image", [PATTERN, FLAT, PATTERN.convert("L")], ids=["pattern", "flat", "grey"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("interval", [0, 1, 4, 19])
def test_a_cut_jpeg_is_an_error_with_restart_markers_too(
    image: Image.Image, progressive: bool, interval: int
) -> None:
    data = encoded(image, quality=90, progressive=progressive, restart_marker_blocks=interval)
    whole = np.asarray(open_image(data))
    for cut in (1, 2):
        np.testing.assert_array_equal(np.asarray(open_image(data[:-cut])), whole)
    for percent in range(8, 98, 6):
        cut_short = data[: len(data) * percent // 100]
        if image is FLAT and progressive and percent > 50:  # the scans that are gone may refine nothing
            with suppress(MediaError):
                np.testing.assert_allclose(np.asarray(open_image(cut_short)), whole, atol=2)
            continue
        with pytest.raises(MediaError):
            open_image(cut_short)


def test_the_layout_counts_scans_and_restart_markers() -> None:
    layout = read_layout(encoded(PATTERN, progressive=True, restart_marker_blocks=5))
    assert (layout.width, layout.height, layout.is_progressive, layout.is_ended) == (160, 100, True, True)
    assert layout.factors == {1: (2, 2), 2: (1, 1), 3: (1, 1)}
    assert layout.scans[0].components == [1, 2, 3] and layout.scans[0].restarts == 70 // 5 - 1
    assert layout.scans[-1].components == [1] and layout.scans[-1].restarts == 20 * 13 // 5 - 1


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE0, b"JFIF\0\1"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\1"),
        (0xEE, b"Adobe"),
        (0xEE, b"Adobe\0"),
    ],
)
def test_a_short_side_segment_costs_no_pixel_and_no_orientation(
    marker: int, body: bytes, noise: Noise
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(noise(40, 60)), exif=exif)
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    with pytest.warns(MediaWarning, match="side information"):
        opened = open_image(data[:2] + segment + data[2:])
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(open_image(data)))
    assert opened.size == (40, 60)


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
@pytest.mark.parametrize("length", [1, 3, 300])
def test_transparency_of_a_wrong_length_costs_no_pixel_of_a_png(mode: str, length: int, noise: Noise) -> None:
    image = Image.fromarray(noise(30, 40)).convert("RGB").quantize(16).convert(mode)
    data, body = encoded(image, "PNG"), b"tRNS" + bytes([255]) * length
    place = data.index(b"IDAT") - 4
    chunk = struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
    np.testing.assert_array_equal(
        np.asarray(open_image(data[:place] + chunk + data[place:])), np.asarray(image.convert("RGB"))
    )


def test_a_progressive_jpeg_cut_between_scans_is_a_coarser_picture() -> None:
    data = encoded(PATTERN, quality=95, progressive=True)
    whole, starts = (
        open_image(data),
        [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"],
    )
    ends = [data.rindex(b"\xff\xc4", 0, start) for start in starts]  # each scan has its table before it
    with pytest.warns(MediaWarning, match="the last of its scans are missing"):
        coarse = np.asarray(open_image(data[: ends[-1]]), int)
    assert 0 < np.abs(coarse - np.asarray(whole, int)).mean() < 4
    with pytest.raises(MediaError):
        open_image(data[: ends[2]])  # without the finer coefficients of a component
