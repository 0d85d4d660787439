"""XRec's rows, (user summary, item title and summary) → explanation: ``train``, ``valid`` and ``test.jsonl``.

A row is a reason with the user's summary as its ``profile``; items are those of the rows, each on the side of its first
row. What a user took is known from the training rows alone, so that no history holds a pair to be explained.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from mmreason.config import Config
from mmreason.readers.frames import row_frames
from mmreason.readers.rows import read_rows
from mmreason.readers.source import SourceRow, Tables
from mmreason.schema import DataError, Split


def read(config: Config) -> Tables:
    """Read the rows under ``catalogue.root``.

    Raises:
        DataError: If there is none of the three files.
    """
    root = Path(config.catalogue.root)
    files = {split: _file(root, split) for split in get_args(Split)}
    found = {split: path for split, path in files.items() if path is not None}
    if not config.catalogue.root or not found:
        raise DataError(
            f"catalogue.root {str(root)!r} holds no train.jsonl, valid.jsonl or test.jsonl of XRec"
        )
    train = {"train": found["train"]} if "train" in found else {}
    return Tables(root, _items(found), row_frames(_purchases(train)), _reasons(found))


def _file(root: Path, split: str) -> Path | None:
    return next((path for end in ("jsonl", "jsonl.gz") if (path := root / f"{split}.{end}").is_file()), None)


def _good_rows(files: dict[str, Path]) -> Iterator[tuple[str, SourceRow]]:
    """Rows that are objects; the others are counted among the reasons."""
    for split, path in files.items():
        yield from ((split, row) for row in read_rows(path) if not row.problem)


def _items(files: dict[str, Path]) -> Iterator[SourceRow]:
    seen: set[str] = set()
    for split, row in _good_rows(files):
        item = str(row.record.get("iid", ""))
        if item not in seen:  # a title in two rows is one item, not a duplicate
            seen.add(item)
            texts = {"title": row.record.get("title"), "text": row.record.get("item_summary")}
            yield SourceRow(row.file, row.number, {"id": item, **texts, "split": split})


def _purchases(files: dict[str, Path]) -> Iterator[SourceRow]:
    for _, row in _good_rows(files):
        record = {"user_id": row.record.get("uid"), "item_id": row.record.get("iid"), "event": "purchase"}
        yield SourceRow(row.file, row.number, record)


def _reasons(files: dict[str, Path]) -> Iterator[SourceRow]:
    for split, path in files.items():
        for row in read_rows(path):
            if not row.problem:
                names = {"user_id": "uid", "item_id": "iid", "text": "explanation", "profile": "user_summary"}
                row.record = {name: row.record.get(source) for name, source in names.items()} | {
                    "split": split
                }
            yield row
