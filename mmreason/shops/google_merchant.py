"""Product feeds for Google Merchant Center: tab-separated, or XML as RSS 2.0 and Atom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.parsers import expat

from mmreason.readers.delimited import open_bytes, readable
from mmreason.readers.rows import read_rows
from mmreason.readers.source import SourceRow
from mmreason.schema import Attributes, DataError
from mmreason.shops.layouts import (
    Layout,
    Rows,
    address,
    cell,
    code,
    facts,
    item,
    levels,
    listed,
    own_columns,
)

ATTRIBUTES = ("brand", "color", "size", "gender", "age_group", "material", "pattern")
LINKS = {
    **dict.fromkeys(("part_of_set", "required_part", "accessory"), "goes with"),
    "often_bought_with": "bought with",
    **dict.fromkeys(("substitute", "different_brand"), "alternative"),
}
"""Type of relationship of a ``related_product`` → kind of link."""

_LINK = re.compile(r"(\w+)\s*:\s*(id|gtin)\s*:\s*([^,;\s]+)")
_ENTRIES = ("item", "entry")
_BLOCK = 1 << 16


def items(rows: Rows, folder: Path) -> Iterator[SourceRow]:
    """One item a row; variants say themselves which group they are of."""
    numbers = _by_gtin(rows)
    for row in rows():
        if row.problem:
            yield row
            continue
        record = row.record
        number = code(record, "id")
        yield item(
            row,
            id=number,
            group=cell(record, "item_group_id") or number,
            title=cell(record, "title"),
            text="\n".join([cell(record, "description"), *listed(cell(record, "product_highlight"))]).strip(),
            images=[address(p) for p in _pictures(record)],
            attributes=_attributes(record),
            links=_links(record, numbers),
            keys={
                "mpn": code(record, "mpn"),
                "gtin": code(record, "gtin"),
                "group": cell(record, "item_group_id"),
            },
        )


def _by_gtin(rows: Rows) -> dict[str, str]:
    """GTIN → id, of the items that links name by it."""
    named = {
        number
        for row in rows()
        for _, by, number in _LINK.findall(cell(row.record, "related_product"))
        if by == "gtin"
    }
    if not named:
        return {}
    records = (row.record for row in rows() if not row.problem)
    return {code(r, "gtin"): code(r, "id") for r in records if code(r, "gtin") in named}


def _links(record: dict[str, str], numbers: Mapping[str, str]) -> dict[str, list[str]]:
    """The items that a row names as related (``accessory:id:AZ7A``), by kind."""
    found: dict[str, list[str]] = {}
    for kind, by, number in _LINK.findall(cell(record, "related_product")):
        if kind in LINKS:
            found.setdefault(LINKS[kind], []).append(numbers.get(number, number) if by == "gtin" else number)
    return found


def _pictures(record: dict[str, str]) -> list[str]:
    more = listed(cell(record, "additional_image_link").replace("\n", ","))
    return [path for path in dict.fromkeys([cell(record, "image_link"), *more]) if path]


def _attributes(record: dict[str, str]) -> Attributes:
    given = cell(record, "product_type") or cell(record, "google_product_category")
    paths = [path for line in given.split("\n") for path in (listed(line) if ">" in line else [line])]
    lines = cell(record, "product_detail").split("\n")
    details = (
        part.split(":") for line in lines for part in re.split(r",(?=[^,]*:)", line)
    )  # section:name:value
    return facts(
        ("category", [] if given.isdecimal() else [level for path in paths for level in levels(path)]),
        *((name, cell(record, name).split("/")) for name in ATTRIBUTES if name != "size"),
        ("size", [cell(record, "size")]),
        *((detail[-2], [detail[-1]]) for detail in details if len(detail) > 1),
        *own_columns(record, GOOGLE_MERCHANT),
    )


def read(path: Path) -> Iterator[SourceRow]:
    """Rows of a feed, whichever of its forms."""
    if ".xml" in {suffix.lower() for suffix in path.suffixes}:
        with readable(path):
            yield from _xml_rows(path)
    else:
        yield from read_rows(path)


def _xml_rows(path: Path) -> Iterator[SourceRow]:
    """One row an ``item`` or ``entry``, read a block at a time; several of a field are joined by a line break.

    Raises:
        DataError: If the file declares entities, which a feed has no need of and an attack has, or is not XML.
    """
    feed = _Feed()
    number = 0
    try:
        with open_bytes(path) as file:
            while block := file.read(_BLOCK):
                feed.parser.Parse(block, False)
                for record in feed.take():
                    number += 1
                    yield SourceRow(path.name, number, record)
            feed.parser.Parse(b"", True)
    except expat.ExpatError as error:
        yield SourceRow(path.name, number + 1, {}, f"not XML: {error}")
    except _Entities:
        raise DataError(
            f"{path} declares XML entities, which are never expanded; export it without"
        ) from None


class _Entities(Exception):
    """An entity is declared."""


class _Feed:
    """Collects the entries that go by."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._refuse
        self._done: list[dict[str, str]] = []
        self._record: dict[str, str] | None = None
        self._path: list[str] = []
        self._parts: list[str] = []
        self._nested: list[str] = []  # what stands in a field's own fields, such as a detail's name and value

    def take(self) -> list[dict[str, str]]:
        """The entries that ended since the last call."""
        done, self._done = self._done, []
        return done

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name in _ENTRIES and self._record is None:
            self._record = {}
        elif self._record is not None:
            self._path.append(name)
            self._parts = [attributes["href"]] if name == "link" and "href" in attributes else []

    def _text(self, text: str) -> None:
        if self._path:
            self._parts.append(text)

    def _end(self, name: str) -> None:
        if self._record is None:
            return
        if not self._path:
            self._done.append(self._record)
            self._record = None
            return
        field, text = self._path.pop(), "".join(self._parts).strip()
        self._parts = []
        if self._path:
            self._nested += [text] if text else []
            return
        text, self._nested = ":".join(self._nested) or text, []
        if text:
            before = self._record.get(field)
            self._record[field] = f"{before}\n{text}" if before else text

    def _refuse(self, *_: object) -> None:
        raise _Entities


