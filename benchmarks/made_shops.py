"""One made shop, written as eight systems export it: the truth that `exports.py` holds against what arrives."""

from __future__ import annotations

import csv
import html
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

START = 1_700_000_000
PICTURES = 40
COLORS = ["Red", "Navy", "Moss", "Sand", "Plum", "Teal", "Ash", "Rust"]
SIZES = ["S", "M", "L", "250 ml", "45 x 45"]
MATERIALS = ["stoneware", "linen", "oak", "merino wool", "beeswax", "steel"]
BRANDS = ["Ostra", "Field Kiln", "Hollow & Pine", "Marn"]
CATEGORIES = [
    ["Home & Garden", "Decor", "Mugs"],
    ["Home & Garden", "Kitchen", "Aprons"],
    ["Apparel", "Women", "Dresses"],
    ["Apparel", "Men", "Shirts"],
    ["Home & Garden", "Decor", "Candles"],
]
TAGS = ["gift", "summer", "new-in", "handmade", "bestseller"]
WORDS = [
    "soft",
    "warm",
    "light",
    "sturdy",
    "small",
    "wide",
    "easy",
    "quiet",
    "bright",
    "smooth",
    "by",
    "hand",
    "for",
]


@dataclass
class Variant:
    """What is bought."""

    sku: str
    color: str
    size: str
    picture: str


@dataclass
class Product:
    """What is shown."""

    number: int
    handle: str
    title: str
    lines: list[str]
    brand: str
    category: list[str]
    tags: list[str]
    material: str
    pictures: list[str]
    variants: list[Variant]
    goes_with: list[Product] = field(default_factory=list)
    related: list[Product] = field(default_factory=list)
    alternatives: list[Product] = field(default_factory=list)

    @property
    def html(self) -> str:
        """Its text as a shop's editor writes it."""
        first, *others = (html.escape(line) for line in self.lines)
        bullets = "".join(f"<li>{line}</li>" for line in others)
        unseen = "<style>p {color: red}</style><!-- a comment --><script>a(1)</script>"
        return f'{unseen}<p class="x">{first}</p>\n<ul>{bullets}</ul>'


@dataclass
class Order:
    """One order: who, when, and how many of which."""

    number: int
    email: str
    time: int
    lines: list[tuple[Product, Variant, int]]


@dataclass
class Shop:
    """The truth."""

    products: list[Product] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)


def make(products: int, orders: int, seed: int = 0) -> Shop:
    """A shop with some products of one to four variants, and orders of one to three lines."""
    rng = random.Random(seed)
    shop = Shop([_product(number, rng) for number in range(products)])
    links = random.Random(seed + 1)
    for product in shop.products:
        others = [other for other in links.sample(shop.products, min(6, products)) if other is not product]
        product.goes_with, product.related, product.alternatives = others[:2], others[2:3], others[3:5]
    for number in range(orders):
        lines = []
        for product in rng.sample(shop.products, min(rng.choice([1, 1, 1, 2, 3]), products)):
            lines.append((product, rng.choice(product.variants), rng.choice([1, 1, 2])))
        email = f"Customer{rng.randrange(max(orders // 8, 1))}@example.com"
        shop.orders.append(Order(1000 + number, email, START + number * 60, lines))
    return shop


def _product(number: int, rng: random.Random) -> Product:
    title = f"{rng.choice(['Alder', 'Birch', 'Cove', 'Dune'])} {rng.choice(['Cup', 'Throw', 'Vase'])} {number} & Co"
    colors = rng.sample(COLORS, rng.choice([1, 2]))
    sizes = rng.sample(SIZES, rng.choice([1, 2]))
    pictures = [picture(number * 3 + place) for place in range(2)]
    variants = [
        Variant(f"{number:05d}-{c}{s}", color, size, picture(number * 3 + 2 + c))
        for c, color in enumerate(colors)
        for s, size in enumerate(sizes)
    ]
    lines = [
        " ".join(rng.choices(WORDS, k=12)) + ".",
        f"Wipe clean & keep dry, no. {number}",
        "From 5 < 6 makers",
    ]
    return Product(
        number,
        f"product-{number}",
        title,
        lines,
        rng.choice(BRANDS),
        rng.choice(CATEGORIES),
        rng.sample(TAGS, 2),
        rng.choice(MATERIALS),
        [path for path in pictures if path not in {v.picture for v in variants}],
        variants,
    )


