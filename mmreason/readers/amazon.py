"""Amazon Reviews 2023: ``meta_<category>.jsonl.gz`` and ``<category>.jsonl.gz`` of one or more categories.

An item is a ``parent_asin``; a review is an interaction with its rating, text and helpful votes. Pictures are given
by address, so there are none without ``--catalogue.allow_download true``; the videos' addresses are pages, not
files, and are passed over unless they end like a video's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pyarrow as pa

from mmreason.config import Config
from mmreason.readers.frames import json_frames
from mmreason.readers.rows import read_rows
from mmreason.readers.source import SourceRow, Tables
from mmreason.schema import Attributes, DataError

ENDINGS = (".jsonl", ".jsonl.gz")
REVIEW = pa.schema(
    {
        **dict.fromkeys(("user_id", "parent_asin", "title", "text"), pa.string()),
        "rating": pa.float64(),
        "timestamp": pa.int64(),
        "helpful_vote": pa.int64(),
    }
)
_VIDEO = (".mp4", ".webm", ".mov", ".m4v")
_SIZES = ("hi_res", "large", "thumb")
# Numbers and codes that no one would want an item for.
_DULL = re.compile(r"(?i)dimension|weight|model|upc|asin|isbn|\brank|date|number|barcode|discontinued|batter")
_LONGEST = 60  # characters of a detail's value


def read(config: Config) -> Tables:
    """Read every category under ``catalogue.root``.

    Raises:
        DataError: If the folder holds no ``meta_*.jsonl`` or ``meta_*.jsonl.gz``.
    """
    root = Path(config.catalogue.root)
    files = sorted(path for path in root.glob("*") if path.name.endswith(ENDINGS))
    items = [path for path in files if path.name.startswith("meta_")]
    if not config.catalogue.root or not items:
        raise DataError(f"catalogue.root {str(root)!r} holds no meta_*.jsonl.gz of Amazon Reviews 2023")
    reviews = [path for path in files if path not in items]
    return Tables(root, _items(items), _reviews(reviews))


def _items(paths: list[Path]) -> Iterator[SourceRow]:
    for path in paths:
        for row in read_rows(path):
            if not row.problem:
                _read_item(row)
            yield row


def _read_item(row: SourceRow) -> None:
    """From the metadata's fields to the schema's; one that is not what it should be costs itself."""
    raw = row.record
    row.record = {"id": raw.get("parent_asin"), "title": raw.get("title"), "domain": "shop"}
    row.record |= dict.fromkeys(("text", "images", "video", "attributes"), raw)
    row.record["links"] = {"bought with": raw.get("bought_together")}
    row.read(
        "text", lambda raw: "\n".join([*_texts(raw.get("description")), *_texts(raw.get("features"))]), ""
    )
    row.read("images", lambda raw: [u for image in _objects(raw.get("images")) if (u := _largest(image))], [])
    row.read(
        "video", lambda raw: next((u for v in _objects(raw.get("videos")) if (u := _video(v))), None), None
    )
    row.read("attributes", _attributes, {})


def _objects(value: Any) -> list[dict[str, Any]]:
    """Objects of a list, or of an object of lists, as Hugging Face's copy has them."""
    if isinstance(value, dict):
        rows = zip(*value.values(), strict=True)
        return [dict(zip(value, row, strict=True)) for row in rows]
    return value or []


def _texts(value: Any) -> list[str]:
    """The paragraphs of a list, or of one text, as some copies have it."""
    parts = [value] if isinstance(value, str) else value
    return [text for part in parts or [] if (text := " ".join(str(part).split()))]


def _largest(image: dict[str, str | None]) -> str | None:
    return next((url for size in _SIZES if (url := image.get(size))), None)


def _video(video: dict[str, str | None]) -> str | None:
    url = video.get("url") or ""
    return url if urlsplit(url).path.lower().endswith(_VIDEO) else None


def _attributes(record: dict[str, Any]) -> Attributes:
    """The category's last name, the store and the details that are short words."""
    details = record.get("details") or {}
    if isinstance(details, str):  # as some copies have it
        details = json.loads(details)
    categories = _texts(record.get("categories")) or _texts([record.get("main_category") or ""])
    attributes = {"category": categories[-1:], "brand": _texts([record.get("store") or ""])}
    for name, value in details.items():
        key = name.strip().lower()
        if isinstance(value, str) and 0 < len(value) <= _LONGEST and not _DULL.search(key):
            attributes.setdefault(key, [])
            attributes[key] = attributes[key] or [value.strip()]
    return {name: values for name, values in attributes.items() if values}


def _reviews(paths: list[Path]) -> Iterator[pl.DataFrame]:
    title, text = (pl.col(name).cast(pl.String).str.strip_chars().fill_null("") for name in ("title", "text"))
    for path in paths:
        for frame in json_frames(path, REVIEW):
            if "user_id" not in frame.columns:  # lines that are no objects, and nothing else
                yield frame
                continue
            yield (
                frame.rename({"parent_asin": "item_id", "helpful_vote": "helpful"})
                .with_columns(event=pl.lit("review"), text=(title + "\n" + text).str.strip_chars())
                .drop("title")
            )
