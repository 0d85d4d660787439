"""Inputs from the field, one fault each: whether every one comes in as it should, through the command line or the API.

python benchmarks/field.py --data ../shared/data/field
python benchmarks/field.py --data ../shared/data/field --only a01_shopify m1_orders_ignored

A case is a function named after its folder (`a01_shopify` of `tables/`); it asserts what is expected.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import field_media

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.cli import main as mmreason
from mmreason.schema import Attributes

Case = Callable[["Field"], None]
CASES: dict[str, Case] = {}
PLUMBING = {
    "price",
    "availability",
    "condition",
    "gtin",
    "link",
    "taxable",
    "stock",
    "weight",
    "sku",
    "status",
}


def case(function: Case) -> Case:
    """A case of the list."""
    CASES[function.__name__] = function
    return function


@dataclass
class Field:
    """The folders of the field, and a place to work in.

    Attributes:
        data: The folder of all cases.
        work: An empty folder of the case's own.
        said: What the verbs printed.
    """

    data: Path
    work: Path
    said: str = ""

    def run(self, *arguments: str | Path) -> str:
        """Run a verb; returns what it printed, also if it failed."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                mmreason([str(argument) for argument in arguments])
            except SystemExit as error:
                out.write(f"\n{error}")
        self.said += out.getvalue()
        return out.getvalue()

    def ingest(self, folder: str | Path, *arguments: str | Path) -> Catalogue:
        """The catalogue of a folder (of `tables/`, if it is a name), as `mmreason ingest FOLDER` makes it."""
        root = self.data / "tables" / folder if isinstance(folder, str) else folder
        self.run("ingest", root, "--run_dir", self.work / "run", *arguments)
        return read_catalogue(self.work / "run" / "catalogue")

    def quarantine(self) -> Counter[tuple[str, str]]:
        """(kind, reason) → how many of the last ingest were set aside."""
        lines = (self.work / "run" / "catalogue" / "quarantine.jsonl").read_text().splitlines()
        return Counter((entry["kind"], entry["reason"]) for entry in map(json.loads, lines))


def main() -> None:
    """Run the cases, a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/field"))
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=CASES)
    given = parser.parse_args()
    if not given.data.is_dir():
        raise SystemExit(f"--data {given.data} is not there")
    right = sum(_is_right(name, given.data.resolve()) for name in given.only)
    print(f"field cases right: {right}/{len(given.only)} (bar all)")
    raise SystemExit(right < len(given.only))


def _is_right(name: str, data: Path) -> bool:
    with tempfile.TemporaryDirectory() as work:
        field = Field(data, Path(work))
        try:
            CASES[name](field)
        except Exception as error:  # whatever goes wrong, the case is not right
            where = traceback.extract_tb(error.__traceback__)[-1].line
            print(f"{name}: WRONG: {where}: {' '.join(str(error).split())[:300]}")
            return False
    print(f"{name}: right")
    return True


def names(catalogue: Catalogue) -> set[str]:
    """The names of all attributes."""
    return {name for item in catalogue.items.values() for name in item.attributes}


def attributes(catalogue: Catalogue, item: str) -> Attributes:
    """The attributes of an item."""
    return catalogue.items[item].attributes


@case
def a01_shopify(field: Field) -> None:
    """Variants are one group, have their own picture, and inherit text, brand and tags."""
    catalogue = field.ingest("a01_shopify")
    red, blue = catalogue.items["000R"], catalogue.items["000B"]
    assert len(catalogue.items) == 24 and red.group == blue.group == "mug-0"
    assert red.title == blue.title == "Mug number 0" and blue.text == "A mug & a friend, no. 0"
    assert red.images[0] == "img/mug-red.jpg" and blue.images == ["img/mug-blue.jpg", "img/mug-side.jpg"]
    assert blue.attributes["color"] == ["Blue"] and blue.attributes["brand"] == ["Ostra"]
    assert blue.attributes["tags"] == ["gift", "kitchen"] and not names(catalogue) & PLUMBING
    assert not field.quarantine()


@case
def a02_woocommerce(field: Field) -> None:
    """`Parent` groups variations; two pictures in a cell; attribute pairs."""
    catalogue = field.ingest("a02_woocommerce")
    whole, blue = catalogue.items["hood-0"], catalogue.items["hood-0-blue"]
    assert whole.images == ["w/a.jpg", "w/b.jpg"] and blue.images[0] == "w/c.jpg"
    assert whole.group == blue.group == catalogue.items["hood-0-green"].group
    assert blue.attributes["color"] == ["Blue"] and whole.attributes["color"] == ["Blue", "Green"]
    assert blue.attributes["category"] == ["Hoodies", "Clothing", "Sale"] and blue.text == "Warm.\nA hoodie."
    assert names(catalogue) == {"color", "category", "tags"} and not field.quarantine()


@case
def a03_google_merchant(field: Field) -> None:
    """Both links are pictures, groups are kept, price and availability are no attributes."""
    catalogue = field.ingest("a03_google_merchant")
    shoe = catalogue.items["SKU-0"]
    assert shoe.images == ["g/a.jpg", "g/b.jpg"] and shoe.group == "G0" and len(catalogue.items) == 40
    assert shoe.attributes["category"] == ["Trail", "Shoes"] and shoe.attributes["color"] == ["Red"]
    assert not names(catalogue) & PLUMBING


@case
def a05_html(field: Field) -> None:
    """Tags, scripts and entities are gone, paragraphs and list items apart."""
    item = field.ingest("a05_html").items["h0"]
    assert item.title == "Salt & Pepper Mill – Oak" and item.text == "Grinds fine.\nOak"


@case
def a10_wide_10k(field: Field) -> None:
    """Ten thousand columns are not ten thousand attributes."""
    catalogue = field.ingest("a10_wide_10k")
    assert len(catalogue.items) == 30 and len(names(catalogue)) <= 40
    assert "more columns left out" in field.said


@case
def a14_nested_categories(field: Field) -> None:
    """A path's leaf comes first and no level is lost; tags are several."""
    found = attributes(field.ingest("a14_nested_categories"), "k0")
    assert found == {"category": ["Dresses", "Women", "Apparel"], "tags": ["cotton", "summer", "gift"]}


