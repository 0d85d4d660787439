"""What a job writes: ``part-*.parquet``, each whole or not at all, and ``progress.json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.files import atomic_write, read_json, write_json
from mmreason.schema import DataError, Reason, to_record

Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("request", pa.int64()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("text", pa.string()),
        ("evidence", pa.string()),
        ("score", pa.float64()),
        ("verified", pa.bool_()),
        ("level", pa.string()),
        ("writer", pa.string()),
        ("cause", pa.string()),
        ("plan", pa.string()),
        ("stopped", pa.string()),
        ("error", pa.string()),
        ("content", pa.string()),
        ("key", pa.string()),
    ]
)
"""``request`` is the number of the request, ``content`` a digest of what the item says and shows, ``key`` one of all
that the row depends on; a request that failed has none, so that the next run tries it again."""

MIN_PART, MAX_PART, PARTS = 256, 16_384, 1024


def part_size(requests: int) -> int:
    """Rows a part, if nobody says: 256 to 16,384, so that there are about a thousand parts at most.

    Example:
        >>> part_size(9_000), part_size(1_000_000), part_size(10**8)
        (256, 1024, 16384)
    """
    size = MIN_PART
    while size * PARTS < requests and size < MAX_PART:
        size *= 4
    return size


def part(folder: Path, index: int) -> Path:
    """The file of a part."""
    return folder / f"part-{index:06d}.parquet"


def parts(folder: Path) -> list[Path]:
    """The parts that are there, in order."""
    return sorted(folder.glob("part-*.parquet"))


def write_part(path: Path, rows: Sequence[Row]) -> None:
    """Write a part, whole or not at all.

    Raises:
        DataError: If it cannot be written (a full disk, say).
    """
    table = pa.Table.from_pylist(list(rows), SCHEMA)
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
    """The rows of a part, all of which was looked at; None if it is damaged, or of an older version."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(SCHEMA):
                return None
            table = file.read()
        return table.select(list(columns)) if columns else table
    except (OSError, pa.ArrowException):
        return None


def keys_of(path: Path) -> list[str]:
    """The keys of a part's rows; none of a part that is damaged or not there."""
    table = read_part(path, ["key"])
    return [] if table is None else table["key"].to_pylist()


def row_of(user_id: str, item_id: str, reason: Reason | str) -> Row:
    """A reason's row; an empty one with its error, if the reason is that."""
    failed = isinstance(reason, str)
    record = to_record(Reason(user_id, item_id, "") if isinstance(reason, str) else reason)
    row = {name: record[name] for name in SCHEMA.names if name in record}
    return row | {"error": reason if failed else None}


def read_progress(folder: Path) -> dict[str, Any]:
    """What is noted of a job; nothing of one that never began."""
    path = folder / "progress.json"
    return dict(read_json(path)) if path.is_file() else {}


def note_progress(folder: Path, **values: Any) -> None:
    """Change what is noted of a job.

    Raises:
        DataError: If it cannot be written.
    """
    write_json(folder / "progress.json", read_progress(folder) | values)


def stream_parts(folder: Path) -> Iterator[pa.Table]:
    """The parts of a finished job, one after another.

    Raises:
        DataError: If there is no such job, or rows are missing or there twice.
    """
    expected, seen = read_json(folder / "progress.json")["requests"], 0
    for path in parts(folder):
        table = read_part(path)
        if table is None or table["request"].to_pylist() != list(range(seen, seen + len(table))):
            break
        seen += len(table)
        yield table
    if seen != expected:
        raise DataError(
            f"{folder}: not exactly one row per request ({seen:,} of {expected:,} in order); run generate again"
        )


def read_parts(folder: Path) -> pa.Table:
    """All rows of a job's folder, in the order of the requests.

    Raises:
        DataError: If there is no such job, or rows are missing or there twice.
    """
    return pa.concat_tables([SCHEMA.empty_table(), *stream_parts(folder)])
