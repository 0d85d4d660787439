from __future__ import annotations

import os
import socket
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import MediaError
from encoders.media import frame_readers, frames
from encoders.media.frames import sample_frames
from encoders.media.sampling import segment_centres
from encoders.media.video_index import VideoIndex

MakeVideo = Callable[..., Path]


@pytest.fixture(params=["decord", "av", "bytes"])
def sample(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    """``sample_frames`` by each way it has of reading a file."""
    if request.param == "decord":
        pytest.importorskip("decord")
        monkeypatch.setattr(frame_readers, "_suits_decord", lambda *_: True)
        monkeypatch.setattr(frame_readers, "_with_av", lambda *_: pytest.fail("decord did not read the file"))

    def call(path: Path, *args: object, **options: object) -> np.ndarray:
        if request.param == "bytes":
            return sample_frames(path.read_bytes(), *args, **options)  # type: ignore[arg-type]
        return sample_frames(path, *args, reader=request.param, **options)  # type: ignore[arg-type]

    return call


def _grey(frame: np.ndarray) -> float:
    return float(frame[frame.shape[0] // 2 :].mean())


def test_frames_are_the_segments_centres(sample: Callable[..., np.ndarray], make_video: MakeVideo) -> None:
    out = sample(make_video(frames=20), 5)
    assert out.shape == (5, 64, 96, 3)
    assert out.dtype == np.uint8
    assert [_grey(frame) / 8 for frame in out] == pytest.approx([2, 6, 10, 14, 18], abs=0.4)


def test_a_shorter_clip_repeats_its_frames(make_video: MakeVideo) -> None:
    out = sample_frames(make_video(frames=3), 8)
    greys = [_grey(frame) for frame in out]
    assert out.shape[0] == 8
    assert greys == sorted(greys)
    assert len(np.unique(out, axis=0)) == 3
    assert sample_frames(make_video(frames=1), 4).shape[0] == 4


def test_size_is_the_shorter_side_and_never_enlarges(
    sample: Callable[..., np.ndarray], make_video: MakeVideo
) -> None:
    path = make_video(width=96, height=64)
    assert sample(path, 2, 40).shape == (2, 40, 60, 3)
    assert sample(path, 2, 500).shape == (2, 64, 96, 3)


@pytest.mark.parametrize(("rotation", "white"), [(0, (0, 0)), (90, (1, 0)), (180, (1, 1)), (-90, (0, 1))])
def test_rotation_in_the_file_is_applied(
    sample: Callable[..., np.ndarray], make_video: MakeVideo, rotation: int, white: tuple[int, int]
) -> None:
    for size in (None, 40):
        out = sample(make_video("turned.mov", rotation=rotation), 2, size)
        assert (out.shape[1] > out.shape[2]) == (rotation % 180 != 0)
        corners = {(y, x): out[0, -4 if y else 4, -4 if x else 4].mean() for y in (0, 1) for x in (0, 1)}
        assert max(corners, key=lambda corner: corners[corner]) == white


def test_both_decoders_agree_on_real_files(shared_data: Path) -> None:
    pytest.importorskip("decord")
    folder = shared_data / "video" / "codecs"
    for name in ("video_90.mov", "video_180.mov", "nasa_13013.mp4", "unordered.mov", "bt709_full_range.mp4"):
        ours, theirs = (
            sample_frames(folder / name, 4, 128, reader=reader)  # type: ignore[arg-type]
            for reader in ("av", "decord")
        )
        assert ours.shape == theirs.shape, name
        assert np.abs(ours.astype(int) - theirs).mean() < 4, name


def test_every_real_codec_gives_frames_or_one_clear_error(shared_data: Path) -> None:
    folder = shared_data / "video" / "codecs"
    failed = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".mp4", ".mov", ".mkv")):
        try:
            assert sample_frames(path, 3, 96).shape[0] == 3
        except MediaError as error:
            failed[path.name] = str(error)
    assert list(failed) == ["corrupted.mp4"]
    assert "corrupted.mp4: cannot read video" in failed["corrupted.mp4"]
    assert sample_frames(folder / "nasa_13013.mp4", 1).shape == (
        1,
        270,
        480,
        3,
    )  # of two streams, the default


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.mkv"])
def test_a_truncated_file_is_an_error(make_video: MakeVideo, name: str) -> None:
    path = make_video(name, frames=60)
    assert sample_frames(path, 4).shape[0] == 4
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(MediaError, match=f"{name}.*(cut short|cannot read)"):
        sample_frames(path, 4)


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    empty, text, sound = (tmp_path / name for name in ("empty.mp4", "text.mp4", "sound.wav"))
    empty.touch()
    text.write_text("not a video\n" * 50)
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2048))
    for path, said in ((empty, "empty"), (text, "cannot read"), (sound, "no video stream")):
        with pytest.raises(MediaError, match=f"{path.name}: .*{said}"):
            sample_frames(path)
    with pytest.raises(MediaError, match=r"missing\.mp4: no such file"):
        sample_frames(tmp_path / "missing.mp4")
    with pytest.raises(MediaError, match="0 bytes"):
        sample_frames(b"")
    with pytest.raises(MediaError, match="path or bytes"):
        sample_frames(7)  # type: ignore[arg-type]


def test_a_playlist_does_not_open_what_it_names(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n")
        with pytest.raises(MediaError, match=r"list\.m3u8"):
            sample_frames(playlist)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_list_of_files_posing_as_a_video_opens_none(make_video: MakeVideo, tmp_path: Path) -> None:
    posing = tmp_path / "posing.mp4"
    posing.write_text(f"ffconcat version 1.0\nfile {make_video().name}\n")
    for source in (posing, posing.read_bytes()):
        with pytest.raises(MediaError, match="no video stream"):
            sample_frames(source)


@given(st.integers(1, 5000), st.integers(1, 64))
def test_positions_are_ordered_and_inside(count: int, num_frames: int) -> None:
    positions = segment_centres(
        VideoIndex("x", "h264", 8, 8, count, list(range(count)), [], 0.04, count), num_frames
    )
    assert positions == segment_centres(VideoIndex("x", "h264", 8, 8, count, [], [], 0.04), num_frames)
    assert len(positions) == num_frames
    assert positions == sorted(positions)
    assert positions[0] >= 0
    assert positions[-1] < count
    if count > 2 * num_frames:
        assert len(set(positions)) == num_frames


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_memory_stays_flat(shared_data: Path) -> None:
    """A decord reader left open reads ahead without bound; counted in a process of its own."""
    script = """
import os, sys
from pathlib import Path
from encoders.media.frames import sample_frames
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
def rounds(n):
    for _ in range(n):
        sample_frames(sys.argv[1], 4, 128)
rounds(10)
before = resident()
rounds(30)
print(resident() - before)
"""
    clip = shared_data / "video" / "codecs" / "nasa_13013.mp4"
    root = Path(frames.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(clip)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert int(done.stdout) < 40
