"""Checks shared by all readers: a bad row or file is counted and set aside with its reason, never dropped."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from mmreason.data.files import whole_file
from mmreason.schema import EVENTS, DataError, Interaction, Item, Reason, Split, from_record

MAX_PIXELS = 100_000_000
"""A picture or video frame with more pixels than this is refused from its header alone."""

PICTURE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
# Named, so that a playlist posing as a video cannot make FFmpeg open other files or addresses.
VIDEO_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,ogg",
    "protocol_whitelist": "file",
}
RATINGS = (1.0, 5.0)


@dataclass(slots=True)
class Row:
    """One row as a reader found it.

    Attributes:
        file: File name, for messages.
        number: Row number in the file, the header not counted, from 1.
        record: Field name → value, as in :mod:`mmreason.schema`.
        problem: Why the reader could not read the row, if so.
    """

    file: str
    number: int
    record: dict[str, Any]
    problem: str = ""


@dataclass(slots=True)
class Tables:
    """What a reader returns: every row of its source, good or bad."""

    media_root: Path
    items: list[Row] = field(default_factory=list)
    interactions: list[Row] = field(default_factory=list)
    reasons: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Quarantine:
    """Bad rows with their reasons, and the count that nothing was lost.

    Kinds: ``items``, ``interactions``, ``reasons`` and ``media`` (a picture or video of an item that stays).
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, kind: str, row: Row, reason: str) -> None:
        """Set one row aside."""
        self.reasons[kind, reason] += 1
        entry = {"kind": kind, "row": row.number, "file": row.file, "reason": reason, "record": row.record}
        self.rows.append(entry)

    def count(self, kind: str) -> int:
        """How many rows of a kind were set aside."""
        return sum(n for (k, _), n in self.reasons.items() if k == kind)

    def balance(self, kind: str, kept: int) -> str:
        """``360 items read = 358 kept + 2 quarantined``, asserted."""
        bad = self.count(kind)
        assert self.read[kind] == kept + bad, (
            f"{kind}: {self.read[kind]} read but {kept} kept + {bad} quarantined"
        )
        return f"{self.read[kind]:,} {kind} read = {kept:,} kept + {bad:,} quarantined"

    def enforce(self, limit: float) -> None:
        """Fail if a larger share of any kind than ``limit`` is bad.

        Raises:
            DataError: Naming the kind, the share and the most frequent reason.
        """
        for kind, read in self.read.items():
            bad = self.count(kind)
            if bad > limit * read:
                n, worst = max((n, reason) for (k, reason), n in self.reasons.items() if k == kind)
                first = next(row for row in self.rows if row["kind"] == kind and row["reason"] == worst)
                raise DataError(
                    f"{bad} of {read} {kind} are bad, more than catalogue.max_quarantined={limit}: mostly "
                    f"{worst!r} ({n} times, first in {first['file']} row {first['row']}); mend them"
                )

    def write(self, path: Path) -> None:
        """Write one JSON object a line, to a temporary name first."""
        with whole_file(path) as file:
            for row in self.rows:
                file.write(json.dumps(row, default=str).encode() + b"\n")


def inside(root: Path, relative: str) -> Path:
    """The path of a media file, which must lie under ``root``.

    The check is on the name alone, so links inside ``root`` (as content-addressed stores use) are followed.

    Raises:
        DataError: If the name leads out of ``root``.
    """
    base = os.path.normpath(root)
    path = os.path.normpath(root / relative)
    if os.path.commonpath([os.path.abspath(base), os.path.abspath(path)]) != os.path.abspath(base):  # noqa: PTH100
        raise DataError(
            f"{relative!r} leads out of the media folder {root}; use a path relative to that folder"
        )
    return Path(path)


def picture_problem(path: Path) -> str:
    """What is wrong with a picture, by its header; empty if nothing."""
    from PIL import Image

    try:
        if path.stat().st_size == 0:
            return "empty file"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=PICTURE_FORMATS) as image:
                width, height = image.size
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return "missing file"
    except Image.DecompressionBombError:
        return "over the pixel limit"
    except Exception:  # a broken header makes Pillow raise nearly anything
        return "not a picture"
    return "over the pixel limit" if width * height > MAX_PIXELS else ""


def video_problem(path: Path) -> str:
    """What is wrong with a video, by its container; empty if nothing."""
    import av

    if not path.is_file():
        return "missing file"
    if path.stat().st_size == 0:
        return "empty file"
    try:
        with av.open(str(path), options=dict(VIDEO_OPTIONS)) as container:
            if not container.streams.video:
                return "no video stream"
            stream = container.streams.video[0]
            return "over the pixel limit" if stream.width * stream.height > MAX_PIXELS else ""
    except (av.FFmpegError, ValueError, OSError):
        return "not a video"


def check(tables: Tables, quarantine: Quarantine) -> tuple[dict[str, Item], list[Interaction], list[Reason]]:
    """Turn a reader's rows into items, interactions and reasons; set the bad ones aside.

    An item whose picture or video is bad stays, without it.

    Returns:
        Items by id, interactions and reasons, in the order read.
    """
    items: dict[str, Item] = {}
    quarantine.read["items"] += len(tables.items)
    for row in tqdm(tables.items, desc="check items", unit="item", disable=None, leave=False):
        item = _parse(row, "items", quarantine, lambda record: _item(record, items))
        if item is not None and _check_media(item, row, tables.media_root, quarantine):
            items[item.id] = item
    interactions = _parse_all(
        tables.interactions, "interactions", quarantine, lambda r: _interaction(r, items)
    )
    reasons = _parse_all(tables.reasons, "reasons", quarantine, lambda r: _reason(r, items))
    return items, interactions, reasons


