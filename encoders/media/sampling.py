"""Which frames of a video to look at."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any, Literal

from encoders.media.video_index import VideoFile, VideoIndex, opened

Sampling = Literal["uniform", "fps", "keyframes", "shots"]
SAMPLINGS: tuple[str, ...] = ("uniform", "fps", "keyframes", "shots")

CUT_SCORE = 0.3
"""FFmpeg's scene score, 0 to 1, from which a frame begins a new shot."""


def choose_positions(
    source: VideoFile, index: VideoIndex, num_frames: int, sampling: Sampling, fps: float
) -> list[int]:
    """Positions of the frames wanted, ascending.

    ``uniform`` gives what shows at the centres of ``num_frames`` segments of equal duration, the same frame
    repeatedly if it shows for long or there are fewer frames. The others give at most ``num_frames``, thinned out at
    equal distances: ``fps`` one frame each ``1 / fps`` seconds, ``keyframes`` what the encoder of the file made a
    key frame, ``shots`` the middle of each shot.
    """
    if sampling == "uniform":
        return segment_centres(index, num_frames)
    candidates = {"fps": lambda: _by_rate(index, fps), "keyframes": lambda: index.key_positions}.get(
        sampling, lambda: _shot_centres(source, index)
    )()
    if len(candidates) <= num_frames:
        return candidates
    return [candidates[(2 * i + 1) * len(candidates) // (2 * num_frames)] for i in range(num_frames)]


def segment_centres(index: VideoIndex, num_frames: int) -> list[int]:
    """The frames that show at the centres of segments of equal duration; without times, of equal numbers of frames."""
    if not index.times or index.end <= index.times[0]:
        return [(2 * i + 1) * index.count // (2 * num_frames) for i in range(num_frames)]
    start, length = index.times[0], index.end - index.times[0]
    centres = [start + (2 * i + 1) * length // (2 * num_frames) for i in range(num_frames)]
    return [bisect_right(index.times, centre) - 1 for centre in centres]


def _by_rate(index: VideoIndex, fps: float) -> list[int]:
    """The first frame, then the next one shown at or after each step of 1 / fps seconds."""
    last = index.count - 1
    shown = [index.seconds(i) for i in range(last + 1)]
    steps = int(shown[-1] * fps) + 1
    return sorted({min(bisect_left(shown, step / fps - 1e-6), last) for step in range(steps)})


def _shot_centres(source: VideoFile, index: VideoIndex) -> list[int]:
    begins = [0, *(i for i in _cuts(source, index) if 0 < i < index.count)]
    ends = [*begins[1:], index.count]
    return [(begin + max(begin, end - 1)) // 2 for begin, end in zip(begins, ends, strict=True)]


def _cuts(source: VideoFile, index: VideoIndex) -> list[int]:
    """Positions at which a shot begins, by FFmpeg's ``select`` filter on small frames; all are decoded."""
    if not index.times or index.codec == "webp":  # which FFmpeg does not read
        return []
    found = []
    with opened(source) as (container, stream):
        if index.codec == "h264":
            stream.codec_context.skip_frame = "NONREF"  # a cut shows in the frames around those, too
        graph = None
        for frame in container.decode(stream):
            graph = graph or _cut_detector(stream, frame)
            graph.vpush(frame)
            found += _pull(graph)
        if graph is not None:
            graph.vpush(None)
            found += _pull(graph)
    return sorted({bisect_left(index.times, time) for time in found})


def _cut_detector(stream: Any, frame: Any) -> Any:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base
    )
    small = graph.add("scale", "160:-2:flags=fast_bilinear")
    select = graph.add("select", f"gt(scene,{CUT_SCORE})")
    source.link_to(small)
    small.link_to(select)
    select.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _pull(graph: Any) -> list[int]:
    import av

    times = []
    while True:
        try:
            times.append(graph.vpull().pts)
        except (av.BlockingIOError, av.EOFError):
            return times
