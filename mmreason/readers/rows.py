"""Rows of one file, one by one: Parquet, delimited text, JSON and Excel, all but the first also gzipped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from itertools import chain, islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.readers.delimited import csv_rows, dialect_of, encoding_of, open_text, readable, unique_names
from mmreason.readers.source import SourceRow
from mmreason.schema import DataError
from mmreason.values import literal

_DELIMITED = ("csv", "tsv", "txt")
_TEXTS = (*_DELIMITED, "jsonl", "ndjson", "json")
FORMATS = ("parquet", *_TEXTS, *(f"{ending}.gz" for ending in _TEXTS), "xlsx")
"""What names of tables end in, in small or capital letters."""

SAMPLE = 500
NOT_AN_OBJECT = "not a JSON object"

_CHUNK = 1 << 16
_LONGEST_VALUE = 64 << 20  # characters of one value of a JSON array
_ARRAY = re.compile(r"\[\s*(\{|$)")
_BROKEN_OVER_LINES = re.compile(r"\{(.*[\[{,])?")
_NEXT_OBJECT = re.compile(r"\}\s*,\s*(?=\{)")


def format_of(path: Path) -> str:
    """Which of :data:`FORMATS` a name ends in, without ``.gz``; empty if none.

    Example:
        >>> format_of(Path("ITEMS.CSV.GZ")), format_of(Path("notes.md"))
        ('csv', '')
    """
    name = path.name.lower()
    return next((ending.removesuffix(".gz") for ending in FORMATS if name.endswith("." + ending)), "")


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[SourceRow]:
    """Every row of a table, by what its name ends in.

    Ids that look like numbers stay text; encoding, delimiter and kind of JSON are found by look; a row that cannot be
    read has a ``problem``.

    Args:
        path: The file.
        columns: Names of the columns of a delimited file without a header.

    Raises:
        DataError: If the file cannot be opened, or its Parquet, gzip or Excel is broken.
    """
    kind = format_of(path)
    if not kind:
        raise DataError(f"{path} is none of {', '.join(FORMATS)}")
    with readable(path):
        yield from csv_rows(path, columns=columns) if kind in _DELIMITED else _READ[kind](path)


def oddities(path: Path) -> list[str]:
    """What a text file has that its reader takes in its own way, a line each: its encoding, columns of one name."""
    kind = format_of(path)
    encoding = encoding_of(path) if kind in _TEXTS else "utf-8-sig"
    lines = [] if encoding == "utf-8-sig" else [f"{path.name}: not UTF-8; taken for {encoding}"]
    twice = dialect_of(path).renamed if kind in _DELIMITED else ()
    told = (f"another column is called {name!r}, too; it is taken as {new!r}" for name, new in twice)
    return lines + [f"{path.name}: {line}" for line in told]


def sample(path: Path, columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """Column → its values in the first :data:`SAMPLE` rows."""
    return sample_of(read_rows(path, columns))


def sample_of(rows: Iterable[SourceRow]) -> dict[str, list[Any]]:
    """Column → its values in the first :data:`SAMPLE` of some rows."""
    found: dict[str, list[Any]] = {}
    for row in islice(rows, SAMPLE):
        if not row.problem:
            for name, value in row.record.items():
                found.setdefault(name, []).append(value)
    return found


def _parquet(path: Path) -> Iterator[SourceRow]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            wide = len(file.schema_arrow) > 200  # many columns: fewer rows at a time
            for batch in file.iter_batches(500 if wide else 10_000):
                for record in batch.to_pylist():
                    number += 1
                    yield SourceRow(path.name, number, record)
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a Parquet file: {error}") from None


def _json(path: Path) -> Iterator[SourceRow]:
    """An object a line, or values of an array or after another, whichever the file begins like."""
    with open_text(path, newline=None) as file:
        first = file.read(_CHUNK).lstrip().partition("\n")[0].strip()
    over_lines = _ARRAY.match(first) or _BROKEN_OVER_LINES.fullmatch(first)
    rows = _json_values(path) if over_lines else _json_lines(path)
    if format_of(path) == "json":
        one = list(islice(rows, 2))
        wrapped = _list_in(one[0].record) if len(one) == 1 else None
        rows = chain(one, rows) if wrapped is None else _value_rows(path, wrapped)
    yield from rows


def _json_lines(path: Path) -> Iterator[SourceRow]:
    with open_text(path, newline=None) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _json_row(path, number, line)


def _json_row(path: Path, number: int, line: str) -> SourceRow:
    record = json_object(line)
    if record is None:
        return SourceRow(path.name, number, {"line": line.strip()[:200]}, NOT_AN_OBJECT)
    return SourceRow(path.name, number, record)


def json_object(line: str) -> dict[str, Any] | None:
    """The object that a line of JSON, or of Python's own printing, is; else None."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        try:
            record = literal(line.strip()) if line.lstrip()[:2] in ("{'", "{u") else None
        except ValueError:
            record = None
    return record if isinstance(record, dict) else None


