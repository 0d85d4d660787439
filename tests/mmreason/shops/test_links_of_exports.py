"""The links that shop systems export: cross-sells, up-sells and related products, by the ids that the items have."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config
from mmreason.config_data import SourceConfig
from mmreason.schema import DataError

Links = dict[str, dict[str, list[str]]]
RECOMMENDED = "(product.metafields.shopify--discovery--product_recommendation"


def write(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, restval="")
        writer.writeheader()
        writer.writerows(rows)


def links_of(root: Path, **options: str) -> Links:
    """Item → its links, of a folder taken in."""
    config = Config(
        run_dir=str(root / "run"), catalogue=CatalogueConfig("tables", str(root), options=options)
    )
    ingest(config)
    items = read_catalogue(config.path("catalogue")).items
    assert not any(
        "related" in name or "complementary" in name for i in items.values() for name in i.attributes
    )
    return {item.id: item.links for item in items.values() if item.links}


def test_shopify_names_products_by_their_handles(tmp_path: Path) -> None:
    rows = [
        {"Handle": "mug", "Title": "Mug", "Vendor": "Ostra", "Option1 Name": "Color", "Option1 Value": "Red",
         "Variant SKU": "m-red", "Variant Price": "9", f"Complementary products {RECOMMENDED}.complementary_products)":
         "tray; gone", f"Related products {RECOMMENDED}.related_products)": "mug; cup",
         f"Related products settings {RECOMMENDED}.related_products_display)": "ahead"},
        {"Handle": "mug", "Option1 Value": "Blue", "Variant SKU": "m-blue", "Variant Price": "9"},
        {"Handle": "tray", "Title": "Tray", "Variant SKU": "t", "Variant Price": "20"},
        {"Handle": "cup", "Title": "Cup", "Variant SKU": "c", "Variant Price": "8"},
    ]  # fmt: skip
    write(tmp_path / "products_export.csv", rows)
    found = {"goes with": ["t"], "related": ["m-red", "c"]}
    assert links_of(tmp_path) == {"m-red": found, "m-blue": found}
    lines = (tmp_path / "run" / "catalogue" / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["record"] for line in lines] == [
        {"id": "m-red", "links": ["gone"]},
        {"id": "m-blue", "links": ["gone"]},
    ]


def test_woocommerce_names_products_by_sku_or_number(tmp_path: Path) -> None:
    rows = [
        {"ID": 1, "Type": "variable", "SKU": "h", "Name": "Hoodie", "Upsells": "p, id:3", "Cross-sells": "c"},
        {"ID": 2, "Type": "variation", "SKU": "h-red", "Parent": "h", "Attribute 1 name": "Color",
         "Attribute 1 value(s)": "Red", "Name": "Hoodie"},
        {"ID": 3, "Type": "simple", "SKU": "", "Name": "Parka", "Upsells": "", "Cross-sells": ""},
        {"ID": 4, "Type": "simple", "SKU": "p", "Name": "Poncho"},
        {"ID": 5, "Type": "simple", "SKU": "c", "Name": "Cap"},
    ]  # fmt: skip
    found = {"alternative": ["p", "id:3"], "goes with": ["c"]}
    write(tmp_path / "a" / "wc-product-export.csv", rows)
    assert links_of(tmp_path / "a") == {"h": found, "h-red": found}
    german = {
        "Upsells": "Zusatzverkäufe",
        "Cross-sells": "Querverkäufe",
        "SKU": "Artikelnummer",
        "Type": "Typ",
    }
    write(tmp_path / "b" / "export.csv", [{german.get(k, k): v for k, v in row.items()} for row in rows])
    assert links_of(tmp_path / "b") == {"h": found, "h-red": found}


def test_magento_names_products_by_sku(tmp_path: Path) -> None:
    rows = [
        {"sku": "h-red", "product_type": "simple", "name": "Hoodie-Red", "additional_attributes": "color=Red"},
        {"sku": "h", "product_type": "configurable", "name": "Hoodie", "related_skus": "cap,gone",
         "related_position": "1,2", "crosssell_skus": "bag", "upsell_skus": "cap",
         "configurable_variations": "sku=h-red,color=Red"},
        {"sku": "cap", "product_type": "simple", "name": "Cap"},
        {"sku": "bag", "product_type": "simple", "name": "Bag"},
    ]  # fmt: skip
    write(tmp_path / "catalog_product.csv", rows)
    found = {"related": ["cap"], "goes with": ["bag"], "alternative": ["cap"]}
    assert links_of(tmp_path) == {"h-red": found, "h": found}


def test_bigcommerce_names_products_by_number(tmp_path: Path) -> None:
    plain = {"Product Type": "P", "Price": 9, "Product Visible?": "Y", "Track Inventory": "none"}
    rows = [
        {"Item Type": "Product", "Product ID": 7, "Product Name": "Mug", "Product Code/SKU": "mug", **plain,
         "Related Products": "8,9"},
        {"Item Type": "  SKU", "Product Name": "[S]Size=Small", "Product Code/SKU": "mug-s"},
        {"Item Type": "Product", "Product ID": 8, "Product Name": "Tray", "Product Code/SKU": "tray", **plain,
         "Related Products": "-1"},
        {"Item Type": "Product", "Product ID": 9, "Product Name": "Cup", "Product Code/SKU": "", **plain},
    ]  # fmt: skip
    write(tmp_path / "products.csv", rows)
    assert links_of(tmp_path) == {"mug": {"related": ["tray", "9"]}, "mug-s": {"related": ["tray", "9"]}}


@pytest.mark.parametrize("as_xml", [True, False])
def test_google_merchant_names_products_by_id_or_gtin(tmp_path: Path, as_xml: bool) -> None:
    named = [
        ("accessory", "gtin", "811571013579"),
        ("often_bought_with", "id", "b"),
        ("substitute", "id", "c"),
    ]
    rows = [
        {"id": "a", "title": "Lamp", "image_link": "a.jpg", "link": "https://shop.example/a", "condition": "new"},
        {"id": "b", "title": "Bulb", "image_link": "b.jpg", "link": "https://shop.example/b", "condition": "new"},
        {"id": "c", "title": "Light", "image_link": "c.jpg", "gtin": "811571013579", "condition": "new",
         "link": "https://shop.example/c"},
    ]  # fmt: skip
    if as_xml:
        links = "".join(
            f"<g:related_product><g:relationship_type>{kind}</g:relationship_type><g:identifier_type>{by}"
            f"</g:identifier_type><g:identifier>{number}</g:identifier></g:related_product>"
            for kind, by, number in named
        )
        entries = [
            "".join(f"<g:{name}>{value}</g:{name}>" for name, value in row.items())
            + links * (row["id"] == "a")
            for row in rows
        ]
        text = "".join(f"<item>{entry}</item>" for entry in entries)
        feed = f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{text}</channel></rss>'
        (tmp_path / "feed.xml").write_text(feed, encoding="utf-8")
    else:
        rows[0]["related_product"] = ",".join(map(":".join, named))
        write(tmp_path / "feed.tsv", rows, "\t")
    assert links_of(tmp_path) == {"a": {"goes with": ["c"], "bought with": ["b"], "alternative": ["c"]}}


PLAIN = [
    {"sku": "a", "name": "Lamp", "bought_together": "b|c", "similar": '["c"]', "accessory": "a bulb, a cord"},
    {"sku": "b", "name": "Bulb", "bought_together": "", "similar": "", "accessory": "a cord"},
    {"sku": "c", "name": "Light", "bought_together": "b", "similar": "", "accessory": "a bulb"},
]


def test_columns_of_a_plain_table_are_found_or_named(tmp_path: Path) -> None:
    write(tmp_path / "items.csv", PLAIN)
    found: Links = {"a": {"bought with": ["b", "c"], "alternative": ["c"]}, "c": {"bought with": ["b"]}}
    assert links_of(tmp_path) == found
    mapping = tmp_path / "my.yaml"
    mapping.write_text("items: {file: items.csv, id: sku, title: name, links: {related: bought_together}}")
    assert links_of(tmp_path, mapping=str(mapping)) == {"a": {"related": ["b", "c"]}, "c": {"related": ["b"]}}
    mapping.write_text("items: {file: items.csv, id: sku, links: {beside: similar}}")
    with pytest.raises(DataError, match="links has no kind 'beside'; there are goes with"):
        links_of(tmp_path, mapping=str(mapping))
    mapping.write_text("items: {file: items.csv, id: sku, links: {related: none_such}}")
    with pytest.raises(DataError, match="names column 'none_such'"):
        links_of(tmp_path, mapping=str(mapping))


def test_items_of_our_own_format_and_of_several_sources(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "title": "Lamp", "links": {"goes with": ["b", "gone"], "related": ["a"]}},
        {"id": "b", "title": "Bulb", "links": "no such thing"},
        {"id": "c", "title": "Light"},
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert links_of(tmp_path) == {"a": {"goes with": ["b"], "related": ["a"]}}
    sources = [SourceConfig(name, "tables", str(tmp_path)) for name in ("one", "two")]
    config = Config(run_dir=str(tmp_path / "run2"), catalogue=CatalogueConfig(sources=sources))
    said = ingest(config)
    assert "2 items have links to items that are not there" in said and "2 fields of items" in said
    items = read_catalogue(config.path("catalogue")).items
    assert items["two:a"].links == {"goes with": ["two:b"], "related": ["two:a"]}
