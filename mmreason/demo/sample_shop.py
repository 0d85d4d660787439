"""The Magento 2 sample shop: one item per product and colour, gear, training videos and reviews."""

from __future__ import annotations

import csv
import html
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmreason.config import Config
from mmreason.readers.frames import row_frames
from mmreason.readers.source import SourceRow, Tables
from mmreason.schema import Attributes, DataError

CODE = Path("app/code/Magento")
APPAREL = CODE / "ConfigurableSampleData/fixtures/products.csv"
GEAR = CODE / "CatalogSampleData/fixtures/SimpleProduct"
VIDEOS = CODE / "DownloadableSampleData/fixtures"
REVIEWS = CODE / "ReviewSampleData/fixtures/products_reviews.csv"
PICTURES = "pub/media/catalog/product"
SAMPLES = "pub/media/downloadable/files/samples"

LINKS = {"related": "related", "crosssell": "goes with", "upsell": "alternative"}
"""Name of a file of links → their kind."""

COLLECTIONS = {
    "eco_collection": "Eco Friendly",
    "performance_fabric": "Performance Fabrics",
    "erin_recommends": "Erin Recommends",
}
# Shown to a shopper and worth a reason; sizes, prices and shop flags are neither.
KEPT = ("material", "pattern", "climate", "activity", "gender", "color")
RENAMED = {"features_bags": "features", "strap_bags": "strap", "category_gear": "kind"}


def read(config: Config) -> Tables:
    """Read the sample shop under ``catalogue.root``.

    Raises:
        DataError: If the folder is not a sample shop.
    """
    root = Path(config.catalogue.root)
    if not config.catalogue.root or not (root / APPAREL).is_file():
        raise DataError(
            f"Magento root {str(root)!r} is not a Magento 2 sample shop: it holds no {APPAREL}; set "
            "catalogue.root to a checkout of the magento2-sample-data repository"
        )
    items: list[SourceRow] = []
    alias = _apparel(root, items)
    _gear(root, items)
    _videos(root, items)
    links = _links(root)
    for row in items:
        row.record["links"] = links.get(row.record["group"]) or links.get(row.record["id"], {})
    alias |= {row.record["id"]: row.record["id"] for row in items}
    reviews = (SourceRow(row.file, row.number, _review(row.record, alias)) for row in _rows(root / REVIEWS))
    return Tables(root, items, row_frames(reviews))


def _rows(path: Path) -> Iterable[SourceRow]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, record in enumerate(csv.DictReader(file), 1):
            yield SourceRow(path.name, number, record)


def _apparel(root: Path, items: list[SourceRow]) -> dict[str, str]:
    """One item per configurable product and colour; returns sku → item id, for reviews."""
    products: dict[str, SourceRow] = {}
    variants: dict[str, dict[str, str]] = defaultdict(dict)  # product → colour → base picture
    alias: dict[str, str] = {}
    for row in _rows(root / APPAREL):
        record = row.record
        if record["product_type"] == "configurable":
            products[record["sku"]] = row
            continue
        product = record["sku"].split("-")[0]
        for color in _additional(record).get("color", []):
            variants[product].setdefault(color, record["base_image"])
            alias[record["sku"]] = f"{product}-{color}"
    for sku, row in products.items():
        pictured = _pictured(row.record["base_image"], variants[sku])
        alias[sku] = f"{sku}-{pictured}"
        for color, picture in variants[sku].items():
            items.append(SourceRow(row.file, row.number, _apparel_item(row.record, color, picture)))
    return alias


def _links(root: Path) -> dict[str, dict[str, list[str]]]:
    """Product's SKU → kind of link → SKUs."""
    links: dict[str, dict[str, list[str]]] = {}
    for path in sorted((root / CODE).glob("*/fixtures/**/*.csv")):
        if kind := LINKS.get(path.stem):
            for row in _rows(path):
                found = links.setdefault(row.record["sku"], {}).setdefault(kind, [])
                found += row.record["linked_sku"].split()
    return links


def _pictured(base_image: str, pictures: dict[str, str]) -> str:
    """The colour that the product's own picture shows, or its first if that one is not sold."""
    return next((c for c in pictures if f"-{c.lower()}_" in base_image), next(iter(pictures), ""))


