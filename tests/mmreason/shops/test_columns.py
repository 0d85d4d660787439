"""The first hour of a new user: a folder alone is enough, and what is made of it is said."""

from pathlib import Path

import pytest
import yaml

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.cli import main
from mmreason.shops.columns import columns
from mmreason.shops.plumbing import parting, why_not
from mmreason.shops.tables import read_folder

ITEMS = "sku,name,Preis,Wood,in_sale,made_on,section,code\n" + "".join(
    f"L-{n},Lamp {n},{n}.99 EUR,{['oak', 'ash'][n % 2]},{['yes', 'no'][n % 2]},2024-01-{n + 1:02d},Home > Light,X{n}\n"
    for n in range(20)
)
ORDERS = "customer,sku,date\n" + "".join(f"c{n % 3},L-{n},2026-01-{n + 1:02d}\n" for n in range(20))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "my_shop"
    root.mkdir()
    (root / "products.csv").write_text(ITEMS)
    (root / "orders.csv").write_text(ORDERS)
    return root


def test_a_folder_alone_is_enough(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["ingest", "my_shop"])
    printed = capsys.readouterr()
    assert "20 items read = 20 kept + 0 quarantined; 20 interactions read = 20 kept" in printed.out
    said = " ".join(printed.err.split())
    for word in (
        "products.csv: items, by its column sku",
        "orders.csv: interactions, by its columns customer and sku (sure); sku is the items' id in 100%",
        "Preis left out: a price 0.99 EUR 100% filled",
        "in_sale left out: a flag yes",
        "made_on left out: a date or time",
        "code left out: an id or code",
        "Wood an attribute oak",
        "section an attribute Home > Light",
    ):
        assert word in said
    catalogue = read_catalogue(Path("runs/my_shop/catalogue"))
    assert catalogue.items["L-0"].attributes == {"Wood": ["oak"], "section": ["Light", "Home"]}
    assert {i.event for i in catalogue.interactions} == {"purchase"}


def test_the_mapping_to_edit_is_written_once_and_read(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["columns", "my_shop", "--write", "mine.yaml"])
    assert "mapping: mine.yaml" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="there is such a file already"):
        main(["columns", "my_shop", "--write", "mine.yaml"])
    mapping = yaml.safe_load(Path("mine.yaml").read_text())
    mapping["items"]["attributes"]["wood"] = mapping["items"]["attributes"].pop("Wood")
    Path("mine.yaml").write_text(yaml.safe_dump(mapping))
    main(["ingest", "my_shop", "--catalogue.options.mapping", "mine.yaml"])
    assert read_catalogue(Path("runs/my_shop/catalogue")).items["L-1"].attributes["wood"] == ["ash"]


def test_the_reader_can_be_named(shop: Path) -> None:
    with pytest.raises(SystemExit, match="holds no Shopify product export"):
        main(["ingest", "my_shop", "--reader", "shopify"])
    with pytest.raises(SystemExit, match="'shopifi' is unknown; there are demo, tables, shopify"):
        main(["ingest", "my_shop", "--reader", "shopifi", "--run_dir", "runs/b"])


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("Verfügbarkeit", ["auf Lager", "nicht auf Lager"], "stock"),
        ("x", ["in stock", "out of stock", "preorder"], "a shop's state"),
        ("x", ["deny", "deny", "continue"], "a shop's state"),
        ("x", ["https://a.example/b", "https://a.example/c"], "an address or a file"),
        ("x", ["g/a.jpg", "g/b.jpg"], "an address or a file"),
        ("x", ["2023-11-14", "2023-11-15T10:00:00Z"], "a date or time"),
        ("x", ["24.99 USD", "$5", "€ 1.234,50"], "a number"),
        ("x", ["TRUE", "FALSE", "TRUE"], "a flag"),
        ("x", ["AB-1234", "AB-1235"], "a code"),
        ("x", [f"a thing like no other {n}" for n in range(20)], "nearly never the same"),
        ("x", ["same"] * 20, "nearly always the same"),
        ("x", ["a sentence that goes on and says more than a value would"] * 4, "a long text"),
        ("x", [], "empty"),
        ("purchasePrice", ["low", "high", "low"], "a price"),
        ("style_id", ["a", "b", "a"], "an id or code"),
        ("material", ["wool"] * 20, ""),
        ("size", ["40", "42", "44"], ""),
        ("mood", ["calm", "bright", "calm", "calm"], ""),
    ],
)
def test_plumbing_is_told_from_reasons(name: str, values: list[str], reason: str) -> None:
    assert why_not(name, values) == reason


def test_paths_by_any_sign(tmp_path: Path) -> None:
    rows = [f'{n},Lamp {n},"Home > Light, Sale > New",Home/Light,A::B' for n in range(4)]
    (tmp_path / "items.csv").write_text("\n".join(["id,title,breadcrumbs,product_type,kind", *rows]))
    item = next(iter(read_folder(tmp_path).items)).record["attributes"]
    assert item["breadcrumbs"] == ["Light", "Home", "New", "Sale"] and item["kind"] == ["B", "A"]
    assert item["product_type"] == ["Light", "Home"]


def test_a_comma_is_no_list_in_a_sentence_nor_where_values_do_not_repeat() -> None:
    assert (
        parting("Wood", ["oak, waxed"] * 3) == {}
        and parting("note", ["Warm, soft and light, as ever"] * 9) == {}
    )
    assert parting("finish", ["matt, waxed", "matt, oiled", "oiled, waxed", "matt, waxed"] * 4) == {
        "split": ","
    }


def test_a_folder_in_a_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    inner = tmp_path / "download" / "ml-latest-small"
    inner.mkdir(parents=True)
    (tmp_path / "download" / "__MACOSX").mkdir()
    (inner / "movies.csv").write_text(
        "movieId,title,genres\n1,Toy (1995),Comedy|Drama\n2,Heat (1995),Crime\n"
    )
    (inner / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n7,1,4.0,964982703\n7,2,5.0,964982704\n"
    )
    assert "read as movielens" in columns("download")
    main(["ingest", "download"])
    said = capsys.readouterr()
    assert "read is download/ml-latest-small" in said.err
    assert "2 items read = 2 kept" in said.out
