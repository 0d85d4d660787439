"""Orders as shops export them → purchases, by the ids that the items have.

The customer stands on an order's first line. An order may call an item by its SKU, its product's handle or number, or
only by its title. Which of them it is shows how many of its values the items have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import polars as pl

from mmreason.readers.frames import table_frames
from mmreason.readers.mapping import TableMap
from mmreason.readers.source import SourceRow
from mmreason.shops.layouts import Layout, plain_name
from mmreason.shops.systems import LAYOUTS

ITEM = [
    *(
        "lineitem_sku",
        "line_item_sku",
        "item_sku",
        "product_code_sku",
        "product_sku",
        "variant_sku",
        "sku",
        "sku_id",
    ),
    *(
        "item_id",
        "itemid",
        "article_id",
        "variation_id",
        "variant_id",
        "product_variant_id",
        "product_id",
        "productid",
        "line_item_product_id",
        "stockcode",
        "stock_code",
    ),
    *("asin", "parent_asin", "lineitem_id", "item", "item_code", "product_code", "article", "article_number"),
    *(
        "barcode",
        "gtin",
        "ean",
        "handle",
        "product_handle",
        "lineitem_name",
        "line_item_name",
        "product_name",
        "item_name",
    ),
    *(
        "product_title",
        "item_title",
        "product",
        "products",
        "artikelnummer",
        "artikel",
        "référence",
        "referencia",
    ),
    *(
        "video_id",
        "movie_id",
        "movieid",
        "news_id",
        "iid",
        "business_id",
        "sku_number",
        "item_number",
        "title",
    ),
]
"""Plain names of columns that say which item a line is of, likeliest first."""

ORDER = [
    *(
        "order_id",
        "order_number",
        "order_no",
        "order_name",
        "orderid",
        "order",
        "increment_id",
        "transaction_id",
    ),
    *(
        "invoice_no",
        "invoiceno",
        "invoice",
        "invoice_number",
        "receipt_id",
        "basket_id",
        "bestellnummer",
        "commande",
    ),
]
"""Plain names of columns that say which order a line is of."""

BOUGHT = re.compile(
    r"order|purchase|transaction|sale|bought|invoice|basket|checkout|bestell|commande|pedido|ordini"
)
"""In a file's name: its rows are purchases."""

CANCELLED = [
    *("cancelled_at", "canceled_at", "cancelled", "canceled", "is_cancelled", "is_canceled", "refunded_at"),
    *(
        "order_status",
        "status",
        "financial_status",
        "payment_status",
        "state",
        "bestellstatus",
        "statut",
        "estado",
    ),
    *("stato", "订单状态"),
]
"""Plain names of columns that may say that an order came to nothing."""

NO_ID = frozenset(("", "0"))
"""What stands where a line has none of an id: a simple product's variation, a guest's account."""

_LOOKED_AT = 50  # cells of a column
_MANY = (  # all products of an order in one cell, as BigCommerce's orders and WooCommerce's analytics have them
    re.compile(
        r"Product ID: (?P<id>[^,|]*), Product Qty: (?P<count>[^,|]*), Product SKU: (?P<sku>[^,|]*), "
        r"Product Name: (?P<name>.*?), Product Weight:"
    ),
    re.compile(r"(?:^|, )(?P<count>\d+)\s?[×x] (?P<name>.+?)(?=, \d+\s?[×x] |$)"),
)


@dataclass(frozen=True, slots=True)
class Join:
    """A column of the orders that holds what the items have under a key.

    Attributes:
        column: Of the orders.
        key: Of the items: ``id``, another column, or a key of their layout.
        share: Of the column's filled values that the items have.
    """

    column: str
    key: str
    share: float

    def source(self) -> str | dict[str, str]:
        """It as a mapping says it."""
        return self.column if self.key == "id" else {"column": self.column, "matches": self.key}


Keys = Callable[[Sequence[str]], Iterator[tuple[str, Mapping[str, str]]]]
"""Names of keys (all, if none is named) → each item's id with those of its keys that it has."""


def find_joins(values: Mapping[str, Iterable[str]], keys: Keys) -> list[Join]:
    """The columns that name items, and by which key of them, those that find most first.

    Args:
        values: Column → some of its values, likeliest columns first.
        keys: Of the items.
    """
    lists = {column: [*some] for column, some in values.items()}
    wanted = {column: {value for value in some if value not in NO_ID} for column, some in lists.items()}
    all_wanted: set[str] = set().union(*wanted.values())
    found: dict[str, set[str]] = {}
    for item_id, named in keys(()):
        for key, value in (("id", item_id), *named.items()):
            if value in all_wanted:
                found.setdefault(key, set()).add(value)
    joins = [
        Join(column, key, len(some & there) / len(some))
        for column, some in wanted.items()
        if some
        for key, there in found.items()
    ]
    best: dict[str, Join] = {}
    for join in sorted(joins, key=lambda join: (-join.share, join.key != "id")):
        if join.share:
            best.setdefault(join.column, join)
    # Of equals the likelier column stays first, unless it only counts the lines.
    return sorted(best.values(), key=lambda join: (-round(join.share, 2), _counts_up(lists[join.column])))