def picture(number: int) -> str:
    """The path of one of the shop's pictures."""
    return f"pictures/{number % PICTURES:02d}.jpg"


def write_pictures(folder: Path) -> None:
    """Write all pictures under a folder."""
    for number in range(PICTURES):
        path = folder / picture(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 6, 80, 120)).save(path)


def handles(products: list[Product], sign: str = ",") -> str:
    """Products as a cell of links names them."""
    return sign.join(product.handle for product in products)


def write_table(path: Path, rows: Iterable[dict[str, Any]], delimiter: str = ",") -> None:
    """Write a table whose columns are those of its rows."""
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, dict.fromkeys(name for row in rows for name in row), delimiter=delimiter, restval=""
        )
        writer.writeheader()
        writer.writerows(rows)


RECOMMENDED = "(product.metafields.shopify--discovery--product_recommendation"


def shopify(shop: Shop, folder: Path) -> None:
    """Products and orders as Shopify exports them."""
    write_table(folder / "products_export.csv", (row for p in shop.products for row in _shopify_rows(p)))
    write_table(folder / "orders_export.csv", (row for order in shop.orders for row in _shopify_lines(order)))


def _shopify_rows(p: Product) -> Iterator[dict[str, Any]]:
    plumbing = {
        "Variant Grams": 200,
        "Variant Inventory Qty": 5,
        "Variant Price": "14.00",
        "Variant Taxable": "true",
    }
    main = {
        "Handle": p.handle, "Title": p.title, "Body (HTML)": p.html, "Vendor": p.brand,
        "Product Category": " > ".join(p.category), "Type": p.category[-1], "Tags": ", ".join(p.tags),
        "Published": "true",
        "Option1 Name": "Color", "Option2 Name": "Size", "Status": "active", "SEO Title": p.title,
        "Material (product.metafields.custom.material)": p.material,
        "Best before (product.metafields.custom.best_before)": "2027-01-01",
        f"Complementary products {RECOMMENDED}.complementary_products)": handles(p.goes_with, "; "),
        f"Related products {RECOMMENDED}.related_products)": handles(p.related, "; "),
        f"Related products settings {RECOMMENDED}.related_products_display)": "only manual",
    }  # fmt: skip
    for number in range(max(len(p.variants), len(p.pictures))):
        row: dict[str, Any] = {"Handle": p.handle}
        if number < len(p.variants):
            v = p.variants[number]
            row |= {
                "Option1 Value": v.color,
                "Option2 Value": v.size,
                "Variant SKU": v.sku,
                "Variant Image": v.picture,
            }
            row |= plumbing
        if number < len(p.pictures):
            row |= {"Image Src": p.pictures[number], "Image Position": number + 1}
        yield (main if number == 0 else {}) | row


def _shopify_lines(order: Order) -> Iterator[dict[str, Any]]:
    when = datetime.fromtimestamp(order.time, UTC).strftime("%Y-%m-%d %H:%M:%S +0000")
    first = {
        "Email": order.email,
        "Financial Status": "paid",
        "Created at": when,
        "Currency": "EUR",
        "Total": "20",
    }
    for number, (product, variant, count) in enumerate(order.lines):
        name = f"{product.title} - {variant.color} / {variant.size}"
        line = {
            "Lineitem quantity": count,
            "Lineitem name": name,
            "Lineitem price": "14.00",
            "Lineitem sku": variant.sku,
        }
        yield {"Name": f"#{order.number}", **(first if number == 0 else {}), **line}


