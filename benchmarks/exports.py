"""Whether a shop's exports come in whole: one made shop as eight systems export it, through `mmreason ingest`.

python benchmarks/exports.py                                       # 5,000 products and 50,000 orders each
python benchmarks/exports.py --products 300 --orders 2000          # smaller
python benchmarks/exports.py --systems shopify hm

Five shop systems come in by `mmreason ingest FOLDER` alone, three logs by a mapping of at most 12 lines. Of every true
field (title, text, pictures, group, links to other products, each attribute; each order line's user, item and time) at
least 99 % must arrive,
and no column that keeps a shop running (price, stock, …) may be an attribute.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import made_shops
from made_shops import Order, Product, Shop, Variant

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.cli import main as mmreason
from mmreason.schema import Item

BAR = 0.99
MOST_LINES = 12
DAY = 86_400
TAGGED = ("shopify", "woocommerce")
LINKED = {
    "shopify": ("goes_with", "related"),
    "woocommerce": ("goes_with", "alternatives"),
    "google_merchant": ("goes_with", "alternatives"),
    "bigcommerce": ("related",),
    "magento_csv": ("goes_with", "related", "alternatives"),
}
"""System → the links that it exports; logs have related items in a column."""

KINDS = {"goes_with": "goes with", "related": "related", "alternatives": "alternative"}
CATEGORISED = ("shopify", "woocommerce", "google_merchant", "bigcommerce", "magento_csv")

True_ = Callable[[Product, Variant], object]


def main() -> None:
    """Measure every system and print one line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=5000)
    parser.add_argument("--orders", type=int, default=50_000)
    parser.add_argument("--systems", nargs="+", default=list(made_shops.SYSTEMS), choices=made_shops.SYSTEMS)
    given = parser.parse_args()
    shop = made_shops.make(given.products, given.orders)
    good = 0
    for system in given.systems:
        with tempfile.TemporaryDirectory() as folder:
            good += measure(system, shop, Path(folder))
    print(f"exports: {good}/{len(given.systems)} (bar {len(given.systems)})")
    raise SystemExit(good < len(given.systems))


def measure(system: str, shop: Shop, folder: Path) -> bool:
    """Write the shop as one system, take it in, and say what share of each kind of field arrived."""
    root = folder / "shop"
    root.mkdir()
    made_shops.write_pictures(root)
    mapping = made_shops.SYSTEMS[system](shop, root)
    options = []
    if mapping is not None:
        (folder / "mapping.yaml").write_text(mapping)
        options = ["--catalogue.options.mapping", str(folder / "mapping.yaml")]
    lines = len(mapping.strip().splitlines()) if mapping else 0
    started = time.monotonic()
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            mmreason(["ingest", str(root), "--run_dir", str(folder / "run"), *options])
    except SystemExit as error:
        print(f"{system}: {error}")
        return False
    seconds = time.monotonic() - started
    catalogue = read_catalogue(folder / "run" / "catalogue")
    shares = {**item_shares(system, shop, catalogue), **order_shares(system, shop, catalogue)}
    plumbing = sorted(
        {name for item in catalogue.items.values() for name in item.attributes} - known_attributes(system)
    )
    good = min(shares.values()) >= BAR and not plumbing and lines <= MOST_LINES
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    more = f"; not attributes: {', '.join(plumbing)}" if plumbing else ""
    how = f"mapping of {lines} lines" if mapping else "no mapping"
    print(f"{system} ({how}, {seconds:.0f} s): {told}{more} {'ok' if good else 'BELOW'}", flush=True)
    return good


