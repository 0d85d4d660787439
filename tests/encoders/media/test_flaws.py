"""Side information never costs the pixels; what is really cut stays an error; colours are as their files mean them."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from encoders import GuardedPool, MediaError
from encoders.media.errors import MediaWarning, NamedBytes
from encoders.media.kinds import PICTURES, kind_of_file, sniff
from encoders.media.pictures import open_image, picture_size

Noise = Callable[..., np.ndarray]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)
    )


def exif(tag: int, kind: int, value: bytes, orientation: int = 6) -> bytes:
    """A TIFF block with an orientation and one other tag of any type."""
    entries = sorted(
        [(0x0112, 3, struct.pack("<HH", orientation, 0)), (tag, kind, value.ljust(4, b"\0")[:4])]
    )
    body = b"".join(struct.pack("<HHI", number, form, 1) + data for number, form, data in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + body + b"\0" * 40


@pytest.mark.parametrize("tag", [0x0100, 0x011A, 0x0132, 0x0213, 0x8769, 0x9999])
@pytest.mark.parametrize("kind", range(1, 13))
def test_an_odd_tag_beside_the_orientation_costs_nothing(tag: int, kind: int) -> None:
    data = encoded(Image.new("RGB", (40, 20), "red"), "JPEG", exif=exif(tag, kind, b"\x10\0\0\0"))
    for min_side in (None, 16):
        image = open_image(data, min_side)
        assert image.height == 2 * image.width


@pytest.mark.parametrize(
    "side",
    [
        chunk(b"gAMA", struct.pack(">I", 45455), crc=1),
        chunk(b"pHYs", b"\0\1"),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 << 20))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2 << 20))),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2 << 20))),
        chunk(b"iCCP", b"p\0\0 not packed"),
        chunk(b"iCCP", b""),
        chunk(b"cHRM", b"\0"),
        chunk(b"tIME", b""),
    ],
)
def test_a_bad_side_chunk_of_a_png_costs_no_pixel(side: bytes, noise: Noise) -> None:
    data = encoded(Image.fromarray(noise(30, 40)), "PNG")
    for place in (33, len(data) - 12):  # behind the header, and behind the pixels
        flawed = data[:place] + side + data[place:]
        np.testing.assert_array_equal(np.asarray(open_image(flawed)), noise(30, 40))
        assert picture_size(flawed) == (40, 30)


def test_a_flaw_is_a_warning_that_names_the_file(noise: Noise) -> None:
    data = encoded(Image.fromarray(noise(30, 40)), "PNG")
    flawed = NamedBytes(data[:33] + chunk(b"pHYs", b"") + data[33:], "coat.png")
    with pytest.warns(MediaWarning, match=r"^coat\.png: side information"):
        open_image(flawed)
    with GuardedPool(open_image, workers=1) as pool:
        results = list(pool.map([flawed, data, NamedBytes(data[:200], "cut.png")]))
        assert pool.flaws == 1
    assert str(results[2]).startswith("cut.png: ")


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}, {"quality": 30}]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_may_lack_its_end_marker_and_no_pixel(
    options: dict[str, Any], mode: str, noise: Noise
) -> None:
    data = encoded(Image.fromarray(noise(90, 120)).convert(mode), "JPEG", **options)
    whole = np.asarray(open_image(data))
    for cut in (1, 2):
        np.testing.assert_array_equal(np.asarray(open_image(data[:-cut])), whole)
    for cut in (4, 10, len(data) // 3, len(data) // 2):
        with pytest.raises(MediaError, match="cannot read picture"):
            open_image(data[:-cut])


def test_a_webp_may_lack_what_stands_behind_its_pixels(noise: Noise) -> None:
    data = encoded(Image.fromarray(noise(30, 40)), "WEBP", exif=exif(0x9999, 1, b"\1"), lossless=True)
    np.testing.assert_array_equal(np.asarray(open_image(data[:-10])), noise(30, 40))
    with pytest.raises(MediaError):
        open_image(data[: len(data) // 2])


def swapped_profile() -> bytes:
    """sRGB whose red and blue colorants have changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132])
    entries = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = entries[b"rXYZ"] + 4, entries[b"bXYZ"] + 4
    data[red : red + 8], data[blue : blue + 8] = data[blue : blue + 8], data[red : red + 8]
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_is_honoured(kind: str) -> None:
    image = Image.new("RGB", (16, 16), (230, 10, 10))
    found = open_image(encoded(image, kind, icc_profile=swapped_profile())).getpixel((8, 8))
    assert np.abs(np.array(found) - (10, 10, 230)).max() < 30


def test_srgb_profiles_and_broken_ones_change_nothing(noise: Noise) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile", swapped_profile()[:200]):
        data = encoded(Image.fromarray(noise(30, 40)), "PNG", icc_profile=profile)
        np.testing.assert_array_equal(np.asarray(open_image(data)), noise(30, 40))


def test_a_profile_beside_transparency_keeps_white_behind() -> None:
    clear = Image.new("RGBA", (4, 4), (230, 10, 10, 0))
    assert open_image(encoded(clear, "PNG", icc_profile=swapped_profile())).getpixel((0, 0)) == (
        255,
        255,
        255,
    )


def test_gamma_of_a_png_is_honoured() -> None:
    data = encoded(Image.new("RGB", (4, 4), (55, 55, 55)), "PNG")
    linear = data[:33] + chunk(b"gAMA", struct.pack(">I", 100000)) + data[33:]
    usual = data[:33] + chunk(b"gAMA", struct.pack(">I", 45455)) + data[33:]
    assert open_image(usual).getpixel((0, 0)) == (55, 55, 55)
    assert open_image(linear).getpixel((0, 0)) == (128, 128, 128)


def test_a_callers_picture_is_read_by_one_thread_at_a_time_and_stays_as_it_is(noise: Noise) -> None:
    data = encoded(Image.fromarray(noise(600, 800)), "JPEG", exif=exif(0x9999, 1, b"\1"))
    expected = np.asarray(open_image(data))
    for _ in range(5):
        shared, found = Image.open(io.BytesIO(data)), []
        threads = [threading.Thread(target=lambda: found.append(open_image(shared))) for _ in range(6)]  # noqa: B023
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6 and all(np.array_equal(np.asarray(one), expected) for one in found)
        assert shared.size == (800, 600) and shared.getexif()[0x0112] == 6


@pytest.mark.parametrize("kind", [name for name in PICTURES if name not in ("MPO", "ICO")])
def test_every_format_is_told_by_its_first_bytes(tmp_path: Path, kind: str, noise: Noise) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    path = tmp_path / "without_ending"
    path.write_bytes(encoded(Image.fromarray(noise(64, 64)), kind))
    assert kind_of_file(path) == "picture"
    assert open_image(path).size == (64, 64)


def test_videos_are_told_by_their_first_bytes(shared_data: Path, tmp_path: Path) -> None:
    transport = (b"\x47" + bytes(187)) * 6
    assert sniff(transport) == sniff(transport[100:]) == "video"
    assert sniff(b"\0\0\0\x14moov") == sniff(b"\0\0\0\x08wide") == sniff(b"OggS") == "video"
    assert sniff(b"a coat") == sniff(b"") == ""
    (tmp_path / "notes.txt").write_text("a coat")
    assert kind_of_file(tmp_path / "notes.txt") == "" and kind_of_file(tmp_path / "gone.mts") == "video"
