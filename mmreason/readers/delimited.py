"""Delimited text as programs and offices write it: encoding, delimiter and header by look, rows by the csv module."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, pairwise
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
_CODE_PAGE_BYTES = 1 << 14
_SURROGATES = re.compile("[\udc80-\udcff]")
_SEPARATOR_LINE = re.compile(r"(?i)sep=(.)")
_ESCAPED = re.compile(r'(?m)(?:^|[,;\t|])"[^"\n]*\\"[^,;\t|"\r\n]')
_SPACED = re.compile(r'(?m)[,;|] +"[^"\n]*"(?=[,;|]|$)')
_SPACES = re.compile(r'(?<=[,;|]) +"(?!")')
_NOT_LATIN = ("cp1251", "cp1253", "cp932", "gbk", "euc_kr", "big5")
# Polish and Czech as Windows-1252: signs within words, or a Danish letter with French ones and no other Danish one.
_POLISH = re.compile(r"(?<=[a-z])[³¹¿Ÿ¼¾](?=[a-zê])")
_CZECH, _DANISH = re.compile(r"[ìèù]"), re.compile(r"[åæ]")
# What Western texts have of the bytes that UTF-8 does not begin a letter with: letters, quotes, dashes, signs of units.
_CUT = re.compile("[ÃÂ]")  # with these bytes most letters of UTF-8 begin, also one that was cut
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
        escaped: Whether a backslash stands before a quote within a field, as MySQL and Spark write it.
        spaced: Whether blanks stand before a field's quote.
        ragged: Whether rows may end early, as those of spreadsheets do whose last cells are empty.
    """

    encoding: str
    delimiter: str
    skipped: int
    header: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    escaped: bool = False
    spaced: bool = False
    ragged: bool = False

    @property
    def plain(self) -> bool:
        """Whether the csv module's own rules read it."""
        return not (self.escaped or self.spaced)

    def repaired(self, line: str) -> str:
        """A line as the csv module's own rules have it."""
        if self.escaped and "\\" in line:
            line = line.replace("\\\\", "\0").replace('\\"', '""').replace("\0", "\\")
        return _SPACES.sub('"', line) if self.spaced else line

    def fitted(self, fields: list[str]) -> list[str] | None:
        """A row's fields, as many as the header has: surplus ones must be empty, some may be missing at the end.

        Example:
            >>> two = Dialect("utf-8", ",", 0, ("id", "title"))
            >>> two.fitted(["1", "Mug", ""]), two.fitted(["1", "Mug", "red"]), two.fitted(["1"])
            (['1', 'Mug'], None, None)
        """
        width = len(self.header)
        if len(fields) < width:
            return fields + [""] * (width - len(fields)) if self.ragged and len(fields) > 1 else None
        return None if any(map(str.strip, fields[width:])) else fields[:width]


def open_bytes(path: Path) -> BinaryIO:
    """A file's bytes, unzipped where its name ends in ``.gz``."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def open_text(path: Path, newline: str | None = "", encoding: str = "") -> io.TextIOWrapper:
    """A file's text in its encoding; a broken byte becomes a surrogate, so that its row can be set aside alone."""
    encoding = encoding or encoding_of(path)
    errors = (
        "replace" if encoding.startswith("utf-16") else "surrogateescape"
    )  # which has no half of two bytes
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, errors=errors, newline=newline)


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
    """The encoding of a text by its first megabyte: UTF-8 or UTF-16, with or without a mark, or a code page."""
    with readable(path), open_bytes(path) as file:
        return _encoding(file.read(_LOOK_BYTES))


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = head[:4096].count(0)
    if zeros > len(head[:4096]) // 4:  # half of the bytes of Latin letters
        return "utf-16-le" if head[1:4096:2].count(0) > head[:4096:2].count(0) else "utf-16-be"
    text = _text(head)
    broken = Counter(ord(c) & 0xFF for c in _SURROGATES.findall(text))
    if not broken:
        return "utf-8-sig"
    good = sum(c > "\x7f" for c in text) - broken.total()
    return "utf-8-sig" if broken.total() <= good else _code_page(head, broken)