def _apparel_item(record: dict[str, str], color: str, picture: str) -> dict[str, Any]:
    sku = record["sku"]
    extra = [path for path in record["additional_images"].split(",") if f"-{color.lower()}_" in path]
    paths = [path.split("/") for path in record["categories"].split(",")]
    leaf = next((path for path in paths if len(path) > 2 and path[1] in ("Men", "Women")), ["", "", ""])
    attributes = _attributes({**_additional(record), "color": [color]})
    return {
        "id": f"{sku}-{color}",
        "group": sku,
        "title": _plain(record["name"]),
        "text": _plain(record["description"]),
        "images": [PICTURES + path for path in dict.fromkeys([picture, *extra])],
        "attributes": {"category": [leaf[-1]], "gender": [leaf[1]], **attributes},
        "domain": "shop",
    }


def _additional(record: dict[str, str]) -> Attributes:
    pairs = (pair.partition("=") for pair in record["additional_attributes"].split(",") if "=" in pair)
    return {name: values.split("|") for name, _, values in pairs}


def _gear(root: Path, items: list[SourceRow]) -> None:
    pictures = _pictures(path for path in sorted((root / GEAR).glob("images_gear_*.csv")))
    for path in sorted((root / GEAR).glob("products_gear_*.csv")):
        for row in _rows(path):
            record, sku = row.record, row.record["sku"]
            # the sizes of one ball or strap share their pictures, so they must not be split apart
            family = record["attribute_set"] if record["attribute_set"].startswith("Sprite") else sku
            items.append(SourceRow(row.file, row.number, _listed_item(record, family, pictures[sku], "shop")))


def _videos(root: Path, items: list[SourceRow]) -> None:
    pictures = _pictures([root / VIDEOS / "images_products_training_video.csv"])
    downloads = _rows(root / VIDEOS / "downloadable_data_training_video_download.csv")
    films = {row.record["product_sku"]: SAMPLES + row.record["link_item_file"] for row in downloads}
    for row in _rows(root / VIDEOS / "products_training_video_download.csv"):
        sku = row.record["sku"]
        film = films.get(sku)  # courses that share one must not be split apart
        item = _listed_item(row.record, film or sku, pictures[sku], "video") | {"video": film}
        items.append(SourceRow(row.file, row.number, item))


def _pictures(paths: Iterable[Path]) -> dict[str, list[str]]:
    pictures: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for row in _rows(path):
            pictures[row.record["sku"]].append(PICTURES + row.record["image"])
    return pictures


def _listed_item(record: dict[str, str], group: str, pictures: list[str], domain: str) -> dict[str, Any]:
    """An item of the simpler files, where several values stand on lines of their own."""
    values = {name: (text or "").split("\n") for name, text in record.items()}
    category = values["category"][1] if len(values["category"]) > 1 else values["category"][0]
    return {
        "id": record["sku"],
        "group": group,
        "title": _plain(record["name"]),
        "text": _plain(record["description"]),
        "images": list(pictures),
        "attributes": {"category": [category], **_attributes(values)},
        "domain": domain,
    }


def _attributes(raw: Attributes) -> Attributes:
    attributes: Attributes = defaultdict(list)
    for name, values in raw.items():
        target = "style" if name.startswith("style_") else RENAMED.get(name, name)
        if name in KEPT or target != name:
            attributes[target] += [text for value in values if (text := _plain(value))]
        elif name in COLLECTIONS and values[0] in ("Yes", "1"):
            attributes["collection"].append(COLLECTIONS[name])
    return {name: list(dict.fromkeys(values)) for name, values in attributes.items() if values}


def _plain(text: str) -> str:
    """HTML as plain text; a paragraph or bullet becomes a line of its own."""
    text = html.unescape(re.sub(r"(?i)<\s*/?\s*(?:p|br|li|ul|ol|div)\b[^>]*>", "\n", text))
    text = re.sub(r"<[^>]+>", "", text).replace("\u2022", "\n")
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _review(record: dict[str, str], alias: dict[str, str]) -> dict[str, Any]:
    reviewer = re.sub(r"[^a-z0-9]+", "-", record["reviewer"].lower()).strip("-")
    title, text = _plain(record["title"]), _plain(record["review"])
    if not text.casefold().startswith(title.casefold().rstrip(".!")):  # else it is the text's own beginning
        text = f"{title}\n{text}"
    return {
        "user_id": reviewer,
        "item_id": alias.get(record["sku"], record["sku"]),
        "event": "review",
        "rating": record["rating_value"],
        "text": text,
    }
