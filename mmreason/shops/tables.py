"""Tables: a folder with ``items`` and, if there are any, ``interactions`` and ``reasons``, or a shop system's exports.

Which file and column is what says a mapping (:mod:`mmreason.readers.mapping`), or it is found out
(:mod:`mmreason.shops.folder`). ``images`` may be a list, JSON, one path,
paths joined by ``|`` or several columns; ``attributes`` JSON or ``name=value;name=value``, or columns
``attributes.<name>``; several values are joined by ``|``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mmreason.config import Config
from mmreason.files import atomic_write
from mmreason.readers.frames import row_frames, table_frames
from mmreason.readers.mapping import TableMap, joins_of, read_mapping, write_mapping
from mmreason.readers.rows import read_rows
from mmreason.readers.source import SourceRow, Tables
from mmreason.schema import DataError
from mmreason.shops.folder import survey
from mmreason.shops.layouts import levels, listed
from mmreason.shops.orders import carried_down, item_keys, own_ids, single_lines
from mmreason.shops.systems import LAYOUTS
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
    """Read the tables under ``catalogue.root``; a mapping that was found out is saved as ``<run_dir>/mapping.yaml``.

    Raises:
        DataError: If there is no table of items, one that cannot be opened, or a mapping that does not fit.
    """
    return _read(config, options)


def _read(config: Config, options: TablesOptions, layout: str = "") -> Tables:
    if not config.catalogue.root:
        raise DataError(
            "catalogue.root is empty; name the folder that holds items.parquet, items.csv or items.jsonl"
        )
    root = Path(config.catalogue.root)
    if options.mapping:
        return read_mapped(root, read_mapping(Path(options.mapping), root))
    found = survey(root, layout)
    path = config.path("mapping.yaml")
    with atomic_write(path) as file:
        file.write(write_mapping(found.tables).encode())
    print(
        f"{found}\ncolumns guessed: {path}; to change them, edit a copy and pass it as --catalogue.options.mapping",
        file=sys.stderr,
    )
    return read_mapped(root, found.tables)


def _reader_of(layout: str) -> Callable[[Config, TablesOptions], Tables]:
    """A reader that takes its items from an export of one shop system only."""

    def read_layout(config: Config, options: TablesOptions) -> Tables:
        return _read(config, options, layout)

    return read_layout


read_shopify = _reader_of("shopify")
read_woocommerce = _reader_of("woocommerce")
read_bigcommerce = _reader_of("bigcommerce")
read_magento_csv = _reader_of("magento_csv")
read_google_merchant = _reader_of("google_merchant")


def read_folder(root: Path) -> Tables:
    """Read a folder of tables by a guessed mapping; media paths are relative to it.

    Raises:
        DataError: If there is no table of items, or one that cannot be opened.
    """
    return read_mapped(root, survey(root).tables)


def read_mapped(root: Path, tables: dict[str, TableMap]) -> Tables:
    """Read the tables that a mapping names.

    Raises:
        DataError: If one has a layout that is not known.
    """
    unknown = [table.layout for table in tables.values() if table.layout and table.layout not in LAYOUTS]
    if unknown:
        raise DataError(f"no layout is called {unknown[0]!r}; there are {', '.join(LAYOUTS)}")
    folder = root.parent if root.is_file() else root
    rows = {kind: _rows(folder, table) for kind, table in tables.items() if kind != "interactions"}
    return Tables(
        folder,
        items=map(_tidy_item, rows["items"]),
        interactions=_interactions(folder, tables["interactions"], tables["items"])
        if "interactions" in tables
        else (),
        reasons=rows.get("reasons", ()),
    )


def _rows(folder: Path, table: TableMap) -> Iterator[SourceRow]:
    if table.layout:
        yield from _layout_rows(folder, table)
        return
    for row in read_rows(folder / table.file):
        if not row.problem:
            _rename(row, table.fields)
        yield row


def _layout_rows(folder: Path, table: TableMap) -> Iterator[SourceRow]:
    """The items of a shop system's export, with the attributes that the mapping names."""
    chosen = table.fields.get("attributes")
    for row in LAYOUTS[table.layout].rows(folder / table.file):
        if not row.problem and chosen is not None:
            has = row.record["attributes"]
            row.record["attributes"] = {name: has[source] for name, source in chosen.items() if source in has}
        yield row


def _interactions(folder: Path, table: TableMap, items: TableMap) -> Iterator[pl.DataFrame]:
    """Frames of what users did; of orders each line with its customer, and with the id that the items have."""
    frames = _frames(folder, table)
    if "order" in table.fields:
        frames = carried_down(frames)
    if isinstance(table.fields.get("item_id", ""), str):
        return frames
    joins = joins_of(table.fields["item_id"])
    keys = [join["matches"] if isinstance(join, Mapping) else "id" for join in joins]
    return own_ids(frames, keys, item_keys(folder, items))


def _rename(row: SourceRow, fields: Mapping[str, Any]) -> None:
    """From the source's columns to the schema's fields."""
    record: dict[str, Any] = {}
    for name, source in fields.items():
        if isinstance(source, Mapping):
            record[name] = (
                source["value"]
                if name not in _NESTED
                else {key: _attribute(row.record, column) for key, column in source.items()}
            )
        elif not isinstance(source, str):
            record[name] = [row.record.get(column) for column in source]
        else:
            record[name] = row.record.get(source)
    nested = tuple(f"{name}." for name in _NESTED)
    row.record = record | {c: v for c, v in row.record.items() if c.startswith(nested)}


def _attribute(record: Mapping[str, Any], source: Any) -> Any:
    """An attribute's cell, or the several values that it holds, or the levels of its path."""
    if not isinstance(source, Mapping):
        return record.get(source)
    value = record.get(source["column"])
    if not isinstance(value, str):
        return value
    parts = value.split("|")
    if "path" in source:
        return list(dict.fromkeys(level for part in parts for level in levels(part, source["path"])))
    return [word for part in parts for word in listed(part, source.get("split", ","))]


def _frames(folder: Path, table: TableMap) -> Iterator[pl.DataFrame]:
    fields = dict(table.fields)
    if not isinstance(fields.get("item_id", ""), str):
        for place, join in enumerate(joins_of(fields.pop("item_id"))):
            fields[f"item_id.{place}"] = join["column"] if isinstance(join, Mapping) else join
    path, many = folder / table.file, fields.pop("products", None)

    def choose(frame: pl.DataFrame) -> pl.DataFrame:
        columns = [
            pl.lit(str(source["value"])).alias(name)
            if isinstance(source, Mapping)
            else pl.col(source).alias(name)
            for name, source in fields.items()
            if isinstance(source, Mapping) or source in frame.columns
        ]
        return frame.select(columns)

    if many is not None:
        return row_frames(single_lines(read_rows(path), many), choose)
    return table_frames(path, choose)


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