def _code_page(head: bytes, broken: Counter[int]) -> str:
    """The encoding of a text that is not UTF-8: by charset-normalizer of other scripts, else Western or Central."""
    letters = ((bytes([byte]).decode("cp1252", "replace"), count) for byte, count in broken.items())
    western = sum(count for letter, count in letters if _WESTERN.fullmatch(letter)) > 0.9 * broken.total()
    in_words = sum(map(len, re.findall(rb"[\x80-\xff]{2,}", head)))
    if not western or in_words > 0.3 * broken.total():
        from charset_normalizer import from_bytes

        odd = b"\n".join(line for line in head.splitlines() if not line.isascii())[:_CODE_PAGE_BYTES]
        best = from_bytes(odd, cp_isolation=["cp1252", *_NOT_LATIN]).best()
        if best is not None and best.encoding in _NOT_LATIN:
            return best.encoding
    text = head.decode("cp1252", "replace").lower()
    czech = "ø" in text and len(_CZECH.findall(text)) > len(_DANISH.findall(text))
    if czech or _POLISH.search(text):
        return "cp1250"
    return "cp1252" if western else "utf-8-sig"


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
    lines = lines[skipped:]
    escaped, spaced = (quote and any(map(form.search, lines)) for form in (_ESCAPED, _SPACED))
    look = Dialect(encoding, "", skipped, (), escaped=escaped, spaced=spaced)
    lines = lines if look.plain else [look.repaired(line) for line in lines]
    found = delimiter or (separator[1] if separator else _delimiter(lines, ".tsv" in path.name.lower()))
    header = next(csv.reader(lines, delimiter=found, quoting=quoting(quote)), [])
    names, renamed = unique_names([name.strip() for name in header])
    ragged = _is_ragged(lines, found, len(names))
    return replace(look, delimiter=found, header=tuple(names), renamed=tuple(renamed), ragged=ragged)


def _is_ragged(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether several rows end early, and begin like whole ones: none is the rest of the line before it."""
    rows = [line.split(delimiter) for line in lines[1:] if line.strip() and '"' not in line]
    short = [row for row in rows if len(row) < width]
    begins = {_shape(row[0]) for row in rows if len(row) >= width} or {_shape(row[0]) for row in short}
    alike = all(len(row) > 1 and _shape(row[0]) in begins for row in short)
    halves = any(max(len(a), len(b)) < width and len(a) + len(b) == width + 1 for a, b in pairwise(rows))
    return len(short) > 1 and alike and (not halves or all("0" in _shape(row[0]) for row in short))


def _shape(text: str) -> str:
    """What an id looks like: ``A-17`` is ``a-0``."""
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", text.strip()))


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
    dialect = replace(dialect, header=tuple(columns)) if columns else dialect
    names = dialect.header
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))
    with open_text(path, encoding=dialect.encoding) as file:
        lines = _Lines(file if dialect.plain else map(dialect.repaired, file))
        rows = _rows(lines, dialect, quote)
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


def _rows(lines: _Lines, dialect: Dialect, quote: bool) -> Iterator[tuple[list[str], str]]:
    """The fields of each row, and what is wrong with it."""
    width, utf8 = len(dialect.header), dialect.encoding == "utf-8-sig"
    for line in lines.peeked():
        if not line.strip("\r\n"):
            continue
        if utf8 and not line.isascii():
            line = _western(line)
        if not quote or '"' not in line:
            fields = line.rstrip("\r\n").split(dialect.delimiter)
        else:
            fields, problem = _quoted(line, lines, dialect)
            if problem:
                yield fields, problem
                continue
        if len(fields) == width:
            yield fields, ""
        else:
            fitted = dialect.fitted(fields)
            yield fitted or fields, "" if fitted else WRONG_FIELDS


def _western(line: str) -> str:
    """A line of which no letter is UTF-8 and each is Western, as Windows-1252; any other stays."""
    try:
        line.encode()
    except UnicodeEncodeError:
        odd = [character for character in line if character > "\x7f"]
        letters = "".join(odd).encode("utf-8", "surrogateescape").decode("cp1252", "replace")
        if len(letters) == len(odd) and all(map(_WESTERN.fullmatch, letters)) and not _CUT.search(letters):
            return line.encode("utf-8", "surrogateescape").decode("cp1252")
    return line


def _quoted(line: str, lines: _Lines, dialect: Dialect) -> tuple[list[str], str]:
    """A row that begins with ``line`` and may go on in the next ones."""
    taken, delimiter, width = [line], dialect.delimiter, len(dialect.header)

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
        if len(taken) == 1 or (dialect.fitted(fields) and not _swallowed(taken, delimiter, width)):
            return fields, ""
    except (csv.Error, StopIteration):
        pass
    lines.give_back(taken[1:])
    alone = next(csv.reader([line], delimiter=delimiter))
    ends = not alone[-1].endswith(("\n", "\r"))  # of an open quote the end of the line is part of the field
    return alone, "" if ends and dialect.fitted(alone) else STRAY_QUOTE


def _swallowed(taken: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether a quote that was never closed took whole rows with it, up to a later stray one."""
    if width < 3 or len(taken) < 3:
        return False
    return all(line.count(delimiter) == width - 1 and not line.startswith((delimiter, '"')) for line in taken)


def may_hold_rows(value: str, delimiter: str, width: int) -> bool:
    """Whether a field of several lines looks as if a stray quote had taken whole rows into it."""
    inner = value.splitlines()[1:-1]
    return width >= 3 and bool(inner) and all(line.count(delimiter) == width - 1 for line in inner)