def woocommerce(shop: Shop, folder: Path) -> None:
    """Products as WooCommerce exports them, orders as its export plug-ins do."""
    write_table(folder / "wc-product-export.csv", (row for p in shop.products for row in _woo_rows(p)))
    lines = [
        {"Order Number": o.number, "Order Status": "completed", "Email (Billing)": o.email, "Order Total": "20",
         "Order Date": datetime.fromtimestamp(o.time, UTC).strftime("%Y-%m-%d %H:%M:%S"), "Item #": n + 1,
         "SKU": v.sku, "Item Name": p.title, "Quantity": count, "Item Cost": "14.00"}
        for o in shop.orders for n, (p, v, count) in enumerate(o.lines)
    ]  # fmt: skip
    write_table(folder / "orders.csv", lines)


def _woo_rows(p: Product) -> Iterator[dict[str, Any]]:
    plumbing = {
        "Published": 1,
        "Tax status": "taxable",
        "In stock?": 1,
        "Stock": 5,
        "Regular price": 14,
        "Weight (kg)": 0.2,
    }
    colors, sizes = (list(dict.fromkeys(getattr(v, name) for v in p.variants)) for name in ("color", "size"))
    named = {"Attribute 1 name": "Color", "Attribute 2 name": "Size", "Attribute 3 name": "Material"}
    yield {
        "ID": 100_000 + p.number, "Type": "variable", "SKU": p.handle, "Name": p.title, "Description": p.html,
        "Categories": " > ".join(p.category), "Tags": ", ".join(p.tags), "Images": ", ".join(p.pictures),
        "Brands": p.brand, "Upsells": handles(p.alternatives, ", "), "Cross-sells": handles(p.goes_with, ", "),
        "Attribute 1 value(s)": ", ".join(colors), "Attribute 2 value(s)": ", ".join(sizes),
        "Attribute 3 value(s)": p.material, "Parent": "", **named, **plumbing,
    }  # fmt: skip
    for v in p.variants:
        options = {
            "Attribute 1 value(s)": v.color,
            "Attribute 2 value(s)": v.size,
            "Parent": p.handle,
            **named,
        }
        yield {"Type": "variation", "SKU": v.sku, "Name": p.title, "Images": v.picture, **options, **plumbing}


def google_merchant(shop: Shop, folder: Path) -> None:
    """A feed for Google Merchant Center, and a plain table of orders beside it."""
    rows = [
        {"id": v.sku, "title": p.title, "description": p.html, "link": f"https://shop.example/{p.handle}",
         "image_link": v.picture, "additional_image_link": ",".join(p.pictures), "availability": "in_stock",
         "price": "14.00 EUR", "condition": "new", "brand": p.brand, "gtin": 4_000_000_000_000 + p.number,
         "google_product_category": "Apparel & Accessories", "product_type": " > ".join(p.category),
         "item_group_id": p.handle, "color": v.color, "size": v.size, "material": p.material, "custom_label_0": "hot",
         "shipping_weight": "2 kg",
         "related_product": ",".join(
             [f"accessory:id:{other.variants[0].sku}" for other in p.goes_with]
             + [f"substitute:id:{other.variants[0].sku}" for other in p.alternatives])}
        for p in shop.products for v in p.variants
    ]  # fmt: skip
    write_table(folder / "feed.tsv", rows, "\t")
    lines = [
        {"customer_email": o.email, "sku": v.sku, "quantity": count, "created_at": o.time}
        for o in shop.orders for _, v, count in o.lines
    ]  # fmt: skip
    write_table(folder / "orders.csv", lines)