def _counts_up(values: Sequence[str]) -> bool:
    """Whether values number the lines: 1, 2, 3 …"""
    numbers = [int(value) for value in values if value.isascii() and value.isdigit()]
    steps = [after - before for before, after in pairwise(numbers)]
    return len(numbers) == len(values) > 2 and steps.count(1) > 0.9 * len(steps)


def own_ids(frames: Iterable[pl.DataFrame], matches: Sequence[str], keys: Keys) -> Iterator[pl.DataFrame]:
    """Frames with the items' own ids: columns ``item_id.0``, ``item_id.1`` … become ``item_id``.

    The first column that finds an item decides; what finds none stays as the first has it, and is an unknown item. A
    key that several items have (a product's handle) means the first of them.

    Args:
        frames: Of the orders.
        matches: Each column's key.
        keys: Of the items.
    """
    aliases: list[dict[str, str]] = [{} for _ in matches]
    for item_id, named in keys(tuple(dict.fromkeys(matches))):
        for key, alias in zip(matches, aliases, strict=True):
            if value := item_id if key == "id" else named.get(key, ""):
                alias.setdefault(value, item_id)
    for frame in frames:
        columns = [f"item_id.{place}" for place in range(len(matches))]
        given = [frame[column].cast(pl.String).str.strip_chars().str.strip_prefix("'") for column in columns]
        found = [
            values.replace_strict(alias, default=None, return_dtype=pl.String)
            for values, alias in zip(given, aliases, strict=True)
        ]
        ids = pl.select(pl.coalesce(*found, *given)).to_series().alias("item_id")
        yield frame.drop(columns).with_columns(ids)


def carried_down(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Frames in which each line of an ``order`` has the user and the time that its first line names."""
    last: dict[str, Any] = {"order": None}
    for frame in frames:
        order = pl.col("order").replace("", None)
        for name in [name for name in ("user_id", "timestamp", "cancelled") if name in frame.columns]:
            value = frame[name] if frame[name].dtype != pl.String else frame[name].replace("", None)
            if frame.height and value[0] is None and frame["order"][0] == last["order"]:
                value = pl.concat([pl.Series(name, [last[name]], value.dtype), value[1:]])
            frame = frame.with_columns(value.alias(name))
            filled = pl.col(name).forward_fill().over("order")
            frame = frame.with_columns(pl.when(order.is_null()).then(pl.col(name)).otherwise(filled))
        if frame.height:
            last = frame.row(-1, named=True)
        yield frame.drop("order")


def products_in(value: Any) -> list[dict[str, str]]:
    """The products that a cell lists: ``product_sku``, ``product_count`` and so on of each; none if it lists none.

    Example:
        >>> products_in("2× Mug - Blue, 1× Cap")[1]
        {'product_count': '1', 'product_name': 'Cap'}
    """
    for pattern in _MANY if isinstance(value, str) else ():
        found = [match.groupdict() for match in pattern.finditer(value)]
        if found:
            return [{f"product_{name}": text.strip() for name, text in each.items()} for each in found]
    return []


def lists_products(values: Sequence[Any]) -> bool:
    """Whether most cells of a column list products."""
    filled = [value for value in values[:_LOOKED_AT] if value]
    return sum(bool(products_in(value)) for value in filled) > len(filled) / 2


def single_lines(rows: Iterable[SourceRow], column: str) -> Iterator[SourceRow]:
    """A row a product in the place of a row an order, with what :func:`products_in` finds in a column."""
    for row in rows:
        found = [] if row.problem else products_in(row.record.get(column))
        if not found:
            yield row
        for product in found:
            yield SourceRow(row.file, row.number, {**row.record, **product})


def item_keys(folder: Path, table: TableMap) -> Keys:
    """By what orders may call the items of a table: the keys of its layout, or its columns that are called like ids."""
    paths = table.files(folder)
    if table.layout:
        return partial(_keys_of_layout, paths, LAYOUTS[table.layout])
    return partial(_keys_of_columns, paths, str(table.fields["id"]), table.fields.get("title"))


def _keys_of_layout(
    paths: Sequence[Path], layout: Layout, names: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    for row in chain.from_iterable(map(layout.rows, paths)):
        if not row.problem:
            more = {"title": row.record["title"], "group": row.record["group"]}
            yield row.record["id"], {**row.record["keys"], **more}


def _keys_of_columns(
    paths: Sequence[Path], own: str, title: Any, names: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    def choose(frame: pl.DataFrame) -> pl.DataFrame:
        if own not in frame.columns:  # rows that could not be read
            return frame.select()
        likely = (c for c in frame.columns if c != own and (plain_name(c) in ITEM or c == title))
        keys = [c for c in names or likely if c in frame.columns and not frame[c].dtype.is_nested()]
        return frame.select(
            _as_text(frame[own]).alias("own"),
            pl.struct(_as_text(frame[c]) for c in keys or [own]).alias("keys"),
        )

    for frame in chain.from_iterable(table_frames(path, choose) for path in paths):
        for item_id, named in frame.select("own", "keys").iter_rows() if "own" in frame.columns else ():
            if item_id is not None:
                yield item_id.strip(), {key: value.strip() for key, value in named.items() if value}


def _as_text(column: pl.Series) -> pl.Series:
    """Ids as texts; those of a column with gaps are whole numbers all the same."""
    whole = column.cast(pl.Int64, strict=False) if column.dtype.is_float() else column
    return whole.cast(pl.String)