def item_shares(system: str, shop: Shop, catalogue: Catalogue) -> dict[str, float]:
    """Share of the true variants whose field is just so, by field."""
    truth = true_fields(system)
    found: Counter[str] = Counter()
    groups: dict[str, set[str]] = defaultdict(set)
    variants = 0
    kinds = LINKED.get(system, ("related",))
    for product in shop.products:
        links = {KINDS[kind]: {p.handle for p in some} for kind in kinds if (some := getattr(product, kind))}
        for variant in product.variants:
            variants += 1
            item = catalogue.items.get(variant.sku, Item(""))
            groups[product.handle].add(item.group)
            found["links"] += linked_products(item, catalogue) == links
            for name, (true, arrived) in truth.items():
                found[name] += true(product, variant) == arrived(item)
    alone = Counter(group for some in groups.values() for group in some)
    whole = sum(len(some) == 1 and alone[next(iter(some))] == 1 for some in groups.values())
    return {name: found[name] / variants for name in (*truth, "links")} | {
        "group": whole / len(shop.products)
    }


def linked_products(item: Item, catalogue: Catalogue) -> dict[str, set[str]]:
    """Kind of link → the products, as the groups of their variants are called, that an item is linked to."""
    return {kind: {catalogue.items[i].group for i in ids} for kind, ids in item.links.items()}


def true_fields(system: str) -> dict[str, tuple[True_, Callable[[Item], object]]]:
    """Field → what is true of a variant, and what arrived of it."""

    def attribute(name: str) -> Callable[[Item], object]:
        return lambda item: item.attributes.get(name)

    def pictures(product: Product, variant: Variant) -> object:
        if system == "hm":
            return [f"images/{variant.sku[:3]}/{variant.sku}.jpg"]
        return list(dict.fromkeys([variant.picture, *product.pictures]))

    truth: dict[str, tuple[True_, Callable[[Item], object]]] = {
        "title": (lambda p, v: p.title, lambda item: item.title),
        "text": (lambda p, v: p.lines, lambda item: item.text.splitlines()),
        "pictures": (pictures, lambda item: item.images),
        "color": (lambda p, v: [v.color], attribute("color")),
        "size": (lambda p, v: [v.size], attribute("size")),
        "material": (lambda p, v: [p.material], attribute("material")),
        "brand": (lambda p, v: [p.brand], attribute("brand")),
    }
    if system in CATEGORISED:
        truth["category"] = (lambda p, v: p.category[::-1], attribute("category"))
    if system in TAGGED:
        truth["tags"] = (lambda p, v: p.tags, attribute("tags"))
    return truth


def known_attributes(system: str) -> set[str]:
    """Names of the attributes that a system's exports truly hold."""
    names = {"color", "size", "material", "brand"}
    names |= {"category"} if system in CATEGORISED else set()
    names |= {"tags"} if system in TAGGED else set()
    return names | ({"type"} if system == "shopify" else set())


def order_shares(system: str, shop: Shop, catalogue: Catalogue) -> dict[str, float]:
    """Share of the order lines whose user, item, time and event arrived."""
    true = Counter(
        (user_of(order), variant.sku, time_of(system, order), event_of(system, count))
        for order in shop.orders
        for _, variant, count in order.lines
    )
    found = Counter((i.user_id, i.item_id, int(i.timestamp), i.event) for i in catalogue.interactions)
    shares = {}
    for place, name in enumerate(("users", "items", "times", "events")):
        wanted, there = (_marginal(counts, place) for counts in (true, found))
        shares[name] = (wanted & there).total() / wanted.total()
    shares["order lines"] = (true & found).total() / true.total()
    return shares


def _marginal(counts: Counter[tuple[str, str, int, str]], place: int) -> Counter[object]:
    made: Counter[object] = Counter()
    for key, count in counts.items():
        made[key[place]] += count
    return made


def user_of(order: Order) -> str:
    """The user of an order: the hash of their e-mail address."""
    return hashlib.sha256(order.email.lower().encode()).hexdigest()


def time_of(system: str, order: Order) -> int:
    """When an order was made, as exactly as the system says."""
    return order.time // DAY * DAY if system == "hm" else order.time


def event_of(system: str, count: int) -> str:
    """What a line of an order is in a system's log."""
    if system == "kuairand":
        return "click" if count == 2 else "impression"
    return "cart" if system == "rees46" and count == 1 else "purchase"


if __name__ == "__main__":
    main()
