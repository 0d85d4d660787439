"""Magento 2's own product export: a row a product; ``configurable_variations`` name those that are its variants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
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
    overlaid,
)
from mmreason.shops.plumbing import why_not_by_name

MEDIA = (
    "",
    "pub/media/catalog/product",
    "media/catalog/product",
    "catalog/product",
    "pub/media/import",
    "media/import",
)
"""Where a shop's folder may hold the pictures that its export names."""

_UNSAID = ("no_selection", "no")
_ROOTS = ("default category", "root catalog")


@dataclass(slots=True)
class _Parent:
    """What variants inherit, and the pictures that are of one of them alone."""

    record: dict[str, Any]
    own_pictures: set[str] = field(default_factory=set)


def items(rows: Rows, folder: Path) -> Iterator[SourceRow]:
    """One item a product; its translations (rows of a store view) are none of their own."""
    parents = _parents(rows)
    pictures = _Pictures(folder)
    for row in rows():
        if row.problem:
            yield row
        elif not cell(row.record, "store_view_code"):
            yield _item(row, parents.get(code(row.record, "sku")), pictures)


def _parents(rows: Rows) -> dict[str, _Parent]:
    """Variant's SKU → its parent."""
    found: dict[str, _Parent] = {}
    for row in rows():
        variations = "" if row.problem else cell(row.record, "configurable_variations")
        if variations and not cell(row.record, "store_view_code"):
            parent = _Parent(row.record)
            for variation in variations.split("|"):
                found[variation.partition("sku=")[2].partition(",")[0].strip()] = parent
    for row in rows():
        if not row.problem and (parent_of := found.get(code(row.record, "sku"))):
            parent_of.own_pictures.update(filter(None, [cell(row.record, "base_image")]))
    return found


def _item(row: SourceRow, parent: _Parent | None, pictures: _Pictures) -> SourceRow:
    record, above = row.record, parent.record if parent else {}
    own = _images(record)
    inherited = _images(above)
    images = own + [path for path in inherited if not own or (parent and path not in parent.own_pictures)]
    sku = code(record, "sku")
    texts = [cell(record, name) or cell(above, name) for name in ("short_description", "description")]
    return item(
        row,
        id=sku,
        group=code(above, "sku") or sku,
        title=cell(above, "name") or cell(record, "name"),
        text="\n".join(filter(None, texts)),
        images=[pictures.found(path) for path in dict.fromkeys(images)],
        attributes=overlaid(_attributes(record), _attributes(above)),
        links=linked(record) or linked(above),
        keys={"sku": sku, "variant title": cell(record, "name"), "url key": cell(record, "url_key")},
    )


class _Pictures:
    """Finds where in the shop's folder pictures are."""

    def __init__(self, folder: Path) -> None:
        self._there = [media for media in MEDIA if (folder / media).is_dir()]
        self._folder = folder

    def found(self, path: str) -> str:
        """The path in the folder; as it is if it is in none of the known places."""
        path = address(path)
        places = (f"{media}/{path}" if media else path for media in self._there)
        return next((place for place in places if (self._folder / place).is_file()), path)


def _images(record: dict[str, Any]) -> list[str]:
    named = [cell(record, name) for name in ("base_image", "small_image", "thumbnail_image")]
    paths = [*named[:1], *listed(cell(record, "additional_images")), *named[1:]]
    return [path for path in dict.fromkeys(paths) if path and path not in _UNSAID]


def _attributes(record: dict[str, Any]) -> Attributes:
    paths = [levels(path, "/") for path in listed(cell(record, "categories"))]
    below = [level for path in paths for level in path if level.lower() not in _ROOTS]
    return facts(
        ("category", below),
        *(
            ("brand" if name == "manufacturer" else name, values)
            for name, values in _additional(cell(record, "additional_attributes"))
            if not why_not_by_name(name) and [v.lower() for v in values] not in (["no"], ["yes"])
        ),
    )


def _additional(text: str) -> Iterator[tuple[str, list[str]]]:
    """The pairs of ``color=Red,material=Cotton|Wool,note="warm, dry"``; a part without a name goes on with the last."""
    found: dict[str, str] = defaultdict(str)
    name = ""
    for part in _quoted(text):
        key, equals, value = part.partition("=")
        name, value = (key.strip(), value) if equals else (name, f",{part}")
        found[name] += value
    return ((name, values.strip('"').split("|")) for name, values in found.items() if name)


def _quoted(text: str) -> list[str]:
    """Parts between the commas that stand in no quotes."""
    parts, inside = [""], False
    for sign in text:
        inside ^= sign == '"'
        if sign == "," and not inside:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


MAGENTO_CSV = Layout(
    "magento_csv",
    "Magento 2 product export",
    (
        "sku",
        "product_type",
        ("additional_attributes", "configurable_variations", "attribute_set_code"),
        "name",
    ),
    {
        "sku": "id",
        "name": "title",
        **dict.fromkeys(("description", "short_description"), "text"),
        **dict.fromkeys(("base_image", "small_image", "thumbnail_image", "additional_images"), "images"),
        "categories": "attribute category",
        "additional_attributes": "attributes",
        "configurable_variations": "group",
        "store_view_code": "which rows are translations",
        "url_key": "an id that orders may use",
    },
    frozenset(
        [
            *(
                "store_view_code",
                "attribute_set_code",
                "product_type",
                "categories",
                "product_websites",
                "name",
            ),
            *(
                "description",
                "short_description",
                "weight",
                "product_online",
                "tax_class_name",
                "visibility",
                "price",
            ),
            *("special_price", "special_price_from_date", "special_price_to_date", "meta_title"),
            *("meta_keywords", "meta_description", "base_image_label"),
            *(
                "small_image_label",
                "thumbnail_image",
                "thumbnail_image_label",
                "swatch_image",
                "swatch_image_label",
            ),
            *("created_at", "updated_at", "new_from_date", "new_to_date", "display_product_options_in"),
            *("map_price", "msrp_price", "map_enabled", "gift_message_available", "custom_design"),
            *(
                "custom_design_from",
                "custom_design_to",
                "custom_layout_update",
                "page_layout",
                "country_of_manufacture",
            ),
            *("product_options_container", "msrp_display_actual_price_type", "qty"),
            *("out_of_stock_qty", "use_config_min_qty", "is_qty_decimal", "allow_backorders", "min_cart_qty"),
            *("use_config_backorders", "use_config_min_sale_qty", "max_cart_qty", "use_config_max_sale_qty"),
            *(
                "is_in_stock",
                "notify_on_stock_below",
                "use_config_notify_stock_qty",
                "manage_stock",
                "website_id",
            ),
            *(
                "use_config_manage_stock",
                "use_config_qty_increments",
                "qty_increments",
                "use_config_enable_qty_inc",
            ),
            *("enable_qty_increments", "is_decimal_divided", "related_skus", "crosssell_skus", "upsell_skus"),
            *(
                "related_position",
                "crosssell_position",
                "upsell_position",
                "additional_images",
                "custom_options",
            ),
            *("additional_image_labels", "hide_from_product_page", "bundle_price_type", "bundle_sku_type"),
            *("bundle_price_view", "bundle_weight_type", "bundle_values", "bundle_shipment_type"),
            *("associated_skus", "downloadable_links", "downloadable_samples"),
            *("configurable_variation_labels",),
        ]
    ),
    items,
)
