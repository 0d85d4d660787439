"""The pictures and videos that rows name: fetched, looked at by their headers, taken off an item if they are bad."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from encoders.media.errors import MediaError, MediaWarning
from encoders.media.kinds import HEAD, unread
from mmreason.catalogue.download import Downloads, is_address
from mmreason.catalogue.quarantine import MISSING, Quarantine
from mmreason.readers.source import SourceRow, inside
from mmreason.schema import DataError, Item

TOO_LARGE = "over the pixel limit"


def picture_problem(path: Path) -> str:
    """What is wrong with a picture, by its header; empty if nothing. What costs no pixel is a MediaWarning."""
    from encoders.media.pictures import picture_size

    if problem := _file_problem(path):
        return problem
    try:
        picture_size(path)
    except MediaError as error:
        return TOO_LARGE if "million pixels" in str(error) else _not_read(path) or "not a picture"
    return ""


def video_problem(path: Path) -> str:
    """What is wrong with a video, by its container; empty if nothing."""
    import av

    from encoders.media.pictures import MAX_PIXELS
    from encoders.media.video_index import opened
    from encoders.media.webp import is_webp

    if problem := _file_problem(path):
        return problem
    if path.is_file() and is_webp(path):
        return picture_problem(path)
    try:
        with opened(path) as (_, stream):
            return TOO_LARGE if stream.width * stream.height > MAX_PIXELS else ""
    except MediaError as error:
        return (
            "no video stream" if str(error).endswith("no video stream") else _not_read(path) or "not a video"
        )
    except (av.FFmpegError, ValueError, OSError):
        return _not_read(path) or "not a video"


def _file_problem(path: Path) -> str:
    try:
        return "" if path.stat().st_size else "empty file"
    except OSError:
        return MISSING
    except ValueError:  # a name that no file can have
        return ""


def _not_read(path: Path) -> str:
    """Of a format that is known and not read, its name."""
    if path.is_dir():
        return MISSING
    try:
        with path.open("rb") as file:
            name = unread(file.read(HEAD))
    except (OSError, ValueError):
        return ""
    return f"{name} is not read; convert it" if name else ""


@dataclass(slots=True)
class Media:
    """Looks at the pictures and videos of items.

    Attributes:
        root: Folder that paths are relative to.
        downloads: Fetches what is given by address; None leaves it where it is.
        left: How many addresses were left unfetched.
    """

    root: Path
    downloads: Downloads | None = None
    left: int = 0
    _fetched: dict[str, str] = field(default_factory=dict)

    def fetch(self, rows: Iterable[SourceRow]) -> None:
        """Fetch what a batch of rows names by address, several at a time."""
        self._fetched.clear()
        if self.downloads is not None:
            named = chain.from_iterable(_media_of(row.record) for row in rows if not row.problem)
            self._fetched = self.downloads.get_all(name for name in named if is_address(name))

    def check(self, item: Item, row: SourceRow, quarantine: Quarantine) -> bool:
        """Take the bad pictures and the bad video off an item; False if nothing is left of it."""
        found = [self._good(name, picture_problem, row, quarantine) for name in item.images]
        item.images = [path for path in found if path is not None]
        if item.video:
            item.video = self._good(item.video, video_problem, row, quarantine)
        if item.title or item.text or item.images or item.video:
            return True
        quarantine.add("items", row, "no title, text, picture or video")
        return False

    def _good(
        self, name: str, problem: Callable[[Path], str], row: SourceRow, quarantine: Quarantine
    ) -> str | None:
        """The path of a file if nothing is wrong with it; else None, and it is counted."""
        if is_address(name) and self.downloads is None:
            self.left += 1
            return None
        quarantine.read["media"] += 1
        path, reason = name, self._fetched.get(name, "")
        if is_address(name) and reason.startswith("downloads/"):
            path, reason = reason, ""
        told = SourceRow(row.file, row.number, {"id": row.record.get("id"), "path": name})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", MediaWarning)
            try:
                reason = reason or problem(inside(self.root, path))
            except DataError:
                reason = "path leads out of the media folder"
        for flaw in caught:
            if issubclass(flaw.category, MediaWarning):
                quarantine.add("flaws", told, str(flaw.message).partition(": ")[2])
        if reason:
            quarantine.add("media", told, reason)
        return None if reason else path


def _media_of(record: Mapping[str, Any]) -> list[str]:
    return [str(path) for path in [*(record.get("images") or []), record.get("video") or ""]]
