"""Rows of one file, one by one: Parquet, CSV, TSV and JSONL, the last three also gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.readers.source import SourceRow
from mmreason.schema import DataError

FORMATS = ("parquet", "csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz")
SAMPLE = 500
WRONG_FIELDS = "more or fewer fields than the header"


def read_rows(path: Path) -> Iterator[SourceRow]:
    """Every row of a table, by what its name ends in.

    Ids that look like numbers stay text, a byte-order mark is passed over, a row that cannot be read has a
    ``problem``.

    Raises:
        DataError: If the file cannot be opened, or its Parquet or gzip is broken.
    """
    ending = next((e for e in sorted(FORMATS, key=len, reverse=True) if path.name.endswith("." + e)), "")
    if not ending:
        raise DataError(f"{path} is none of {', '.join(FORMATS)}")
    with readable(path):
        yield from _READ[ending.removesuffix(".gz")](path)


def sample(path: Path) -> dict[str, list[Any]]:
    """Column → its values in the first :data:`SAMPLE` rows."""
    columns: dict[str, list[Any]] = {}
    for row in islice(read_rows(path), SAMPLE):
        if not row.problem:
            for name, value in row.record.items():
                columns.setdefault(name, []).append(value)
    return columns


class readable:
    """Turns what goes wrong with a whole file into one line that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, EOFError | gzip.BadGzipFile) or type(error).__name__ == "error":  # zlib's
            raise DataError(f"{self.path} is not whole gzip ({error}); fetch it again") from None
        if isinstance(error, OSError):
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from None


def open_bytes(path: Path) -> BinaryIO:
    """A file's bytes, unzipped where its name ends in ``.gz``."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def open_text(path: Path, newline: str | None = "") -> io.TextIOWrapper:
    """A file's text; a broken byte becomes a surrogate, so that its row can be set aside alone."""
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _parquet(path: Path) -> Iterator[SourceRow]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(10_000):
                for record in batch.to_pylist():
                    number += 1
                    yield SourceRow(path.name, number, record)
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a Parquet file: {error}") from None


def delimiter_of(path: Path) -> str:
    """A comma, unless the header has none but semicolons (as some offices write it) or tabs."""
    if ".tsv" in path.suffixes:
        return "\t"
    with readable(path), open_text(path) as file:
        header = file.readline(1 << 16)
    return next((sign for sign in ",;\t" if sign in header), ",")


def quoting(quote: bool) -> Literal[0, 3]:
    """The csv module's word for whether ``"`` encloses fields."""
    return csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE


def csv_rows(
    path: Path, delimiter: str = ",", columns: Sequence[str] | None = None, quote: bool = True
) -> Iterator[SourceRow]:
    """Rows of a delimited file, all text.

    Args:
        path: The file, gzipped or not.
        delimiter: What parts the fields.
        columns: Names of the columns of a file without a header.
        quote: Whether ``"`` may enclose a field.
    """
    with open_text(path) as file:
        reader = csv.DictReader(file, columns, delimiter=delimiter, quoting=quoting(quote))
        number = 0
        while True:
            number += 1
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield SourceRow(path.name, number, {}, f"not CSV: {error}")
                continue
            odd = None in record or None in record.values()  # DictReader marks both with None
            yield SourceRow(path.name, number, record, WRONG_FIELDS if odd else "")


def _jsonl(path: Path) -> Iterator[SourceRow]:
    with open_text(path, newline=None) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                record = json_object(line)
                kept = {"line": line.strip()[:200]} if record is None else record
                yield SourceRow(path.name, number, kept, "not a JSON object" if record is None else "")


def json_object(line: str) -> dict[str, Any] | None:
    """The object that a line of JSON is, or None."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


_READ: dict[str, Callable[[Path], Iterator[SourceRow]]] = {
    "parquet": _parquet,
    "csv": lambda path: csv_rows(path, delimiter_of(path)),
    "tsv": lambda path: csv_rows(path, "\t"),
    "jsonl": _jsonl,
}
