"""Small JPEGs of pictures and videos as ``data:`` addresses, for a report that is one file."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from encoders.errors import MediaError
from encoders.frames import sample_frames
from encoders.pictures import open_image
from mmreason.schema import Item

QUALITY = 80


class Thumbnails:
    """Makes thumbnails, remembers those of paths, and names what could not be read.

    Attributes:
        unreadable: One line for each picture or video that could not be read.
    """

    def __init__(self) -> None:
        self.unreadable: list[str] = []
        self._made: dict[tuple[str, int, int], list[str]] = {}

    def of_item(self, item: Item, side: int, frames: int = 1) -> list[str]:
        """Thumbnails of an item: its first readable picture, or else frames of its video.

        Args:
            item: With pictures or a video as paths, bytes, PIL images or arrays.
            side: Longest side in pixels.
            frames: How many frames of a video.

        Returns:
            ``data:`` addresses; empty if there is nothing that can be read.
        """
        for raw in item.images:
            if made := self._cached(raw, side, 0):
                return made
        return self._cached(item.video, side, frames) if item.video is not None else []

    def _cached(self, raw: Any, side: int, frames: int) -> list[str]:
        """``frames`` is 0 for a picture."""
        key = (raw if isinstance(raw, str) else f"{type(raw).__name__} {id(raw)}", side, frames)
        if key not in self._made:
            try:
                pictures = sample_frames(raw, frames, side) if frames else [open_image(raw, min_side=side)]
                self._made[key] = [_data_uri(picture, side) for picture in pictures]
            except MediaError as error:
                self.unreadable.append(str(error))
                self._made[key] = []
        return self._made[key]


def _data_uri(picture: Any, side: int) -> str:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
