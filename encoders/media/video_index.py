"""The packets of a video, read without decoding: how many frames there are, when each shows, where one can seek."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from encoders.media.errors import MediaError, name_of

VideoFile = str | Path | bytes
# Named, so that a playlist posing as a video cannot make FFmpeg open other files or addresses.
VIDEO_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,ogg",
    "protocol_whitelist": "file",
}


@dataclass(frozen=True)
class VideoIndex:
    """What a file's packets tell of its default video stream.

    Attributes:
        name: For messages.
        codec: FFmpeg's name, e.g. ``h264``.
        width: As coded, before any rotation, in pixels.
        height: As the width.
        count: Number of frames.
        times: When each frame shows, ascending, in units of ``time_base``; empty if the file gives no times.
        keys: (time shown, time to seek to) of the key frames, ascending; empty without times.
        time_base: Seconds per unit of time.
    """

    name: str
    codec: str
    width: int
    height: int
    count: int
    times: list[int]
    keys: list[tuple[int, int]]
    time_base: float

    @property
    def key_positions(self) -> list[int]:
        """Which frames, counted from 0, are key frames."""
        shown = {time for time, _ in self.keys}
        return [i for i, time in enumerate(self.times) if time in shown] or [0]

    def seconds(self, position: int) -> float:
        """When a frame shows, from the first on; a file without times counts as 25 frames a second."""
        if not self.times:
            return position / 25
        return (self.times[position] - self.times[0]) * self.time_base


@contextmanager
def opened(source: VideoFile) -> Iterator[tuple[Any, Any]]:
    """An open container and its default video stream."""
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        opening = av.open(file, options=VIDEO_OPTIONS)
    except av.ArgumentError:  # what FFmpeg says of a format that is not in the list
        raise MediaError(f"{name_of(source)}: no video stream in a format of a video") from None
    with opening as container:
        stream: Any = container.streams.best("video")
        if stream is None:
            raise MediaError(f"{name_of(source)}: no video stream")
        stream.thread_type = "SLICE"  # frame threads can deadlock when a decoder is left early
        yield container, stream


def read_index(container: Any, stream: Any, name: str) -> VideoIndex:
    """Read all packets and go back to the start.

    Raises:
        MediaError: If there is no frame, or the file is cut short.
    """
    packets = []
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise MediaError(f"{name}: video is cut short")
        if packet.size:
            packets.append((packet.pts, packet.dts, packet.is_keyframe))
    _check_length(packets, stream, name)
    container.seek(0)
    times = sorted(pts for pts, _, _ in packets if pts is not None)
    keys = sorted(
        (pts, dts if dts is not None else pts) for pts, dts, key in packets if key and pts is not None
    )
    if len(times) < len(packets) or not keys:  # old containers give no times
        times, keys = [], []
    context = stream.codec_context
    return VideoIndex(
        name=name,
        codec=context.codec.name,
        width=context.width,
        height=context.height,
        count=len(packets),
        times=times,
        keys=keys,
        time_base=float(stream.time_base),
    )


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
