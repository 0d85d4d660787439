"""The decoders behind :func:`encoders.media.frames.sample_frames`: decord, PyAV and torchcodec."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from av import InvalidDataError
from PIL import Image

from encoders.media.errors import MediaError
from encoders.media.frame_pixels import to_rgb, turn_of, upright_size
from encoders.media.video_index import VideoFile, VideoIndex, decoder_of, opened, path_of

Reader = Literal["auto", "decord", "av", "torchcodec"]

# Measured, 8 frames: at 640x360 with a key frame each 240 frames decord takes 340 ms of a processor, PyAV 420; at
# 768x432 with one each 54 frames 230 and 190; of 2 minutes of 1080p 3.8 s and 2.8 s, as PyAV leaves out frames
# that no other needs. Between key frames far apart and small frames it is PyAV's calls that cost.
DECORD_PIXELS = 640 * 360
DECORD_KEY_DISTANCE = 150
# Where the picture is refreshed in parts, a decoder shows nothing until it is whole: then from a key frame before.
_EARLIER = (0, 1, 3)
_NEAR_END = 0.9  # of all frames: if one behind is missing, as the last often is, the one before stands in


@dataclass(frozen=True)
class Wanted:
    """Frames to decode.

    Attributes:
        source: A path or the bytes of a file.
        index: Its packets.
        positions: Of the frames in order of showing, ascending, none twice.
        size: Length of the shorter side handed out, or None for as is; never enlarged.
    """

    source: VideoFile
    index: VideoIndex
    positions: list[int]
    size: int | None

    def shape(self, width: int, height: int) -> tuple[int, int]:
        """Width and height handed out for a frame of this width and height."""
        scale = min(1.0, self.size / min(width, height)) if self.size else 1.0
        return max(1, round(width * scale)), max(1, round(height * scale))


def read(wanted: Wanted, container: Any, stream: Any, reader: Reader) -> np.ndarray:
    """(N, H, W, 3) uint8 of the frames wanted.

    Raises:
        MediaError: If the file is broken.
    """
    if reader == "torchcodec":
        return _with_torchcodec(wanted)
    last = wanted.positions[-1] >= wanted.index.count - 1  # which decord may wait for without end
    wish = reader == "decord" or (reader == "auto" and _suits_decord(wanted.index))
    if wish and wanted.index.plain and not last:
        frames = _with_decord(wanted, container, stream)
        if frames is not None:
            return frames
    return _with_av(wanted, container, stream)


def check_reader(reader: str) -> None:
    """Refuse a reader that is unknown, or torchcodec where it does not work.

    Raises:
        ValueError: With what to do.
    """
    if reader not in ("auto", "decord", "av", "torchcodec"):
        raise ValueError(f"reader must be 'auto', 'decord', 'av' or 'torchcodec', not {reader!r}")
    problem = _torchcodec_problem() if reader == "torchcodec" else ""
    if problem:
        raise ValueError(f"reader='torchcodec' does not work here ({problem}); use reader='auto'")


def _suits_decord(index: VideoIndex) -> bool:
    small = index.width * index.height <= DECORD_PIXELS
    return small and bool(index.keys) and index.count / len(index.keys) >= DECORD_KEY_DISTANCE


def _with_decord(wanted: Wanted, container: Any, stream: Any) -> np.ndarray | None:
    """Frames by decord, or None if it is not installed or cannot read the file."""
    if isinstance(wanted.source, bytes):
        return None
    try:
        import torch  # noqa: F401  (decord crashes torch if it is loaded first)
        from decord import VideoReader, logging
    except (ImportError, OSError):
        return None
    logging.set_level(logging.QUIET)
    reader = None
    try:
        container.seek(0)
        first = next(container.decode(stream))  # only a decoded frame tells how it is turned
        swapped, mirror_x, mirror_y = turn_of(first)
        if swapped ^ mirror_x ^ mirror_y:  # decord turns, but does not mirror
            return None
        width, height = wanted.shape(*upright_size(first, 1.0))
        reader = VideoReader(path_of(wanted.source), width=width, height=height, num_threads=1)
        if len(reader) != wanted.index.count:
            return None
        return reader.get_batch(wanted.positions).asnumpy()
    except Exception:  # decord's own errors; PyAV then reads the file or says what is wrong with it
        return None
    finally:
        if reader is not None:
            # An idle reader goes on reading ahead, gigabytes of it, unless it is rewound and deleted.
            reader.seek(0)
            del reader


def _with_av(wanted: Wanted, container: Any, stream: Any) -> np.ndarray:
    """Frames by PyAV: decode only from the key frame before each wanted frame."""
    index, positions = wanted.index, wanted.positions
    if index.keys:
        frames = _pixels(_by_time(container, stream, index, [index.times[i] for i in positions]), wanted)
    else:
        frames = []
    if not frames:  # a file of very few frames may not let one seek
        frames = _pixels(_by_order(wanted), wanted)
    missing = positions[len(frames) :]
    if missing and not (frames and missing[0] >= _NEAR_END * index.count):
        raise MediaError(f"{index.name}: video ends before frame {missing[0]} of {index.count}")
    return np.stack(frames + frames[-1:] * len(missing))


def _pixels(decoded: Iterator[Any], wanted: Wanted) -> list[np.ndarray]:
    frames: list[np.ndarray] = []
    for frame in decoded:
        shape = frames[0].shape[1::-1] if frames else None  # a stream may change its size on the way
        frames.append(to_rgb(frame, shape or wanted.shape(*upright_size(frame, wanted.index.aspect))))
    return frames


def _by_time(container: Any, stream: Any, index: VideoIndex, times: list[int]) -> Iterator[Any]:
    """The frames shown at the given times, seeking only where a later key frame saves decoding."""
    decoder: Iterator[Any] = iter(())
    position = -1
    for time in times:
        before = max(bisect_right(index.keys, (time, float("inf"))) - 1, 0)
        frame = None
        for earlier in _EARLIER:
            start = max(before - earlier, 0)
            if start > position or earlier:
                try:
                    container.seek(index.keys[start][1], stream=stream)
                except EOFError:
                    return
                decoder, position = _decode(container, stream, index, set(times)), before
            frame = next((frame for frame in decoder if frame.pts is not None and frame.pts >= time), None)
            if start == 0 or (frame is not None and frame.pts == time):
                break
        if frame is None:
            return
        yield frame


def _decode(container: Any, stream: Any, index: VideoIndex, times: set[int]) -> Iterator[Any]:
    """Decode on; an H.264 frame that neither another frame refers to nor anyone wants is left out."""
    context = decoder_of(stream)
    for packet in container.demux(stream):
        if index.codec == "h264":
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in times else "NONREF"
        try:
            yield from context.decode(packet if packet.size else None)
        except InvalidDataError:
            if container.format.name != "mpegts":  # a broadcast goes on after what is lost
                raise


def _by_order(wanted: Wanted) -> Iterator[Any]:
    """The frames at the wanted positions, decoded from the start of the file, opened anew: not every one can seek."""
    positions = set(wanted.positions)
    with opened(wanted.source) as (container, stream):
        decoder = decoder_of(stream)
        packets = (packet if packet.size else None for packet in container.demux(stream))
        for position, frame in enumerate(frame for packet in packets for frame in decoder.decode(packet)):
            if position in positions:
                yield frame
            if position >= wanted.positions[-1]:
                return


def _with_torchcodec(wanted: Wanted) -> np.ndarray:
    from torchcodec.decoders import VideoDecoder

    source = wanted.source if isinstance(wanted.source, bytes) else path_of(wanted.source)
    decoder = VideoDecoder(source, dimension_order="NHWC")
    full = decoder.get_frames_at(wanted.positions).data.numpy()
    width, height = wanted.shape(full.shape[2], full.shape[1])
    if (height, width) == full.shape[1:3]:
        return full
    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(f).resize((width, height), bicubic)) for f in full])


@cache
def _torchcodec_problem() -> str:
    """Why torchcodec does not work, or nothing: it may be installed and yet find no FFmpeg, so it must decode."""
    import io

    import av

    try:
        from torchcodec.decoders import VideoDecoder

        file = io.BytesIO()
        with av.open(file, "w", format="mp4") as container:
            stream: Any = container.add_stream("mpeg4", rate=10)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux([*stream.encode(frame), *stream.encode(None)])
        VideoDecoder(file.getvalue()).get_frames_at([0])
        return ""
    except Exception as error:
        return str(error).splitlines()[0]