@case
def a15_flags_as_attributes(field: Field) -> None:
    """Flags, stock, prices, taxes and units are no attributes, and the lines say why."""
    assert not names(field.ingest("a15_flags_as_attributes"))
    assert field.said.count("left out: ") >= 7


@case
def a16_languages(field: Field) -> None:
    """Values of any language stay what they are."""
    catalogue = field.ingest("a16_languages")
    assert attributes(catalogue, "ja0") == {"material": ["綿"], "color": ["赤"]}
    assert (
        attributes(catalogue, "tr0")["color"] == ["Işıltılı"]
        and catalogue.items["ar0"].text == "فستان قطن صيفي"
    )


@case
def a30_orders_by_sku(field: Field) -> None:
    """The id that the orders use is found."""
    catalogue = field.ingest("a30_orders_by_sku")
    assert len(catalogue.interactions) == 30 and {i.event for i in catalogue.interactions} == {"purchase"}
    assert "sku is the items' id in 100%" in field.said


@case
def a06_multiline(field: Field) -> None:
    items = field.ingest("a06_multiline").items
    assert len(items) == 5 and items["m0"].text.startswith("First line.\nSecond line, with a comma.")


@case
def a07a_semicolon_decimal(field: Field) -> None:
    catalogue = field.ingest("a07a_semicolon_decimal")
    assert len(catalogue.items) == 6 and {step.rating for step in catalogue.interactions} == {4.5}
    assert all(step.timestamp > 1.7e9 for step in catalogue.interactions)


@case
def a08_encodings(field: Field) -> None:
    for name in ("a08a_utf16", "a08b_bom", "a08c_cp1252", "a08d_utf16_named_tsv"):
        items = field.ingest(name).items
        assert len(items) == 6 and items["e0"].title == "Größe 0 für Küche", name


@case
def a09_ids(field: Field) -> None:
    catalogue = field.ingest("a09_ids")
    assert {"00123", "123", "1e5", "100000", "NA", "nan", "0", "-1", "77"} <= catalogue.items.keys()
    assert [step.user_id for step in catalogue.interactions] == ["0", "007", "7", "7.0", "u"]


@case
def a12_nulls(field: Field) -> None:
    catalogue = field.ingest("a12_nulls")
    assert names(catalogue) == {"material", "fit"} and catalogue.items["n2"].title == ""
    assert {value for item in catalogue.items.values() for v in item.attributes.values() for value in v} == {
        *("wool", "slim")
    }


@case
def a17_kuairand(field: Field) -> None:
    for name in ("a17_kuairand", "a17_kuairand_b"):
        mapping = field.data / "tables" / name / "mapping.yaml"
        given = ("--catalogue.options.mapping", mapping) if mapping.exists() else ()
        steps = field.ingest(name, *given).interactions
        assert len(steps) == 32 and {step.event for step in steps} == {"click", "impression"}
        assert max(step.seconds or 0 for step in steps) < 100 and all(
            step.timestamp > 1.6e9 for step in steps
        )


