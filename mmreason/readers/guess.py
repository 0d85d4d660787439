"""A guess at which file and column is what, from their names and values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mmreason.readers.mapping import FIELDS, NEEDED, USER, TableMap
from mmreason.readers.rows import FORMATS, sample
from mmreason.schema import DataError

_LONGEST = 40  # characters; what is longer on average describes, it is no attribute's value


def guess_mapping(root: Path) -> dict[str, TableMap]:
    """Guess from names of files and columns.

    Files called ``items``, ``interactions`` and ``reasons`` are those; else a table with a user and an item is
    the interactions, and one with an id and no user the items. If a table has no attributes by name, its short
    text columns that repeat are taken for such.

    Args:
        root: A folder of tables, or the file of items alone.

    Raises:
        DataError: If there is no table of items, or more than one that could be it.
    """
    if not root.exists():
        raise DataError(f"catalogue.root {root} is not a folder")
    files = {kind: _named(root, kind) for kind in FIELDS} if root.is_dir() else {"items": root}
    if files["items"] is None:
        files |= _by_columns(root, [path for path in files.values() if path])
    return {kind: _guess(kind, path) for kind, path in files.items() if path}


def _named(root: Path, name: str) -> Path | None:
    paths = [root / f"{name}.{ending}" for ending in FORMATS if (root / f"{name}.{ending}").is_file()]
    if len(paths) > 1:
        raise DataError(f"{root} holds {' and '.join(path.name for path in paths)}; keep one of them")
    return paths[0] if paths else None


def _by_columns(root: Path, taken: list[Path]) -> dict[str, Path | None]:
    found: dict[str, list[Path]] = {"items": [], "interactions": []}
    for path in sorted(root.iterdir()):
        if path in taken or not path.name.endswith(tuple(f".{ending}" for ending in FORMATS)):
            continue
        columns = list(sample(path))
        if all(_find(columns, FIELDS["interactions"][name]) for name in NEEDED["interactions"]):
            found["interactions"].append(path)
        elif _find(columns, FIELDS["items"]["id"]) and not _find(columns, USER):
            found["items"].append(path)
    for kind, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise DataError(
                f"{root}: {names} may all be the {kind}; name one in a --catalogue.options.mapping file"
            )
    if not found["items"]:
        raise DataError(
            f"{root} holds no items.parquet, items.csv or items.jsonl, nor a table with an id column; name it in "
            "a --catalogue.options.mapping file"
        )
    return {kind: paths[0] for kind, paths in found.items() if paths}


def _guess(kind: str, path: Path) -> TableMap:
    columns = sample(path)
    fields: dict[str, Any] = {}
    for name, likely in FIELDS[kind].items():
        column = _find([c for c in columns if c not in fields.values()], likely)
        if column is not None:
            fields[name] = column
        elif not columns or ".jsonl" in path.suffixes:  # whose later rows may have it
            fields[name] = name
    missing = [name for name in NEEDED[kind] if columns and fields.get(name) not in columns]
    if missing and not set(FIELDS[kind]) & set(columns):
        raise DataError(
            f"{path}: no column looks like {missing[0]}; there are {', '.join(columns)}; say which in a "
            "--catalogue.options.mapping file"
        )
    named = any(column.startswith(("attributes.", "hidden.")) for column in columns)
    if kind == "items" and fields.get("attributes", "") not in columns and not named:
        used = set(fields.values())
        facts = {c: c for c, values in columns.items() if c not in used and _is_attribute(values)}
        fields |= {"attributes": facts} if facts else {}
    return TableMap(path.name, fields)


def _is_attribute(values: list[Any]) -> bool:
    """Whether a column's values are short words that repeat, such as a material's."""
    words = [value for value in values if isinstance(value, str) and value.strip()]
    if len(words) < 2 or sum(map(len, words)) > _LONGEST * len(words):
        return False
    numbers = sum(re.fullmatch(r"[\d.,:/\-\s%$€£]+", word) is not None for word in words)
    return len(set(words)) <= max(1, len(words) // 2) and numbers < len(words) / 2


def _find(columns: list[str], likely: list[str]) -> str | None:
    plain = {re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_"): column for column in reversed(columns)}
    return next((plain[name] for name in likely if name in plain), None)