def _parse_all(
    rows: list[Row], kind: str, quarantine: Quarantine, parse: Callable[[dict[str, Any]], Any]
) -> list:
    quarantine.read[kind] += len(rows)
    values = (_parse(row, kind, quarantine, parse) for row in rows)
    return [value for value in values if value is not None]


def _parse(row: Row, kind: str, quarantine: Quarantine, parse: Callable[[dict[str, Any]], Any]) -> Any:
    """The row's value, or None after setting the row aside."""
    try:
        if row.problem:
            raise DataError(row.problem)
        try:
            json.dumps(row.record, ensure_ascii=False, default=str).encode()
        except (UnicodeEncodeError, RecursionError):
            raise DataError("text is not valid Unicode") from None
        return parse(row.record)
    except DataError as error:
        quarantine.add(kind, row, str(error))
        return None


def _item(record: Mapping[str, Any], known: Mapping[str, Item]) -> Item:
    item_id = _text(record, "id")
    if not item_id:
        raise DataError("no id")
    if item_id in known:
        raise DataError("duplicate id")
    return Item(
        id=item_id,
        title=_text(record, "title"),
        text=_text(record, "text"),
        images=[str(path) for path in record.get("images") or []],
        video=_text(record, "video") or None,
        attributes=record.get("attributes") or {},
        hidden=record.get("hidden") or {},
        domain=_text(record, "domain"),
        group=_text(record, "group"),
        split=_split(record),
    )


def _check_media(item: Item, row: Row, root: Path, quarantine: Quarantine) -> bool:
    """Take the bad pictures and the bad video off an item; False if nothing is left of it."""
    good = [path for path in item.images if not _bad_media(picture_problem, path, row, root, quarantine)]
    item.images = good
    if item.video and _bad_media(video_problem, item.video, row, root, quarantine):
        item.video = None
    if item.title or item.text or item.images or item.video:
        return True
    quarantine.add("items", row, "no title, text, picture or video")
    return False


def _bad_media(
    problem: Callable[[Path], str], relative: str, row: Row, root: Path, quarantine: Quarantine
) -> bool:
    quarantine.read["media"] += 1
    try:
        reason = problem(inside(root, relative))
    except DataError:
        reason = "path leads out of the media folder"
    if reason:
        record = {"id": row.record.get("id"), "path": relative}
        quarantine.add("media", Row(row.file, row.number, record), reason)
    return bool(reason)


def _interaction(record: Mapping[str, Any], items: Mapping[str, Item]) -> Interaction:
    user_id, item_id = _user_and_item(record, items)
    event = _text(record, "event").lower() or "click"
    if event not in EVENTS:
        raise DataError(f"unknown event; known are {', '.join(EVENTS)}")
    count = _number(record, "count", low=0.0)
    if count is not None and count != int(count):
        raise DataError("count is not a whole number")
    rating = _number(record, "rating", *RATINGS)
    if event == "rating" and rating is None:
        raise DataError("rating event without a rating")
    return Interaction(
        user_id=user_id,
        item_id=item_id,
        event=event,
        count=1 if count is None else int(count),
        seconds=_number(record, "seconds", low=0.0),
        rating=rating,
        timestamp=_timestamp(record.get("timestamp")),
        text=_text(record, "text"),
    )


def _reason(record: Mapping[str, Any], items: Mapping[str, Item]) -> Reason:
    user_id, item_id = _user_and_item(record, items)
    text = _text(record, "text")
    if not text:
        raise DataError("no text")
    split = _split(record) if record.get("split") else items[item_id].split
    values = {"user_id": user_id, "item_id": item_id, "text": text, "evidence": record.get("evidence") or []}
    try:
        reason: Reason = from_record(Reason, values)
    except (DataError, TypeError, KeyError, AttributeError):
        raise DataError("evidence is not a list of evidence") from None
    reason.split = split
    return reason


def _user_and_item(record: Mapping[str, Any], items: Mapping[str, Item]) -> tuple[str, str]:
    user_id, item_id = _text(record, "user_id"), _text(record, "item_id")
    if not user_id:
        raise DataError("no user id")
    if item_id not in items:
        raise DataError("unknown item")
    return user_id, item_id


def _split(record: Mapping[str, Any]) -> Split:
    split = _text(record, "split") or "train"
    if split not in get_args(Split):
        raise DataError(f"unknown split; known are {', '.join(get_args(Split))}")
    return split  # type: ignore[return-value]


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return "" if value is None else str(value).strip()


def _number(
    record: Mapping[str, Any], name: str, low: float = -math.inf, high: float = math.inf
) -> float | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} is not a number") from None
    if not math.isfinite(number):
        raise DataError(f"{name} is not a number")
    if not low <= number <= high:
        raise DataError(f"{name} out of range" if high < math.inf else f"negative {name}")
    return number


def _timestamp(value: Any) -> float:
    """Unix seconds from a number, a date or an ISO 8601 text (UTC where it names no zone)."""
    if value is None or value == "":
        return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise DataError("timestamp is neither unix seconds nor an ISO date") from None
    if not math.isfinite(number):
        raise DataError("timestamp is neither unix seconds nor an ISO date")
    return number
