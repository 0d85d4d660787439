"""Animated WebP as a video: FFmpeg reads none, Pillow does."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from encoders.media.colours import on_white
from encoders.media.errors import MediaError, name_of
from encoders.media.pictures import MAX_PIXELS
from encoders.media.video_index import VideoFile, VideoIndex, as_file, head_of

if TYPE_CHECKING:
    from encoders.media.frame_readers import Wanted

CODEC = "webp"
_SHOWN = 100  # milliseconds that browsers show a frame that says 0


def is_webp(source: VideoFile) -> bool:
    """Whether a file is WebP, animated or not."""
    head = head_of(source)
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def read_webp_index(source: VideoFile) -> VideoIndex:
    """When each frame shows; all are decoded once, as WebP writes a frame as changes of the one before.

    Raises:
        MediaError: If it is not whole.
    """
    name, lengths = name_of(source), []
    with Image.open(as_file(source), formats=("WEBP",)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise MediaError(f"{name}: frames of {image.width}x{image.height} pixels are too large")
        count = getattr(image, "n_frames", 1)
        for place in range(count):
            try:
                image.seek(place)
                image.load()
            except (OSError, EOFError, SyntaxError) as error:
                raise MediaError(f"{name}: video is cut short ({error})") from None
            lengths.append(int(image.info.get("duration", 0)) or _SHOWN)
        *times, end = accumulate(lengths, initial=0)
        return VideoIndex(
            name, CODEC, *image.size, count, times, keys=[(0, 0)], time_base=1e-3, end=end, plain=False
        )


def read_webp(wanted: Wanted) -> np.ndarray:
    """(N, H, W, 3) uint8 of the frames wanted, on white."""
    frames = []
    with Image.open(as_file(wanted.source), formats=("WEBP",)) as image:
        shape = wanted.shape(*image.size)
        for place in wanted.positions:
            image.seek(place)
            frame = on_white(image.convert("RGBA"))
            frames.append(np.asarray(frame.resize(shape, Image.Resampling.BICUBIC)))
    return np.stack(frames)
