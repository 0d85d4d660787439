"""Folders as people have them: what each column and each file is taken for, by what is read of it in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config
from mmreason.schema import DataError
from mmreason.shops.folder import survey
from mmreason.shops.google_merchant import GOOGLE_MERCHANT
from mmreason.shops.guess import guess_items
from mmreason.shops.layouts import attribute_of, listed
from mmreason.shops.plumbing import why_not

Ingest = Callable[..., Catalogue]


@pytest.fixture
def ingested(tmp_path: Path) -> Ingest:
    """Files by name, ingested as one folder."""

    def make(**files: str) -> Catalogue:
        folder = tmp_path / "shop"
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        config = Config(
            run_dir=str(tmp_path / "run"), catalogue=CatalogueConfig(source="tables", root=str(folder))
        )
        ingest(config)
        return read_catalogue(config.path("catalogue"))

    return make


def table(header: str, rows: list[str]) -> str:
    return "\n".join([header, *rows]) + "\n"


ITEMS = table("id,title,color", [f"{n},Vase {n},{['red', 'blue', 'green'][n % 3]}" for n in range(20)])


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("tags", "['soft', 'warm']", ["soft", "warm"]),
        ("genres", "[{'id': 18, 'name': 'Drama'}]", ["Drama"]),
        ("categories", '[[""Home"", ""Mugs""]]', ["Home", "Mugs"]),
        ("tags", "{soft,warm}", ["soft", "warm"]),
        ("features", "10,000 lumens", ["10,000 lumens"]),
        ("label", "Sony, Inc.", ["Sony, Inc."]),
        ("color", "<span>Red</span>", ["Red"]),
    ],
)
def test_a_cell_says_itself_what_it_holds(
    column: str, cell: str, expected: list[str], ingested: Ingest
) -> None:
    catalogue = ingested(items=table(f"id,title,{column}", [f'{n},Vase {n},"{cell}"' for n in range(11)]))
    assert catalogue.items["3"].attributes == {column: expected}


def test_columns_that_differ_in_case_are_both_kept(ingested: Ingest) -> None:
    catalogue = ingested(items=table("id,title,color,Color", [f"{n},V{n},red,wool" for n in range(11)]))
    assert catalogue.items["3"].attributes == {"color": ["red"], "Color": ["wool"]}


def test_one_long_cell_makes_no_description_of_a_column() -> None:
    assert why_not("color", [*["red", "blue"] * 9, "very " * 400]) == ""


def test_a_second_download_is_no_second_part(ingested: Ingest, capsys: pytest.CaptureFixture[str]) -> None:
    orders = table("order_id,customer_id,product_id,date", [f"{n},{n % 3},{n},2024-01-01" for n in range(20)])
    catalogue = ingested(items=ITEMS, orders_export=orders, orders_export_1=orders)
    assert len(list(catalogue.interactions)) == 20
    assert "it holds rows of orders_export" in capsys.readouterr().err


def test_the_number_of_an_order_line_is_no_item(ingested: Ingest) -> None:
    rows = [f"{n + 1},{n},{n % 3},{n * 7 % 19 + 1},2024-01-01" for n in range(15)]
    catalogue = ingested(items=ITEMS, order_lines=table("item_id,order_id,customer_id,product_id,date", rows))
    assert {step.item_id for step in catalogue.interactions} == {str(n * 7 % 19 + 1) for n in range(15)}


def test_a_sku_of_two_products_is_no_key(ingested: Ingest) -> None:
    header = "Handle,Title,Body (HTML),Option1 Name,Option1 Value,Variant SKU"
    products = [
        f"{h},{h.title()},x,Title,Default Title,{sku}"
        for h, sku in (("mug", "S1"), ("hat", "S1"), ("cap", "S2"))
    ]
    orders = [
        f"#{n},u{n}@x.example,2024-01-01,1,{name},{sku}"
        for n, (name, sku) in enumerate([("Hat", "S1"), ("Cap", "S2")])
    ]
    catalogue = ingested(
        products=table(header, products),
        orders=table("Name,Email,Created at,Lineitem quantity,Lineitem name,Lineitem sku", orders),
    )
    assert set(catalogue.items) == {"mug", "hat", "S2"}
    assert [step.item_id for step in catalogue.interactions] == ["hat", "S2"]


def test_a_variation_of_0_is_the_product_itself(ingested: Ingest) -> None:
    products = [
        "10,simple,A,Mug,taxable,,",
        "20,variable,B,Hat,taxable,,",
        "21,variation,B1,Hat - Red,taxable,B,",
    ]
    orders = [f"{n},u{n}@x.example,2024-01-01,{'10,0' if n % 2 else '20,21'},1" for n in range(6)]
    catalogue = ingested(
        products=table("ID,Type,SKU,Name,Tax status,Parent,Images", products),
        orders=table("order_number,email,order_date,product_id,variation_id,quantity", orders),
    )
    assert {step.item_id for step in catalogue.interactions} == {"A", "B1"}


def test_a_position_that_is_no_number_costs_nothing_else(ingested: Ingest) -> None:
    header = "Handle,Title,Body (HTML),Option1 Name,Option1 Value,Variant SKU,Image Src,Image Position"
    catalogue = ingested(products=table(header, ["m,Mug,x,Title,Default Title,S1,a.jpg,#REF!"]))
    assert catalogue.items["S1"].title == "Mug"


def test_commas_of_numbers_and_names_part_nothing() -> None:
    assert listed("Sony, Inc., Warner Bros., LLC, wool") == ["Sony, Inc.", "Warner Bros., LLC", "wool"]
    assert listed("1,5 Liter, 10,000 lumens") == ["1,5 Liter", "10,000 lumens"]


@pytest.mark.parametrize("none", ["0", "", "nan"])
def test_guests_are_known_by_their_address(none: str, ingested: Ingest) -> None:
    rows = [f"{n},{none if n % 2 else 7},m{n if n % 2 else 0}@x.example,{n},2024-01-02" for n in range(20)]
    catalogue = ingested(items=ITEMS, orders=table("order_id,customer_id,email,product_id,order_date", rows))
    users = [step.user_id for step in catalogue.interactions]
    assert len(users) == 20 and users.count("7") == 10 and len(set(users)) == 11


def test_user_0_with_one_address_is_a_user(ingested: Ingest) -> None:
    rows = [f"{n},{n % 3},m{n % 3}@x.example,{n},2024-01-02" for n in range(18)]
    catalogue = ingested(items=ITEMS, orders=table("order_id,customer_id,email,product_id,order_date", rows))
    assert {step.user_id for step in catalogue.interactions} == {"0", "1", "2"}


def test_words_for_nothing_are_no_users(ingested: Ingest) -> None:
    rows = [f"{['u', 'v', 'w', 'nan', 'None', 'NA'][n % 6]},{n},1700000000" for n in range(18)]
    catalogue = ingested(items=ITEMS, interactions=table("user_id,item_id,timestamp", rows))
    assert {step.user_id for step in catalogue.interactions} == {"u", "v", "w", "NA"}


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("status", "completed", "wc-cancelled"),
        ("Financial Status", "partially_refunded", "Refunded"),
        ("Cancelled at", "", "2024-01-03 10:00:00 +0100"),
        ("Order Status", "Shipped", "Canceled"),
        ("is_cancelled", "0", "1"),
    ],
)
def test_a_cancelled_order_is_no_purchase(
    column: str, good: str, bad: str, ingested: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{n // 2},{n % 3},{n},2024-01-02,{bad if n < 12 else good}" for n in range(20)]
    rows[1] = rows[1].rpartition(",")[0] + ","  # an order's state may stand on its first line only
    catalogue = ingested(
        items=ITEMS, orders=table(f"order_id,customer_id,product_id,order_date,{column}", rows)
    )
    assert sorted(int(step.item_id) for step in catalogue.interactions) == [*range(12, 20)]


@pytest.mark.parametrize(
    ("column", "cells", "is_left"),
    [
        ("top_notes", "citrus rose", False),
        ("note", "citrus rose", False),
        ("lead_actor", "Ada Bert", False),
        ("cover_type", "hardcover paperback", False),
        ("age", "3-6 6-9", False),
        ("num_players", "2-4 3-6", False),
        ("capacity", "64GB 128GB", False),
        ("active_ingredient", "retinol niacinamide", False),
        ("Lieferstatus", "lieferbar vergriffen", True),
        ("abc_class", "A B", True),
        ("internal_note", "check done", True),
        ("lead_time", "short long", True),
        ("created_by", "ada bert", True),
        ("item_number", "one two", True),
    ],
)
def test_a_word_of_a_name_counts_where_it_stands(column: str, cells: str, is_left: bool) -> None:
    assert bool(why_not(column, cells.split() * 20)) == is_left


@pytest.mark.parametrize(
    "nothing", ["unknown", "not specified", "(none)", "TBD", "?", ".", "#REF!", "keine Angabe"]
)
def test_words_for_nothing_are_no_values(nothing: str, ingested: Ingest) -> None:
    rows = [f"{n},Vase {n},{['red', 'blue', nothing][n % 3]}" for n in range(21)]
    catalogue = ingested(items=table("id,title,color", rows))
    assert [catalogue.items[n].attributes for n in ("0", "2")] == [{"color": ["red"]}, {}]


def test_german_and_plugin_names_of_order_columns(ingested: Ingest) -> None:
    rows = [f"{n},k{n % 3},{n},2024-01-05,2" for n in range(12)]
    header = "Bestellnummer,Kundennummer,Artikel,Bestelldatum,Menge"
    catalogue = ingested(items=ITEMS, bestellungen=table(header, rows))
    steps = list(catalogue.interactions)
    assert len(steps) == 12 and {(s.event, s.count) for s in steps} == {("purchase", 2)}
    assert {step.timestamp for step in steps} == {1704412800.0}


def test_pictures_by_their_addresses() -> None:
    columns = {
        "asin": ["a", "b"],
        "title": ["A", "B"],
        "cover_at": ["https://x.example/1", "https://x.example/2"],
    }
    assert guess_items(Path("items.csv"), columns)[0].fields["images"] == "cover_at"
    columns = {"asin": ["a", "b"], "title": ["A", "B"], "front": ["/k1.jpg", "/k2.jpg"]}
    assert guess_items(Path("items.csv"), columns)[0].fields["images"] == "front"


def test_a_list_fills_its_cell_once() -> None:
    columns = {"id": [1, 2], "title": ["A", "B"], "tags": [["wool", "soft"], ["silk", "warm"]]}
    assert all(column.filled == 1 for column in guess_items(Path("items.jsonl"), columns)[1])


def test_a_metafield_is_called_by_its_own_name() -> None:
    assert attribute_of("metafield_custom_material_single_line_text_field") == "material"
    assert attribute_of("variant_metafield_my_fields_care_list_single_line_text_field") == "fields care"


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_column_that_begins_late_is_seen(ending: str, tmp_path: Path) -> None:
    colors = [["red", "blue"][n % 2] if n >= 600 else "" for n in range(1200)]
    rows = [{"id": n, "title": f"V{n}"} | ({"color": c} if c else {}) for n, c in enumerate(colors)]
    lines = (
        [json.dumps(row) for row in rows]
        if ending == "jsonl"
        else ["id,title,color", *(f"{n},V{n},{c}" for n, c in enumerate(colors))]
    )
    (tmp_path / f"items.{ending}").write_text("\n".join(lines))
    found = survey(tmp_path)
    assert found.tables["items"].fields["attributes"] == {"color": "color"}
    assert next(c for c in found.columns["items"] if c.name == "color").filled == 0.5


@pytest.mark.parametrize(
    ("one", "other"), [("orders-jan", "orders-feb"), ("orders 2024-01", "orders 2024-02")]
)
def test_a_part_may_have_a_further_column(one: str, other: str, ingested: Ingest) -> None:
    header = "order_id,customer_id,product_id,date"
    first = table(header, [f"{n},{n % 3},{n},2024-01-01" for n in range(10)])
    second = table(f"{header},note", [f"{n},{n % 3},{n},2024-02-01,x" for n in range(10, 20)])
    catalogue = ingested(items=ITEMS, **{one: first, other: second})
    assert {step.item_id for step in catalogue.interactions} == {str(n) for n in range(20)}


def test_items_in_parts_keep_the_columns_of_each(ingested: Ingest) -> None:
    first = table("id,title,color", [f"{n},V{n},{['red', 'blue'][n % 2]}" for n in range(20)])
    second = table("id,title,color,size", [f"{n},V{n},red,{'SM'[n % 2]}" for n in range(20, 40)])
    catalogue = ingested(items_1=first, items_2=second)
    assert catalogue.items["0"].attributes == {"color": ["red"]}
    assert catalogue.items["21"].attributes == {"color": ["red"], "size": ["M"]}


def test_without_items_all_that_is_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "2019-Nov.csv").write_text("user_id,product_id,event_time\nu,1,2019-11-01\n")
    (tmp_path / "items.zip").write_bytes(b"PK")
    with pytest.raises(
        DataError, match=r"2019-Nov\.csv: interactions, .* no items to go with; items\.zip: not used"
    ):
        survey(tmp_path)


def test_many_files_take_few_lines(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    for n in range(1100):
        (tmp_path / f"a{n}.csv").write_text("x\n1\n")
        (tmp_path / f"p{n % 30}").mkdir(exist_ok=True)
        (tmp_path / f"p{n % 30}" / f"{n}.jpg").touch()
    found = survey(tmp_path)
    assert found.tables["items"].file == "items.csv" and len(found.files) < 8
    assert (
        sum(int(n.replace(",", "")) for line in found.files for n in re.findall(r"and ([\d,]+) more", line))
        > 2100
    )


def test_a_cancellation_behind_the_first_rows_counts(ingested: Ingest) -> None:
    rows = [f"{n},{n % 3},{n % 20},2024-01-02,{'2024-01-03' if n >= 600 else ''}" for n in range(700)]
    catalogue = ingested(items=ITEMS, orders=table("order_id,customer_id,product_id,date,cancelled_at", rows))
    assert len(list(catalogue.interactions)) == 600


def test_a_date_and_a_time_of_day_are_one_moment(ingested: Ingest) -> None:
    rows = [f"{n % 3},{n},2024-01-05,13:45:{n:02}" for n in range(20)]
    catalogue = ingested(items=ITEMS, orders=table("customer_id,product_id,date,time", rows))
    assert sorted(step.timestamp for step in catalogue.interactions)[0] == 1_704_462_300.0


def test_a_feed_says_a_field_several_times_and_nests_others(tmp_path: Path) -> None:
    entry = (
        "<item><g:id>{n}</g:id><title>Shoe</title><g:image_link>https://s.example/1.jpg</g:image_link>"
        "<g:availability>in stock</g:availability><g:product_type>Shoes &gt; Low</g:product_type>"
        "<g:product_type>Outlet</g:product_type><g:product_detail><g:section_name>General</g:section_name>"
        "<g:attribute_name>Sole</g:attribute_name><g:attribute_value>cork, light</g:attribute_value>"
        "</g:product_detail></item>"
    )
    path = tmp_path / "feed.xml"
    path.write_text(
        '<rss xmlns:g="http://base.google.com/ns/1.0"><channel>'
        + "".join(entry.format(n=n) for n in range(3))
        + "</channel></rss>"
    )
    found = [row.record for row in GOOGLE_MERCHANT.rows(path)]
    assert [record["id"] for record in found] == ["0", "1", "2"]
    assert found[0]["attributes"]["category"] == ["Low", "Shoes", "Outlet"]
    assert found[0]["attributes"]["sole"] == ["cork, light"]


def test_flags_that_people_choose_by_are_values(ingested: Ingest) -> None:
    rows = [
        f"{n},Soap {n},{n % 2},{['yes', 'no', ''][n % 3]},{['TRUE', 'FALSE'][n % 2]},1,{n % 2},no"
        for n in range(20)
    ]
    header = "id,title,is_vegan,Gluten free,dishwasherSafe,is_active,taxable,tax_free"
    items = ingested(items=table(header, rows)).items
    assert items["0"].attributes == {"gluten free": ["gluten free"], "dishwasher safe": ["dishwasher safe"]}
    assert items["1"].attributes == {"vegan": ["vegan"]}
    assert items["5"].attributes == {"vegan": ["vegan"]}


def test_keys_that_begin_behind_the_rows_looked_at_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("folder", "late"):
        monkeypatch.setattr(f"mmreason.shops.{module}.LOOKED_ON", 600)
    rows = [{"id": n, "title": f"Vase {n}", "color": ["red", "blue"][n % 2]} for n in range(700)]
    rows[650]["wood"] = rows[651]["wood"] = "oak"
    rows[550]["glaze"] = "matt"
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = Config(run_dir=str(tmp_path / "run"), catalogue=CatalogueConfig("tables", str(tmp_path)))
    ingest(config)
    said = capsys.readouterr().err
    assert "items.jsonl: 'wood' begins at row 651 (2 rows have it)" in said
    assert "'glaze'" not in said and "glaze" in said


def test_columns_beside_a_column_of_attributes_are_not_lost(ingested: Ingest) -> None:
    rows = [
        f"""{n},Vase {n},{["red", "blue"][n % 2]},"{{""wood"": ""oak""}}",{n % 2},x{n},{n}.99"""
        for n in range(20)
    ]
    items = ingested(items=table("id,title,color,attributes,vegan,note,price", rows)).items
    assert items["1"].attributes == {"wood": ["oak"], "color": ["blue"], "vegan": ["vegan"]}


def test_hidden_columns_are_not_told_by_another(ingested: Ingest) -> None:
    rows = [f"{n},Vase {n},{['red', 'blue'][n % 2]},oak,{['red', 'blue'][n % 2]}" for n in range(20)]
    items = ingested(items=table("id,title,color,attributes.wood,hidden.color", rows)).items
    assert items["1"].attributes == {"wood": ["oak"]} and items["1"].hidden == {"color": ["blue"]}
