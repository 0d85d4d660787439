"""The packets of a video, read without decoding: how many frames are shown, when each, where one can seek."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from encoders.media.errors import MediaError, MediaWarning, name_of
from encoders.media.frame_pixels import HLG, PQ, is_untagged_hd
from encoders.media.kinds import HEAD, VIDEOS, is_transport_stream, unread

VideoFile = str | Path | bytes
VIDEO_OPTIONS = {"format_whitelist": ",".join(VIDEOS), "protocol_whitelist": "file"}
RATE = 25  # frames a second of a file that gives no times
COUNTED = 5000
"""Frames up to which an AVI with B-frames is decoded from its start; in longer ones a seek may be a few frames off."""

_COVER = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
# The decoders that FFmpeg takes by itself do not see what is transparent.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclass(frozen=True)
class VideoIndex:
    """What a file's packets tell of its default video stream.

    Attributes:
        name: For messages.
        codec: FFmpeg's name, e.g. ``h264``.
        width: As coded, before any rotation, in pixels.
        height: As the width.
        count: Number of frames that are shown.
        times: When each frame shows, ascending, in units of ``time_base``; empty if the file gives no times.
        keys: (time shown, time to seek to) of the key frames, ascending; empty where one cannot seek by them.
        time_base: Seconds per unit of time.
        end: When the last frame has been shown, in units of ``time_base``.
        aspect: Width of a pixel over its height.
        plain: Whether any decoder shows it right: nothing hidden, transparent, HDR or of unequal sides.
    """

    name: str
    codec: str
    width: int
    height: int
    count: int
    times: list[int]
    keys: list[tuple[int, int]]
    time_base: float
    end: int = 0
    aspect: float = 1.0
    plain: bool = True

    @property
    def key_positions(self) -> list[int]:
        """Which frames, counted from 0, are key frames."""
        shown = {time for time, _ in self.keys}
        return [i for i, time in enumerate(self.times) if time in shown] or [0]

    def seconds(self, position: int) -> float:
        """When a frame shows, from the first on."""
        if not self.times:
            return position / RATE
        return (self.times[position] - self.times[0]) * self.time_base


@contextmanager
def opened(source: VideoFile) -> Iterator[tuple[Any, Any]]:
    """An open container and its default video stream; a cover picture is none.

    Raises:
        MediaError: If it is in no format of :data:`encoders.media.kinds.VIDEOS`, or holds no video.
    """
    name = name_of(source)
    try:
        opening = _open(source)
    except (av.ArgumentError, av.InvalidDataError) as error:
        if isinstance(error, av.InvalidDataError) and not unread(head_of(source)):
            raise  # damaged; the other is what FFmpeg says of a format that is not in the list
        raise MediaError(f"{name}: {_refusal(source)}") from None
    with opening as container:
        stream: Any = container.streams.best("video")
        if stream is not None and stream.disposition & _COVER:
            shown = [one for one in container.streams.video if not one.disposition & _COVER]
            stream = shown[0] if shown else None
        if stream is None:
            raise MediaError(f"{name}: no video stream")
        stream.thread_type = "SLICE"  # frame threads can deadlock when a decoder is left early
        yield container, stream


def _open(source: VideoFile) -> Any:
    """An open container; FFmpeg takes a transport stream of a few packets for something else."""

    try:
        return av.open(as_file(source), options=VIDEO_OPTIONS)
    except (av.ArgumentError, av.InvalidDataError, EOFError):
        if not is_transport_stream(head_of(source)):
            raise
    return av.open(as_file(source), format="mpegts", options=VIDEO_OPTIONS)


def as_file(source: VideoFile) -> Any:
    """What FFmpeg and Pillow open."""
    return io.BytesIO(source) if isinstance(source, bytes) else path_of(source)


def path_of(source: str | Path) -> str:
    """A path that FFmpeg cannot take for an address, as it does ``SKU:12.mp4``."""
    return str(Path(source).absolute())


def decoder_of(stream: Any) -> Any:
    """The stream's decoder, or one that sees what is transparent."""
    name = _ALPHA_DECODERS.get(stream.codec_context.codec.name, "")
    if stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return stream.codec_context
    decoder = av.CodecContext.create(name, "r")
    decoder.extradata = stream.codec_context.extradata
    return decoder


