"""Plain tables: a folder with ``items`` and, if there are any, ``interactions`` and ``reasons``.

Each is Parquet, CSV, TSV or JSONL, the last three also gzipped. Which column is what says a mapping
(:mod:`mmreason.readers.mapping`), or it is guessed from the names. ``images`` may be a list, JSON, one path,
paths joined by ``|`` or several columns; ``attributes`` JSON or ``name=value;name=value``, or columns
``attributes.<name>``; several values are joined by ``|``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mmreason.config import Config
from mmreason.files import atomic_write
from mmreason.readers.frames import table_frames
from mmreason.readers.guess import guess_mapping
from mmreason.readers.mapping import TableMap, read_mapping, write_mapping
from mmreason.readers.rows import read_rows
from mmreason.readers.source import SourceRow, Tables
from mmreason.schema import DataError

_NESTED = ("attributes", "hidden")
_JOINED = ("title", "text")


@dataclass(frozen=True, slots=True)
class TablesOptions:
    """Options of the reader of plain tables.

    Args:
        mapping: YAML file that says which column is what; empty guesses one and saves it.
    """

    mapping: str = ""


def read(config: Config, options: TablesOptions) -> Tables:
    """Read the tables under ``catalogue.root``; a guessed mapping is saved as ``<run_dir>/mapping.yaml``.

    Raises:
        DataError: If there is no ``items`` table, two of one name, one that cannot be opened, or a mapping that
            does not fit.
    """
    if not config.catalogue.root:
        raise DataError(
            "catalogue.root is empty; name the folder that holds items.parquet, items.csv or items.jsonl"
        )
    root = Path(config.catalogue.root)
    if options.mapping:
        return read_mapped(root, read_mapping(Path(options.mapping), root))
    tables = guess_mapping(root)
    path = config.path("mapping.yaml")
    with atomic_write(path) as file:
        file.write(write_mapping(tables).encode())
    print(
        f"columns guessed: {path}; to change them, edit a copy and pass it as --catalogue.options.mapping",
        file=sys.stderr,
    )
    return read_mapped(root, tables)


def read_folder(root: Path) -> Tables:
    """Read a folder of tables by a guessed mapping; media paths are relative to it.

    Raises:
        DataError: If there is no ``items`` table, two of one name, or one that cannot be opened.
    """
    return read_mapped(root, guess_mapping(root))


def read_mapped(root: Path, tables: dict[str, TableMap]) -> Tables:
    """Read the tables that a mapping names."""
    folder = root.parent if root.is_file() else root
    rows = {kind: _rows(folder, table) for kind, table in tables.items() if kind != "interactions"}
    return Tables(
        folder,
        items=map(_tidy_item, rows["items"]),
        interactions=_frames(folder, tables["interactions"]) if "interactions" in tables else (),
        reasons=rows.get("reasons", ()),
    )


def _rows(folder: Path, table: TableMap) -> Iterator[SourceRow]:
    for row in read_rows(folder / table.file):
        if not row.problem:
            _rename(row, table.fields)
        yield row


def _rename(row: SourceRow, fields: Mapping[str, Any]) -> None:
    """From the source's columns to the schema's fields."""
    record: dict[str, Any] = {}
    try:
        for name, source in fields.items():
            if isinstance(source, Mapping):
                record[name] = (
                    source["value"]
                    if name not in _NESTED
                    else {key: _values(row.record.get(column)) for key, column in source.items()}
                )
            elif not isinstance(source, str):
                values = [row.record.get(column) for column in source]
                record[name] = _joined(values) if name in _JOINED else _all_paths(values)
            else:
                record[name] = row.record.get(source)
        nested = tuple(f"{name}." for name in _NESTED)
        row.record = record | {c: v for c, v in row.record.items() if c.startswith(nested)}
    except (ValueError, TypeError, RecursionError):
        row.problem = "images or attributes cannot be read"


def _joined(values: list[Any]) -> str:
    return "\n".join(str(value).strip() for value in values if value not in (None, ""))


def _all_paths(values: list[Any]) -> list[str]:
    return [path for value in values for path in _paths(value)]


def _frames(folder: Path, table: TableMap) -> Iterator[pl.DataFrame]:
    for frame in table_frames(folder / table.file):
        named = [name for name in ("file", "row", "problem", "record") if name in frame.columns]
        columns = [
            pl.lit(str(source["value"])).alias(name)
            if isinstance(source, Mapping)
            else pl.col(source).alias(name)
            for name, source in table.fields.items()
            if isinstance(source, Mapping) or source in frame.columns
        ]
        yield frame.select(*named, *columns)


def _tidy_item(row: SourceRow) -> SourceRow:
    """Bring ``images`` to a list and ``attributes`` and ``hidden`` to name → values."""
    if row.problem:
        return row
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
    return row


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
