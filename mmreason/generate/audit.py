"""``mmreason audit``: a table of reasons, whoever wrote them, against the compliance packs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.files import atomic_write
from mmreason.generate.compliance import Breach, Compliance
from mmreason.language import is_chinese
from mmreason.readers.mapping import FIELDS
from mmreason.readers.rows import format_of, read_rows, sample
from mmreason.readers.source import SourceRow, batches
from mmreason.safety.sensitive import read_terms
from mmreason.schema import DataError, printable
from mmreason.shops.guess import find

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("kind", pa.string()),
        ("said", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("why", pa.string()),
        ("text", pa.string()),
    ]
)
"""Of the table of breaches; ``row`` counts from 1, ``start`` and ``end`` are characters of ``text``."""

_OTHERS = {
    "language": ["language", "lang", "locale"],
    "category": ["category", "domain", "categories", "类目"],
}
_SHOWN = 90  # characters of an example


@dataclass
class _Counts:
    """What was found so far."""

    rows: int = 0
    empty: int = 0
    unreadable: int = 0
    broken: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)


def audit(
    reasons: str,
    packs: list[str] | None = None,
    sensitive: str = "",
    language: str = "",
    category: str = "",
    out: str = "",
    examples: int = 2,
) -> str:
    """Check every reason of a table, and write what breaks a rule into a table beside it.

    Args:
        reasons: Parquet, CSV, JSONL …, or a folder of such parts, with a column ``text`` (or ``reason``); columns of
            language and category are used where there are some.
        packs: Packs of your own (YAML), beside those that come with the toolkit.
        sensitive: YAML file of further terms that nobody may infer of a person, kind → terms.
        language: Of all texts; by default that of the row, else ``zh`` or ``en`` by the look of the text.
        category: Of all items, where the table has no such column.
        out: Table of breaches; by default ``<reasons>.breaches.parquet``.
        examples: Breaches of each kind to show.

    Returns:
        How many reasons break a rule, by kind, with examples.

    Raises:
        DataError: If a reason breaks a rule (after the report is printed), or if there is no table of reasons.
    """
    path = Path(reasons)
    files = _files(path)
    compliance = Compliance(packs or [], read_terms(sensitive) if sensitive else None)
    target = Path(out) if out else path.with_name(f"{path.name.split('.')[0]}.breaches.parquet")
    counts = _Counts()
    found = (
        row for file in files for row in _breaches(file, compliance, language, category, counts, examples)
    )
    with atomic_write(target) as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for part in batches(found, 10_000):
            writer.write_table(pa.Table.from_pylist(part, SCHEMA))
    report = _report(path, target, counts)
    if counts.broken or counts.unreadable:
        print(report)
        raise DataError(
            f"{_share(counts)} of {path.name} may not be shown; {target} has each breach and its cause"
        )
    return report


def _files(path: Path) -> list[Path]:
    files = sorted(p for p in path.iterdir() if format_of(p)) if path.is_dir() else [path]
    if not files or not path.exists():
        raise DataError(
            f"{path}: no table of reasons; give a Parquet, CSV or JSONL file, or a folder of them"
        )
    return files


def _breaches(
    path: Path, compliance: Compliance, language: str, category: str, counts: _Counts, examples: int
) -> Iterator[dict[str, Any]]:
    """A row for every breach of a file; ``counts`` grows with it."""
    columns = sample(path)
    names = {name: find(columns, likely) for name, likely in {**FIELDS["reasons"], **_OTHERS}.items()}
    if names["text"] is None:
        raise DataError(f"{path}: no column of texts; call it text or reason, there are {', '.join(columns)}")
    for row in read_rows(path):
        counts.rows += 1
        if row.problem:
            counts.unreadable += 1
            _note(counts, "unreadable", f"row {row.number}: {row.problem}", examples)
            continue
        text = _told(row, names["text"])
        if not text:
            counts.empty += 1
            continue
        spoken = language or _told(row, names["language"]) or ("zh" if is_chinese(text) else "en")
        found = compliance.breaches(text, spoken, _told(row, names["category"]) or category)
        counts.broken += bool(found)
        for kind in dict.fromkeys(each.kind for each in found):
            said = _said(text, next(each for each in found if each.kind == kind))
            counts.kinds[kind] += 1
            _note(counts, kind, f"row {row.number}: {said!r} in {text[:_SHOWN]!r}", examples)
        yield from _rows(row, names, text, found)


def _rows(
    row: SourceRow, names: dict[str, str | None], text: str, found: Iterable[Breach]
) -> Iterator[dict[str, Any]]:
    for each in found:
        yield {
            "row": row.number,
            "user_id": _told(row, names["user_id"]),
            "item_id": _told(row, names["item_id"]),
            "kind": each.kind,
            "said": _said(text, each),
            "start": each.span[0],
            "end": each.span[1],
            "why": each.why,
            "text": text,
        }


def _told(row: SourceRow, column: str | None) -> str:
    value = row.record.get(column) if column else None
    return "" if value is None else str(value).strip()


def _said(text: str, breach: Breach) -> str:
    return text[slice(*breach.span)]


def _note(counts: _Counts, kind: str, example: str, most: int) -> None:
    shown = counts.examples.setdefault(kind, [])
    if len(shown) < most:
        shown.append(printable(example))


def _share(counts: _Counts) -> str:
    bad = counts.broken + counts.unreadable
    return f"{bad:,} of {counts.rows:,} reasons ({bad / max(counts.rows, 1):.1%})"


def _report(path: Path, target: Path, counts: _Counts) -> str:
    lines = [f"{path}: {_share(counts)} break a rule; {counts.empty:,} rows have no text"]
    kinds = counts.kinds + Counter({"unreadable": counts.unreadable})
    for kind, number in sorted(kinds.items(), key=lambda each: (-each[1], each[0])):
        lines.append(f"  {kind}: {number:,}")
        lines += [f"    {example}" for example in counts.examples.get(kind, [])]
    return "\n".join([*lines, f"every breach: {target}"])