def read_index(container: Any, stream: Any, name: str) -> VideoIndex:
    """Read all packets.

    Raises:
        MediaError: If there is no frame, or the file is cut short.
    """
    packets, corrupt = [], 0
    for packet in container.demux(stream):
        corrupt += packet.is_corrupt
        if packet.size:
            packets.append(packet)
    if corrupt and container.format.name != "mpegts":
        raise MediaError(f"{name}: video is cut short")
    if corrupt:  # a broadcast loses packets; decoders go on
        warnings.warn(f"{name}: {corrupt} damaged packets; the others were read", MediaWarning, stacklevel=2)
    shown = [packet for packet in packets if not packet.is_discard]
    if not shown:
        raise MediaError(f"{name}: holds no frame")
    times, keys = _times(packets, shown, container, stream)
    last = max(shown, key=lambda packet: packet.pts if packet.pts is not None else -1)
    context, aspect = stream.codec_context, stream.sample_aspect_ratio
    return VideoIndex(
        name=name,
        codec=context.codec.name,
        width=context.width,
        height=context.height,
        count=len(shown),
        times=times,
        keys=keys,
        time_base=float(stream.time_base),
        end=_end(times, last.duration or 0),
        aspect=float(aspect) if aspect and 0.1 < aspect < 10 else 1.0,
        plain=len(shown) == len(packets) and aspect in (None, 0, 1) and not _is_special(stream),
    )


def _times(
    packets: list[Any], shown: list[Any], container: Any, stream: Any
) -> tuple[list[int], list[tuple[int, int]]]:
    """When the frames show, and where one can seek to; both empty for a file that gives no times."""
    if container.format.name == "avi" and stream.codec_context.has_b_frames and len(shown) <= COUNTED:
        return sorted(
            packet.dts for packet in shown if packet.dts is not None
        ), []  # its times are of decoding
    times = sorted(packet.pts for packet in shown if packet.pts is not None)
    places = [place for place, packet in enumerate(packets) if not packet.is_discard]
    if len(times) == len(shown) and places[-1] - places[0] >= len(shown):
        return times, []  # an edit list that jumps: what it hides on the way has times of what it shows
    keys = sorted(
        (packet.pts, packet.dts if packet.dts is not None else packet.pts)
        for packet in packets
        if packet.is_keyframe and packet.pts is not None
    )
    return (times, keys) if len(times) == len(shown) and keys else ([], [])


def _end(times: list[int], duration: int) -> int:
    """When the last frame has been shown: by its own duration, else by the one before."""
    if not times:
        return 0
    return times[-1] + (duration or (times[-1] - times[-2] if len(times) > 1 else 1))


def _is_special(stream: Any) -> bool:
    """Whether frames are transparent, HDR, or of colours that decoders read in two ways."""
    form = stream.codec_context.format
    alpha = form is not None and any(component.is_alpha for component in form.components)
    return (
        alpha
        or stream.metadata.get("alpha_mode") == "1"
        or stream.codec_context.color_trc in (PQ, HLG)
        or is_untagged_hd(stream.codec_context)
    )


def head_of(source: VideoFile) -> bytes:
    """The first bytes of a file."""
    if isinstance(source, bytes):
        return source[:HEAD]
    with Path(source).open("rb") as file:
        return file.read(HEAD)


def _refusal(source: VideoFile) -> str:
    other = unread(head_of(source))
    known = ", ".join(sorted(suffix[1:] for suffixes in VIDEOS.values() for suffix in suffixes[:1]))
    said = f"{other} is not read; " if other else ""
    return f"no video stream in a format of a video: {said}convert it to MP4 (read are {known}, gif)"
