"""Checks shared by all readers: a bad row or file is counted and set aside with its reason, never dropped.

Items and reasons are checked here one by one; interactions, of which there are many more, are checked a frame
at a time in :mod:`mmreason.catalogue.behaviours`.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, get_args

from encoders.media.video_index import VIDEO_OPTIONS
from mmreason.catalogue.download import Downloads, is_address
from mmreason.cleaning import plain_text, private_user, without_contacts
from mmreason.files import atomic_write
from mmreason.readers.source import SourceRow, batches, inside
from mmreason.schema import Attributes, DataError, Item, Reason, Split, from_record
from mmreason.values import identifier
from mmreason.values import text as one_text

MAX_PIXELS = 100_000_000
"""A picture or video frame with more pixels than this is refused from its header alone."""

PICTURE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
DUPLICATES = ("duplicate id", "duplicate row")
"""Reasons that tell of no mistake in the source: what they set aside is there already."""

MISSING = "missing file"
"""Reason of a picture or video that is not where the row says."""

UNKNOWN_ITEM = "unknown item"
"""Reason of a row whose item is not in the catalogue (any more), which is no mistake either."""


class Quarantine:
    """Bad rows with their reasons, written as they are found, and the count that nothing was lost.

    Kinds: ``items``, ``interactions``, ``reasons``, and of an item that stays ``media`` (a picture or video) and
    ``fields`` (any other field that could not be read).

    Args:
        path: The file, one JSON object a line; it appears when the block ends well.

    Example:
        >>> with Quarantine(Path("quarantine.jsonl")) as quarantine:
        ...     quarantine.read["items"] += 1
        ...     quarantine.add("items", SourceRow("items.csv", 1, {"title": "x"}), "no id")
        >>> quarantine.balance("items", kept=0)
        '1 items read = 0 kept + 1 quarantined'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], str] = {}
        self._stack = ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Quarantine:
        self._file = self._stack.enter_context(atomic_write(self.path))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, kind: str, row: SourceRow, reason: str) -> None:
        """Set one row aside."""
        assert self._file is not None, "used outside its with block"
        self.reasons[kind, reason] += 1
        self.first.setdefault((kind, reason), f"{row.file} row {row.number}")
        entry = {"kind": kind, "row": row.number, "file": row.file, "reason": reason, "record": row.record}
        self._file.write(json.dumps(entry, default=str).encode() + b"\n")

    def count(self, kind: str) -> int:
        """How many rows of a kind were set aside."""
        return sum(n for (k, _), n in self.reasons.items() if k == kind)

    def balance(self, kind: str, kept: int) -> str:
        """``360 items read = 358 kept + 2 quarantined``, asserted."""
        bad = self.count(kind)
        assert self.read[kind] == kept + bad, (
            f"{kind}: {self.read[kind]} read but {kept} kept + {bad} quarantined"
        )
        unknown = self.reasons[kind, UNKNOWN_ITEM]
        of_unknown = f" ({unknown:,} of unknown items)" if unknown else ""
        if kind == "media" and self.read[kind] == self.reasons[kind, MISSING]:
            of_unknown = " (none of the files is there)"
        return f"{self.read[kind]:,} {kind} read = {kept:,} kept + {bad:,} quarantined{of_unknown}"

    def enforce(self, most_bad: float, most_unknown: float = 1.0) -> None:
        """Fail if too many rows of any kind are bad, or name unknown items; :data:`DUPLICATES` do no harm.

        An export without any of its pictures is a catalogue of texts: no mistake, as where some are gone.

        Args:
            most_bad: Share of the rows, those of unknown items left out, that may be bad.
            most_unknown: Share of the rows that may name unknown items.

        Raises:
            DataError: Naming the kind, the share, the setting and the most frequent reason.
        """
        for kind, read in self.read.items():
            if kind == "media" and self.reasons[kind, MISSING] == read:
                continue
            unknown = self.reasons[kind, UNKNOWN_ITEM]
            if unknown > most_unknown * read:
                raise DataError(
                    f"{unknown} of {read} {kind} name unknown items, more than "
                    f"catalogue.max_unknown_items={most_unknown} (first in {self.first[kind, UNKNOWN_ITEM]}); are "
                    "their item ids those of the items?"
                )
            reasons = {
                reason: n
                for (k, reason), n in self.reasons.items()
                if k == kind and reason not in (*DUPLICATES, UNKNOWN_ITEM)
            }
            bad = sum(reasons.values())
            if bad > most_bad * (read - unknown):
                n, worst = max((n, reason) for reason, n in reasons.items())
                raise DataError(
                    f"{bad} of {read - unknown} {kind} are bad, more than catalogue.max_quarantined={most_bad}: "
                    f"mostly {worst!r} ({n} times, first in {self.first[kind, worst]}); mend them"
                )


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
        return MISSING
    except Image.DecompressionBombError:
        return "over the pixel limit"
    except Exception:  # a broken header makes Pillow raise nearly anything
        return "not a picture"
    return "over the pixel limit" if width * height > MAX_PIXELS else ""


