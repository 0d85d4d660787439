"""The ``export-reasons`` verb: reasons for other programs."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.bulk.index import COLUMNS
from mmreason.bulk.parts import SCHEMA, Row
from mmreason.bulk.store import ReasonStore
from mmreason.files import atomic_write
from mmreason.schema import DataError

FORMS = (".parquet", ".jsonl", ".csv")

_BATCH = 8192
_NESTED = ("evidence", "plan", "stopped")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would run


def export_reasons(
    target: str, run_dir: str = "runs/quickstart", job: str = "", max_days: float = 0.0
) -> str:
    """Write the newest reason of every user and item that still holds: its item has not changed since.

    Args:
        target: A file whose name ends in ``.parquet``, ``.jsonl`` or ``.csv``, the latter two also in ``.gz``.
        run_dir: Folder of a run with its ``generate`` done.
        job: Only the reasons of this job; empty for all.
        max_days: Leave out what is older; 0 for nothing.

    Returns:
        One line.

    Raises:
        DataError: If there are no reasons, or the target cannot be written.
    """
    path = Path(target)
    form = Path(path.name.removesuffix(".gz")).suffix
    if form not in FORMS or (form == ".parquet" and path.suffix == ".gz"):
        raise DataError(f"{path}: ends in none of {', '.join(FORMS)} (the latter two also with .gz)")
    rows = ReasonStore.open(run_dir, max_days).rows(job)
    with atomic_write(path) as file:
        if form == ".parquet":
            count = _write_parquet(file, rows)
        elif path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                count = _write_text(packed, rows, form)
        else:
            count = _write_text(file, rows, form)
    return f"{count:,} reasons: {path}"


def _write_text(file: Any, rows: Iterator[Row], form: str) -> int:
    text, count = io.TextIOWrapper(file, encoding="utf-8", newline=""), 0
    table = csv.writer(text)
    if form == ".csv":
        table.writerow(COLUMNS)
    for row in rows:
        count += 1
        if form == ".csv":
            table.writerow(_cells(row))
        else:
            text.write(json.dumps(_nested(row), ensure_ascii=False) + "\n")
    text.flush()
    text.detach()
    return count


def _write_parquet(file: IO[bytes], rows: Iterator[Row]) -> int:
    fields = [SCHEMA.field(name) for name in COLUMNS[:-2]]
    schema, count = pa.schema([*fields, ("job", pa.string()), ("written", pa.float64())]), 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := list(islice(rows, _BATCH)):
            writer.write_table(pa.Table.from_pylist(some, schema))
            count += len(some)
    return count


def _nested(row: Row) -> Row:
    return row | {name: json.loads(row[name]) for name in _NESTED if row[name]}


def _cells(row: Row) -> Sequence[object]:
    """The values of a row, none of which a spreadsheet takes for a formula."""
    values = [row[name] for name in COLUMNS]
    return [f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in values]
