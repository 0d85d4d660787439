"""Delimited text as programs and offices write it: encoding, delimiter and header by look, rows by the csv module."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from mmreason.readers.source import SourceRow
from mmreason.schema import DataError

WRONG_FIELDS = "more or fewer fields than the header"
STRAY_QUOTE = 'a quote (") that does not end'
LONGEST_ROW = 16 << 20
"""Characters that a row may have; longer, its quote is taken for a stray one."""

_LOOK_BYTES = 1 << 20
_LOOK_ROWS = 50
_SEPARATOR_LINE = re.compile(r"(?i)sep=(.)")
# What Western texts have of the bytes that UTF-8 does not begin a letter with: letters, quotes, dashes, signs of units.
_WESTERN = re.compile("[À-öø-ýŠšŽžŒœŸƒ€£§©®™°±²³µ·¹º»«¼½¾¿¡ª´‘’‚“”„†•…‰‹›–—\xa0\xad]")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a delimited file is written.

    Attributes:
        encoding: A Python codec.
        delimiter: What parts the fields.
        skipped: Lines before the header (Excel's ``sep=;``).
        header: Names of the columns, each once; empty for an empty file.
        renamed: Header → the name given to a column that has another's name, or none.
    """

    encoding: str
    delimiter: str
    skipped: int
    header: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()


def open_bytes(path: Path) -> BinaryIO:
    """A file's bytes, unzipped where its name ends in ``.gz``."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def open_text(path: Path, newline: str | None = "", encoding: str = "") -> io.TextIOWrapper:
    """A file's text in its encoding; a broken byte becomes a surrogate, so that its row can be set aside alone."""
    encoding = encoding or encoding_of(path)
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, errors="surrogateescape", newline=newline)


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


def encoding_of(path: Path) -> str:
    """The encoding of a text by its first megabyte: UTF-8, UTF-16 or Windows-1252, with or without a mark."""
    with readable(path), open_bytes(path) as file:
        return _encoding(file.read(_LOOK_BYTES))


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = head[:4096].count(0)
    if zeros > len(head[:4096]) // 4:  # half of the bytes of Latin letters
        return "utf-16-le" if head[1:4096:2].count(0) > head[:4096:2].count(0) else "utf-16-be"
    return "cp1252" if _is_western(head) else "utf-8-sig"


def _is_western(head: bytes) -> bool:
    """Whether most bytes that are not ASCII are no UTF-8, and as Windows-1252 give what Western texts have."""
    broken: Counter[int] = Counter(ord(c) & 0xFF for c in _text(head) if "\udc80" <= c <= "\udcff")
    good = sum(c > "\x7f" for c in _text(head)) - broken.total()
    if broken.total() <= good:
        return False
    letters = ((bytes([byte]).decode("cp1252", "replace"), count) for byte, count in broken.items())
    western = sum(count for letter, count in letters if _WESTERN.fullmatch(letter))
    return western > 0.9 * broken.total()


def _text(head: bytes) -> str:
    return codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(
        head
    )  # a cut last letter is no fault


