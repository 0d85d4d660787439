"""BigCommerce's product exports, of both kinds: under each product stand rows of its variants (and pictures)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmreason.readers.source import SourceRow
from mmreason.schema import Attributes
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

KIND = ("item", "item_type")
NUMBER = ("id", "product_id")
SKU = ("sku", "product_code_sku", "code")
NAME = ("name", "product_name")
TEXT = ("description", "product_description")
CATEGORIES = ("categories", "category", "category_string")
PICTURE = ("image_url_import", "internal_image_url_export")
AUTOMATIC = "-1"  # among related products: those that the shop finds itself
GPS = ("gender", "age_group", "color", "size", "material", "pattern")
_OLD_OPTION = re.compile(r"\[[A-Z]+\]([^=,]+)=([^,]*)")  # [S]Size=Small,[CS]Colour=Silver:#cecece
_OPTION = re.compile(
    r"Name=([^|]*)\|Value=(.*?)(?=Type=|$)"
)  # Type=Swatch|Name=Color|Value=Red[#ff0000]Type=…
_SWATCH = re.compile(r"\[[^\]]*\]$|:#[0-9a-fA-F|#]+$")
_OLD_PICTURE = re.compile(r"product_image_(?:file|url)_(\d+)")
_FIELD = re.compile(r'"?([^=;"]+)=([^;"]*)"?')  # Material=Wool;Fit=Slim


def items(rows: Rows, folder: Path) -> Iterator[SourceRow]:
    """One item a product and variant."""
    product: list[SourceRow] = []
    groups = _groups(rows)
    for row in rows():
        if row.problem:
            yield row
            continue
        if _kind(row) == "product":
            yield from _items(product, groups)
            product = []
        product.append(row)
    yield from _items(product, groups)


def _groups(rows: Rows) -> dict[str, str]:
    """Product's number, by which links name it → its group."""
    products = (row.record for row in rows() if not row.problem and _kind(row) == "product")
    return {code(main, *NUMBER): code(main, *SKU) for main in products if code(main, *SKU)}


def _kind(row: SourceRow) -> str:
    return cell(row.record, *KIND).lower()


def _items(rows: list[SourceRow], groups: Mapping[str, str]) -> Iterator[SourceRow]:
    """The product in the first row, and its variants."""
    if not rows:
        return
    main = rows[0].record
    pictures = [path for row in rows if _kind(row) in ("product", "image") for path in _pictures(row.record)]
    number = code(main, *NUMBER)
    group = code(main, *SKU) or number
    inherited = _attributes(main)
    fields = {"group": group, "title": cell(main, *NAME), "text": cell(main, *TEXT)}
    links = {kind: [groups.get(i, i) for i in ids if i != AUTOMATIC] for kind, ids in linked(main).items()}
    for row in rows:
        if row is not rows[0] and _kind(row) not in ("sku", "variant"):
            continue
        sku = code(row.record, *SKU)
        own, options = ("", []) if row is rows[0] else (_own_picture(row.record), _options(row.record))
        variant = "/".join([number, *(value for _, value in options)])
        yield item(
            row,
            **fields,
            id=sku or variant,
            images=[address(path) for path in dict.fromkeys([own, *pictures]) if path],
            attributes=overlaid(facts(*((name, [value]) for name, value in options)), inherited),
            links=links,
            keys={"sku": sku, "product id": number, "variant id": code(row.record, *NUMBER)},
        )


def _own_picture(record: dict[str, Any]) -> str:
    return cell(record, "variant_image_url") or next(iter(_pictures(record)), "")


def _pictures(record: dict[str, Any]) -> list[str]:
    old = sorted(
        (number(cell(record, f"product_image_sort_{found[1]}"), int(found[1])), path)
        for name in record
        if (found := _OLD_PICTURE.fullmatch(name)) and (path := cell(record, name))
    )
    merged = re.findall(r"Product Image (?:URL|File): ([^|,]+)", cell(record, "product_images"))
    return [path for path in [cell(record, *PICTURE), *(path for _, path in old), *merged] if path]


def _options(record: dict[str, Any]) -> list[tuple[str, str]]:
    found = _OPTION.findall(cell(record, "options")) or _OLD_OPTION.findall(cell(record, *NAME))
    return [(name.strip(), _SWATCH.sub("", value.strip())) for name, value in found]


