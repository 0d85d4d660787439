"""MicroLens: ``*_pairs.csv`` or ``*_pairs.tsv``, ``*_titles.csv``, a folder of covers and one of videos.

``*_pairs.tsv`` has a user's videos in order without times: the order is kept as seconds from 1990 on, so that a
history can still be cut before its target. ``*_comments*.txt``, if there, gives the words of a pair; ``*_watch*.csv``
(user, item, and what it has of seconds, length, timestamp) adds watches.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import polars as pl

from mmreason.config import Config
from mmreason.readers.delimited import csv_rows, open_text, readable
from mmreason.readers.frames import csv_frames, row_frames
from mmreason.readers.source import SourceRow, Tables
from mmreason.schema import DataError
from mmreason.times import EARLIEST

_USER, _ITEM = ("user", "userid", "user_id"), ("item", "videoid", "video_id", "item_id", "id")
NAMES = {
    "user_id": _USER,
    "item_id": _ITEM,
    "timestamp": ("timestamp", "time"),
    "seconds": ("seconds", "watch_time", "watch_seconds", "play_time"),
    "length": ("length", "duration", "video_length"),
}
_PICTURES, _VIDEOS = (".jpg", ".jpeg", ".png", ".webp"), (".mp4", ".webm", ".mov", ".mkv")


def read(config: Config) -> Tables:
    """Read a MicroLens folder.

    Raises:
        DataError: If there are no titles, or no pairs.
    """
    root = Path(config.catalogue.root)
    titles = _one(root, "*titles*.csv*")
    pairs = _one(root, "*pairs*.csv*") or _one(root, "*pairs*.tsv*")
    if not config.catalogue.root or titles is None or pairs is None:
        raise DataError(
            f"catalogue.root {str(root)!r} holds no *_titles.csv and *_pairs.csv or .tsv of MicroLens"
        )
    events = _ordered(pairs) if ".tsv" in pairs.suffixes else _log(pairs, "click")
    comments = _one(root, "*comments*.txt*")
    if comments is not None:
        events = _with_words(events, comments)
    watches = _one(root, "*watch*.csv*")
    return Tables(root, _items(root, titles), chain(events, _log(watches, "watch") if watches else ()))


def _one(root: Path, pattern: str) -> Path | None:
    return next(iter(sorted(path for path in root.glob(pattern) if path.is_file())), None)


def _items(root: Path, titles: Path) -> Iterator[SourceRow]:
    covers, videos = _media(root, "cover", _PICTURES), _media(root, "video", _VIDEOS)
    with open_text(titles) as file:
        header = file.readline().strip().lower().split(",")
    headed = any(name.strip('"') in _ITEM for name in header)
    for row in csv_rows(titles, columns=None if headed else ("item", "title")):
        if not row.problem:
            item, title, *_ = (str(value).strip() for value in row.record.values())
            images = [covers[item]] if item in covers else []
            row.record = {
                "id": item,
                "title": title,
                "images": images,
                "video": videos.get(item),
                "domain": "video",
            }
        yield row


def _media(root: Path, word: str, endings: tuple[str, ...]) -> dict[str, str]:
    """Id → path of the files in the folders that are called so."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and word in path.name.lower())
    files = (path for folder in folders for path in sorted(folder.rglob("*")))
    return {path.stem: path.relative_to(root).as_posix() for path in files if path.suffix.lower() in endings}


def _ordered(path: Path) -> Iterator[pl.DataFrame]:
    """User, a tab, and their videos in order, parted by spaces."""

    def rows() -> Iterator[SourceRow]:
        with readable(path), open_text(path, newline=None) as file:
            for number, line in enumerate(file, 1):
                user, tab, videos = line.rstrip("\n").partition("\t")
                if not tab and line.strip():
                    yield SourceRow(path.name, number, {"line": line[:200]}, "no tab after the user")
                for place, item in enumerate(videos.split(), 1):
                    record = {
                        "user_id": user,
                        "item_id": item,
                        "event": "click",
                        "timestamp": EARLIEST + place,
                    }
                    yield SourceRow(path.name, number, record)

    return row_frames(rows())


def _log(path: Path, event: str) -> Iterator[pl.DataFrame]:
    for frame in csv_frames(path):
        plain = {name.strip().lower(): name for name in frame.columns}
        found = {field: next((plain[n] for n in names if n in plain), None) for field, names in NAMES.items()}
        if "line" not in frame.columns and not (found["user_id"] and found["item_id"]):
            raise DataError(f"{path} has no columns user and item; it has {', '.join(frame.columns)}")
        columns = [pl.col(column).alias(field) for field, column in found.items() if column]
        kept = [name for name in ("file", "row", "problem", "record") if name in frame.columns]
        yield frame.select(*kept, *columns, pl.lit(event).alias("event"))


def _with_words(frames: Iterator[pl.DataFrame], path: Path) -> Iterator[pl.DataFrame]:
    """Pairs with what the user wrote under the video: such a pair is a review."""
    columns = ("user_id", "item_id", "text")
    read = [frame for frame in csv_frames(path, "\t", columns, quote=False) if "user_id" in frame.columns]
    words = pl.concat([frame.select(columns) for frame in read]) if read else pl.DataFrame(schema=columns)
    words = words.unique(("user_id", "item_id"), keep="first", maintain_order=True).cast(pl.String)
    for frame in frames:
        if "user_id" not in frame.columns:
            yield frame
            continue
        joined = frame.join(words, on=("user_id", "item_id"), how="left", maintain_order="left")
        reviewed = pl.when(pl.col("text") != "").then(pl.lit("review")).otherwise(pl.col("event"))
        yield joined.with_columns(event=reviewed)
