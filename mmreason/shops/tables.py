"""Tables: a folder with ``items`` and, if there are any, ``interactions`` and ``reasons``, or a shop system's exports.

Which file and column is what says a mapping (:mod:`mmreason.readers.mapping`), or it is found out
(:mod:`mmreason.shops.folder`). ``images`` may be a list, JSON, one path,
paths joined by ``|`` or several columns; ``attributes`` JSON or ``name=value;name=value``, or columns
``attributes.<name>``; several values are joined by ``|``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl

from mmreason.cleaning import plain_text
from mmreason.config import Config
from mmreason.files import atomic_write
from mmreason.flags import is_set
from mmreason.readers.columns import LogColumns, cell, has_gaps, path_of
from mmreason.readers.embedded import EmbeddedMedia, holds_bytes
from mmreason.readers.frames import row_frames, table_frames
from mmreason.readers.mapping import EVERY, TableMap, joins_of, read_mapping, write_mapping
from mmreason.readers.rows import SAMPLE, oddities, read_rows, sample, sample_of
from mmreason.readers.source import SourceRow, Tables
from mmreason.schema import DataError
from mmreason.shops.folder import survey
from mmreason.shops.late import LateKeys
from mmreason.shops.layouts import levels, listed
from mmreason.shops.orders import carried_down, item_keys, own_ids, single_lines
from mmreason.shops.systems import LAYOUTS
from mmreason.values import facts, paths, words

LOGS = ("interactions", "reviews")
"""Kinds of tables that hold what users did."""

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
        return read_mapped(root, read_mapping(Path(options.mapping), root), config.path("media"))
    found = survey(root, layout)
    path = config.path("mapping.yaml")
    with atomic_write(path) as file:
        file.write(write_mapping(found.tables).encode())
    print(
        f"{found}\ncolumns guessed: {path}; to change them, edit a copy and pass it as --catalogue.options.mapping",
        file=sys.stderr,
    )
    return read_mapped(root, found.tables, config.path("media"))


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


def read_mapped(root: Path, tables: dict[str, TableMap], media: Path | None = None) -> Tables:
    """Read the tables that a mapping names.

    Args:
        root: The catalogue's folder, or its file of items.
        tables: Kind of table → its mapping.
        media: Folder for pictures that stand in cells as bytes; it becomes the media root if there are any.

    Raises:
        DataError: If one has a layout that is not known.
    """
    unknown = [table.layout for table in tables.values() if table.layout and table.layout not in LAYOUTS]
    if unknown:
        raise DataError(f"no layout is called {unknown[0]!r}; there are {', '.join(LAYOUTS)}")
    folder = root.parent if root.is_file() else root
    for path in dict.fromkeys(path for table in tables.values() for path in table.files(folder)):
        for line in oddities(path):
            print(line, file=sys.stderr)
    logs = [tables[kind] for kind in LOGS if kind in tables]
    rows = {kind: _rows(folder, table) for kind, table in tables.items() if kind not in LOGS}
    if any(log.file == tables["items"].file for log in logs):
        rows["items"] = _first_of_each(rows["items"])
    embedded = EmbeddedMedia(media, folder) if media and _has_embedded(folder, tables["items"]) else None
    return Tables(
        embedded.folder if embedded else folder,
        items=(_tidy_item(row, embedded) for row in rows["items"]),
        interactions=chain.from_iterable(_interactions(folder, log, tables["items"]) for log in logs),
        reasons=rows.get("reasons", ()),
    )


def _has_embedded(folder: Path, items: TableMap) -> bool:
    named = [items.fields.get(name) or [] for name in ("images", "video")]
    columns = [column for source in named if not isinstance(source, Mapping) for column in _listed(source)]
    return not items.layout and any(holds_bytes(path, columns) for path in items.files(folder))


def _listed(source: Any) -> list[str]:
    return source if isinstance(source, list) else [source]


def _first_of_each(rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
    """Items that a log names again and again: the first row of each is the item."""
    seen: set[str] = set()
    for row in rows:
        item = str(row.record.get("id"))
        if row.problem or item not in seen:
            seen.add(item)
            yield row


def _rows(folder: Path, table: TableMap) -> Iterator[SourceRow]:
    if table.layout:
        yield from _layout_rows(folder, table)
        return
    rows = chain.from_iterable(read_rows(path, table.columns) for path in table.files(folder))
    first = list(islice(rows, SAMPLE))
    named = {name: table.fields.get(name) for name in ("id", "group", "user_id", "item_id")}
    gaps = [
        name
        for name, column in named.items()
        if isinstance(column, str) and has_gaps([row.record.get(column) for row in first])
    ]
    made = [name for name in ("images", "video") if _has_pattern(table.fields.get(name))]
    missing, late = 0, LateKeys(table)
    for row in chain(first, rows):
        if not row.problem:
            late.look(row)
            _rename(row, table.fields, gaps)
            for name in made:
                if row.record[name] and not (folder / row.record[name]).exists():
                    row.record[name], missing = None, missing + 1
        yield row
    if missing:
        print(f"{table.file}: {missing:,} rows have no file where the pattern says", file=sys.stderr)
    for line in late.lines():
        print(line, file=sys.stderr)


def _has_pattern(source: Any) -> bool:
    return isinstance(source, Mapping) and "pattern" in source


def _layout_rows(folder: Path, table: TableMap) -> Iterator[SourceRow]:
    """The items of a shop system's export, with the attributes that the mapping names."""
    chosen = table.fields.get("attributes")
    for row in chain.from_iterable(map(LAYOUTS[table.layout].rows, table.files(folder))):
        if not row.problem and chosen is not None:
            has = row.record["attributes"]
            found = {name: _chosen(has, source) for name, source in chosen.items()}
            row.record["attributes"] = {name: values for name, values in found.items() if values}
        yield row


