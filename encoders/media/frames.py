"""Sampling frames of a video, each file read in the way that is fastest for its length and size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from encoders.media import frame_readers
from encoders.media.errors import MediaError, name_of
from encoders.media.frame_readers import Reader, Wanted
from encoders.media.pictures import MAX_PIXELS
from encoders.media.sampling import SAMPLINGS, Sampling, choose_positions
from encoders.media.video_index import VideoFile, VideoIndex, opened, read_index
from encoders.media.webp import is_webp, read_webp, read_webp_index
from encoders.media.whole import check_whole


def sample_frames(
    source: VideoFile | bytearray | memoryview,
    num_frames: int = 8,
    size: int | None = None,
    *,
    sampling: Sampling = "uniform",
    fps: float = 1.0,
    reader: Reader = "auto",
) -> np.ndarray:
    """Decode some frames of a video.

    Frames are as a player shows them, from the container's default video stream: upright (rotation and mirroring in
    the file are applied), in their aspect, without what an edit list hides, on white where they are transparent, in
    sRGB where they are HDR. Lost packets of a broadcast give a :class:`encoders.media.errors.MediaWarning`.

    Args:
        source: A path or the bytes of a file.
        num_frames: Number of frames, at most.
        size: Length of the shorter side in pixels, keeping the aspect; frames are never enlarged.
            Default: as is.
        sampling: ``uniform``, what shows at the centres of segments of equal duration: always ``num_frames`` frames,
            those of a shorter clip repeatedly. The others may give fewer, and thin out what is more: ``fps``,
            ``keyframes``, or ``shots``, the middle of each (decodes the whole file).
        fps: Frames per second of ``sampling="fps"``.
        reader: ``decord``, ``av`` or ``torchcodec``; ``auto`` chooses decord or PyAV by what decoding would cost
            and falls back on PyAV.

    Returns:
        (T, H, W, 3) uint8, RGB, in time order.

    Raises:
        MediaError: If there is no video stream, or the file is empty, broken or cut short.
        ValueError: If an option is unknown, or torchcodec does not work here.

    Example:
        >>> sample_frames("clip.mp4", 8, size=120).shape
        (8, 120, 160, 3)
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, not {num_frames}")
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, not {sampling!r}")
    if fps <= 0:
        raise ValueError(f"fps must be more than 0, not {fps}")
    frame_readers.check_reader(reader)
    source = bytes(source) if isinstance(source, bytearray | memoryview) else source
    _check_file(source)
    with _naming(name_of(source)):
        if is_webp(source):
            index = read_webp_index(source)
            wanted, inverse = _wanted(source, index, num_frames, size, sampling, fps)
            return read_webp(wanted)[inverse]
        check_whole(source)
        with opened(source) as (container, stream):
            index = read_index(container, stream, name_of(source))
            wanted, inverse = _wanted(source, index, num_frames, size, sampling, fps)
            return frame_readers.read(wanted, container, stream, reader)[inverse]


def _wanted(
    source: VideoFile, index: VideoIndex, num_frames: int, size: int | None, sampling: Sampling, fps: float
) -> tuple[Wanted, np.ndarray]:
    """The frames to decode, each once, and which of them each frame handed out is."""
    if index.width * index.height > MAX_PIXELS:
        raise MediaError(f"{index.name}: frames of {index.width}x{index.height} pixels are too large")
    positions = choose_positions(source, index, num_frames, sampling, fps)
    unique, inverse = np.unique(positions, return_inverse=True)
    return Wanted(source, index, unique.tolist(), size), inverse


def _check_file(source: VideoFile) -> None:
    if not isinstance(source, str | Path | bytes):
        raise MediaError(f"a video must be a path or bytes, not {type(source).__name__}")
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise MediaError(f"{source}: no such file")
    if (len(source) if isinstance(source, bytes) else Path(source).stat().st_size) == 0:
        raise MediaError(f"{name_of(source)}: file is empty")


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except MediaError:
        raise
    except Exception as error:  # FFmpeg's errors, and what broken headers make of the code around it
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(f"{name}: cannot read video: {said.splitlines()[0]}") from error
