"""Plain tables: a folder with ``items`` and, if there are any, ``interactions`` and ``reasons``.

Each is Parquet, CSV or JSONL with columns named as in :mod:`mmreason.schema`. ``images`` may be a list, JSON,
one path, or paths joined by ``|``; ``attributes`` JSON or ``name=value;name=value``, or columns
``attributes.<name>``; several values are joined by ``|``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.config import Config
from mmreason.data.check import Row, Tables
from mmreason.schema import DataError

FORMATS = ("parquet", "csv", "jsonl")
_NESTED = ("attributes", "hidden")


def read(config: Config) -> Tables:
    """Read the tables under ``catalogue.root``."""
    if not config.catalogue.root:
        raise DataError(
            "catalogue.root is empty; name the folder that holds items.parquet, items.csv or items.jsonl"
        )
    return read_folder(Path(config.catalogue.root))


def read_folder(root: Path) -> Tables:
    """Read a folder of tables; media paths are relative to it.

    Raises:
        DataError: If there is no ``items`` table, two of one name, or one that cannot be opened.
    """
    if not root.is_dir():
        raise DataError(f"catalogue.root {root} is not a folder")
    found = {name: _find(root, name) for name in ("items", "interactions", "reasons")}
    if found["items"] is None:
        raise DataError(f"{root} holds no items.parquet, items.csv or items.jsonl")
    rows = {name: list(_rows(path)) if path else [] for name, path in found.items()}
    for row in rows["items"]:
        _tidy_item(row)
    return Tables(root, rows["items"], rows["interactions"], rows["reasons"])


def _find(root: Path, name: str) -> Path | None:
    paths = [root / f"{name}.{ending}" for ending in FORMATS if (root / f"{name}.{ending}").is_file()]
    if len(paths) > 1:
        raise DataError(f"{root} holds {' and '.join(path.name for path in paths)}; keep one of them")
    return paths[0] if paths else None


def _rows(path: Path) -> Iterator[Row]:
    try:
        yield from {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}[path.suffix](path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _parquet(path: Path) -> Iterator[Row]:
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a Parquet file: {error}") from None
    for number, record in enumerate(table.to_pylist(), 1):
        yield Row(path.name, number, record)


def _csv(path: Path) -> Iterator[Row]:
    # surrogateescape keeps a row with broken bytes readable, for the check to set aside alone
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        number = 0
        while True:
            number += 1
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(path.name, number, {}, f"not CSV: {error}")
                continue
            odd = None in record or None in record.values()  # DictReader marks both with None
            yield Row(path.name, number, record, "more or fewer fields than the header" if odd else "")


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict):
                yield Row(path.name, number, record)
            else:
                yield Row(path.name, number, {"line": line.strip()[:200]}, "not a JSON object")


def _tidy_item(row: Row) -> None:
    """Bring ``images`` to a list and ``attributes`` and ``hidden`` to name → values."""
    if row.problem:
        return
    record = row.record
    try:
        record["images"] = _paths(record.get("images"))
        for field in _NESTED:
            facts = _facts(record.get(field))
            for column in [c for c in record if c.startswith(field + ".")]:
                facts[column.removeprefix(field + ".")] = _values(record.pop(column))
            record[field] = {name: values for name, values in facts.items() if name and values}
    except (ValueError, TypeError, RecursionError):
        row.problem = "images or attributes cannot be read"


def _paths(value: Any) -> list[str]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    return _values(value)


def _facts(value: Any) -> dict[str, list[str]]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("{"):
            value = json.loads(text)
        else:
            facts: dict[str, list[str]] = {}
            for part in filter(str.strip, text.split(";")):
                name, equals, values = part.partition("=")
                if not equals:
                    raise ValueError(part)
                facts.setdefault(name.strip(), []).extend(_values(values))
            return facts
    if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value):
        value = dict(value)  # a Parquet map
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(value)
    return {str(name).strip(): _values(values) for name, values in (value or {}).items()}


def _values(value: Any) -> list[str]:
    if value is None:
        return []
    values = value.split("|") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if any(isinstance(v, Mapping | list) for v in values):
        raise ValueError(value)
    return [text for v in values if v is not None and (text := str(v).strip())]