def video_problem(path: Path) -> str:
    """What is wrong with a video, by its container; empty if nothing."""
    import av

    if not path.is_file():
        return MISSING
    if path.stat().st_size == 0:
        return "empty file"
    try:
        with av.open(str(path), options=VIDEO_OPTIONS) as container:
            if not container.streams.video:
                return "no video stream"
            stream = container.streams.video[0]
            return "over the pixel limit" if stream.width * stream.height > MAX_PIXELS else ""
    except (av.FFmpegError, ValueError, OSError):
        return "not a video"


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

    def fetch(self, rows: list[SourceRow]) -> None:
        """Fetch what a batch of rows names by address, several at a time."""
        self._fetched.clear()
        if self.downloads is not None:
            named = chain.from_iterable(_media_of(row.record) for row in rows if not row.problem)
            self._fetched = self.downloads.get_all(name for name in named if is_address(name))

    def good(
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
        try:
            reason = reason or problem(inside(self.root, path))
        except DataError:
            reason = "path leads out of the media folder"
        if reason:
            quarantine.add(
                "media", SourceRow(row.file, row.number, {"id": row.record.get("id"), "path": name}), reason
            )
        return None if reason else path


def check_items(
    rows: Iterable[SourceRow], media: Media, quarantine: Quarantine, batch: int = 512
) -> Iterator[tuple[SourceRow, Item]]:
    """The good ones of the items, each with its row; duplicates are not looked for.

    An item whose picture or video is bad stays, without it. ``item.split`` is empty where the row gives none.
    """
    for some in batches(rows, batch):
        media.fetch(some)
        for row in some:
            quarantine.read["items"] += 1
            item = _parse(row, "items", quarantine, _item)
            if item is None:
                continue
            for name, value in row.unreadable:
                record = {"id": item.id, "field": name, "value": repr(value)[:200]}
                quarantine.add("fields", SourceRow(row.file, row.number, record), f"{name} cannot be read")
            if _check_media(item, row, media, quarantine):
                yield row, item


def check_reasons(rows: Iterable[SourceRow], quarantine: Quarantine) -> Iterator[tuple[SourceRow, Reason]]:
    """The good ones of the reasons; ``reason.split`` is empty where the row gives none."""
    for row in rows:
        quarantine.read["reasons"] += 1
        reason = _parse(row, "reasons", quarantine, lambda row: _reason(row.record))
        if reason is not None:
            yield row, reason


def _parse(row: SourceRow, kind: str, quarantine: Quarantine, parse: Callable[[SourceRow], Any]) -> Any:
    """The row's value, or None after setting the row aside."""
    try:
        if row.problem:
            raise DataError(row.problem)
        if not _is_unicode(row.record):
            if kind != "items" or not _is_unicode(row.record.get("id")):
                raise DataError("text is not valid Unicode")
            for name in row.record:
                row.read(name, _unicode, None)
        return parse(row)
    except DataError as error:
        quarantine.add(kind, row, str(error))
        return None


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _unicode(value: Any) -> Any:
    if not _is_unicode(value):
        raise ValueError("not valid Unicode")
    return value


def _item(row: SourceRow) -> Item:
    record = row.record
    item_id = row.read("id", identifier, "")
    if not item_id:
        raise DataError("no id")
    title, text, video, domain = (
        row.read(name, one_text, "") for name in ("title", "text", "video", "domain")
    )
    return Item(
        id=item_id,
        title=plain_text(title),
        text=without_contacts(plain_text(text)),
        images=[str(path) for path in record.get("images") or []],
        video=video or None,
        attributes=_facts(record, "attributes"),
        hidden=_facts(record, "hidden"),
        domain=domain,
        group=row.read("group", identifier, ""),
        split=_split(record),
    )


def _facts(record: Mapping[str, Any], name: str) -> Attributes:
    facts = record.get(name) or {}
    return {key: [plain_text(value) for value in values] for key, values in facts.items()}


def _media_of(record: Mapping[str, Any]) -> list[str]:
    return [str(path) for path in [*(record.get("images") or []), record.get("video") or ""]]


def _check_media(item: Item, row: SourceRow, media: Media, quarantine: Quarantine) -> bool:
    """Take the bad pictures and the bad video off an item; False if nothing is left of it."""
    found = [media.good(name, picture_problem, row, quarantine) for name in item.images]
    item.images = [path for path in found if path is not None]
    if item.video:
        item.video = media.good(item.video, video_problem, row, quarantine)
    if item.title or item.text or item.images or item.video:
        return True
    quarantine.add("items", row, "no title, text, picture or video")
    return False


def _reason(record: Mapping[str, Any]) -> Reason:
    values = {name: _text(record, name) for name in ("user_id", "item_id", "text", "profile")}
    values["user_id"] = private_user(values["user_id"])
    if not values["user_id"]:
        raise DataError("no user id")
    if not values["item_id"]:
        raise DataError("no item id")
    if not values["text"]:
        raise DataError("no text")
    try:
        reason: Reason = from_record(Reason, {**values, "evidence": record.get("evidence") or []})
    except (DataError, TypeError, KeyError, AttributeError):
        raise DataError("evidence is not a list of evidence") from None
    reason.split = _split(record)
    return reason


def _split(record: Mapping[str, Any]) -> Split:
    split = _text(record, "split")
    if split and split not in get_args(Split):
        raise DataError(f"unknown split; known are {', '.join(get_args(Split))}")
    return split  # type: ignore[return-value]


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return "" if value is None else str(value).strip()
