"""A guess at which column of a log, or of orders, is what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmreason.readers.columns import columns_of, flags_of
from mmreason.readers.mapping import EMAIL, NEEDED, PRODUCT_COLUMNS, USER, TableMap
from mmreason.readers.quantities import SCALES, scale_of
from mmreason.shops.guess import Column, column_of, filled_columns, find, named_fields, said_words
from mmreason.shops.layouts import plain_name
from mmreason.shops.orders import BOUGHT, CANCELLED, ITEM, ORDER, lists_products, products_in
from mmreason.shops.plumbing import why_not
from mmreason.values import identifier

_WHEN = [
    *("order_date", "date_created", "purchase_date", "order_created_at", "purchased_at", "paid_at"),
    *("processed_at", "t_dat", "invoice_date", "invoicedate", "order_time", "bestelldatum", "kaufdatum"),
    *("date_de_commande", "date_commande", "fecha_de_pedido", "fecha", "data_ordine", "besteldatum"),
]
_MANY = [
    "lineitem_quantity",
    "line_item_quantity",
    "item_quantity",
    "product_qty",
    "qty_ordered",
    "quantity_ordered",
    "product_quantity",
]
NO_PART = "left out: no part of a history"
_EVENTS = {
    **dict.fromkeys(
        ("pv", "pageview", "page_view", "product_view", "detail", "detail_view", "view_item"), "view"
    ),
    **dict.fromkeys(("addtocart", "add_to_cart", "cart_add", "add", "basket", "wishlist", "fav"), "cart"),
    **dict.fromkeys(
        ("transaction", "buy", "bought", "order", "ordered", "checkout", "sale", "purchased"), "purchase"
    ),
    **dict.fromkeys(("play", "video_play", "watched", "listen", "stream"), "watch"),
    **dict.fromkeys(("show", "expose", "exposure", "shown", "display"), "impression"),
    **dict.fromkeys(("clicked", "click_item", "select_item", "open"), "click"),
    **dict.fromkeys(("rate", "rated"), "rating"),
}
"""What logs call events → the event."""


def guess_interactions(path: Path, columns: Mapping[str, list[Any]]) -> tuple[TableMap, list[Column]]:
    """Which columns of a plain table of interactions or orders are what; which of them names the items is left open.

    Raises:
        DataError: If no column looks like a user or an item.
    """
    many = next((c for c, values in columns.items() if lists_products(values)), None)
    fields = named_fields("interactions", path, columns, ("user_id",) if many else NEEDED["interactions"])
    for name, likely in (
        ("user_id", [*USER, *EMAIL]),
        ("timestamp", _WHEN),
        ("count", _MANY),
        ("order", ORDER),
    ):
        column = find(filled_columns(columns), likely)
        if column is not None and (name not in fields or fields[name] not in filled_columns(columns)):
            fields[name] = column
    dated = (
        c
        for c in columns
        if c not in fields.values() and why_not("", list(said_words(columns[c]))) == "a date or time"
    )
    if fields.get("timestamp") not in columns and (column := next(dated, None)):
        fields["timestamp"] = column
    if "order" not in fields and "Lineitem quantity" in columns and "Name" in columns:
        fields["order"] = "Name"  # as Shopify calls the number of an order
    if many is not None:
        fields |= {"products": many, "count": "product_count"}
    bought = BOUGHT.search(path.name.lower()) or "order" in fields
    if bought and not {"event", "rating", "text", "seconds"} & {n for n, c in fields.items() if c in columns}:
        fields["event"] = {"value": "purchase"}
    if bought and (states := [c for c in columns if plain_name(c) in CANCELLED]):
        fields["cancelled"] = states if len(states) > 1 else states[0]
    email = find(filled_columns(columns), EMAIL)
    if fields.get("user_id") in columns and email not in (None, fields["user_id"]):
        fields["user_id"] = [fields["user_id"], email]  # guests have no number, or 0
    clock = fields.get("timestamp")
    if isinstance(clock, str) and _are_clocks(columns.get(clock, ())) and (day := next(dated, None)):
        fields["timestamp"] = [day, clock]
    if fields.get("order") == fields.get("item_id"):
        fields.pop("order", None)
    fields |= _in_milliseconds(fields) | _events(fields, columns)
    uses = {column: name for name, source in fields.items() for column in columns_of(name, source)}
    rating = fields.get("rating")
    if isinstance(rating, str) and (scale := scale_of(columns.get(rating, ()))) > SCALES[0]:
        fields["rating"], uses[rating] = (
            {"column": rating, "scale": scale},
            f"rating (up to {scale}, brought to 5)",
        )
    said = [column_of(name, uses.get(name, NO_PART), values) for name, values in columns.items()]
    return TableMap(path.name, fields), said


def _are_clocks(values: Sequence[Any]) -> bool:
    """Whether values are times of a day, which need a date beside them."""
    words = list(said_words(values))
    return bool(words) and all(
        re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?( ?[AaPp]\.?[Mm]\.?)?", word) for word in words
    )


def _in_milliseconds(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lengths of time whose column says that it counts milliseconds."""
    named = ((name, fields.get(name)) for name in ("seconds", "length"))
    return {
        n: {"column": c, "unit": "ms"}
        for n, c in named
        if isinstance(c, str) and plain_name(c).endswith("_ms")
    }


def _events(fields: Mapping[str, Any], columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Events by other names, or by flags, as a mapping says them; nothing if there are none."""
    column = fields.get("event")
    if isinstance(column, str) and column in columns:
        words = dict.fromkeys(str(value).strip() for value in columns[column] if value is not None)
        values = {word: _EVENTS[plain] for word in words if (plain := plain_name(word)) in _EVENTS}
        return {"event": {"column": column, "values": values}} if values else {}
    if column is not None:
        return {}
    flags = flags_of(columns)
    return {"event": {"flags": flags}} if flags else {}


def item_columns(table: TableMap, columns: Mapping[str, list[Any]]) -> dict[str, list[str]]:
    """The columns of interactions that may name the items, likeliest first, with their values."""
    rows = columns
    if "products" in table.fields:
        lines = [line for value in columns[table.fields["products"]] for line in products_in(value)]
        rows = {name: [line.get(name, "") for line in lines] for name in PRODUCT_COLUMNS[:3]}
    taken = {source for name, source in table.fields.items() if name != "item_id" and isinstance(source, str)}
    found = {c: place for c in rows if c not in taken and (place := _place(plain_name(c))) is not None}
    return {
        c: [identifier(v).removeprefix("'") for v in rows[c] if v is not None]
        for c in sorted(found, key=found.__getitem__)
    }


def _place(name: str) -> int | None:
    return ITEM.index(name) if name in ITEM else None