def bigcommerce(shop: Shop, folder: Path) -> None:
    """Products and orders as BigCommerce exports them, all products of an order in one cell."""
    write_table(folder / "products.csv", (row for p in shop.products for row in _bigcommerce_rows(p)))
    orders = [
        {"Order ID": o.number, "Customer Email": o.email, "Order Status": "Shipped",
         "Order Date": datetime.fromtimestamp(o.time, UTC).isoformat(), "Order Total": "20",
         "Product Details": "|".join(BOUGHT.format(p=p, v=v, count=count) for p, v, count in o.lines)}
        for o in shop.orders
    ]  # fmt: skip
    write_table(folder / "orders.csv", orders)


BOUGHT = (
    "Product ID: {p.number}, Product Qty: {count}, Product SKU: {v.sku}, Product Name: {p.title}, "
    "Product Weight: 0.2000, Product Variation Details: , Product Unit Price: 14.00"
)


def _bigcommerce_rows(p: Product) -> Iterator[dict[str, Any]]:
    shown = {f"Product Image File - {n}": path for n, path in enumerate(p.pictures, 1)}
    yield {
        "Item Type": "Product", "Product ID": p.number, "Product Name": p.title, "Product Type": "P", "Price": 14,
        "Product Code/SKU": p.handle, "Brand Name": p.brand, "Product Description": p.html, "Product Weight": 0.2,
        "Category": "/".join(p.category), "Product Custom Fields": f"Material={p.material}",
        "Track Inventory": "by option", "Related Products": ",".join(str(other.number) for other in p.related),
        "Product Visible?": "Y", **shown,
    }  # fmt: skip
    for v in p.variants:
        options = f"[CS]Color={v.color}:#cecece,[RT]Size={v.size}"
        yield {
            "Item Type": "  SKU",
            "Product Name": options,
            "Product Code/SKU": v.sku,
            "Product Image File - 1": v.picture,
        }


