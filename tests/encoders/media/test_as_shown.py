"""Frames as a player shows them: by time, upright, in their aspect, on white, in sRGB."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from PIL import Image

from encoders import MediaError
from encoders.media.errors import MediaWarning
from encoders.media.frame_pixels import HLG, PQ, _tone_mapped
from encoders.media.frames import sample_frames
from encoders.media.kinds import sniff
from encoders.media.pictures import open_image
from mmreason.catalogue.media import video_problem

MakeVideo = Callable[..., Path]
ONE = 65536
QUADRANTS = np.kron(
    np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8),
    np.ones((32, 48, 1), np.uint8),
)


def write(
    path: Path,
    frames: list[np.ndarray],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: list[int] | None = None,
    options: dict[str, str] | None = None,
    rate: int = 10,
    **context: Any,
) -> Path:
    """A clip of so many frames a second, or with the times given, in units of one frame."""
    if codec not in av.codecs_available:
        pytest.skip(f"FFmpeg has no {codec} here")
    form = "rgba" if frames[0].shape[2] == 4 else "rgb24"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, rate)
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for i, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format=form)
            frame.pts, frame.time_base = (times or range(len(frames)))[i], Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def greys(*levels: int) -> list[np.ndarray]:
    return [np.full((64, 96, 3), level, np.uint8) for level in levels]


def means(frames: np.ndarray) -> list[float]:
    return [float(frame.mean()) for frame in frames]


def test_segments_are_of_equal_duration_where_the_rate_varies(tmp_path: Path) -> None:
    path = write(tmp_path / "vfr.mp4", greys(*[10] * 10, 120, 200), times=[*range(10), 50, 99])
    assert means(sample_frames(path, 4)) == pytest.approx([10, 10, 120, 120], abs=4)


@pytest.mark.parametrize("count", [2, 3])
def test_the_last_of_few_frames_is_seen(tmp_path: Path, count: int) -> None:
    path = write(tmp_path / "few.mp4", greys(*(80 * i + 10 for i in range(count))))
    assert means(sample_frames(path, count)) == pytest.approx([80 * i + 10 for i in range(count)], abs=4)


@pytest.mark.parametrize("name", ["show.mkv", "show.webm", "show.mp4"])
def test_a_picture_that_stays_is_not_a_cut_file(tmp_path: Path, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    path = write(tmp_path / name, greys(10, 90, 200, 200), codec, times=[0, 50, 100, 149])
    assert means(sample_frames(path, 3)) == pytest.approx([10, 90, 200], abs=4)


@pytest.mark.parametrize("name", ["cut.mkv", "cut.webm"])
def test_a_cut_matroska_is_an_error_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    noise = list(np.random.default_rng(0).integers(0, 255, (20, 64, 96, 3), dtype=np.uint8))
    data = write(tmp_path / name, noise, codec).read_bytes()
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(MediaError, match="cut short"):
            sample_frames(data[: int(share * len(data))], 4)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frames_of_an_avi_with_b_frames_are_in_order(tmp_path: Path, codec: str) -> None:
    path = write(
        tmp_path / "b.avi",
        greys(*range(10, 250, 8)),
        codec,
        options={"bf": "2"},
        gop_size=12,
        bit_rate=2_000_000,
    )
    for count in (3, 5, 15):
        expected = [10 + 8 * ((2 * i + 1) * 30 // (2 * count)) for i in range(count)]
        assert means(sample_frames(path, count)) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize(
    ("name", "matrix", "corners"),
    [
        ("upright", (ONE, 0, 0, ONE), "rgb"),
        ("mirrored", (-ONE, 0, 0, ONE), "grw"),
        ("upside down", (ONE, 0, 0, -ONE), "bwr"),
        ("transposed", (0, ONE, ONE, 0), "rbg"),
        ("transversed", (0, -ONE, -ONE, 0), "wgb"),
        ("turned", (0, ONE, -ONE, 0), "brw"),
        ("turned back", (0, -ONE, ONE, 0), "gwr"),
        ("half round", (-ONE, 0, 0, -ONE), "wbg"),
    ],
)
def test_the_display_matrix_is_applied(
    tmp_path: Path, name: str, matrix: tuple[int, int, int, int], corners: str
) -> None:
    data = bytearray(write(tmp_path / "quadrants.mp4", [QUADRANTS] * 4).read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = matrix
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    for reader in ("auto", "decord"):
        (tmp_path / "turned.mp4").write_bytes(data)
        frame = sample_frames(tmp_path / "turned.mp4", 1, reader=reader)[0]  # type: ignore[arg-type]
        colours = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "w": (255, 255, 255)}
        for pixel, colour in zip((frame[3, 3], frame[3, -4], frame[-4, 3]), corners, strict=True):
            np.testing.assert_allclose(pixel, colours[colour], atol=12, err_msg=name)


def test_pixels_of_unequal_sides_are_shown_in_their_aspect(tmp_path: Path) -> None:
    path = write(tmp_path / "wide.mp4", greys(50, 50), sample_aspect_ratio=Fraction(2))
    assert sample_frames(path, 1).shape == (1, 64, 192, 3)
    assert sample_frames(path, 1, 32).shape == (1, 32, 96, 3)
    tall = write(tmp_path / "tall.mkv", greys(50, 50), sample_aspect_ratio=Fraction(1, 2))
    assert sample_frames(tall, 1).shape == (1, 64, 48, 3)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mov", "qtrle", "argb"),
        ("b.mov", "prores_ks", "yuva444p10le"),
        ("c.mov", "png", "rgba"),
        ("d.webm", "libvpx-vp9", "yuva420p"),
        ("e.apng", "apng", "rgba"),
    ],
)
def test_what_is_transparent_is_white(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    clear = np.zeros((64, 96, 4), np.uint8)
    clear[:, :48] = (200, 30, 40, 255)
    path = write(tmp_path / name, [clear] * 3, codec, pixels)
    frame = sample_frames(path, 1)[0]
    np.testing.assert_allclose(frame[8, 8], (200, 30, 40), atol=6)
    np.testing.assert_allclose(frame[8, -8], (255, 255, 255), atol=2)


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, 0.5807), (HLG, 0.75)])
def test_hdr_white_is_white_and_brighter_is_brighter(transfer: int, signal: float) -> None:
    levels = np.array([0, signal / 2, signal, (1 + signal) / 2, 1])
    deep = np.repeat((levels * 65535).astype(np.uint16)[None, :, None], 3, axis=2)
    shown = _tone_mapped(deep, transfer)
    assert shown[0, :, 0].tolist() == sorted(shown[0, :, 0].tolist())
    assert shown[0, 0, 0] == 0
    assert 235 <= shown[0, 2, 0] < shown[0, 3, 0]
    assert np.ptp(shown, axis=2).max() <= 1  # grey stays grey


def test_an_hdr_file_is_tone_mapped(tmp_path: Path) -> None:
    signal = round(0.5807 * 255)
    path = write(
        tmp_path / "hdr.mp4",
        greys(*[signal] * 3),
        "libx265",
        "yuv420p10le",
        options={"x265-params": "log-level=none:colorprim=9:transfer=16:colormatrix=9"},
        color_trc=PQ,
        color_primaries=9,
        colorspace=9,
    )
    assert means(sample_frames(path, 1)) == pytest.approx([246], abs=5)


def test_a_lost_packet_of_a_broadcast_is_a_warning(tmp_path: Path) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (30, 64, 96, 3), dtype=np.uint8))
    data = write(tmp_path / "live.ts", noise, gop_size=10).read_bytes()
    packet = data.index(b"\x47", 188 * 200)
    lost = data[:packet] + data[packet + 188 :]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(sample_frames(lost, 4)) == 4
        assert len(sample_frames(lost[50:], 4)) == 4  # begins inside a packet
    assert all(issubclass(one.category, MediaWarning) and "<" in str(one.message) for one in caught)


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "covered.mp4"
    with av.open(str(path), "w") as container:
        cover: Any = container.add_stream("mjpeg", rate=1)
        video: Any = container.add_stream("libx264", rate=10)
        for stream, pixels in ((cover, "yuvj420p"), (video, "yuv420p")):
            stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(greys(250)[0], format="rgb24")))
        container.mux(cover.encode(None))
        for array in greys(*[40] * 10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(video.encode(None))
    assert means(sample_frames(path, 2)) == pytest.approx([40, 40], abs=4)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.wmv", "wmv2"), ("a.h264", "libx264"), ("a.ivf", "libvpx-vp9"), ("a.gif", "gif"), ("a.flv", "flv")],
)
def test_containers_of_all_kinds_give_frames(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, greys(0, 73, 146, 219), codec, "rgb8" if codec == "gif" else "yuv420p")
    assert means(sample_frames(path, 4)) == pytest.approx([0, 73, 146, 219], abs=12)


def test_a_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    for head, name in ((b".RMF\0\0\0\x12", "RealMedia"), (b"CWS\x09", "Flash")):
        with pytest.raises(MediaError, match=f"{name} is not read; convert it to MP4"):
            sample_frames(head + bytes(2000))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<?xml version='1.0'?><svg xmlns=''>", "SVG"),
        (b"\xef\xbb\xbf<!-- made by hand -->\n<svg>", "SVG"),
        (b"<!doctype html><p>", "a web page"),
        (b"<HTML>", "a web page"),
        (b"\0\0\0\x18ftypheim", "HEIC"),
        (b"\0\0\0\x18ftyphevc", "HEIC"),
    ],
)
def test_a_picture_format_that_is_not_read_is_named(head: bytes, name: str) -> None:
    with pytest.raises(MediaError, match=f"{name} is not read: convert it to JPEG or PNG"):
        open_image(head + bytes(100))
    assert sniff(head + bytes(100)) != "video"


def numbered(count: int) -> list[np.ndarray]:
    """Frames that show their number in eight columns, black and white."""
    bits = [np.array([255 * (number >> bit & 1) for bit in range(8)], np.uint8) for number in range(count)]
    return [np.kron(np.repeat(row[None, :, None], 3, axis=2), np.ones((96, 20, 1), np.uint8)) for row in bits]


def numbers(frames: np.ndarray) -> list[int]:
    return [sum(1 << bit for bit in range(8) if frame[48, 20 * bit + 10].mean() > 127) for frame in frames]


def test_frames_of_a_stream_that_is_refreshed_in_parts_are_those_asked_for(tmp_path: Path) -> None:
    options = {"x264-params": "keyint=20:intra-refresh=1:bframes=0"}
    path = write(tmp_path / "refreshed.mp4", numbered(60), options=options)
    assert numbers(sample_frames(path, 8)) == [3, 11, 18, 26, 33, 41, 48, 56]


@pytest.mark.parametrize("name", ["few.flv", "few.ts", "few.mp4"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_file_of_very_few_frames_is_read(tmp_path: Path, name: str, count: int) -> None:
    path = write(tmp_path / name, numbered(count))
    expected = [(2 * i + 1) * count // 16 for i in range(8)]
    assert numbers(sample_frames(path, 8)) == expected
    assert numbers(sample_frames(bytearray(path.read_bytes()), 8)) == expected


def test_a_transport_stream_of_a_few_packets_is_read(tmp_path: Path) -> None:
    for count in (2, 3):
        path = write(tmp_path / "short.ts", numbered(count), rate=25)
        assert numbers(sample_frames(path, 2)) == [0, count - 1]


def test_a_name_with_a_colon_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SKU:12.mp4", "file:x.mp4", "concat:a.mp4"):
        write(tmp_path / name, numbered(4))
        assert numbers(sample_frames(name, 4)) == [0, 1, 2, 3]


def test_field_videos(shared_data: Path) -> None:
    field = shared_data / "field"
    trimmed = sample_frames(field / "11-trimmed-mp4-edit-list" / "trim_editlist.mp4", 8)
    assert [round(frame[48:].mean() / 32) for frame in trimmed] == [5, 6, 4, 5, 4, 5, 4, 5]
    assert sample_frames(field / "32-colours-and-transparency" / "sar2.mp4", 1).shape == (1, 96, 320, 3)
    for name in ("slideshow3.mkv", "slideshow3.webm", "still10s.webm"):
        assert len(sample_frames(field / "10-slideshow-said-to-be-cut-short" / name, 8)) == 8


def test_hd_without_a_word_on_its_matrix_is_of_bt_709(tmp_path: Path) -> None:
    red = np.full((720, 1280, 3), (200, 30, 60), np.uint8)
    with av.open(str(tmp_path / "hd.mp4"), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=5)
        stream.height, stream.width, stream.pix_fmt = 720, 1280, "yuv420p"
        for frame in [av.VideoFrame.from_ndarray(red, format="rgb24")] * 3:
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        container.mux(stream.encode(None))
    for reader in ("auto", "av", "decord"):
        shown = sample_frames(tmp_path / "hd.mp4", 1, reader=reader)  # type: ignore[arg-type]
        assert np.abs(shown.astype(int) - red).max() <= 4


def test_an_animated_webp_is_a_video(tmp_path: Path) -> None:
    colours = ["red", "lime", "blue"]
    images = [Image.new("RGBA", (48, 32), colour) for colour in colours]
    images[2].putpixel((0, 0), (0, 0, 0, 0))
    path = tmp_path / "clip.webp"
    images[0].save(path, save_all=True, append_images=images[1:], duration=[100, 200, 700], lossless=True)
    for source in (path, path.read_bytes()):
        shown = sample_frames(source, 10, size=16)
        assert shown.shape == (10, 16, 24, 3)
        middles = [tuple(frame[8, 12]) for frame in shown]
        assert middles == [(255, 0, 0)] + [(0, 255, 0)] * 2 + [(0, 0, 255)] * 7
    assert tuple(sample_frames(path, 10)[-1, 0, 0]) == (255, 255, 255)
    assert video_problem(path) == ""
    (tmp_path / "cut.webp").write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MediaError):
        sample_frames(tmp_path / "cut.webp", 10)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("live.mkv", "mpeg4", {"live": "1"}), ("sized.mkv", "mpeg4", {}), ("clip.wmv", "wmv2", {})],
)
def test_a_cut_file_is_no_shorter_video(
    name: str, codec: str, options: dict[str, str], tmp_path: Path, noise: Callable[..., np.ndarray]
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"FFmpeg has no {codec} here")
    with av.open(str(tmp_path / name), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise(64, 96), format="rgb24")))
        container.mux(stream.encode(None))
    data = (tmp_path / name).read_bytes()
    assert len(sample_frames(data, 4)) == 4
    for cut in (0.3, 0.6, 0.95):
        with pytest.raises(MediaError, match="cut short"):
            sample_frames(data[: int(len(data) * cut)], 4)


def test_a_broadcast_that_ends_within_a_packet_is_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.ts", greys(*range(0, 200, 10)), "mpeg2video")
    data = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error", MediaWarning)
        assert len(sample_frames(data, 4)) == 4
    with pytest.warns(MediaWarning, match="ends within a packet"):
        sample_frames(data[: len(data) - 100], 4)


def edited(data: bytes, edits: list[tuple[int, int]]) -> bytes:
    """An MP4 with its index at the end, with other edits: (milliseconds shown, where in the media's own time)."""

    def boxes(start: int, end: int) -> dict[bytes, tuple[int, int]]:
        found = {}
        while start < end:
            size = int.from_bytes(data[start : start + 4])
            found[data[start + 4 : start + 8]] = start, start + size
            start += size
        return found

    movie = boxes(0, len(data))[b"moov"]
    track = boxes(movie[0] + 8, movie[1])[b"trak"]
    old = boxes(track[0] + 8, track[1])[b"edts"]
    entries = b"".join(struct.pack(">IiHH", length, place, 1, 0) for length, place in edits)
    new = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    new = struct.pack(">I4s", 8 + len(new), b"edts") + new
    made = bytearray(data[: old[0]] + new + data[old[1] :])
    for start, end in (movie, track):
        made[start : start + 4] = (end - start + len(new) - (old[1] - old[0])).to_bytes(4)
    return bytes(made)


@pytest.mark.parametrize("group", [5, 60])
@pytest.mark.parametrize(
    ("begins", "expected"),
    [([10, 40], [11, 13, 16, 18, 41, 43, 46, 48]), ([40, 10], [41, 43, 46, 48, 11, 13, 16, 18])],
)
def test_several_edits_show_their_parts_in_order(
    group: int, begins: list[int], expected: list[int], tmp_path: Path
) -> None:
    options = {"g": str(group), "bf": "0"}
    clip = write(tmp_path / "clip.mp4", greys(*range(0, 240, 4)), options=options)
    with av.open(str(clip)) as container:
        unit = round(0.1 / float(container.streams.video[0].time_base or 1))
    shown = sample_frames(edited(clip.read_bytes(), [(1000, begin * unit) for begin in begins]), 8)
    np.testing.assert_allclose(shown.mean(axis=(1, 2, 3)) / 4, expected, atol=0.6)