def _attributes(main: dict[str, Any]) -> Attributes:
    paths = listed(cell(main, *CATEGORIES), ";")
    own = {name: value for name, value in main.items() if not name.startswith(("product_image", "gps_"))}
    return facts(
        ("brand", [cell(main, "brand_name", "brand")]),
        ("category", [level for path in paths for level in levels(path, ">" if ">" in path else "/")]),
        *((name, [value]) for name, value in _FIELD.findall(_custom(main))),
        *((name, [cell(main, f"gps_{name}")]) for name in GPS),
        *own_columns(own, BIGCOMMERCE),
    )


def _custom(main: dict[str, Any]) -> str:
    return cell(main, "custom_fields", "product_custom_fields")


BIGCOMMERCE = Layout(
    "bigcommerce",
    "BigCommerce product export",
    (KIND, NAME, SKU, ("options", "product_type", "track_inventory", "inventory_tracking", "option_set")),
    {
        **dict.fromkeys(KIND, "what is a variant"),
        **dict.fromkeys(NUMBER, "an id that orders may use"),
        **dict.fromkeys(SKU, "id"),
        **dict.fromkeys(NAME, "title"),
        **dict.fromkeys(TEXT, "text"),
        **dict.fromkeys(CATEGORIES, "attribute category"),
        **dict.fromkeys(("brand_name", "brand"), "attribute brand"),
        **dict.fromkeys((*PICTURE, "variant_image_url", "product_images"), "images"),
        **{f"product_image_{part}_{n}": "images" for part in ("file", "url", "sort") for n in range(1, 21)},
        **dict.fromkeys(("options", "custom_fields", "product_custom_fields"), "attributes"),
        **{f"gps_{name}": f"attribute {name}" for name in GPS},
    },
    frozenset(
        [
            *(*NUMBER, *SKU, *TEXT, *CATEGORIES, *PICTURE, "type", "product_type", "options", "option_set"),
            *(
                "option_set_align",
                "bin_picking_number",
                "brand_name",
                "brand_id",
                "brand",
                "price",
                "cost_price",
            ),
            *(
                "retail_price",
                "sale_price",
                "calculated_price",
                "fixed_shipping_cost",
                "fixed_shipping_price",
            ),
            *(
                "free_shipping",
                "product_warranty",
                "warranty",
                "product_weight",
                "product_width",
                "product_height",
            ),
            *("product_depth", "weight", "width", "height", "depth", "allow_purchases", "product_visible"),
            *(
                "product_availability",
                "track_inventory",
                "inventory_tracking",
                "current_stock_level",
                "low_stock",
            ),
            *(
                "low_stock_level",
                "current_stock",
                "custom_fields",
                "product_custom_fields",
                "search_keywords",
            ),
            *(
                "page_title",
                "meta_keywords",
                "meta_description",
                "product_condition",
                "show_product_condition",
            ),
            *(
                "sort_order",
                "product_tax_class",
                "tax_class",
                "product_upc_ean",
                "upc_ean",
                "stop_processing_rules",
            ),
            *(
                "product_url",
                "redirect_old_url",
                "gps_global_trade_item_number",
                "gps_manufacturer_part_number",
            ),
            *(
                "gps_gender",
                "gps_age_group",
                "gps_color",
                "gps_size",
                "gps_material",
                "gps_pattern",
                "gps_category",
            ),
            *(
                "gps_item_group_id",
                "gps_enabled",
                "avalara_product_tax_code",
                "category_details",
                "date_added",
            ),
            *("event_date_required", "event_date_name", "event_date_is_limited", "event_date_start_date"),
            *(
                "event_date_end_date",
                "date_modified",
                "channels",
                "global_trade_number",
                "is_visible",
                "is_featured",
            ),
            *("manufacturer_part_number", "image_description", "image_is_thumbnail"),
            *("image_sort_order", "youtube_id", "video_title", "video_description"),
            *(
                "product_files",
                "product_not_visible",
                "product_inventoried",
                "stock_level",
                "brand_name_name",
            ),
            *("min_purchase_quantity", "max_purchase_quantity", "minimum_purchase_quantity"),
            *("maximum_purchase_quantity", "myob_asset_acct", "myob_income_acct", "myob_expense_acct"),
            *(
                f"product_image_{part}_{n}"
                for part in ("id", "description", "is_thumbnail")
                for n in range(1, 21)
            ),
        ]
    ),
    items,
)
