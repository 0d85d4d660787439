"""Which column is what: a YAML file for the reader of plain tables.

items:
  file: products.csv
  id: sku
  title: name
  text: [short_description, description]   # joined
  images: [photo, more_photos]             # all of them
  attributes: {material: Material, brand: Brand}
  links: {goes with: cross_sells, related: related_ids}    # ids of other items
  domain: {value: shop}                    # the same for every row
interactions:
  file: orders.csv
  user_id: customer
  item_id: sku
  timestamp: date
  event: {value: purchase}

``reviews`` takes the fields of interactions: reviews or ratings in a file of their own, beside a log or orders.

A product export of a shop system is a table with a ``layout``, which knows its columns; its attributes may be chosen
and renamed. ``order`` says which lines are of one order, so that its first names their customer; ``item_id`` may be
what the items have in another column (``{column: Lineitem sku, matches: sku}``, or several such). Of several columns of
``user_id`` the first that names one counts (guests have no number, or 0); ``cancelled`` are columns that say that an
order came to nothing. Of an attribute's
cell, ``split`` parts values and ``path`` the levels of a category, of which the leaf comes first; ``flag`` is the value
where the column says yes (``vegan: {column: is_vegan, flag: vegan}``). ``attributes: {"*": specs, color: color}`` takes
all that the objects of a column name, and another column beside it.

items:
  file: products_export.csv
  layout: shopify
  attributes: {color: color, tags: tags}
interactions:
  file: orders_export.csv
  order: Name
  user_id: Email
  item_id: {column: Lineitem sku, matches: sku}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmreason.links import LINKS, link_kind
from mmreason.readers.columns import columns_of, is_there
from mmreason.readers.rows import sample
from mmreason.readers.source import inside
from mmreason.schema import DataError

_ITEM = [
    *("item_id", "item", "sku", "product_id", "product", "asin", "parent_asin"),
    *("article_id", "video_id", "movie_id", "news_id", "iid", "business_id", "app_id", "book_id"),
    *("track_id", "recipe_id", "listing_id", "place_id", "movieid", "videoid"),
    *("item_number", "item_no", "article_number", "product_number", "product_code", "item_code", "goods_id"),
    *(
        "artikelnummer",
        "artikelnr",
        "artikel_nr",
        "référence",
        "referencia",
        "codice",
        "código",
        "商品id",
        "商品编号",
    ),
    *("isbn", "ean", "gtin", "barcode"),
]
USER = [
    *("user_id", "user", "userid", "uid", "customer_id", "customer", "visitor_id"),
    *(
        "reviewer_id",
        "reviewerid",
        "reviewer",
        "account_id",
        "visitorid",
        "customerid",
        "client_id",
        "member_id",
    ),
    *(
        "buyer_id",
        "shopper_id",
        "person_id",
        "profile_id",
        "kunde",
        "kundennummer",
        "client",
        "cliente",
        "用户id",
    ),
]
EMAIL = [
    *("email", "customer_email", "billing_email", "e_mail", "user_email", "email_billing", "bill_to_email"),
    "buyer_email",
]

FIELDS: dict[str, dict[str, list[str]]] = {
    "items": {
        "id": ["id", *_ITEM, "code", "handle"],
        "title": [
            *(
                "title",
                "name",
                "product_name",
                "item_name",
                "product_title",
                "item_title",
                "headline",
                "prod_name",
            ),
            *(
                "article_name",
                "goods_name",
                "display_name",
                "video_title",
                "movie_title",
                "titel",
                "bezeichnung",
            ),
            *("produktname", "titre", "nom", "nombre", "nome", "naam", "商品名称", "标题", "名称", "商品名"),
        ],
        "text": [
            *(
                "text",
                "description",
                "product_description",
                "item_description",
                "body",
                "abstract",
                "summary",
            ),
            *("detail_desc", "desc", "long_description", "short_description", "overview", "plot", "synopsis"),
            *(
                "content",
                "beschreibung",
                "descripción",
                "descrizione",
                "omschrijving",
                "描述",
                "商品描述",
                "説明",
            ),
        ],
        "images": [
            *("images", "image", "image_url", "image_urls", "image_path", "image_paths", "picture"),
            *(
                "pictures",
                "photo",
                "photos",
                "img",
                "cover",
                "main_image",
                "thumbnail",
                "image_link",
                "img_url",
            ),
            *(
                "image_src",
                "image_file",
                "picture_url",
                "photo_url",
                "main_image_url",
                "poster",
                "poster_url",
                "bild",
            ),
        ],
        "video": ["video", "video_url", "video_path", "clip"],
        "attributes": ["attributes"],
        "hidden": ["hidden"],
        "links": ["links"],
        "domain": ["domain"],
        "group": [
            "group",
            "group_id",
            "parent_id",
            "variant_of",
            "item_group_id",
            "parent_sku",
            "parent_asin",
        ],
        "split": ["split"],
    },
    "interactions": {
        "user_id": [*USER, *EMAIL],
        "item_id": [*_ITEM, "itemid"],
        "event": ["event", "event_type", "action", "behavior", "behaviour"],
        "count": ["count", "quantity", "qty", "menge", "quantité", "cantidad", "quantità", "aantal", "数量"],
        "seconds": [
            *("seconds", "watch_seconds", "watch_time", "dwell_time"),
            *("play_time_ms", "watch_time_ms", "dwell_time_ms", "read_time_ms"),
        ],
        "length": [
            "length",
            "duration",
            "video_length",
            "duration_ms",
            "video_duration_ms",
            "video_duration",
        ],
        "share": [
            *(
                "share",
                "watch_ratio",
                "watched_share",
                "watch_percent",
                "watch_percentage",
                "percent_watched",
            ),
            *("percentage_watched", "watched_percent", "completion", "completion_rate", "percent_complete"),
        ],
        "rating": ["rating", "stars", "score", "rating_value"],
        "timestamp": [
            *("timestamp", "timestamp_ms", "time_ms", "event_time", "time", "datetime", "created_at", "ts"),
            *("date", "datum", "unixreviewtime", "review_date", "submitted_at", "purchased_at"),
        ],
        "first": ["first"],
        "order": [],
        "cancelled": [],
        "products": [],
        "text": ["text", "review", "review_text", "comment", "body"],
        "helpful": ["helpful", "helpful_vote", "helpful_votes"],
    },
    "reasons": {
        "user_id": USER,
        "item_id": _ITEM,
        "text": ["text", "reason", "explanation"],
        "evidence": ["evidence"],
        "split": ["split"],
        "profile": ["profile", "user_summary"],
    },
}
FIELDS["reviews"] = FIELDS["interactions"]
"""Kind of table → field → names of columns that are taken for it, likeliest first. Reviews are interactions in a
table of their own."""

EVERY = "*"
"""Among the attributes of a mapping: a column of objects, all of whose names and values are attributes."""

PRODUCT_COLUMNS = ("product_id", "product_sku", "product_name", "product_count")
"""What a cell of ``products`` (all of an order) is read into."""

NEEDED = {
    "items": ("id",),
    "interactions": ("user_id", "item_id"),
    "reviews": ("user_id", "item_id"),
    "reasons": ("user_id", "item_id", "text"),
}
"""Kind of table → fields that it cannot be without."""


@dataclass(frozen=True, slots=True)
class TableMap:
    """One table.

    Attributes:
        file: Its path in the catalogue's folder.
        fields: Field → column; a list of columns for ``images``, ``title`` and ``text``; ``{"value": …}`` for
            the same in every row; for ``attributes`` and ``hidden`` also attribute → column, for ``links`` kind.
        layout: The shop system whose export the file is; empty for a plain table.
        columns: Names of the columns of a delimited file without a header.
    """

    file: str
    fields: dict[str, Any] = field(default_factory=dict)
    layout: str = ""
    columns: tuple[str, ...] = ()

    def files(self, root: Path) -> list[Path]:
        """The file under a folder, or all that a pattern (``2019-*.csv``) matches, in the order of their names.

        Raises:
            DataError: If it leads out of the folder, or the pattern matches none.
        """
        path = inside(root, self.file)
        if path.exists() or not any(sign in self.file for sign in "*?["):
            return [path]
        found = [path for path in sorted(root.glob(self.file)) if path.is_file()]
        if not found:
            raise DataError(f"{root} holds no file {self.file!r}")
        return found


def read_mapping(path: Path, root: Path) -> dict[str, TableMap]:
    """Read a mapping and check it against the tables it names.

    Raises:
        DataError: Naming the key or column that does not fit, and what there is.
    """
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"catalogue.options.mapping {path} cannot be read: {error}") from None
    if not isinstance(read, dict) or "items" not in read:
        raise DataError(f"{path} is no mapping: it needs a table `items` with `file` and `id`")
    return {kind: _checked(path, root, kind, table) for kind, table in read.items()}


def _checked(path: Path, root: Path, kind: str, table: Any) -> TableMap:
    if kind not in FIELDS or not isinstance(table, dict) or "file" not in table:
        raise DataError(f"{path}: {kind} is no table with a `file`; there are {', '.join(FIELDS)}")
    fields = {name: source for name, source in table.items() if name not in ("file", "layout", "columns")}
    if "layout" in table:
        return _of_layout(path, table, fields)
    unknown = [name for name in fields if name not in FIELDS[kind]]
    missing = [name for name in NEEDED[kind] if name not in fields]
    if unknown or missing:
        wrong = f"unknown field {unknown[0]!r}" if unknown else f"no {missing[0]}"
        raise DataError(f"{path}: {kind} has {wrong}; its fields are {', '.join(FIELDS[kind])}")
    kinds = fields.get("links")
    if isinstance(kinds, Mapping) and (odd := [kind for kind in kinds if not link_kind(str(kind))]):
        raise DataError(f"{path}: links has no kind {odd[0]!r}; there are {', '.join(LINKS)}")
    mapped = TableMap(str(table["file"]), fields, columns=tuple(map(str, table.get("columns") or ())))
    files = mapped.files(root.parent if root.is_file() else root)
    columns = [*sample(files[0], mapped.columns), *(PRODUCT_COLUMNS if "products" in fields else ())]
    for file in files[1:]:  # a later part may have more columns
        columns += [column for column in sample(file, mapped.columns) if column not in columns]
    for name, source in fields.items():
        for column in _sources(name, source):
            if not (is_there(column, columns) or (_has_pattern(source) and column in fields)):
                raise DataError(
                    f"{path}: {kind} names column {column!r}; {mapped.file} has {', '.join(columns)}"
                )
    return mapped


def _has_pattern(source: Any) -> bool:
    return isinstance(source, Mapping) and "pattern" in source


def _of_layout(path: Path, table: Mapping[str, Any], fields: dict[str, Any]) -> TableMap:
    if fields.keys() - {"attributes"}:
        raise DataError(
            f"{path}: a table with a layout takes `file`, `layout` and `attributes` (new name: the layout's), not "
            f"{', '.join(fields)}"
        )
    return TableMap(str(table["file"]), fields, str(table["layout"]))


def _sources(name: str, source: Any) -> list[str]:
    """The columns that a field is made of."""
    if name == "item_id" and not isinstance(source, str):
        return [str(join["column"] if isinstance(join, Mapping) else join) for join in joins_of(source)]
    if name == "links" and isinstance(source, Mapping):
        return [str(column) for column in source.values()]
    if name in ("attributes", "hidden") and isinstance(source, Mapping):
        return [
            str(column["column"] if isinstance(column, Mapping) else column) for column in source.values()
        ]
    return columns_of(name, source)


def joins_of(source: Any) -> list[Any]:
    """The columns, one or several, that say which item an interaction is with."""
    return source if isinstance(source, list) else [source]


def write_mapping(tables: dict[str, TableMap]) -> str:
    """A mapping as YAML."""
    record = {
        kind: {"file": table.file}
        | ({"layout": table.layout} if table.layout else {})
        | ({"columns": list(table.columns)} if table.columns else {})
        | table.fields
        for kind, table in tables.items()
    }
    return yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=110)
