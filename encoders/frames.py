"""Sampling frames of a video: decord first, PyAV where decord cannot."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from encoders.errors import MediaError

Source = str | Path | bytes


@dataclass(frozen=True)
class Clip:
    """A video's header and how its frames are wanted.

    Attributes:
        name: For messages.
        container: Names of the container format, e.g. ``mov,mp4,m4a,3gp,3g2,mj2``.
        width: Of the frames handed out, upright, in pixels.
        height: As the width.
    """

    name: str
    container: str
    width: int
    height: int


def sample_frames(source: Source, num_frames: int = 8, size: int | None = None) -> np.ndarray:
    """Decode the centre frames of T segments of equal length.

    Frames are upright (rotation in the file is applied) and come from the container's default video stream.
    A clip of fewer frames than T gives each of them repeatedly, so that there are always T.

    Args:
        source: A path or the bytes of a file.
        num_frames: Number T of frames.
        size: Length of the shorter side in pixels, keeping the aspect; frames are never enlarged.
            Default: as is.

    Returns:
        (T, H, W, 3) uint8, RGB, in time order.

    Raises:
        MediaError: If there is no video stream, or the file is empty, broken or cut short.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, not {num_frames}")
    if not isinstance(source, str | Path | bytes):
        raise MediaError(f"a video must be a path or bytes, not {type(source).__name__}")
    name = _name(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise MediaError(f"{name}: no such file")
    if (len(source) if isinstance(source, bytes) else Path(source).stat().st_size) == 0:
        raise MediaError(f"{name}: file is empty")
    with _naming(name):
        clip = _probe(source, name, size)
        frames = None
        # decord does not notice when the end of another container is missing; PyAV and its index do.
        if not isinstance(source, bytes) and "mp4" in clip.container:
            frames = _with_decord(str(source), clip, num_frames)
        return frames if frames is not None else _with_av(source, clip, num_frames)


def _positions(count: int, num_frames: int) -> list[int]:
    """Indices of the segments' centres; the last frame is often broken, so it is never one of them."""
    return [min((2 * i + 1) * count // (2 * num_frames), max(count - 2, 0)) for i in range(num_frames)]


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except MediaError:
        raise
    except Exception as error:  # FFmpeg's errors, and what broken headers make of the code around it
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(f"{name}: cannot read video: {said}") from error


@contextmanager
def _opened(source: Source) -> Iterator[tuple[Any, Any]]:
    """An open container and its default video stream."""
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    with av.open(file) as container:
        stream: Any = container.streams.best("video")
        if stream is None:
            raise MediaError(f"{_name(source)}: no video stream")
        stream.thread_type = "SLICE"  # frame threads can deadlock when a decoder is left early
        yield container, stream


def _name(source: Source) -> str:
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else str(source)


def _probe(source: Source, name: str, size: int | None) -> Clip:
    """Read the header, and the first frame for its rotation."""
    with _opened(source) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise MediaError(f"{name}: holds no frame")
        width, height = first.width, first.height
        if first.rotation % 180:
            width, height = height, width
        scale = min(1.0, size / min(width, height)) if size else 1.0
        return Clip(name, container.format.name, max(1, round(width * scale)), max(1, round(height * scale)))


def _with_decord(path: str, clip: Clip, num_frames: int) -> np.ndarray | None:
    """Frames by decord, or None if it is not installed or cannot read the file."""
    try:
        import torch  # noqa: F401  (decord crashes torch if it is loaded first)
        from decord import VideoReader, logging
    except (ImportError, OSError):
        return None
    logging.set_level(logging.QUIET)
    reader = None
    try:
        reader = VideoReader(path, width=clip.width, height=clip.height, num_threads=1)
        positions = _positions(len(reader), num_frames)
        unique, inverse = np.unique(positions, return_inverse=True)
        return reader.get_batch(unique.tolist()).asnumpy()[inverse]
    except Exception:  # decord's own errors; PyAV then reads the file or says what is wrong with it
        return None
    finally:
        if reader is not None:
            # An idle reader goes on reading ahead, gigabytes of it, unless it is rewound and deleted.
            reader.seek(0)
            del reader


def _with_av(source: Source, clip: Clip, num_frames: int) -> np.ndarray:
    """Frames by PyAV: index the packets, then decode only from the key frame before each wanted frame."""
    with _opened(source) as (container, stream):
        packets = []
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise MediaError(f"{clip.name}: video is cut short")
            if packet.size:
                packets.append((packet.pts, packet.dts, packet.is_keyframe))
        _check_length(packets, stream, clip.name)
        times = sorted(p[0] for p in packets if p[0] is not None)
        wanted = _positions(len(packets), num_frames)
        container.seek(0)
        if len(times) == len(packets):
            keys = sorted((pts, dts if dts is not None else pts) for pts, dts, key in packets if key)
            decoded = _by_time(container, stream, [times[i] for i in sorted(set(wanted))], keys)
        else:  # old containers give no times
            decoded = _by_order(container, stream, sorted(set(wanted)))
        frames = dict(zip(sorted(set(wanted)), (_to_array(frame, clip) for frame in decoded), strict=False))
    if len(frames) < len(set(wanted)):
        raise MediaError(f"{clip.name}: video ends before frame {max(wanted)} of {len(packets)}")
    return np.stack([frames[i] for i in wanted])


def _check_length(packets: list[tuple[int | None, int | None, bool]], stream: Any, name: str) -> None:
    """Matroska says how long the stream is; its readers do not mind if the rest is missing."""
    if not packets:
        raise MediaError(f"{name}: holds no frame")
    told = stream.metadata.get("DURATION", "").split(":")
    if len(told) == 3:
        told_seconds = 3600 * float(told[0]) + 60 * float(told[1]) + float(told[2])
        seconds = float(max(p[0] or p[1] or 0 for p in packets) * stream.time_base)
        if seconds < 0.9 * told_seconds - 1:
            raise MediaError(f"{name}: video is cut short after {seconds:.1f} of {told_seconds:.1f} seconds")


def _by_time(container: Any, stream: Any, times: list[int], keys: list[tuple[int, int]]) -> Iterator[Any]:
    """The frames shown at the given times, seeking only where a later key frame saves decoding."""
    decoder = None
    position = -1
    for time in times:
        before = bisect_right(keys, (time, float("inf"))) - 1
        if before > position or decoder is None:
            container.seek(keys[max(before, 0)][1], stream=stream)
            decoder, position = container.decode(stream), before
        frame = next((frame for frame in decoder if frame.pts is not None and frame.pts >= time), None)
        if frame is None:
            return
        yield frame


def _by_order(container: Any, stream: Any, indices: list[int]) -> Iterator[Any]:
    wanted = set(indices)
    for index, frame in enumerate(container.decode(stream)):
        if index in wanted:
            yield frame
        if index >= indices[-1]:
            return


def _to_array(frame: Any, clip: Clip) -> np.ndarray:
    width, height = (clip.height, clip.width) if frame.rotation % 180 else (clip.width, clip.height)
    array = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    return np.rot90(array, frame.rotation // 90 % 4)