def _chosen(has: Mapping[str, list[str]], source: Any) -> list[str]:
    """The values of an attribute of an export, or the word of a flag that is set."""
    if not isinstance(source, Mapping):
        return has.get(source, [])
    return [source["flag"]] if any(map(is_set, has.get(source["column"], []))) else []


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


def _rename(row: SourceRow, fields: Mapping[str, Any], gaps: Sequence[str]) -> None:
    """From the source's columns to the schema's fields; ids of ``gaps`` without their ``.0``."""
    record: dict[str, Any] = {}
    for name, source in fields.items():
        if isinstance(source, Mapping) and EVERY in source:
            record[name] = cell(row.record, source[EVERY])
            others = ((key, column) for key, column in source.items() if key != EVERY)
            record |= {f"{name}.{key}": _attribute(row.record, column) for key, column in others}
        elif isinstance(source, Mapping):
            record[name] = (
                {key: _attribute(row.record, column) for key, column in source.items()}
                if name in _NESTED
                else {kind: cell(row.record, column) for kind, column in source.items()}
                if name == "links"
                else source["value"]
                if "value" in source
                else path_of(str(source["pattern"]), row.record, fields)
                if "pattern" in source
                else cell(row.record, source["column"])
            )
        elif not isinstance(source, str):
            record[name] = [cell(row.record, column) for column in source]
        else:
            record[name] = cell(row.record, source)
    for name in gaps:
        record[name] = str(record[name] or "").partition(".")[0]
    nested = tuple(f"{name}." for name in _NESTED)
    row.record = record | {c: v for c, v in row.record.items() if c.startswith(nested)}


def _attribute(record: Mapping[str, Any], source: Any) -> Any:
    """An attribute's cell, or the several values that it holds, or the levels of its path."""
    if not isinstance(source, Mapping):
        return cell(record, source)
    value = cell(record, source["column"])
    if "flag" in source:
        return [source["flag"]] if is_set(value) else None
    if not isinstance(value, str) or value.lstrip()[:1] in ("[", "{"):  # a list says itself what it holds
        return value
    parts = plain_text(value).split("|")
    if sign := source.get("path"):
        paths = [path for part in parts for path in _several_paths(part, sign)]
        return list(dict.fromkeys(level for path in paths for level in levels(path, sign)))
    return [word for part in parts for word in listed(part, source.get("split", ","))]


def _several_paths(text: str, sign: str) -> list[str]:
    """``A > B, A > C`` is two paths; a comma in a level's name is none between paths."""
    pieces = re.split(r"[,;]", text)
    return pieces if all(sign in piece for piece in pieces) else [text]


def _frames(folder: Path, table: TableMap) -> Iterator[pl.DataFrame]:
    fields = dict(table.fields)
    if not isinstance(fields.get("item_id", ""), str):
        for place, join in enumerate(joins_of(fields.pop("item_id"))):
            fields[f"item_id.{place}"] = join["column"] if isinstance(join, Mapping) else join
    paths, many = table.files(folder), fields.pop("products", None)
    for path in paths:
        if many is not None:
            lines = list(single_lines(islice(read_rows(path), SAMPLE), many))
            yield from row_frames(single_lines(read_rows(path), many), LogColumns(fields, sample_of(lines)))
        else:
            made = LogColumns(fields, sample(path, table.columns))
            yield from table_frames(path, made, table.columns)


def _tidy_item(row: SourceRow, embedded: EmbeddedMedia | None) -> SourceRow:
    """Bring ``images`` to a list and ``attributes`` and ``hidden`` to name → values."""
    if row.problem:
        return row
    record = row.record
    row.read("images", lambda value: _pictures(value, embedded), [])
    if not isinstance(record.get("video"), str | None) or embedded:
        row.read("video", lambda value: next(iter(_pictures(value, embedded)), None), None)
    for field in _NESTED:
        found = row.read(field, facts, {})
        for column in [c for c in record if c.startswith(field + ".")]:
            if values := row.read(column, words, []):
                found[column.removeprefix(field + ".")] = values
            del record[column]
    return row


def _pictures(value: Any, embedded: EmbeddedMedia | None) -> list[str]:
    """The paths of the pictures of one column, or of several."""
    several = value if isinstance(value, list) else [value]
    found = [each for one in several for each in paths(one)]
    if embedded is not None:
        return [embedded.path(each) for each in found]
    if not all(isinstance(each, str) for each in found):
        raise ValueError("bytes, and no folder to put them into")
    return [str(each) for each in found]