@case
def a20_hm(field: Field) -> None:
    root = field.data / "tables" / "a20_hm"
    mapping = Path(__file__).parents[1] / "configs" / "mappings" / "hm.yaml"
    catalogue = field.ingest(root, "--catalogue.options.mapping", mapping)
    assert catalogue.items["0108775015"].images == ["images/010/0108775015.jpg"]
    assert {step.event for step in catalogue.interactions} == {"purchase"}


@case
def a21_yelp(field: Field) -> None:
    mapping = Path(__file__).parents[1] / "configs" / "mappings" / "yelp.yaml"
    catalogue = field.ingest("a21_yelp", "--catalogue.options.mapping", mapping)
    assert attributes(catalogue, "b1")["wifi"] == ["free"] and len(catalogue.interactions) == 12
    guessed = field.ingest("a21_yelp")
    assert attributes(guessed, "b1").get("WiFi", ["free"]) == ["free"]


@case
def a25a_unclosed_quote(field: Field) -> None:
    assert len(field.ingest("a25a_unclosed_quote").items) == 39
    assert "40 items read = 39 kept + 1 quarantined" in field.said


@case
def a26_large_field(field: Field) -> None:
    items = field.ingest("a26_large_field").items
    assert len(items) == 6 and items["b3"].text == "", "the long text was one embedded picture"


@case
def a28_amazon(field: Field) -> None:
    root = field.data / "tables" / "a28_amazon"
    catalogue = field.ingest(root, "--reader", "amazon")
    assert catalogue.items["B000"].text == "A belt as text" and len(catalogue.items) == 10
    assert not any("<" in step.text or "&#" in step.text for step in catalogue.interactions)


@case
def f_other_formats(field: Field) -> None:
    for name in ("json", "upper", "txt"):
        assert field.ingest(field.data / "tables" / "f_other_formats" / name).items.keys() == {"a"}, name
    said = field.run(
        "ingest", field.data / "tables" / "f_other_formats" / "xlsx", "--run_dir", field.work / "x"
    )
    assert "1 items read = 1 kept" in said or "save it as CSV" in said


@case
def h_ids(field: Field) -> None:
    items = field.ingest("h_ids").items
    assert len(items) == 10 and "../../etc" in items


@case
def c_requests(field: Field) -> None:
    from mmreason.config import Config
    from mmreason.generate.requests import read_requests

    shop = field.work / "shop"
    shop.mkdir()
    (shop / "items.csv").write_text("id,title\ni1,Coat\ni2,Hat\n")
    (shop / "orders.csv").write_text("user_id,item_id\nshopper-00001,i2\n0,i2\n")
    catalogue = field.ingest(shop)
    folder = field.data / "tables" / "c_requests"

    def asked(name: str) -> list[tuple[str, str]]:
        config = Config(str(field.work / "run"))
        config.generate.requests = str(folder / name)
        return [(found.user_id, found.error or found.item_id) for found in read_requests(config, catalogue)]

    pair = [("shopper-00001", "i1"), ("shopper-00002", "i2")]
    for name in ("ok.jsonl", "ok.parquet", "ok_upper.JSONL", "array.json", "array.jsonl", "indented.json"):
        assert asked(name) == pair, name
    for name in ("req.csv", "req.tsv", "req.jsonl.gz"):
        assert asked(name) == pair, name
    assert asked("dup.jsonl") == pair * 2 and asked("empty.jsonl") == []
    assert asked("int_users.parquet")[0] == ("0", "i1") and asked("missing.jsonl") == pair[:1]
    assert asked("unknown_item.jsonl")[2][1] == "item 'i777' is not in the catalogue"
    assert asked("unknown_user.jsonl") == [("nobody", "i1"), ("shopper-00001", "i1"), ("", "i1")]
    assert asked("strings.jsonl") == [("", "not a JSON object")]


@case
def fields_of_a_wrong_type(field: Field) -> None:
    from mmreason import DataError, Interaction, Item

    picture = str(field.data / "15-fields-of-a-wrong-type" / "l.jpg")
    item = Item("a", title=float("nan"), images=picture, attributes={"material": "wool"})
    assert (item.title, item.images, item.attributes) == ("", [picture], {"material": ["wool"]})
    assert Interaction("u", "a", rating="5", timestamp="2023-11-14 22:13:20 UTC").timestamp == 1.7e9
    for wrong in ({"attributes": 5}, {"images": 7}, {"title": {"en": "x"}}):
        try:
            Item("a", **wrong)
        except DataError as error:
            assert str(error).startswith(f"Item 'a': {next(iter(wrong))} is ")
        else:
            raise AssertionError(f"{wrong} was taken")