GOOGLE_MERCHANT = Layout(
    "google_merchant",
    "Google Merchant feed",
    (
        "id",
        "title",
        ("image_link", "item_group_id"),
        ("link", "availability", "condition", "google_product_category"),
    ),
    {
        "id": "id",
        "title": "title",
        **dict.fromkeys(("description", "product_highlight"), "text"),
        **dict.fromkeys(("image_link", "additional_image_link"), "images"),
        "item_group_id": "group",
        **dict.fromkeys(("product_type", "google_product_category"), "attribute category"),
        "product_detail": "attributes",
        "related_product": "links",
        **{name: f"attribute {name}" for name in ATTRIBUTES},
        **dict.fromkeys(("gtin", "mpn"), "an id that orders may use"),
    },
    frozenset(
        [
            *(
                "description",
                "additional_image_link",
                "availability",
                "price",
                "sale_price",
                "condition",
                "gtin",
                "mpn",
            ),
            *("google_product_category", "product_type", "item_group_id", "link", "image_link", *ATTRIBUTES),
            *(
                "product_highlight",
                "product_detail",
                "size_type",
                "size_system",
                "adult",
                "multipack",
                "is_bundle",
            ),
            *(
                "identifier_exists",
                "availability_date",
                "cost_of_goods_sold",
                "expiration_date",
                "mobile_link",
            ),
            *(
                "sale_price_effective_date",
                "unit_pricing_measure",
                "unit_pricing_base_measure",
                "installment",
            ),
            *("shipping", "shipping_label", "shipping_weight", "shipping_length", "shipping_width", "tax"),
            *(
                "shipping_height",
                "ships_from_country",
                "transit_time_label",
                "max_handling_time",
                "tax_category",
            ),
            *(
                "min_handling_time",
                "energy_efficiency_class",
                "ads_redirect",
                "promotion_id",
                "lifestyle_image_link",
            ),
            *("excluded_destination", "included_destination", "shopping_ads_excluded_country", "pause"),
            *("product_length", "product_width", "product_height", "product_weight", "canonical_link"),
            *(
                "published",
                "updated",
                "summary",
                "content",
                "pubdate",
                "guid",
                "loyalty_points",
                "subscription_cost",
            ),
            *(f"custom_label_{n}" for n in range(5)),
        ]
    ),
    items,
    read,
)
