"""The catalogue's three tables as Parquet files."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.files import atomic_write
from mmreason.readers.source import batches
from mmreason.schema import DataError, Evidence, Interaction, Item, Reason, from_record

_TEXT = pa.string()
_ITEM = (
    "id",
    "title",
    "text",
    "images",
    "video",
    "attributes",
    "hidden",
    "links",
    "domain",
    "group",
    "split",
)
SCHEMAS: dict[type, pa.Schema] = {
    Item: pa.schema(dict.fromkeys(_ITEM, _TEXT)),  # nested fields are JSON
    Interaction: pa.schema(
        {
            **dict.fromkeys(("user_id", "item_id", "event"), _TEXT),
            "count": pa.int64(),
            **dict.fromkeys(("seconds", "rating", "timestamp"), pa.float64()),
            "text": _TEXT,
            "share": pa.float64(),
            "helpful": pa.int64(),
            "first": pa.float64(),
        }
    ),
    Reason: pa.schema(
        {
            **dict.fromkeys(("user_id", "item_id", "text", "evidence"), _TEXT),
            "score": pa.float64(),
            "verified": pa.bool_(),
            **dict.fromkeys(("split", "profile"), _TEXT),
        }
    ),
}
ROW_GROUPS: dict[type, int] = {Item: 8192, Interaction: 100_000, Reason: 100_000}
"""Rows a Parquet row group: what a reader of the tables must hold at least."""


_to_json = json.JSONEncoder(ensure_ascii=False).encode


def write_table(path: Path, kind: type, values: Iterable[Any]) -> int:
    """Write items, interactions or reasons; returns how many."""
    tables = (pa.table(columns(kind, some), SCHEMAS[kind]) for some in batches(values, 2048))
    return write_batches(path, kind, tables)


def write_batches(path: Path, kind: type, tables: Iterable[pa.Table]) -> int:
    """Write in row groups of one size, whatever the sizes of the tables: same rows, same bytes."""
    size, schema = ROW_GROUPS[kind], SCHEMAS[kind]
    held, written = schema.empty_table(), 0
    with atomic_write(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in tables:
            held = pa.concat_tables([held, table.cast(schema)])
            while held.num_rows >= size:
                writer.write_table(held.slice(0, size).combine_chunks(), row_group_size=size)
                held, written = held.slice(size), written + size
        if held.num_rows or not written:
            writer.write_table(held.combine_chunks(), row_group_size=size)
    return written + held.num_rows


def columns(kind: type, values: list[Any]) -> dict[str, list[Any]]:
    """Column → values; nested fields become JSON text, as :func:`mmreason.schema.to_record` makes it."""
    return {name: [_cell(getattr(value, name)) for value in values] for name in SCHEMAS[kind].names}


def _cell(value: Any) -> Any:
    if not isinstance(value, list | dict):
        return value
    if isinstance(value, list):
        value = [asdict(entry) if isinstance(entry, Evidence) else entry for entry in value]
    return _to_json(value) if value else "[]" if isinstance(value, list) else "{}"


def stream_table(path: Path, kind: type) -> Iterator[Any]:
    """Items, interactions or reasons of a file, one after another, in the memory of a batch.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(8192):
                yield from (from_record(kind, row) for row in batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read ({error}); run `mmreason ingest` again") from None


def numbered_rows(path: Path, kind: type, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Items, interactions or reasons by their numbers, which ascend, each with its number.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            start = low = 0
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                high = bisect_left(numbers, stop)
                if low < high:
                    some = numbers[low:high]
                    rows = file.read_row_group(group).take([number - start for number in some]).to_pylist()
                    yield from zip(some, (from_record(kind, row) for row in rows), strict=True)
                start, low = stop, high
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read ({error}); run `mmreason ingest` again") from None


def read_table(path: Path, kind: type, count: int | None = None) -> list[Any]:
    """Items, interactions or reasons of a file.

    Raises:
        DataError: If it cannot be read or does not hold ``count`` rows.
    """
    try:
        rows = pq.read_table(path, schema=SCHEMAS[kind]).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read ({error}); run `mmreason ingest` again") from None
    if count is not None and len(rows) != count:
        raise DataError(
            f"{path} holds {len(rows)} rows, catalogue.json says {count}; run `mmreason ingest` again"
        )
    return [from_record(kind, row) for row in rows]