def _json_values(path: Path) -> Iterator[SourceRow]:
    """Rows of an array, or of values one after another, read as the text comes."""
    return _value_rows(path, _values(path))


def _value_rows(path: Path, values: Iterable[Any]) -> Iterator[SourceRow]:
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            yield SourceRow(path.name, number, value)
        else:
            yield SourceRow(path.name, number, {"line": str(value)[:200]}, NOT_AN_OBJECT)


def _list_in(value: dict[str, Any]) -> list[Any] | None:
    """The rows of an object around a table (``{"products": [ … ]}``); None if the object is a row itself.

    Example:
        >>> _list_in({"data": {"products": [{"id": 1}, {"id": 2}], "links": [{"rel": "next"}]}})
        [{'id': 1}, {'id': 2}]
    """
    if {"id", "sku", "title", "name"} & value.keys():
        return None
    lists = [v for v in value.values() if isinstance(v, list) and v and all(isinstance(e, dict) for e in v)]
    lists += [rows for v in value.values() if isinstance(v, dict) and (rows := _list_in(v)) is not None]
    lists.sort(key=len, reverse=True)
    return lists[0] if len(lists) == 1 or (lists and len(lists[0]) > len(lists[1])) else None


def _values(path: Path) -> Iterator[Any]:
    """JSON values one after another; what cannot be read up to the next object is given as text."""
    decoder = json.JSONDecoder()
    with open_text(path, newline=None) as file:
        text, size = file.read(_CHUNK).lstrip(), _CHUNK
        text = text[1:] if text[:1] == "[" else text
        while True:
            text = text.lstrip(" \t\n\r,]")
            if not text:
                text = file.read(_CHUNK)
                if not text:
                    return
                continue
            try:
                value, end = decoder.raw_decode(text)
                if end == len(text) and (more := file.read(size)):  # a number may go on
                    text += more
                    continue
            except (ValueError, RecursionError):
                more = file.read(size) if len(text) < _LONGEST_VALUE else ""
                size = min(size * 2, _LONGEST_VALUE)
                if more:
                    text += more
                    continue
                found = _NEXT_OBJECT.search(text)
                end = found.end() if found else len(text)
                value = text[: min(end, 200)]
            yield value
            text, size = text[end:], _CHUNK


def _excel(path: Path) -> Iterator[SourceRow]:
    """Rows of the first sheet of an Excel workbook, which begins with a header."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise DataError(
            f"{path}: to read Excel, pip install 'mmreason[excel]'; or save it as CSV (UTF-8)"
        ) from None
    try:
        sheet = load_workbook(path, read_only=True, data_only=True).worksheets[0]
        rows = sheet.iter_rows(values_only=True)
        header, _ = unique_names([str(name or "").strip() for name in next(rows, ())])
        for number, cells in enumerate(rows, 1):
            if any(cell is not None for cell in cells):
                values = [cell.isoformat() if isinstance(cell, date) else cell for cell in cells]
                yield SourceRow(path.name, number, dict(zip(header, values, strict=False)))
    except (KeyError, ValueError, BadZipFile) as error:
        raise DataError(f"{path} is not an Excel workbook ({error}); save it as CSV (UTF-8)") from None


_READ: dict[str, Callable[[Path], Iterator[SourceRow]]] = {
    "parquet": _parquet,
    "jsonl": _json,
    "ndjson": _json,
    "json": _json,
    "xlsx": _excel,
}