def dialect_of(path: Path, delimiter: str = "", quote: bool = True) -> Dialect:
    """How a delimited file with a header is written, by look at its first lines.

    Args:
        path: The file, gzipped or not.
        delimiter: What parts its fields, if that is known.
        quote: Whether ``"`` may enclose a field.

    Raises:
        DataError: If it cannot be opened.
    """
    with readable(path):
        stat = path.stat()
    return _dialect(path, delimiter, quote, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _dialect(path: Path, delimiter: str, quote: bool, changed: int, size: int) -> Dialect:
    encoding = encoding_of(path)
    with readable(path), open_text(path, encoding=encoding) as file:
        lines = file.read(_LOOK_BYTES).splitlines(keepends=True)
    lines = [line for line in lines if line.strip()] if lines and not lines[0].strip() else lines
    separator = _SEPARATOR_LINE.fullmatch(lines[0].strip("\r\n \ufeff")) if lines else None
    skipped = int(separator is not None)
    found = delimiter or (separator[1] if separator else _delimiter(lines, ".tsv" in path.name.lower()))
    header = next(csv.reader(lines[skipped:], delimiter=found, quoting=quoting(quote)), [])
    names, renamed = unique_names([name.strip() for name in header])
    return Dialect(encoding, found, skipped, tuple(names), tuple(renamed))


def unique_names(header: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of columns, each once; and which were renamed, as another has their name.

    Example:
        >>> unique_names(["id", "tag", "tag", ""])
        (['id', 'tag', 'tag.2', 'column 4'], [('tag', 'tag.2')])
    """
    names: dict[str, None] = {}  # in order; a file may have ten thousand columns
    renamed = []
    for number, name in enumerate(header, 1):
        new, times = name or f"column {number}", 1
        while new in names:
            times += 1
            new = f"{name}.{times}"
        names[new] = None
        if name and new != name:
            renamed.append((name, new))
    return list(names), renamed


def _delimiter(lines: Sequence[str], tabbed: bool) -> str:
    """The sign that parts most rows into as many fields as the header has, at least two."""
    signs = "\t,;|" if tabbed else ",;\t|"
    found = {sign: _fit(lines, sign) for sign in signs}
    best = max(signs, key=lambda sign: found[sign])  # of equals the first
    return best if found[best] > (0.0, 0) else signs[0]


def _fit(lines: Sequence[str], sign: str) -> tuple[float, int]:
    try:
        rows = list(islice(csv.reader(lines, delimiter=sign), _LOOK_ROWS))
    except csv.Error:
        rows = [line.rstrip("\r\n").split(sign) for line in lines[:_LOOK_ROWS]]
    width = len(rows[0]) if rows else 0
    if width < 2:
        return 0.0, 0
    full = [row for row in rows if row]
    return round(sum(len(row) == width for row in full) / len(full), 1), width


def quoting(quote: bool) -> Literal[0, 3]:
    """The csv module's word for whether ``"`` encloses fields."""
    return csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE


def csv_rows(
    path: Path, delimiter: str = "", columns: Sequence[str] | None = None, quote: bool = True
) -> Iterator[SourceRow]:
    """Rows of a delimited file, all text.

    A quote that does not end costs its own row: reading goes on with the next line.

    Args:
        path: The file, gzipped or not.
        delimiter: What parts the fields; empty to look.
        columns: Names of the columns of a file without a header.
        quote: Whether ``"`` may enclose a field.
    """
    dialect = dialect_of(path, delimiter, quote)
    names = list(columns or dialect.header)
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))
    with open_text(path, encoding=dialect.encoding) as file:
        lines = _Lines(file)
        rows = _rows(lines, dialect.delimiter, len(names), quote)
        for _ in islice(lines.peeked(), dialect.skipped):
            pass
        if not columns:
            next(rows, None)
        for number, (fields, problem) in enumerate(rows, 1):
            record: dict[Any, Any] = dict(zip(names, fields, strict=False))
            if len(fields) > len(names):
                record["more"] = fields[len(names) :]
            yield SourceRow(path.name, number, record, problem)


class _Lines:
    """Lines of a file, of which some can be given back."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self._back: deque[str] = deque()

    def peeked(self) -> Iterator[str]:
        """The lines, those that were given back first."""
        while True:
            line = self._back.popleft() if self._back else next(self._file, None)
            if line is None:
                return
            yield line

    def give_back(self, lines: Sequence[str]) -> None:
        """Have these lines come next."""
        self._back.extendleft(reversed(lines))


def _rows(lines: _Lines, delimiter: str, width: int, quote: bool) -> Iterator[tuple[list[str], str]]:
    """The fields of each row, and what is wrong with it."""
    for line in lines.peeked():
        if not line.strip("\r\n"):
            continue
        if not quote or '"' not in line:
            fields = line.rstrip("\r\n").split(delimiter)
        else:
            fields, problem = _quoted(line, lines, delimiter, width)
            if problem:
                yield fields, problem
                continue
        yield fields, "" if len(fields) == width else WRONG_FIELDS


def _quoted(line: str, lines: _Lines, delimiter: str, width: int) -> tuple[list[str], str]:
    """A row that begins with ``line`` and may go on in the next ones."""
    taken = [line]

    def more() -> Iterator[str]:
        yield line
        size = 0
        for each in lines.peeked():
            taken.append(each)
            size += len(each)
            if size > LONGEST_ROW:
                return
            yield each

    try:
        fields = next(csv.reader(more(), delimiter=delimiter, strict=True))
        if len(taken) == 1 or (len(fields) == width and not _swallowed(taken, delimiter, width)):
            return fields, ""
    except (csv.Error, StopIteration):
        pass
    lines.give_back(taken[1:])
    alone = next(csv.reader([line], delimiter=delimiter))
    ends = not alone[-1].endswith(("\n", "\r"))  # of an open quote the end of the line is part of the field
    return alone, "" if ends and len(alone) == width else STRAY_QUOTE


def _swallowed(taken: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether a quote that was never closed took whole rows with it, up to a later stray one."""
    if width < 3 or len(taken) < 3:
        return False
    return all(line.count(delimiter) == width - 1 and not line.startswith((delimiter, '"')) for line in taken)


def may_hold_rows(value: str, delimiter: str, width: int) -> bool:
    """Whether a field of several lines looks as if a stray quote had taken whole rows into it."""
    inner = value.splitlines()[1:-1]
    return width >= 3 and bool(inner) and all(line.count(delimiter) == width - 1 for line in inner)
