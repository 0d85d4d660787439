"""Small JPEGs of pictures and videos, decoded in processes that a broken file may kill."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from encoders.errors import MediaError
from encoders.media.frames import sample_frames
from encoders.media.guarded import GuardedPool
from encoders.media.pictures import open_image
from mmreason.progress import track
from mmreason.schema import Item

QUALITY = 80
SECONDS = 20.0  # a file that takes longer is shown as a placeholder


@dataclass
class Thumbnails:
    """Thumbnails by item id, and what could not be read.

    Attributes:
        jpegs: Item id → JPEG files; empty if the item has no picture or video that can be read.
        unreadable: One line for each picture or video that could not be read.
    """

    jpegs: dict[str, list[bytes]]
    unreadable: list[str]

    def addresses(self, item_id: str) -> list[str]:
        """The thumbnails of an item as ``data:`` addresses, for a page that is one file."""
        return [
            "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii") for jpeg in self.jpegs[item_id]
        ]


@dataclass
class _Request:
    """What a worker needs of an item; ``name`` is how errors call it."""

    name: str
    images: list[Any]
    video: Any
    side: int
    frames: int


def make_thumbnails(items: Iterable[Item], side: int, frames: int = 1) -> Thumbnails:
    """Thumbnails of items: of each its first readable picture, or else frames of its video.

    Args:
        items: With pictures and videos as paths, bytes, PIL images or arrays; items of one id are one item.
        side: Longest side in pixels.
        frames: How many frames of a video.
    """
    requests = {
        item.id: _Request(f"item {item.id!r}", item.images, item.video, side, frames) for item in items
    }
    made = Thumbnails({item_id: [] for item_id in requests}, [])
    wanted = {i: r for i, r in requests.items() if r.images or r.video is not None}
    if not wanted:
        return made
    with GuardedPool(_read, timeout=SECONDS) as pool:
        results = track(pool.map(wanted.values()), "thumbnails", "item", len(wanted))
        for item_id, result in zip(wanted, results, strict=True):
            jpegs, errors = ([], [str(result)]) if isinstance(result, MediaError) else result
            made.jpegs[item_id] = jpegs
            made.unreadable += errors
    return made


def _read(request: _Request) -> tuple[list[bytes], list[str]]:
    """In a worker: JPEG files, and a line for each medium that could not be read."""
    errors: list[str] = []
    for raw in request.images:
        try:
            return [_jpeg(open_image(raw, min_side=request.side), request.side)], errors
        except MediaError as error:
            errors.append(str(error))
    if request.video is not None:
        try:
            frames = sample_frames(request.video, request.frames, request.side)
            return [_jpeg(Image.fromarray(frame), request.side) for frame in frames], errors
        except MediaError as error:
            errors.append(str(error))
    return [], errors


def _jpeg(image: Image.Image, side: int) -> bytes:
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()
