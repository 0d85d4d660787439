"""Rows of one file, a frame at a time: for interactions, which come by the million."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from mmreason.readers.delimited import (
    STRAY_QUOTE,
    WRONG_FIELDS,
    Dialect,
    csv_rows,
    dialect_of,
    may_hold_rows,
    open_bytes,
    readable,
)
from mmreason.readers.rows import NOT_AN_OBJECT, format_of, json_object, read_rows
from mmreason.readers.source import SourceRow, batches
from mmreason.schema import DataError

Choose = Callable[[pl.DataFrame], pl.DataFrame]
"""Makes the columns that are wanted of those that a file has."""

BLOCK_BYTES = 8 << 20
"""Bytes read at a time; a line must fit into one."""

FRAME_ROWS = 50_000
_SLOW = 1 << 16  # a block of fewer bytes is read line by line rather than cut further


def row_frames(rows: Iterable[SourceRow], choose: Choose | None = None) -> Iterator[pl.DataFrame]:
    """Frames of rows: a column a field, all text, with ``file``, ``row``, ``problem`` and ``record`` (as JSON)."""
    for some in batches(rows, FRAME_ROWS):
        names = dict.fromkeys(name for row in some for name in row.record if isinstance(name, str))
        columns: dict[str, list[Any]] = {
            name: [_text(row.record.get(name)) for row in some] for name in names
        }
        problems = [row.problem or None for row in some]
        for place, row in enumerate(some):
            if not row.problem and any("\ud800" <= c <= "\udfff" for c in _joined(row)):
                problems[place] = "text is not valid Unicode"
        columns = {name: [_valid(value) for value in values] for name, values in columns.items()}
        frame = pl.DataFrame(
            columns or {"": [None] * len(some)}, schema_overrides=dict.fromkeys(columns, pl.String)
        )
        records = [json.dumps(row.record, default=str, skipkeys=True) for row in some]
        yield (choose(frame) if choose else frame).with_columns(
            pl.Series("file", [row.file for row in some], pl.String),
            pl.Series("row", [row.number for row in some], pl.Int64),
            pl.Series("problem", problems, pl.String),
            pl.Series("record", records, pl.String),
        )


def _joined(row: SourceRow) -> str:
    return "".join(value for value in row.record.values() if isinstance(value, str) and not value.isascii())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def _valid(value: str | None) -> str | None:
    return value if value is None or value.isascii() else value.encode("utf-8", "replace").decode()


def table_frames(
    path: Path, choose: Choose | None = None, columns: Sequence[str] | None = None
) -> Iterator[pl.DataFrame]:
    """Frames of a table; Parquet keeps its types, the rest is text.

    Args:
        path: The file.
        choose: What to make of the file's own columns, before ``file``, ``row``, ``problem`` and ``record`` are put
            beside them: so a column of the file may have any of these names.
        columns: Names of the columns of a delimited file without a header.
    """
    kind = format_of(path)
    if kind == "parquet":
        return parquet_frames(path, choose)
    if kind in ("csv", "tsv", "txt"):
        return csv_frames(path, columns=columns, choose=choose)
    return row_frames(read_rows(path), choose)


def parquet_frames(path: Path, choose: Choose | None = None) -> Iterator[pl.DataFrame]:
    """Frames of a Parquet file, in its own types."""
    number = 0
    try:
        with readable(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(FRAME_ROWS):
                frame = pl.DataFrame(pl.from_arrow(batch))
                yield _numbered(frame, path, range(number + 1, number + 1 + frame.height), choose)
                number += frame.height
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a Parquet file: {error}") from None


def csv_frames(
    path: Path,
    delimiter: str = "",
    columns: Sequence[str] | None = None,
    quote: bool = True,
    choose: Choose | None = None,
) -> Iterator[pl.DataFrame]:
    """Frames of a delimited file, all text; the same rows as :func:`csv_rows`, read by Arrow.

    From the first block with a broken byte, a stray quote or a row with empty fields too many or too few on, rows
    are read one by one, so that only what is wrong is set aside.
    """
    dialect = dialect_of(path, delimiter, quote)
    dialect = replace(dialect, header=tuple(columns)) if columns else dialect
    if not dialect.plain:
        yield from row_frames(csv_rows(path, dialect.delimiter, columns, quote), choose)
        return
    skipped = dialect.skipped + (not columns)
    number, wrong = 0, []

    def set_aside(row: pyarrow.csv.InvalidRow) -> str:
        if dialect.fitted(next(csv.reader([row.text], delimiter=dialect.delimiter), [])):
            return "error"
        wrong.append((row.number - skipped, row.text))  # Arrow counts the header
        return "skip"

    with readable(path), open_bytes(path) as file:
        try:
            for batch in _open_csv(file, dialect, skipped, quote, set_aside):
                frame = pl.DataFrame(pl.from_arrow(batch))
                if quote and _quotes_astray(frame, wrong, dialect.delimiter):
                    raise pa.ArrowInvalid(STRAY_QUOTE)
                last = number + batch.num_rows + len(wrong)
                set_apart = {n for n, _ in wrong}
                numbers = [n for n in range(number + 1, last + 1) if n not in set_apart]
                yield _numbered(frame, path, numbers, choose)
                yield from _wrong_frames(path, wrong, choose)
                number = last
            if _quotes_astray(pl.DataFrame(), wrong, dialect.delimiter):  # all of the last rows are wrong
                raise pa.ArrowInvalid(STRAY_QUOTE)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            wrong.clear()
            rows = csv_rows(path, dialect.delimiter, columns, quote)
            yield from row_frames(islice(rows, number, None), choose)
    yield from _wrong_frames(path, wrong, choose)


def _quotes_astray(frame: pl.DataFrame, wrong: list[tuple[int, str]], delimiter: str) -> bool:
    """Whether a row holds others, as it does from a quote that does not end up to the next one."""
    if any("\n" in text.strip("\r\n") for _, text in wrong):
        return True
    for column in frame:
        for value in column.filter(column.str.contains("\n", literal=True)):
            if may_hold_rows(value, delimiter, frame.width):
                return True
    return False


def _open_csv(
    file: Any,
    dialect: Dialect,
    skipped: int,
    quote: bool,
    set_aside: Callable[[pyarrow.csv.InvalidRow], str],
) -> Iterable[pa.RecordBatch]:
    if not dialect.header:  # an empty file
        return ()
    return pyarrow.csv.open_csv(
        file,
        pyarrow.csv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            column_names=list(dialect.header),
            skip_rows=skipped,
            encoding="utf8" if dialect.encoding == "utf-8-sig" else dialect.encoding,
        ),
        pyarrow.csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char='"' if quote else False,
            newlines_in_values=quote,
            invalid_row_handler=set_aside,
        ),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(dialect.header, pa.string()), strings_can_be_null=False
        ),
    )


def _wrong_frames(path: Path, wrong: list[tuple[int, str]], choose: Choose | None) -> Iterator[pl.DataFrame]:
    rows = [SourceRow(path.name, number, {"line": text[:200]}, WRONG_FIELDS) for number, text in wrong]
    wrong.clear()
    yield from row_frames(rows, choose)


def json_frames(path: Path, schema: pa.Schema) -> Iterator[pl.DataFrame]:
    """Frames of a JSONL file with known columns.

    Arrow reads a block at a time. A block that is not quite as the schema says is cut in two, again and again,
    until the odd lines are alone; those are read one by one, as text, and have a ``problem`` if they are no
    JSON object. So both ways give the same rows.

    Args:
        path: The file, gzipped or not.
        schema: The columns wanted and their types; others are passed over, missing ones are null.
    """
    number = 0
    with readable(path), open_bytes(path) as file:
        for block in _blocks(file):
            lines = block.count(b"\n")
            yield from _json_block(block, lines, number, path, schema)
            number += lines


def _blocks(file: Any) -> Iterator[bytes]:
    """Whole lines, :data:`BLOCK_BYTES` or so at a time, each block ending in a newline."""
    rest = file.read(3)
    rest = b"" if rest == b"\xef\xbb\xbf" else rest
    while chunk := file.read(BLOCK_BYTES):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join((rest, memoryview(chunk)[:end]))
            rest = chunk[end:]
        else:
            rest += chunk
    if rest:
        yield rest + b"\n"


def _json_block(
    block: bytes, lines: int, before: int, path: Path, schema: pa.Schema
) -> Iterator[pl.DataFrame]:
    table = _arrow_json(block, schema)
    if table is not None and table.num_rows == lines and not _has_empty_line(block):
        yield _numbered(pl.DataFrame(pl.from_arrow(table)), path, range(before + 1, before + 1 + lines))
        return
    middle = block.find(b"\n", len(block) // 2) + 1
    if len(block) > _SLOW and 0 < middle < len(block):
        first = block.count(b"\n", 0, middle)
        yield from _json_block(block[:middle], first, before, path, schema)
        yield from _json_block(block[middle:], lines - first, before + first, path, schema)
        return
    yield from row_frames(_json_rows(block, before, path, schema))


def _has_empty_line(block: bytes) -> bool:
    """Whether a line is empty, which may hide that another one holds two objects."""
    newline = b"\r\n" if block[-2:-1] == b"\r" else b"\n"
    return block.startswith(newline) or b"\n" + newline in block


def _json_rows(block: bytes, before: int, path: Path, schema: pa.Schema) -> Iterator[SourceRow]:
    for number, line in enumerate(block.decode("utf-8", "surrogateescape").split("\n")[:-1], before + 1):
        if line.strip():
            record = json_object(line)
            if record is None:
                yield SourceRow(path.name, number, {"line": line.strip()[:200]}, NOT_AN_OBJECT)
            else:
                yield SourceRow(path.name, number, {name: record.get(name) for name in schema.names})


def _arrow_json(block: bytes, schema: pa.Schema) -> pa.Table | None:
    try:
        block.decode()  # Arrow does not check
        return pyarrow.json.read_json(
            pa.BufferReader(block),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None


def _numbered(
    frame: pl.DataFrame, path: Path, numbers: Sequence[int], choose: Choose | None = None
) -> pl.DataFrame:
    return (choose(frame) if choose else frame).with_columns(
        pl.lit(path.name).alias("file"), pl.Series("row", numbers, pl.Int64)
    )
