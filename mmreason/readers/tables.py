"""Plain tables: a folder with ``items`` and, if there are any, ``interactions`` and ``reasons``.

Each is Parquet, CSV, TSV or JSONL, the last three also gzipped. Which column is what says a mapping
(:mod:`mmreason.readers.mapping`), or it is guessed from the names. ``images`` may be a list, JSON, one path,
paths joined by ``|`` or several columns; ``attributes`` JSON or ``name=value;name=value``, or columns
``attributes.<name>``; several values are joined by ``|``.
"""

from __future__ import annotations

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
from mmreason.values import facts, paths, words

_NESTED = ("attributes", "hidden")


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
    for name, source in fields.items():
        if isinstance(source, Mapping):
            record[name] = (
                source["value"]
                if name not in _NESTED
                else {key: row.record.get(column) for key, column in source.items()}
            )
        elif not isinstance(source, str):
            record[name] = [row.record.get(column) for column in source]
        else:
            record[name] = row.record.get(source)
    nested = tuple(f"{name}." for name in _NESTED)
    row.record = record | {c: v for c, v in row.record.items() if c.startswith(nested)}


def _frames(folder: Path, table: TableMap) -> Iterator[pl.DataFrame]:
    def choose(frame: pl.DataFrame) -> pl.DataFrame:
        columns = [
            pl.lit(str(source["value"])).alias(name)
            if isinstance(source, Mapping)
            else pl.col(source).alias(name)
            for name, source in table.fields.items()
            if isinstance(source, Mapping) or source in frame.columns
        ]
        return frame.select(columns)

    return table_frames(folder / table.file, choose)


def _tidy_item(row: SourceRow) -> SourceRow:
    """Bring ``images`` to a list and ``attributes`` and ``hidden`` to name → values."""
    if row.problem:
        return row
    record = row.record
    row.read("images", _pictures, [])
    for field in _NESTED:
        found = row.read(field, facts, {})
        for column in [c for c in record if c.startswith(field + ".")]:
            if values := row.read(column, words, []):
                found[column.removeprefix(field + ".")] = values
            del record[column]
    return row


def _pictures(value: Any) -> list[Any]:
    """The pictures of one column, or of several."""
    several = value if isinstance(value, list) else [value]
    return [path for each in several for path in paths(each)]
