"""What the product exports of shop systems share: how they are recognised, and how their rows become items.

A :class:`Layout` knows a system's columns. Variants inherit their product's fields and share its group; options and
attribute pairs are attributes. A category path ``A > B > C`` becomes the attribute ``category`` with the values C, B,
A: the leaf is first, and no level is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mmreason.links import item_ids, link_kind
from mmreason.readers.rows import read_rows
from mmreason.readers.source import SourceRow
from mmreason.schema import Attributes
from mmreason.shops.plumbing import parted, why_not_by_name
from mmreason.values import NO_VALUE

Rows = Callable[[], Iterator[SourceRow]]
"""The rows of a file from its beginning, each time it is called; fields by their plain names."""

NOTHING = NO_VALUE | {"default title"}
"""Cells, in lower case, that say that there is no value."""


# ``Metafield: custom.material [single_line_text_field]``, as tools that copy shops write it.
_METAFIELD = re.compile(
    r"^(?:variant_)?metafield_[a-z0-9]+_(.+?)(?:_(?:list_)?(?:(?:single|multi)_line_text_field|rich_text_field|string|"
    r"number_integer|number_decimal|integer|boolean|json|json_string|color|url|date|date_time|dimension|weight|volume|rating|money|"
    r"(?:file|product|variant|page|collection|metaobject|mixed)_reference))?$"
)


@dataclass(frozen=True)
class Layout:
    """The product export of a shop system.

    Attributes:
        name: What a mapping calls it.
        title: Its name for people.
        needed: Plain names of columns without which a file is none of it; of a tuple, one is enough.
        uses: Plain name of a column → what it is used as.
        passed: Plain names of the system's further columns, which say nothing of the items.
        items: The file's rows and its folder → one row an item. Each record holds the fields of an item, and as
            ``keys`` by what else orders may call it (``{"handle": …}``).
        read: The file's rows as they are.
        translated: Plain name of a column in another language → in the system's own.
    """

    name: str
    title: str
    needed: tuple[str | tuple[str, ...], ...]
    uses: Mapping[str, str]
    passed: frozenset[str]
    items: Callable[[Rows, Path], Iterator[SourceRow]]
    read: Callable[[Path], Iterator[SourceRow]] = read_rows
    translated: Mapping[str, str] = field(default_factory=dict)

    def plain(self, column: str) -> str:
        """A column's plain name in the system's own language."""
        name = plain_name(column)
        return self.translated.get(name, name)

    def likeness(self, columns: Iterable[str]) -> float:
        """How like it a file is: 0 without a needed column, else the share of the file's columns that it knows."""
        there = {self.plain(column) for column in columns}
        needed = [(name,) if isinstance(name, str) else name for name in self.needed]
        if not all(there.intersection(names) for names in needed):
            return 0.0
        return len(there & self.known) / len(there)

    @cached_property
    def known(self) -> frozenset[str]:
        """Plain names of all columns that it knows."""
        return self.passed | self.uses.keys()

    def use(self, column: str) -> str:
        """What a column is used as, or why it is left out; empty if it is none of the system's."""
        column = self.translated.get(column, column)
        if column in self.uses:
            return self.uses[column]
        if kind := link_of(column):
            return f"links: {kind}"
        why = why_not_by_name(column) or "says nothing of the item"
        return f"left out: {why}" if column in self.passed else ""

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """The items of a file; a row that cannot be read stays as it is."""
        return self.items(lambda: self._plainly_named(self.read(path)), path.parent)

    def _plainly_named(self, rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
        for row in rows:
            if not row.problem:
                row.record = {self.plain(name): v for name, v in row.record.items() if name is not None}
            yield row


@cache
def plain_name(column: str) -> str:
    """A column's name in lower case with single underscores.

    Example:
        >>> plain_name("Body (HTML)"), plain_name("g:image_link"), plain_name("Attribute 1 value(s)")
        ('body_html', 'image_link', 'attribute_1_value_s')
    """
    return re.sub(r"[\W_]+", "_", column.lower().removeprefix("g:")).strip("_")


def cell(record: Mapping[str, Any], *names: str) -> str:
    """The first of some fields that says something, as text."""
    for name in names:
        value = record.get(name)
        if value is not None and (text := str(value).strip()).lower() not in NOTHING:
            return text
    return ""


def code(record: Mapping[str, Any], *names: str) -> str:
    """An id; spreadsheets are kept from reading it as a number by an apostrophe before it, which is no part of it."""
    for name in names:
        text = str(record.get(name) or "").strip().removeprefix("'")
        if text:
            return text
    return ""


def number(text: str, otherwise: float) -> float:
    """A number, also with a decimal comma; what is none is ``otherwise``."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return otherwise


def listed(text: str, sign: str = ",") -> list[str]:
    """Values that a sign parts; one that belongs to a value stands behind a backslash, or as in a number or a firm.

    Example:
        >>> listed("winter, soft"), listed(r"Home\\, garden, Sale"), listed("Sony, Inc., 10,000 lumens")
        (['winter', 'soft'], ['Home, garden', 'Sale'], ['Sony, Inc.', '10,000 lumens'])
    """
    parts = parted(text, sign)
    return [part for p in parts if (part := p.replace("\\" + sign, sign).strip()).lower() not in NOTHING]


def levels(path: str, sign: str = ">") -> list[str]:
    """The levels of a category path, leaf first.

    Example:
        >>> levels("Home > Kitchen > Mugs")
        ['Mugs', 'Kitchen', 'Home']
    """
    return listed(path, sign)[::-1]


def address(path: str) -> str:
    """A picture's path or address: one without its protocol is HTTPS, one from the site's root starts in the folder.

    Example:
        >>> address("//cdn.example/a.jpg"), address("/m/b/a.jpg"), address("img/a.jpg")
        ('https://cdn.example/a.jpg', 'm/b/a.jpg', 'img/a.jpg')
    """
    path = path.strip()
    return f"https:{path}" if path.startswith("//") else path.lstrip("/")


def facts(*pairs: tuple[str, Iterable[str]]) -> Attributes:
    """Attributes by name, each value once and in order; what says nothing is left out.

    Example:
        >>> facts(("Color", ["Red", ""]), ("color", ["Red", "Blue"]), ("Size", []))
        {'color': ['Red', 'Blue']}
    """
    made: dict[str, dict[str, None]] = {}
    for name, values in pairs:
        said = (value.strip() for value in values)
        good = dict.fromkeys(value for value in said if value.lower() not in NOTHING)
        if good and name.strip():
            made.setdefault(name.strip().lower(), {}).update(good)
    return {name: list(values) for name, values in made.items()}


def overlaid(own: Attributes, inherited: Attributes) -> Attributes:
    """A variant's attributes: its own in the place of its product's."""
    return {**inherited, **own}


def own_columns(record: Mapping[str, Any], layout: Layout) -> Iterator[tuple[str, list[str]]]:
    """The columns that a shop added itself, as attributes: metafields, custom fields."""
    known = layout.known
    for column in record:
        if column not in known and not link_of(column) and (text := cell(record, column)):
            yield attribute_of(column), listed(text, ";" if ";" in text else "|")


def linked(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """The links of a product, kind → what its columns of links list.

    Example:
        >>> linked({"upsells": "A1, id:40", "related_products_product_metafields_custom_related_products": "mug; cap"})
        {'alternative': ['A1', 'id:40'], 'related': ['mug', 'cap']}
    """
    found: dict[str, list[str]] = {}
    for column in record:
        if (kind := link_of(column)) and (ids := item_ids(cell(record, column))):
            found.setdefault(kind, []).extend(ids)
    return found


@cache
def link_of(column: str) -> str:
    """The kind of link that a column holds, from its plain name; empty if it holds none."""
    return link_kind(attribute_of(column).rpartition("product recommendation ")[2])


def attribute_of(column: str) -> str:
    """What a shop's own column is called as an attribute, from its plain name.

    Example:
        >>> attribute_of("wash_care_product_metafields_custom_wash_care")
        'wash care'

        >>> attribute_of("metafield_custom_material_single_line_text_field")
        'material'
    """
    own = _METAFIELD.sub(r"\1", column)
    return re.split(r"_(?:product|variant)_metafields", own)[0].replace("_", " ")


def item(row: SourceRow, **fields: Any) -> SourceRow:
    """An item in the place of a row."""
    return SourceRow(row.file, row.number, {"domain": "shop", **fields})
