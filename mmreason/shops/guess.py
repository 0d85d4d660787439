"""A guess at which column of a table is what, from names and values, with a word on every column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mmreason.flags import selling_point
from mmreason.links import item_ids, link_kind
from mmreason.readers.mapping import EVERY, FIELDS, NEEDED, TableMap
from mmreason.schema import DataError
from mmreason.shops.layouts import NOTHING, Layout, attribute_of, plain_name
from mmreason.shops.orders import ITEM
from mmreason.shops.plumbing import are_flags, is_telling, parting, why_not
from mmreason.values import identifier, is_picture

MOST_ATTRIBUTES = 40
"""Of a table with more columns that could be attributes, those that are filled most often are."""

_NO_ITEMS = frozenset(
    [
        *(
            "user",
            "customer",
            "visitor",
            "account",
            "reviewer",
            "author",
            "order",
            "session",
            "review",
            "event",
            "buyer",
        ),
        *(
            "transaction",
            "row",
            "line",
            "request",
            "device",
            "client",
            "member",
            "log",
            "cart",
            "basket",
            "invoice",
        ),
        *("payment", "category", "brand", "type", "channel", "store", "shop", "seller"),
    ]
)
_PICTURES = re.compile(r"im(?:g|age)|photo|foto|picture|poster|thumb|cover|bild")
_COUNTED = 500  # values of an attribute that are looked at


@dataclass(frozen=True, slots=True)
class Column:
    """What is made of a column.

    Attributes:
        name: As the file has it.
        use: What it is used as; ``left out: …`` with why, if it is not.
        example: One of its values.
        filled: Share of the rows looked at that have one.
    """

    name: str
    use: str
    example: str
    filled: float

    def __str__(self) -> str:
        example = re.sub(r"\s+", " ", self.example)
        example = example if len(example) <= 40 else example[:39] + "…"
        return f"  {self.name:28}  {self.use:36}  {example:40}  {self.filled:4.0%} filled"


def find(columns: Iterable[str], likely: Iterable[str]) -> str | None:
    """The column that is called like the likeliest of some plain names."""
    plain: dict[str, str] = {}
    for column in columns:
        plain.setdefault(plain_name(column), column)
    return next((plain[name] for name in likely if name in plain), None)


def own_id(columns: Mapping[str, list[Any]]) -> str | None:
    """The first column that is called some id, has one in every row, and is no user's, order's or review's.

    Example:
        >>> own_id({"name": ["Cafe"], "category_id": [7], "business_id": ["b0"]})
        'business_id'
    """
    for column, values in columns.items():
        name = plain_name(column)
        thing = name.removesuffix("id").rstrip("_")
        if name.endswith("id") and thing and thing not in _NO_ITEMS and all(map(_is_said, values)):
            return column
    return None


def _is_said(value: Any) -> bool:
    return value is not None and not isinstance(value, list | Mapping) and bool(str(value).strip())


def guess_items(path: Path, columns: Mapping[str, list[Any]]) -> tuple[TableMap, list[Column]]:
    """Which columns of a plain table of items are what; its attributes are the columns that can be a reason.

    Args:
        path: The file.
        columns: Column → its values in the first rows.

    Raises:
        DataError: If no column looks like an id or anything else that items have.
    """
    fields = named_fields("items", path, columns)
    used = {column: name for name, column in fields.items() if isinstance(column, str)}
    if fields.get("links") not in columns and (links := _links(columns, fields.get("id"))):
        fields["links"] = links
        used |= {column: f"links: {kind}" for kind, column in links.items()}
    left = {column: values for column, values in columns.items() if column not in used}
    explicit = fields.get("attributes") in columns or any(
        c.startswith(("attributes.", "hidden.")) for c in columns
    )
    words = {column: list(said_words(values)) for column, values in left.items()}
    reasons = {
        column: ""
        if column.startswith(("attributes.", "hidden."))
        else _left_out(column, words[column], explicit, columns)
        for column in left
    }
    pictures = next((c for c, why in reasons.items() if _has_pictures(c, words[c])), None)
    if "images" not in fields and pictures is not None:
        fields["images"], used[pictures] = pictures, "images"
        del reasons[pictures]
    if "text" not in fields:
        described = [column for column, reason in reasons.items() if reason == "a long text"]
        if described:
            fields["text"], used[described[0]] = described[0], "text"
            del reasons[described[0]]
    chosen = [column for column, reason in reasons.items() if not reason and "." not in column[:11]]
    for column in sorted(chosen, key=lambda column: -len(words[column]))[MOST_ATTRIBUTES:]:
        reasons[column] = f"beyond the {MOST_ATTRIBUTES} fullest attributes"
    attributes: dict[str, Any] = {}
    for c in (c for c in chosen if not reasons[c]):
        if _is_point(c, words[c]):
            attributes[selling_point(c)] = {"column": c, "flag": selling_point(c)}
            continue
        name = c.lower() if is_telling(c) and c.lower() not in attributes else c
        attributes[name] = {"column": c, **part} if (part := parting(c, columns[c])) else c
    if attributes:
        whole = fields.get("attributes")
        fields["attributes"] = {EVERY: whole, **attributes} if whole in columns else attributes
    uses = {
        **used,
        **{column: f"left out: {why}" if why else "an attribute" for column, why in reasons.items()},
    }
    return TableMap(path.name, fields), [
        column_of(name, uses[name], values) for name, values in columns.items()
    ]


def _links(columns: Mapping[str, list[Any]], own: Any) -> dict[str, str]:
    """Kind of link → the column that is called like it and lists ids of other items."""
    ids = {identifier(value) for value in columns.get(own, ())}
    found: dict[str, str] = {}
    for column, values in columns.items():
        kind = link_kind(plain_name(column))
        if kind and any(not ids.isdisjoint(_ids_in(value)) for value in values):
            found.setdefault(kind, column)
    return found


def _ids_in(value: Any) -> list[str]:
    try:
        return item_ids(value)
    except ValueError:  # an object
        return []


def _has_pictures(column: str, words: list[str]) -> bool:
    """Whether most values are names of pictures, or addresses in a column that is called like pictures."""
    endings = sum(is_picture(word) for word in words)
    places = (
        sum("/" in word and " " not in word for word in words) if _PICTURES.search(plain_name(column)) else 0
    )
    return max(endings, places) > len(words) / 2


def _left_out(column: str, words: list[str], explicit: bool, columns: Mapping[str, list[Any]]) -> str:
    named = {column.lower(), f"attributes.{column}".lower(), f"hidden.{column}".lower()}
    twice = len(named & {name.lower() for name in columns}) > 1
    is_point = _is_point(column, words)
    if not explicit or ((is_telling(column) or is_point) and "hidden" not in columns and not twice):
        return "" if is_point else why_not(column, _pieces(column, words))
    return "the attributes are named" if words else "empty"


def _is_point(column: str, words: Sequence[str]) -> bool:
    """Whether a column is a flag that people choose by, such as ``vegan``."""
    return bool(selling_point(column)) and are_flags(words)


def _pieces(column: str, words: list[str]) -> list[str]:
    """The values that a column's cells hold, several of a cell one by one."""
    part = parting(column, words)
    sign = part.get("split") or part.get("path")
    split = (word.split(sign) if sign else word.split("|") for word in words)
    return [piece.strip() for pieces in split for piece in pieces if piece.strip()]