def magento_csv(shop: Shop, folder: Path) -> None:
    """Products as Magento 2 exports them, and the items of its orders."""
    write_table(folder / "catalog_product.csv", (row for p in shop.products for row in _magento_rows(p)))
    lines = [
        {"order_id": o.number, "created_at": datetime.fromtimestamp(o.time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
         "customer_email": o.email, "sku": v.sku, "name": p.title, "qty_ordered": f"{count}.0000", "price": "14.00"}
        for o in shop.orders for p, v, count in o.lines
    ]  # fmt: skip
    write_table(folder / "sales_order_item.csv", lines)


def _magento_rows(p: Product) -> Iterator[dict[str, Any]]:
    plumbing = {
        "price": 14,
        "qty": 5,
        "tax_class_name": "Taxable Goods",
        "weight": 0.2,
        "is_in_stock": 1,
        "url_key": p.handle,
    }
    for v in p.variants:
        yield {
            "sku": v.sku, "product_type": "simple", "name": f"{p.title}-{v.color}-{v.size}",
            "base_image": "/" + v.picture,
            "visibility": "Not Visible Individually",
            "additional_attributes": f"color={v.color},size={v.size},has_options=0",
            **plumbing,
        }  # fmt: skip
    variations = "|".join(f"sku={v.sku},color={v.color},size={v.size}" for v in p.variants)
    first, *more = [f"/{path}" for path in p.pictures] or [""]
    yield {
        "sku": p.handle, "product_type": "configurable", "name": p.title, "description": p.html, "base_image": first,
        "categories": "Default Category/" + "/".join(p.category), "visibility": "Catalog, Search",
        "additional_attributes": f"material={p.material},manufacturer={p.brand},is_returnable=Use config",
        "additional_images": ",".join(more), "configurable_variations": variations, **plumbing,
        "related_skus": handles(p.related), "crosssell_skus": handles(p.goes_with),
        "upsell_skus": handles(p.alternatives),
    }  # fmt: skip


def kuairand(shop: Shop, folder: Path) -> str:
    """A log of flags and milliseconds; returns the mapping."""
    _plain_items(shop, folder, "video_id")
    rows = [
        {"user_id": o.email, "video_id": v.sku, "date": 20220409, "hourmin": 900, "time_ms": o.time * 1000,
         "is_click": int(count == 2), "is_like": 0, "long_view": 0, "play_time_ms": count * 5000,
         "duration_ms": 10_000}
        for o in shop.orders for _, v, count in o.lines
    ]  # fmt: skip
    write_table(folder / "log_standard.csv", rows)
    return ITEMS.format(id="video_id") + (
        "interactions:\n  file: log_standard.csv\n  user_id: user_id\n  item_id: video_id\n  timestamp: time_ms\n"
        "  event: {flags: {is_click: click}}\n  seconds: {column: play_time_ms, unit: ms}\n"
    )


def rees46(shop: Shop, folder: Path) -> str:
    """A log of actions with times in words; returns the mapping."""
    _plain_items(shop, folder, "product_id")
    rows = [
        {"event_time": datetime.fromtimestamp(o.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), "price": 14.0,
         "event_type": ["addtocart", "transaction"][count - 1], "product_id": v.sku, "user_id": o.email,
         "user_session": "x"}
        for o in shop.orders for _, v, count in o.lines
    ]  # fmt: skip
    write_table(folder / "2019-Oct.csv", rows)
    return ITEMS.format(id="product_id") + (
        "interactions:\n  file: 2019-Oct.csv\n  user_id: user_id\n  item_id: product_id\n  timestamp: event_time\n"
        "  event: {column: event_type, values: {addtocart: cart, transaction: purchase}}\n"
    )


def hm(shop: Shop, folder: Path) -> str:
    """Transactions by day, pictures where their names say; returns the mapping."""
    _plain_items(shop, folder, "article_id", pictured=False)
    for product in shop.products:
        for variant in product.variants:
            path = folder / "images" / variant.sku[:3] / f"{variant.sku}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(folder / variant.picture)
    rows = [
        {"t_dat": datetime.fromtimestamp(o.time, UTC).strftime("%Y-%m-%d"), "customer_id": o.email,
         "article_id": v.sku,
         "price": 0.05, "sales_channel_id": 2}
        for o in shop.orders for _, v, _ in o.lines
    ]  # fmt: skip
    write_table(folder / "transactions_train.csv", rows)
    pattern = "images: {pattern: 'images/{article_id:.3}/{article_id}.jpg'}"
    items = ITEMS.format(id="article_id").replace("images: pictures", pattern)
    return items + (
        "interactions:\n  file: transactions_train.csv\n  user_id: customer_id\n  item_id: article_id\n"
        "  timestamp: t_dat\n  event: {value: purchase}\n"
    )


ITEMS = (
    "items: {{file: items.csv, id: {id}, title: title, text: text, group: product_code,\n  images: pictures,\n"
    "  links: {{related: related_products}},\n"
    "  attributes: {{color: color, size: size, material: material, brand: brand}}}}\n"
)


def _plain_items(shop: Shop, folder: Path, name: str, pictured: bool = True) -> None:
    rows = [
        {name: v.sku, "title": p.title, "text": p.html, "product_code": p.handle, "color": v.color, "size": v.size,
         "material": p.material, "brand": p.brand, "price": "14.00",
         "related_products": "|".join(other.variants[0].sku for other in p.related),
         **({"pictures": "|".join([v.picture, *p.pictures])} if pictured else {})}
        for p in shop.products for v in p.variants
    ]  # fmt: skip
    write_table(folder / "items.csv", rows)


Writer = Callable[[Shop, Path], str | None]
SYSTEMS: dict[str, Writer] = {
    "shopify": shopify,
    "woocommerce": woocommerce,
    "google_merchant": google_merchant,
    "bigcommerce": bigcommerce,
    "magento_csv": magento_csv,
    "kuairand": kuairand,
    "rees46": rees46,
    "hm": hm,
}
"""Name → what writes the shop into a folder; of a log it returns the mapping."""
