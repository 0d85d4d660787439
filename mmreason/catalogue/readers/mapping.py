"""Which column is what: a YAML file for the reader of plain tables, and a guess to start from.

items:
  file: products.csv
  id: sku
  title: name
  text: [short_description, description]   # joined
  images: [photo, more_photos]             # all of them
  attributes: {material: Material, brand: Brand}
  domain: {value: shop}                    # the same for every row
interactions:
  file: orders.csv
  user_id: customer
  item_id: sku
  timestamp: date
  event: {value: purchase}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from mmreason.catalogue.check import inside
from mmreason.catalogue.readers.rows import FORMATS, read_rows
from mmreason.schema import DataError

_ITEM = [
    *("item_id", "item", "sku", "product_id", "product", "asin", "parent_asin"),
    *("article_id", "video_id", "movie_id", "news_id", "iid"),
]
_USER = [
    *("user_id", "user", "userid", "uid", "customer_id", "customer", "visitor_id"),
    *("reviewer_id", "reviewer", "account_id"),
]

FIELDS: dict[str, dict[str, list[str]]] = {
    "items": {
        "id": ["id", *_ITEM, "code", "handle"],
        "title": ["title", "name", "product_name", "item_name", "product_title", "headline"],
        "text": ["text", "description", "product_description", "body", "abstract", "summary"],
        "images": [
            *("images", "image", "image_url", "image_urls", "image_path", "image_paths", "picture"),
            *("pictures", "photo", "photos", "img", "cover", "main_image", "thumbnail"),
        ],
        "video": ["video", "video_url", "video_path", "clip"],
        "attributes": ["attributes"],
        "hidden": ["hidden"],
        "domain": ["domain"],
        "group": ["group", "group_id", "parent_id", "variant_of"],
        "split": ["split"],
    },
    "interactions": {
        "user_id": _USER,
        "item_id": [*_ITEM, "itemid"],
        "event": ["event", "event_type", "action", "behavior", "behaviour"],
        "count": ["count", "quantity", "qty"],
        "seconds": ["seconds", "watch_seconds", "watch_time", "dwell_time"],
        "length": ["length", "duration", "video_length"],
        "share": ["share"],
        "rating": ["rating", "stars", "score", "rating_value"],
        "timestamp": ["timestamp", "time", "date", "datetime", "created_at", "event_time", "ts"],
        "first": ["first"],
        "text": ["text", "review", "review_text", "comment", "body"],
        "helpful": ["helpful", "helpful_vote", "helpful_votes"],
    },
    "reasons": {
        "user_id": _USER,
        "item_id": _ITEM,
        "text": ["text", "reason", "explanation"],
        "evidence": ["evidence"],
        "split": ["split"],
        "profile": ["profile", "user_summary"],
    },
}
"""Kind of table → field → names of columns that are taken for it, likeliest first."""

_NEEDED = {
    "items": ("id",),
    "interactions": ("user_id", "item_id"),
    "reasons": ("user_id", "item_id", "text"),
}
_SAMPLE = 500
_LONGEST = 40  # characters; what is longer on average describes, it is no attribute's value


@dataclass(frozen=True, slots=True)
class TableMap:
    """One table.

    Attributes:
        file: Its path in the catalogue's folder.
        fields: Field → column; a list of columns for ``images``, ``title`` and ``text``; ``{"value": …}`` for
            the same in every row; for ``attributes`` and ``hidden`` also attribute → column.
    """

    file: str
    fields: dict[str, Any] = field(default_factory=dict)


def read_mapping(path: Path, root: Path) -> dict[str, TableMap]:
    """Read a mapping and check it against the tables it names.

    Raises:
        DataError: Naming the key or column that does not fit, and what there is.
    """
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"catalogue.options.mapping {path} cannot be read: {error}") from None
    if not isinstance(read, dict) or "items" not in read:
        raise DataError(f"{path} is no mapping: it needs a table `items` with `file` and `id`")
    return {kind: _checked(path, root, kind, table) for kind, table in read.items()}


def _checked(path: Path, root: Path, kind: str, table: Any) -> TableMap:
    if kind not in FIELDS or not isinstance(table, dict) or "file" not in table:
        raise DataError(f"{path}: {kind} is no table with a `file`; there are {', '.join(FIELDS)}")
    fields = {name: source for name, source in table.items() if name != "file"}
    unknown = [name for name in fields if name not in FIELDS[kind]]
    missing = [name for name in _NEEDED[kind] if name not in fields]
    if unknown or missing:
        wrong = f"unknown field {unknown[0]!r}" if unknown else f"no {missing[0]}"
        raise DataError(f"{path}: {kind} has {wrong}; its fields are {', '.join(FIELDS[kind])}")
    file = inside(root.parent if root.is_file() else root, str(table["file"]))
    columns = list(_sample(file))
    for column in (c for name, source in fields.items() for c in _sources(name, source)):
        if column not in columns:
            raise DataError(f"{path}: {kind} names column {column!r}; {file.name} has {', '.join(columns)}")
    return TableMap(str(table["file"]), fields)


def _sources(name: str, source: Any) -> list[str]:
    """The columns that a field is made of."""
    if isinstance(source, Mapping):
        constant = name not in ("attributes", "hidden")
        if constant and set(source) != {"value"}:
            raise DataError(f"mapping: {name} is {dict(source)}; write a column or {{value: …}}")
        return [] if constant else [str(column) for column in source.values()]
    if isinstance(source, list) and name not in ("images", "title", "text"):
        raise DataError(f"mapping: {name} takes one column, not {source}")
    return [str(column) for column in source] if isinstance(source, list) else [str(source)]


def write_mapping(tables: dict[str, TableMap]) -> str:
    """A mapping as YAML."""
    record = {kind: {"file": table.file, **table.fields} for kind, table in tables.items()}
    return yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=110)


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
        columns = list(_sample(path))
        if all(_find(columns, FIELDS["interactions"][name]) for name in _NEEDED["interactions"]):
            found["interactions"].append(path)
        elif _find(columns, FIELDS["items"]["id"]) and not _find(columns, _USER):
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
    sample = _sample(path)
    fields: dict[str, Any] = {}
    for name, likely in FIELDS[kind].items():
        column = _find([c for c in sample if c not in fields.values()], likely)
        if column is not None:
            fields[name] = column
        elif not sample or ".jsonl" in path.suffixes:  # whose later rows may have it
            fields[name] = name
    missing = [name for name in _NEEDED[kind] if sample and fields.get(name) not in sample]
    if missing and not set(FIELDS[kind]) & set(sample):
        raise DataError(
            f"{path}: no column looks like {missing[0]}; there are {', '.join(sample)}; say which in a "
            "--catalogue.options.mapping file"
        )
    named = any(column.startswith(("attributes.", "hidden.")) for column in sample)
    if kind == "items" and fields.get("attributes", "") not in sample and not named:
        used = set(fields.values())
        facts = {c: c for c, values in sample.items() if c not in used and _is_attribute(values)}
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


def _sample(path: Path) -> dict[str, list[Any]]:
    """Column → its values in the first rows."""
    columns: dict[str, list[Any]] = {}
    for row in islice(read_rows(path), _SAMPLE):
        if not row.problem:
            for name, value in row.record.items():
                columns.setdefault(name, []).append(value)
    return columns
