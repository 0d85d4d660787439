"""Shopify's product export: a row a variant or picture, the product's fields in its first row only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from itertools import groupby
from pathlib import Path
from typing import Any

from mmreason.readers.source import SourceRow
from mmreason.shops.layouts import (
    Layout,
    Rows,
    address,
    cell,
    code,
    facts,
    item,
    levels,
    linked,
    listed,
    number,
    overlaid,
    own_columns,
)

# Each field by its names in the export, those of the template of 2024 behind those before.
HANDLE = ("handle", "url_handle")
SKU = ("variant_sku", "sku")
TEXT = ("body_html", "description", "body")
PICTURE = ("image_src", "product_image_url")
OWN_PICTURE = ("variant_image", "variant_image_url")
CATEGORY = (
    "product_category",
    "standardized_product_type",
    "standard_product_type",
    "custom_product_type",
    "type",
)
PRICE = ("variant_price", "price")
OPTIONS = ("option1", "option2", "option3")


def items(rows: Rows, folder: Path) -> Iterator[SourceRow]:
    """One item a variant; a product without variants is one."""
    handles: list[str] = []
    skus: Counter[str] = Counter()
    for row in rows():
        if not handles or handles[-1] != _handle(row):
            handles.append(_handle(row))
        if not row.problem and (sku := code(row.record, *SKU)):
            skus[sku] += 1
    several = {sku for sku, times in skus.items() if times > 1}
    together = len(handles) == len(set(handles))  # as exported, unless somebody sorted the file
    ordered = rows() if together else iter(sorted(rows(), key=_handle))
    for _, product in groupby(ordered, _handle):
        yield from _variants(list(product), several)


def _handle(row: SourceRow) -> str:
    return "" if row.problem else cell(row.record, *HANDLE)


def _variants(rows: list[SourceRow], several: Set[str]) -> Iterator[SourceRow]:
    """The variants of a product; ``several`` are the SKUs that more than one row of the file has."""
    yield from (row for row in rows if row.problem)
    good = [row for row in rows if not row.problem]
    if not good:
        return
    main = next((row for row in good if cell(row.record, "title")), good[0]).record
    variants = [row for row in good if _is_variant(row.record)] or good[:1]
    skus = [code(row.record, *SKU) for row in variants]
    by_sku = all(skus) and several.isdisjoint(skus)
    taken = {path for row in variants if (path := cell(row.record, *OWN_PICTURE))}
    shared = _pictures(good)
    inherited = _attributes(main)
    for row, sku in zip(variants, skus, strict=True):
        options = _options(main, row.record)
        handle = cell(main, *HANDLE)
        path = "/".join([handle, *(value for _, value in options)]) if len(variants) > 1 else handle
        own = cell(row.record, *OWN_PICTURE)
        title = cell(main, "title")
        yield item(
            row,
            id=sku if by_sku else path or sku,
            group=handle,
            title=title,
            text=cell(main, *TEXT),
            images=[address(p) for p in dict.fromkeys([own, *_not_of_others(shared, taken, own)]) if p],
            attributes=overlaid(facts(*((name, [value]) for name, value in options)), inherited),
            links=linked(main),
            keys={
                "sku": "" if sku in several else sku,
                "handle": handle,
                "variant id": code(row.record, "variant_id"),
                "barcode": code(row.record, "variant_barcode", "barcode"),
                "variant title": " - ".join(filter(None, [title, " / ".join(v for _, v in options)])),
            },
        )


def _is_variant(record: dict[str, Any]) -> bool:
    return bool(cell(record, *(f"{option}_value" for option in OPTIONS), *SKU, *PRICE))


def _pictures(rows: list[SourceRow]) -> list[str]:
    placed = [
        (number(cell(row.record, "image_position"), place), path)
        for place, row in enumerate(rows, 1)
        if (path := cell(row.record, *PICTURE))
    ]
    return [path for _, path in sorted(placed, key=lambda found: found[0])]


def _not_of_others(shared: list[str], taken: set[str], own: str) -> list[str]:
    """A product's pictures without those that show another variant; all, if nothing says what shows this one."""
    return [path for path in shared if path not in taken] if own else shared


def _options(main: dict[str, Any], record: dict[str, Any]) -> list[tuple[str, str]]:
    named = ((cell(main, f"{o}_name") or o, cell(record, f"{o}_value")) for o in OPTIONS)
    return [(name, value) for name, value in named if value]


def _attributes(main: dict[str, Any]) -> dict[str, list[str]]:
    return facts(
        ("brand", [cell(main, "vendor")]),
        ("category", levels(cell(main, *CATEGORY))),
        ("type", [cell(main, "type")]),
        ("tags", listed(cell(main, "tags"))),
        ("gender", [cell(main, "google_shopping_gender")]),
        ("age_group", [cell(main, "google_shopping_age_group")]),
        *own_columns({n: value for n, value in main.items() if "shopify_discovery" not in n}, SHOPIFY),
    )


SHOPIFY = Layout(
    "shopify",
    "Shopify product export",
    (
        HANDLE,
        "title",
        ("variant_sku", "sku", "option1_name"),
        ("body_html", "variant_price", "image_src", "product_image_url", "vendor"),
    ),
    {
        **dict.fromkeys(HANDLE, "group"),
        "title": "title",
        **dict.fromkeys(TEXT, "text"),
        **dict.fromkeys(SKU, "id"),
        **dict.fromkeys((*PICTURE, *OWN_PICTURE), "images"),
        "image_position": "order of the images",
        **dict.fromkeys(CATEGORY, "attribute category"),
        "type": "attribute type",
        "vendor": "attribute brand",
        "tags": "attribute tags",
        **{f"{option}_{part}": "an option, an attribute" for option in OPTIONS for part in ("name", "value")},
        "google_shopping_gender": "attribute gender",
        "google_shopping_age_group": "attribute age_group",
        **dict.fromkeys(("variant_barcode", "barcode", "variant_id"), "an id that orders may use"),
    },
    frozenset(
        [
            *(*PRICE, *(f"{option}_linked_to" for option in OPTIONS)),
            *("published", "status", "gift_card", "collection"),
            *(
                "image_alt_text",
                "seo_title",
                "seo_description",
                "cost_per_item",
                "variant_grams",
                "variant_barcode",
            ),
            *("variant_inventory_tracker", "variant_inventory_qty", "variant_inventory_policy"),
            *("variant_fulfillment_service", "variant_compare_at_price", "variant_requires_shipping"),
            *("variant_taxable", "variant_tax_code", "variant_weight_unit", "id", "product_id"),
            *("published_on_online_store", "compare_at_price", "charge_tax", "tax_code"),
            *("unit_price_total_measure", "unit_price_total_measure_unit", "unit_price_base_measure"),
            *(
                "unit_price_base_measure_unit",
                "inventory_tracker",
                "inventory_quantity",
                "weight_value_grams",
            ),
            *("continue_selling_when_out_of_stock", "weight_unit_for_display", "requires_shipping"),
            *(
                "fulfillment_service",
                "google_shopping_gender",
                "google_shopping_age_group",
                "google_shopping_mpn",
            ),
            *("google_shopping_google_product_category", "google_shopping_condition", "template_suffix"),
            *("google_shopping_custom_product", "google_shopping_adwords_grouping", "published_scope"),
            *("google_shopping_adwords_labels", "created_at", "updated_at", "published_at"),
            *(f"google_shopping_custom_label_{n}" for n in range(5)),
        ]
    ),
    items,
)
