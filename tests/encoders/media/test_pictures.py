from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders import MediaError
from encoders.media.errors import MediaWarning
from encoders.media.pictures import open_image

Noise = Callable[..., np.ndarray]


def _bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _pixel(image: Image.Image) -> tuple[int, ...]:
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def test_every_spelling_of_a_picture_is_the_same_picture(tmp_path: Path, noise: Noise) -> None:
    array = noise(30, 40)
    path = tmp_path / "a.png"
    Image.fromarray(array).save(path)
    raws = [
        path,
        str(path),
        path.read_bytes(),
        Image.fromarray(array),
        array,
        array.transpose(2, 0, 1),
        torch.from_numpy(array.copy()),
        torch.from_numpy(array.copy()).permute(2, 0, 1),
    ]
    for raw in raws:
        opened = open_image(raw)
        assert opened.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(opened), array)


def test_exif_orientation_is_applied_also_to_a_draft() -> None:
    image = Image.new("RGB", (160, 80), "black")
    image.paste((255, 0, 0), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    data = _bytes(image, "JPEG", exif=exif, quality=95)
    for min_side in (None, 20):
        upright = open_image(data, min_side)
        assert upright.height == 2 * upright.width
        right, left = upright.getpixel((upright.width - 4, 4)), upright.getpixel((4, 4))
        assert right[0] > 200  # type: ignore[index]
        assert left[0] < 60  # type: ignore[index]


def test_transparency_is_put_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0] + [0, 0, 255] * 255)
    keyed = _bytes(palette, "PNG", transparency=0)
    assert _pixel(open_image(_bytes(clear, "PNG"))) == (255, 255, 255)
    assert _pixel(open_image(_bytes(half, "PNG"))) == (127, 127, 127)
    assert _pixel(open_image(keyed)) == (255, 255, 255)
    assert _pixel(open_image(_bytes(Image.new("LA", (4, 4), (9, 255)), "PNG"))) == (9, 9, 9)


def test_cmyk_keeps_its_colours() -> None:
    red, green, blue = _pixel(open_image(_bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 32768, 65535, 257]], dtype=np.uint16)
    opened = open_image(_bytes(Image.fromarray(values), kind))
    assert [opened.getpixel((x, 0))[0] for x in range(4)] == [0, 128, 255, 1]  # type: ignore[index]


def test_animations_give_their_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = _bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert _pixel(open_image(data)) == (255, 0, 0)


def test_truncated_pictures_name_the_file(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:-2000])
    with pytest.raises(MediaError, match=r"photo\.jpg.*truncated"):
        open_image(photo)


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "note.jpg"
    text.write_text("not a picture")
    # Pillow would start Ghostscript for this one.
    script = tmp_path / "drawing.eps"
    script.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    for path in (text, script):
        with pytest.raises(MediaError, match=f"{path.name}: not a picture in a known format"):
            open_image(path)
    with pytest.raises(MediaError, match=r"missing\.png"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(MediaError, match="0 bytes"):
        open_image(b"")


@pytest.mark.parametrize("raw", [np.zeros((4, 4), np.uint8), torch.zeros(3, 4, 4), 7, None])
def test_other_inputs_are_refused(raw: object) -> None:
    with pytest.raises(MediaError, match="must be a path"):
        open_image(raw)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(11_000, 10_000), (100_000, 100_000)])
def test_a_bomb_is_refused_from_its_header(width: int, height: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    # There are no pixels behind the header: decoding would say something else.
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(MediaError, match="100 million pixels"):
        open_image(bomb)


def test_a_draft_is_close_to_the_full_picture_and_no_smaller_than_asked(shared_data: Path) -> None:
    path = sorted((shared_data / "magento").rglob("*_main.jpg"))[0]
    full, draft = open_image(path), open_image(path, min_side=512)
    assert 512 <= min(draft.size) < min(full.size)
    small = (224, 224)
    a, b = (np.asarray(image.resize(small, Image.Resampling.BICUBIC), int) for image in (full, draft))
    assert np.abs(a - b).mean() < 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_give_a_picture_or_a_media_error(noise: Noise, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]))
    raw = bytearray(_bytes(Image.fromarray(noise(20, 20)), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert open_image(bytes(raw[: data.draw(st.integers(1, len(raw)))])).mode == "RGB"
    except MediaError as error:
        assert "bytes>" in str(error)
        assert "\n" not in str(error)


def test_float_values_that_are_unknown_do_not_darken_the_others() -> None:
    for unknown in (np.nan, np.inf, -np.inf):
        values = np.full((8, 8), 0.5, np.float32)
        values[0, 0] = unknown
        opened = open_image(_bytes(Image.fromarray(values), "TIFF"))
        assert opened.getpixel((4, 4)) == (128, 128, 128)


def test_32_bit_values_of_bytes_are_bytes_and_dark_16_bit_ones_stay_dark() -> None:
    assert open_image(Image.new("L", (4, 4), 200).convert("I")).getpixel((0, 0)) == (200, 200, 200)
    dark = Image.fromarray(np.full((4, 4), 200, np.uint16))
    for kind in ("PNG", "TIFF", "PPM"):
        assert open_image(_bytes(dark, kind)).getpixel((0, 0)) == (1, 1, 1)


def test_16_bit_grey_keeps_its_gamma_and_what_is_transparent() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = _bytes(Image.fromarray(np.full((4, 4), 55 * 257, np.uint16)), "PNG")
    linear = data[:33] + chunk(b"gAMA", struct.pack(">I", 100000)) + data[33:]
    clear = data[:33] + chunk(b"tRNS", struct.pack(">H", 55 * 257)) + data[33:]
    assert open_image(linear).getpixel((0, 0)) == (128, 128, 128)
    assert open_image(clear).getpixel((0, 0)) == (255, 255, 255)


def test_a_callers_unread_picture_without_an_end_is_read(noise: Noise) -> None:
    data = _bytes(Image.fromarray(noise(40, 60)), "JPEG")
    with pytest.warns(MediaWarning, match="end marker"):
        opened = open_image(Image.open(io.BytesIO(data[:-2])))
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(open_image(data)))
    with pytest.raises(MediaError, match="truncated"):
        open_image(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(MediaError, match="picture is empty: 0x0"):
        open_image(Image.new("RGB", (0, 0)))