@case
def nan_becomes_the_word_nan(field: Field) -> None:
    items = field.ingest(field.data / "16-nan-becomes-the-word-nan" / "shop").items
    assert [(item.id, item.title, item.text) for item in items.values()] == [
        ("1", "Hat", ""),
        ("2", "", "a coat"),
    ]
    assert field.quarantine() == {("items", "no id"): 1}


@case
def pictures_as_pandas_and_datasets_write_them(field: Field) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = field.work / "shop"
    shop.mkdir()
    data = (field.data / "15-fields-of-a-wrong-type" / "l.jpg").read_bytes()
    (shop / "a.jpg").write_bytes(data)
    cells = [{"bytes": data, "path": "x.jpg"}, {"bytes": None, "path": "a.jpg"}, None]
    pq.write_table(
        pa.table({"id": ["a", "b", "c"], "title": ["A", "B", "C"], "image": cells}), shop / "items.parquet"
    )
    catalogue = field.ingest(shop)
    assert [len(item.images) for item in catalogue.items.values()] == [1, 1, 0]
    assert catalogue.media(catalogue.items["a"].images[0]).read_bytes() == data
    (shop / "items.parquet").unlink()
    (shop / "items.csv").write_text(
        "id,title,images,attributes\na,A,\"['a.jpg', 'a.jpg']\",[]\nb,B,nan,nan\n"
    )
    catalogue = field.ingest(shop)
    assert [len(item.images) for item in catalogue.items.values()] == [2, 0] and names(catalogue) == set()


@case
def e1_reviews_html(field: Field) -> None:
    """No tag, entity, link or phone number reaches what is mined."""
    catalogue = field.ingest("e1_reviews_html")
    field.run("mine-reasons", "--run_dir", field.work / "run")
    mined = read_catalogue(field.work / "run" / "catalogue").reasons
    texts = " ".join([*(i.text for i in catalogue.interactions), *(reason.text for reason in mined)])
    assert mined and not any(sign in texts for sign in ("<", "&#", "&amp;", "[[", "http", "555"))


@case
def e2_reviews_german(field: Field) -> None:
    """German is named and counted, and never read as English."""
    field.ingest("e2_reviews_german")
    said = field.run("mine-reasons", "--run_dir", field.work / "run", "--min_rating", "0")
    assert "40 in German, which cannot be mined" in said and "against the item" not in said


@case
def e3_reviews_mixed(field: Field) -> None:
    """Chinese is mined; Arabic, Japanese, Russian and Thai are named and counted."""
    field.ingest("e3_reviews_mixed")
    said = field.run("mine-reasons", "--run_dir", field.work / "run")
    assert all(f"8 in {language}" in said for language in ("Arabic", "Japanese", "Cyrillic", "Thai"))
    assert "= 8 kept" in said


@case
def m1_orders_ignored(field: Field) -> None:
    """Orders are purchases, and no invented shoppers take their place."""
    catalogue = field.ingest("m1_orders_ignored")
    assert {(i.user_id, i.item_id, i.event) for i in catalogue.interactions} == {
        ("c1", "i1", "purchase"),
        ("c1", "i3", "purchase"),
        ("c2", "i2", "purchase"),
    }
    said = field.run("simulate", "--run_dir", field.work / "run")
    users = {i.user_id for i in read_catalogue(field.work / "run" / "catalogue").interactions}
    assert users == {"c1", "c2"} and "own" in said


@case
def m3_shopify_orders(field: Field) -> None:
    """Shopify's orders beside a plain table; no e-mail address is kept."""
    interactions = field.ingest("m3_shopify_orders").interactions
    assert {(i.item_id, i.event, i.timestamp) for i in interactions} == {
        ("i1", "purchase", 1767344400.0),
        ("i2", "purchase", 1767344400.0),
    }
    assert len({i.user_id for i in interactions}) == 2 and not any("@" in i.user_id for i in interactions)


@case
def shop(field: Field) -> None:
    """The invented Shopify shop, from its untouched export."""
    catalogue = field.ingest(field.data.parent / "shop")
    items = catalogue.items.values()
    assert len(items) == 208 and len({item.group for item in items}) == 60
    assert len(catalogue.interactions) == 350 and len({i.user_id for i in catalogue.interactions}) == 80
    assert all(item.title and item.text and item.images and item.attributes["color"] for item in items)
    assert (
        names(catalogue) == {"brand", "category", "type", "tags", "color", "size"} and not field.quarantine()
    )


CASES |= field_media.CASES

if __name__ == "__main__":
    main()