def guess_reasons(path: Path, columns: Mapping[str, list[Any]]) -> tuple[TableMap, list[Column]]:
    """Which columns of a table of reasons are what.

    Raises:
        DataError: If there is no column of users, items or texts.
    """
    fields = named_fields("reasons", path, columns)
    uses = {column: name for name, column in fields.items()}
    return TableMap(path.name, fields), [
        column_of(c, uses.get(c, "left out: no part of a reason"), v) for c, v in columns.items()
    ]


def guess_layout(
    paths: Sequence[Path], layout: Layout, columns: Mapping[str, list[Any]]
) -> tuple[TableMap, list[Column]]:
    """What a shop system's export holds; its attributes are all that its items have and that can be a reason."""
    values: dict[str, Counter[str]] = {}
    filled: Counter[str] = Counter()
    items = 0
    for row in chain.from_iterable(map(layout.rows, paths)):
        if not row.problem:
            items += 1
            for name, some in row.record["attributes"].items():
                filled[name] += 1
                if values.setdefault(name, Counter()).total() < _COUNTED:
                    values[name].update(some)
    own = {attribute_of(plain_name(c)) for c in columns if layout.plain(c) not in layout.known}
    said = [column_of(c, layout.use(plain_name(c)) or "the shop's own", v) for c, v in columns.items()]
    kept: dict[str, Any] = {}
    for name, counted in values.items():
        some = list(counted.elements())
        if _is_point(name, some):
            why, kept[selling_point(name)] = "", {"column": name, "flag": selling_point(name)}
        elif not (why := why_not(name, some) if name in own else "a flag" if are_flags(some) else ""):
            kept[name] = name
        use = f"left out: {why}" if why else "an attribute"
        said.append(Column(f"→ {name}", use, counted.most_common(1)[0][0], filled[name] / items))
    return TableMap(paths[0].name, {"attributes": kept}, layout.name), said


def named_fields(
    kind: str, path: Path, columns: Mapping[str, list[Any]], needed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Fields whose columns are called like them."""
    fields: dict[str, Any] = {}
    for name, likely in FIELDS[kind].items():
        names = [*likely, *ITEM] if (kind, name) == ("interactions", "item_id") else likely
        column = find([c for c in columns if c not in fields.values()], names)
        if name in ("id", "item_id") and column is None:
            column = own_id(columns)
        if column is not None:
            fields[name] = column
        elif (not columns or ".jsonl" in path.suffixes) and name not in ("order", "products"):
            fields[name] = name  # whose later rows may have it
    missing = [name for name in needed or NEEDED[kind] if columns and fields.get(name) not in columns]
    if missing and not set(FIELDS[kind]) & set(columns):
        raise DataError(
            f"{path}: no column looks like {missing[0]}; there are {', '.join(list(columns)[:30])}; say which in a "
            "--catalogue.options.mapping file"
        )
    return fields


def filled_columns(columns: Mapping[str, list[Any]]) -> list[str]:
    return [column for column, values in columns.items() if any(v not in (None, "") for v in values)]


def said_words(values: Iterable[Any]) -> Iterator[str]:
    """The values that say something, as text; of a list each."""
    for value in values:
        for each in value if isinstance(value, list) else [value]:
            if (
                each is not None
                and not isinstance(each, Mapping)
                and str(each).strip().lower() not in NOTHING
            ):
                yield str(each).strip()


def column_of(name: str, use: str, values: list[Any]) -> Column:
    said = [words for value in values if (words := list(said_words([value])))]
    return Column(name, use, said[0][0] if said else "", len(said) / max(len(values), 1))
