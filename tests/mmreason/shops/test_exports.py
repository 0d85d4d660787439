"""Exports as shop systems write them: variants, options, pictures, categories, and the orders beside them."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config
from mmreason.schema import DataError
from mmreason.shops.folder import survey


def write(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, restval="")
        writer.writeheader()
        writer.writerows(rows)


def take(root: Path, source: str = "tables", **options: str) -> Catalogue:
    config = Config(run_dir=str(root / "run"), catalogue=CatalogueConfig(source, str(root), options=options))
    ingest(config)
    return read_catalogue(config.path("catalogue"))


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)


SHOPIFY = [
    {
        "Handle": "mug", "Title": "Mug", "Body (HTML)": "<p>A <b>mug</b> &amp; a friend.</p><ul><li>Oak</li></ul>",
        "Vendor": "Ostra", "Product Category": "Home > Kitchen > Mugs", "Type": "Mugs", "Tags": "gift, kitchen",
        "Option1 Name": "Color", "Option1 Value": "Red", "Option2 Name": "Size", "Option2 Value": "S",
        "Variant SKU": "'001", "Variant Price": "9.00", "Image Src": "red.jpg", "Image Position": "2",
        "Variant Image": "red.jpg", "Material (product.metafields.custom.material)": "stoneware; glaze",
    },
    {"Handle": "mug", "Option1 Value": "Blue", "Option2 Value": "L", "Variant SKU": "002", "Variant Price": "9.00",
     "Image Src": "/side.jpg", "Image Position": "1", "Variant Image": "blue.jpg"},
    {"Handle": "mug", "Image Src": "blue.jpg", "Image Position": "3"},
    {"Handle": "cap", "Title": "Cap", "Option1 Name": "Title", "Option1 Value": "Default Title", "Variant Price": "5"},
]  # fmt: skip


def test_shopify(tmp_path: Path) -> None:
    pictures(tmp_path, "red.jpg", "side.jpg", "blue.jpg")
    write(tmp_path / "products_export.csv", SHOPIFY)
    lines = [
        {"Name": "#1", "Email": "Ann@example.com", "Created at": "2026-01-02 10:00:00 +0100", "Lineitem quantity": 2,
         "Lineitem name": "Mug - Red / S", "Lineitem sku": "001"},
        {"Name": "#1", "Lineitem quantity": 1, "Lineitem name": "Cap", "Lineitem sku": ""},
        {"Name": "#2", "Email": "bob@example.com", "Created at": "2026-01-03 10:00:00 +0100", "Lineitem quantity": 1,
         "Lineitem name": "Mug - Blue / L", "Lineitem sku": "002"},
    ]  # fmt: skip
    write(tmp_path / "orders_export.csv", lines)
    catalogue = take(tmp_path)
    red, blue, cap = (catalogue.items[name] for name in ("001", "002", "cap"))
    assert red.title == blue.title == "Mug" and red.text == blue.text == "A mug & a friend.\nOak"
    assert red.group == blue.group == "mug" and cap.attributes == {}
    assert red.images == ["red.jpg", "side.jpg"] and blue.images == ["blue.jpg", "side.jpg"]
    assert blue.attributes == {
        "brand": ["Ostra"],
        "category": ["Mugs", "Kitchen", "Home"],
        "type": ["Mugs"],
        "tags": ["gift", "kitchen"],
        "color": ["Blue"],
        "size": ["L"],
        "material": ["stoneware", "glaze"],
    }
    ann, bob = (hashlib.sha256(f"{name}@example.com".encode()).hexdigest() for name in ("ann", "bob"))
    assert {(i.user_id, i.item_id, i.event, i.count, i.timestamp) for i in catalogue.interactions} == {
        (ann, "001", "purchase", 2, 1767344400.0),
        (ann, "cap", "purchase", 1, 1767344400.0),
        (bob, "002", "purchase", 1, 1767430800.0),
    }
    assert take(tmp_path, mapping=str(tmp_path / "run" / "mapping.yaml")) == catalogue
    assert take(tmp_path, "shopify").items == catalogue.items
    with pytest.raises(DataError, match="holds no WooCommerce product export"):
        take(tmp_path, "woocommerce")


def test_shopify_rows_that_somebody_sorted_still_find_their_product(tmp_path: Path) -> None:
    write(tmp_path / "products.csv", [SHOPIFY[1], SHOPIFY[3], SHOPIFY[0], SHOPIFY[2]])
    assert take(tmp_path).items["002"].title == "Mug"


def test_woocommerce(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = [
        {"ID": 41, "Type": "variation", "SKU": "h-blue", "Name": "Hoodie - Blue", "Images": "c.jpg", "Parent": "h",
         "Attribute 1 name": "Color", "Attribute 1 value(s)": "Blue"},
        {"ID": 42, "Type": "variation", "SKU": "", "Name": "Hoodie - Green", "Parent": "id:40",
         "Attribute 1 name": "Color", "Attribute 1 value(s)": "Green"},
        {"ID": 40, "Type": "variable", "SKU": "h", "Name": "Hoodie", "Short description": "Warm.",
         "Description": "<p>A hoodie.</p>", "Tax status": "taxable", "Categories": r"Men\, women > Hoodies, Sale",
         "Tags": "winter, soft", "Images": "a.jpg, b.jpg", "Attribute 1 name": "Color",
         "Attribute 1 value(s)": "Blue, Green", "Attribute 2 name": "Washable", "Attribute 2 value(s)": "Yes"},
    ]  # fmt: skip
    write(tmp_path / "wc-product-export.csv", rows)
    bought = {
        "Date": "2026-01-02 10:00:00",
        "Order #": "7",
        "Customer": "ann",
        "Product(s)": "2× Hoodie - Blue, 1× Hoodie",
    }
    write(tmp_path / "wc-orders.csv", [bought])
    catalogue = take(tmp_path)
    whole, blue, green = (catalogue.items[name] for name in ("h", "h-blue", "id:42"))
    assert {item.group for item in (whole, blue, green)} == {"h"}
    assert whole.images == ["a.jpg", "b.jpg"] == green.images and blue.images == ["c.jpg", "a.jpg", "b.jpg"]
    assert blue.text == "Warm.\nA hoodie." and blue.title == "Hoodie - Blue"
    assert green.attributes == {
        "category": ["Hoodies", "Men, women", "Sale"],
        "tags": ["winter", "soft"],
        "color": ["Green"],
        "washable": ["washable"],
    }
    assert whole.attributes["color"] == ["Blue", "Green"]
    assert [(i.item_id, i.count, i.event) for i in catalogue.interactions] == [
        ("h-blue", 2, "purchase"),
        ("h", 1, "purchase"),
    ]


FEED = """<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item><g:id>S1</g:id><title>Shoe &amp; lace</title><description><![CDATA[<p>Light.</p>]]></description>
<g:image_link>a.jpg</g:image_link><g:additional_image_link>b.jpg</g:additional_image_link>
<g:additional_image_link>c.jpg</g:additional_image_link><g:availability>in stock</g:availability>
<g:price>5 EUR</g:price><g:shipping><g:price>1 EUR</g:price></g:shipping><g:item_group_id>G</g:item_group_id>
<g:product_type>Shoes &gt; Trail</g:product_type><g:color>Red/Black</g:color><g:material>mesh</g:material></item>
<item><g:id>S2</g:id><title>Cap</title><link>x</link><g:condition>new</g:condition></item></channel></rss>"""


def test_google_merchant_as_xml_and_as_text(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "feed.xml").write_text(FEED)
    items = take(tmp_path).items
    assert items["S1"].title == "Shoe & lace" and items["S1"].text == "Light." and items["S1"].group == "G"
    assert items["S1"].images == ["a.jpg", "b.jpg", "c.jpg"] and items["S2"].group == "S2"
    attributes = {"category": ["Trail", "Shoes"], "color": ["Red", "Black"], "material": ["mesh"]}
    assert items["S1"].attributes == attributes
    row = {
        "id": "S1", "title": "Shoe & lace", "description": "<p>Light.</p>", "link": "x", "image link": "a.jpg",
        "additional image link": "b.jpg,c.jpg", "price": "5 EUR", "item group id": "G", "color": "Red/Black",
        "product type": "Shoes > Trail", "material": "mesh", "availability": "in_stock", "custom label 0": "bestseller",
    }  # fmt: skip
    (tmp_path / "feed.xml").unlink()
    write(tmp_path / "feed.txt.tsv", [row], "\t")
    assert take(tmp_path).items["S1"] == items["S1"]


def test_entities_of_xml_are_never_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + FEED.partition("?>")[2].replace(
        "Light", "&b;"
    )
    (tmp_path / "feed.xml").write_text(bomb)
    with pytest.raises(DataError, match="declares XML entities"):
        take(tmp_path)


def test_bigcommerce_of_both_kinds(tmp_path: Path) -> None:
    pictures(tmp_path, "m.jpg", "n.jpg", "red.jpg")
    rows = [
        {"Item Type": "Product", "Product ID": "7", "Product Name": "Mug", "Product Code/SKU": "M",
         "Product Description": "<p>Good.</p>", "Brand Name": "Ostra", "Category": "Shop/Kitchen;Sale",
         "Product Image File - 1": "n.jpg", "Product Image Sort - 1": "1", "Product Image File - 2": "m.jpg",
         "Product Image Sort - 2": "0", "Product Custom Fields": "Material=Clay", "Track Inventory": "by option"},
        {"Item Type": "  SKU", "Product Name": "[RT]Color=Red,[S]Size=S", "Product Code/SKU": "M-R",
         "Product Image File - 1": "red.jpg"},
    ]  # fmt: skip
    write(tmp_path / "products.csv", rows)
    details = "Product ID: 7, Product Qty: 2, Product SKU: M-R, Product Name: Mug, Product Weight: 1, X: 1 | "
    order = {"Order ID": "1", "Customer ID": "c1", "Order Date": "2026-01-02", "Product Details": details}
    write(tmp_path / "orders.csv", [order])
    catalogue = take(tmp_path)
    old = catalogue.items
    assert [(i.user_id, i.item_id, i.count, i.event) for i in catalogue.interactions] == [
        ("c1", "M-R", 2, "purchase")
    ]
    assert old["M-R"].images == ["red.jpg", "m.jpg", "n.jpg"] and old["M"].images == ["m.jpg", "n.jpg"]
    inherited = {"brand": ["Ostra"], "category": ["Kitchen", "Shop", "Sale"], "material": ["Clay"]}
    assert old["M-R"].attributes == inherited | {"color": ["Red"], "size": ["S"]} and old["M-R"].group == "M"
    rows = [
        {"Item": "Product", "ID": "7", "Name": "Mug", "SKU": "M", "Description": "<p>Good.</p>", "Brand": "Ostra",
         "Categories": "Shop/Kitchen;Sale", "Custom Fields": "Material=Clay"},
        {"Item": "Variant", "ID": "8", "SKU": "M-R", "Variant Image URL": "red.jpg",
         "Options": "Type=Swatch|Name=Color|Value=Red[#ff0000]Type=Rectangle|Name=Size|Value=S"},
        {"Item": "Image", "Image URL (Import)": "m.jpg", "Image Sort Order": "0"},
        {"Item": "Image", "Image URL (Import)": "n.jpg", "Image Sort Order": "1"},
    ]  # fmt: skip
    write(tmp_path / "products.csv", rows)
    assert take(tmp_path).items == old


def test_magento_csv(tmp_path: Path) -> None:
    media = "pub/media/catalog/product/"
    pictures(tmp_path, media + "h/main.jpg", media + "h/red.jpg")
    rows = [
        {"sku": "H-R", "product_type": "simple", "name": "Hoodie-Red", "base_image": "/h/red.jpg",
         "additional_attributes": 'color=Red,size=M,has_options=1,wash="wash cold, dry flat"'},
        {"sku": "H", "product_type": "configurable", "name": "Hoodie", "description": "<p>Warm.</p>",
         "categories": "Default Category/Men/Tops,Default Category/Sale", "base_image": "/h/main.jpg",
         "additional_attributes": "material=Cotton|Wool,new=Yes",
         "configurable_variations": "sku=H-R,size=M,color=Red|sku=H-B,size=M,color=Blue"},
        {"sku": "H", "store_view_code": "de", "product_type": "configurable", "name": "Pulli"},
    ]  # fmt: skip
    write(tmp_path / "catalog_product.csv", rows)
    items = take(tmp_path).items
    assert set(items) == {"H", "H-R"} and items["H-R"].group == "H" and items["H-R"].title == "Hoodie"
    assert items["H-R"].images == [media + "h/red.jpg", media + "h/main.jpg"] and items["H-R"].text == "Warm."
    assert items["H-R"].attributes == {
        "category": ["Tops", "Men", "Sale"],
        "material": ["Cotton", "Wool"],
        "color": ["Red"],
        "size": ["M"],
    } | {"wash": ["wash cold, dry flat"]}


@pytest.mark.parametrize(
    "header",
    [
        "ID,Typ,Artikelnummer,Name,Kurzbeschreibung,Steuerstatus,Kategorien,Schlagwörter,Bilder,"
        "Übergeordnetes Produkt,Attribut 1 Name,Attribut 1 Wert(e)",
        "ID,Type,UGS,Nom,Description courte,État de la TVA,Catégories,Étiquettes,Images,"
        "Parent,Nom de l’attribut 1,Valeur(s) de l’attribut 1",
        "ID,Tipo,SKU,Nombre,Descripción corta,Estado del impuesto,Categorías,Etiquetas,Imágenes,"
        "Superior,Nombre del atributo 1,Valor(es) del atributo 1",
        "ID,Tipo,COD,Nome,Breve descrizione,Stato delle imposte,Categorie,Tag,Immagine,"
        "Genitore,Nome dell'attributo 1,Valore dell'attributo 1",
        "ID,Type,SKU,Naam,Korte beschrijving,Btw status,Categorieën,Tags,Afbeeldingen,"
        "Hoofd,Attribuut 1 naam,Attribuut 1 waarde(n)",
    ],
)
def test_woocommerce_in_other_languages(tmp_path: Path, header: str) -> None:
    pictures(tmp_path, "a.jpg")
    rows = '40,variable,h,Hemd,Warm.,taxable,Tops > Hemden,weich,a.jpg,,Farbe,"Blau, Rot"\n'
    rows += "41,variation,h-b,Hemd blau,,taxable,,,,h,Farbe,Blau\n"
    (tmp_path / "products.csv").write_text(f"{header}\n{rows}", encoding="utf-8")
    blue = take(tmp_path).items["h-b"]
    assert (blue.group, blue.title, blue.text, blue.images) == ("h", "Hemd blau", "Warm.", ["a.jpg"])
    assert blue.attributes == {"category": ["Hemden", "Tops"], "tags": ["weich"], "farbe": ["Blau"]}


def test_every_file_is_used_or_named(tmp_path: Path) -> None:
    write(
        tmp_path / "items.csv",
        [{"id": f"i{n}", "title": f"Lamp {n}", "sku": f"L-{n}", "material": "oak"} for n in range(9)],
    )
    write(
        tmp_path / "orders.csv",
        [{"customer": f"c{n}", "sku": f"L-{n}", "date": "2026-01-02"} for n in range(9)],
    )
    write(tmp_path / "customers.csv", [{"customer_id": "c1", "name": "Ann"}])
    write(tmp_path / "colours.csv", [{"name": "red", "hex": "#f00"}])
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "old").mkdir()
    write(tmp_path / "old" / "items.csv", [{"id": "x"}])
    said = str(survey(tmp_path))
    for line in (
        "orders.csv: interactions, by its columns customer and sku (sure); sku is the items' sku in 100% of those",
        "items.csv: items, by the file's name (sure)",
        "customers.csv: not used; it names users and no items (customer_id, name)",
        "colours.csv: not used; no column looks like an item's id (name, hex)",
        "readme.md: not used; no table",
        "old/items.csv: not used; tables are looked for in the folder itself",
    ):
        assert line in said
    interactions = take(tmp_path).interactions
    assert {(i.user_id, i.item_id, i.event) for i in interactions} == {
        (f"c{n}", f"i{n}", "purchase") for n in range(9)
    }


def test_the_invented_shop(shared_data: Path, tmp_path: Path) -> None:
    catalogue = take_shared(shared_data / "shop", tmp_path)
    items = catalogue.items.values()
    assert (
        len(items) == 208 and len({item.group for item in items}) == 60 and len(catalogue.interactions) == 350
    )
    assert all(item.title and item.text and item.images for item in items)
    assert len({i.user_id for i in catalogue.interactions}) == 80 and not any(
        "@" in i.user_id for i in catalogue.interactions
    )
    assert set.union(*(set(item.attributes) for item in items)) == {
        "brand",
        "category",
        "type",
        "tags",
        "color",
        "size",
    }


@pytest.mark.parametrize(
    ("folder", "items", "interactions", "attributes"),
    [
        ("a01_shopify", 24, 0, {"brand", "category", "type", "tags", "color"}),
        ("a02_woocommerce", 18, 0, {"category", "tags", "color"}),
        ("a03_google_merchant", 40, 0, {"category", "brand", "color", "size", "gender", "age_group"}),
        ("a05_html", 6, 0, {"material"}),
        ("a10_wide_10k", 30, 0, set()),
        ("a14_nested_categories", 30, 0, {"category", "tags"}),
        ("a15_flags_as_attributes", 40, 0, set()),
        ("a16_languages", 40, 0, {"material", "color"}),
        ("a30_orders_by_sku", 24, 30, {"brand", "category", "type", "tags", "color"}),
        ("m1_orders_ignored", 12, 3, {"material"}),
        ("m3_shopify_orders", 12, 2, {"material"}),
    ],
)
def test_folders_of_the_field(
    folder: str, items: int, interactions: int, attributes: set[str], shared_data: Path, tmp_path: Path
) -> None:
    catalogue = take_shared(shared_data / "field" / "tables" / folder, tmp_path)
    assert (len(catalogue.items), len(catalogue.interactions)) == (items, interactions)
    assert {name for item in catalogue.items.values() for name in item.attributes} == attributes
    assert all(i.item_id in catalogue.items for i in catalogue.interactions)
    said = " ".join(f"{item.title} {item.text} {item.attributes}" for item in catalogue.items.values())
    assert not any(sign in said for sign in ("<", "&amp;", "&nbsp;", " > ", "alert("))


def take_shared(root: Path, run: Path) -> Catalogue:
    config = Config(run_dir=str(run), catalogue=CatalogueConfig("tables", str(root)))
    ingest(config)
    return read_catalogue(config.path("catalogue"))


def test_an_export_in_parts_is_read_whole(tmp_path: Path) -> None:
    write(tmp_path / "products_export_1.csv", SHOPIFY[:3])
    write(tmp_path / "products_export_2.csv", SHOPIFY[3:])
    line = {"Name": "#1", "Email": "a@b.de", "Lineitem quantity": 1, "Lineitem name": "x"}
    for number, sku in enumerate(("001", "002", "001")):
        write(tmp_path / f"orders_export ({number}).csv", [line | {"Lineitem sku": sku}])
    catalogue = take(tmp_path)
    assert set(catalogue.items) == {"001", "002", "cap"}
    assert sorted(i.item_id for i in catalogue.interactions) == ["001", "001", "002"]


def test_logs_say_by_their_columns_what_they_mean(tmp_path: Path) -> None:
    write(
        tmp_path / "places.csv",
        [{"place_id": f"p{n}", "name": f"Cafe {n}", "cuisine": "thai"} for n in range(4)],
    )
    log = [
        {"user_id": "u", "place_id": "p1", "is_click": 0, "time_ms": 1649467982289, "play_time_ms": 5000},
        {"user_id": "u", "place_id": "p2", "is_click": 1, "time_ms": 1649467983289, "play_time_ms": 7000},
    ]
    write(tmp_path / "log.csv", log)
    found = [(i.item_id, i.event, i.seconds, i.timestamp) for i in take(tmp_path).interactions]
    assert found == [("p1", "impression", 5.0, 1649467982.289), ("p2", "click", 7.0, 1649467983.289)]
    bought = [
        {"visitorid": "u", "place_id": "p3", "event": event} for event in ("view", "addtocart", "transaction")
    ]
    write(tmp_path / "log.csv", bought)
    assert [i.event for i in take(tmp_path).interactions] == ["view", "cart", "purchase"]


def test_yelp_and_hm_without_a_mapping(shared_data: Path, tmp_path: Path) -> None:
    field = shared_data / "field" / "tables"
    yelp = take_shared(field / "a21_yelp", tmp_path / "yelp")
    assert (len(yelp.items), {i.event for i in yelp.interactions}) == (6, {"review"})
    hm = take_shared(field / "a20_hm", tmp_path / "hm")
    assert hm.items["0108775016"].attributes["colour_group_name"] == ["White"]


def test_orders_and_reviews_are_both_read(tmp_path: Path) -> None:
    write(
        tmp_path / "products.csv",
        [{"id": f"i{n}", "title": f"Lamp {n}", "material": "oak"} for n in range(3)],
    )
    write(
        tmp_path / "orders.csv", [{"customer_email": "a@b.de", "product_id": "i1", "created": "2026-01-02"}]
    )
    review = {
        "customer_email": "a@b.de",
        "product_id": "i1",
        "stars": 4,
        "review": "See www.x.example. Soft &amp; warm.",
    }
    write(tmp_path / "our_reviews.csv", [review])
    found = take(tmp_path).interactions
    assert [(i.event, i.rating, i.text) for i in found] == [
        ("review", 4.0, "Soft & warm."),
        ("purchase", None, ""),
    ]
    assert found[1].timestamp == 1767312000.0 and found[0].user_id == found[1].user_id
