from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import MediaError, VideoEncoder, create_encoder
from encoders.media import frame_readers
from encoders.media.frames import sample_frames
from encoders.media.sampling import choose_positions
from encoders.media.video_index import VideoIndex, opened

MakeVideo = Callable[..., Path]


def _grey(frame: np.ndarray) -> float:
    return float(frame[frame.shape[0] // 2 :].mean())


def _h264(path: Path, greys: list[int], times: list[int] | None = None, gop: int = 30) -> Path:
    """Textured frames of the given mean, with B-frames; frame i shows at ``times[i]`` tenths of a second."""
    texture = np.random.default_rng(0).integers(0, 30, (64, 96, 3))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = Fraction(1, 10)
        for i, grey in enumerate(greys):
            pixels = np.roll(texture, 2 * i, axis=1) + grey
            frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = (times[i] if times else i), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_leaving_out_unneeded_frames_changes_no_pixel(tmp_path: Path) -> None:
    path = _h264(tmp_path / "b.mp4", [3 * i for i in range(70)])
    with opened(path) as (container, stream):
        every = [
            frame.to_ndarray(format="rgb24", interpolation="BICUBIC") for frame in container.decode(stream)
        ]
    assert len(every) == 70
    for count in (1, 3, 8, 30):
        out = sample_frames(path, count, reader="av")
        for i, frame in enumerate(out):
            np.testing.assert_array_equal(frame, every[(2 * i + 1) * 70 // (2 * count)])


def test_a_rate_gives_the_frames_of_its_seconds(make_video: MakeVideo) -> None:
    path = make_video(frames=25)  # ten frames a second
    for reader in ("av", "decord"):
        out = sample_frames(path, 8, sampling="fps", fps=2, reader=reader)  # type: ignore[arg-type]
        assert [_grey(frame) / 8 for frame in out] == pytest.approx([0, 5, 10, 15, 20], abs=0.4)
    assert len(sample_frames(path, 3, sampling="fps", fps=2)) == 3
    assert len(sample_frames(path, 8, sampling="fps", fps=0.1)) == 1


def test_a_rate_goes_by_time_not_by_count_where_the_rate_varies(tmp_path: Path) -> None:
    # ten frames in the first second, then one a second
    times = [*range(10), 10, 20, 30, 40, 50]
    path = _h264(tmp_path / "vfr.mp4", [10 * i for i in range(15)], times)
    out = sample_frames(path, 16, sampling="fps", fps=1, reader="av")
    means = [frame.mean() - 15 for frame in out]
    assert means == pytest.approx([0, 100, 110, 120, 130, 140], abs=6)


def test_key_frames_are_the_encoders(make_video: MakeVideo) -> None:
    out = sample_frames(make_video(frames=20, gop=5), 8, sampling="keyframes")
    assert [_grey(frame) / 8 for frame in out] == pytest.approx([0, 5, 10, 15], abs=0.4)
    assert len(sample_frames(make_video(frames=20, gop=5), 2, sampling="keyframes")) == 2


def test_shots_are_seen_once_each(tmp_path: Path) -> None:
    greys = [10] * 12 + [200] * 20 + [90] * 16
    path = _h264(tmp_path / "shots.mp4", greys, gop=100)
    out = sample_frames(path, 8, sampling="shots")
    assert [frame.mean() - 15 for frame in out] == pytest.approx([10, 200, 90], abs=6)
    still = _h264(tmp_path / "still.mp4", [50] * 20)
    assert len(sample_frames(still, 8, sampling="shots")) == 1


def test_every_real_file_can_be_sampled_in_every_way(shared_data: Path) -> None:
    folder = shared_data / "video" / "codecs"
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".mp4", ".mov", ".mkv")):
        for sampling in ("fps", "keyframes", "shots"):
            try:
                frames = sample_frames(path, 3, 64, sampling=sampling)  # type: ignore[arg-type]
                assert 1 <= len(frames) <= 3, (path.name, sampling)
            except MediaError as error:
                assert path.name == "corrupted.mp4"
                assert "corrupted.mp4: " in str(error)


@given(
    st.integers(1, 400),
    st.integers(1, 16),
    st.sampled_from(["uniform", "fps", "keyframes"]),
    st.floats(0.01, 60),
    st.booleans(),
)
def test_positions_are_ascending_and_inside(
    count: int, num_frames: int, sampling: Any, fps: float, timed: bool
) -> None:
    times = [40 * i + i % 3 for i in range(count)] if timed else []
    keys = [(time, time) for time in times[::7]]
    index = VideoIndex("x", "h264", 8, 8, count, times, keys, 0.001)
    positions = choose_positions("x", index, num_frames, sampling, fps)
    assert positions == sorted(positions)
    assert 1 <= len(positions) <= num_frames
    assert 0 <= positions[0] <= positions[-1] < count
    if sampling != "uniform":
        assert len(set(positions)) == len(positions)


def test_decord_is_for_small_frames_between_far_key_frames() -> None:
    def suits(keys: int, width: int = 640) -> bool:
        times = list(range(900))
        places = [(time, time) for time in times[:: 900 // keys]]
        return frame_readers._suits_decord(VideoIndex("x", "h264", width, 360, 900, times, places, 0.04))

    assert suits(keys=3)
    assert not suits(keys=90)
    assert not suits(keys=3, width=1280)


def test_videos_of_unlike_numbers_of_frames_share_a_batch(make_video: MakeVideo) -> None:
    image: Any = create_encoder("timm:test_resnet")
    clips = [make_video(f"{n}.mp4", frames=n) for n in (5, 30, 12)]
    for pool in ("mean", "attention", "lstm"):
        video = VideoEncoder(image, 4, pool, sampling="fps", fps=2)  # type: ignore[arg-type]
        assert {len(video.preprocess(clip)) for clip in clips} == {1, 3, 4}
        together = video.encode(clips)
        alone = np.concatenate([video.encode([clip]).numpy() for clip in clips])
        np.testing.assert_allclose(together.numpy(), alone, rtol=1e-4, atol=1e-5)


def test_unknown_options_are_refused(make_video: MakeVideo) -> None:
    path = make_video()
    for options in ({"sampling": "random"}, {"reader": "opencv"}, {"fps": 0.0, "sampling": "fps"}):
        with pytest.raises(ValueError, match="must be"):
            sample_frames(path, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sampling must be"):
        VideoEncoder(create_encoder("timm:test_resnet"), sampling="random")  # type: ignore[arg-type]


def test_torchcodec_reads_the_same_frames_or_says_why_not(make_video: MakeVideo) -> None:
    path = make_video(frames=20)
    if frame_readers._torchcodec_problem():
        with pytest.raises(ValueError, match=r"torchcodec' does not work here \(.+\); use reader='auto'"):
            sample_frames(path, 4, reader="torchcodec")
        return
    ours, theirs = (sample_frames(path, 4, 40, reader=r).astype(int) for r in ("av", "torchcodec"))  # type: ignore[arg-type]
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 4
