"""Which column is what: a mapping in YAML, or the guess that is saved to start from."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.cli import main
from mmreason.config import CatalogueConfig, Config
from mmreason.schema import DataError

PRODUCTS = (
    "SKU;Product Name;Description;Photo;Material;Price;Note\n"
    '007;"Coat; warm";A coat.;a.jpg;Wool;9.99;Made by hand in a small place by the sea where the wind blows\n'
    "8;Hat;;a.jpg|gone.jpg;Wool;5;\n"
    "9;Cap;;;Silk;5;x\n"
    "10;Bag;;;Silk;5;y\n"
)
ORDERS = (
    "Customer,sku,Date,Quantity,Stars\nu1,007,2023-11-14,2,5\nu1,8,2023-11-15 10:00,1,\nu2,11,2023-11-15,1,\n"
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    from PIL import Image

    root = tmp_path / "shop"
    root.mkdir()
    Image.new("RGB", (8, 8)).save(root / "a.jpg")
    (root / "products.csv").write_text(PRODUCTS)
    (root / "orders.csv").write_text(ORDERS)
    return root


def take(root: Path, **options: str) -> tuple[Config, Catalogue]:
    catalogue = CatalogueConfig("tables", str(root), options=options, max_quarantined=1)
    config = Config(run_dir=str(root.parent / "run"), catalogue=catalogue)
    ingest(config)
    return config, read_catalogue(config.path("catalogue"))


def test_a_guess_is_made_saved_and_can_be_given_back(shop: Path) -> None:
    config, catalogue = take(shop)
    coat = catalogue.items["007"]
    assert (coat.title, coat.text, coat.images) == ("Coat; warm", "A coat.", ["a.jpg"])
    assert coat.attributes == {"material": ["Wool"]}
    assert [(i.item_id, i.count, i.rating, i.event) for i in catalogue.interactions] == [
        ("007", 2, 5.0, "rating"),
        ("8", 1, None, "click"),
    ]
    path = config.path("mapping.yaml")
    mapping = yaml.safe_load(path.read_text())
    assert mapping["items"]["id"] == "SKU" and mapping["interactions"]["user_id"] == "Customer"
    assert take(shop, mapping=str(path))[1] == catalogue
    mapping["interactions"]["event"] = {"value": "purchase"}
    mapping["items"] |= {"text": ["Description", "Note"], "domain": {"value": "shop"}}
    path = shop / "my.yaml"
    path.write_text(yaml.safe_dump(mapping))
    catalogue = take(shop, mapping=str(path))[1]
    assert {i.event for i in catalogue.interactions} == {"purchase"}
    assert catalogue.items["9"].text == "x" and catalogue.items["9"].domain == "shop"


def test_a_file_alone_is_the_items(shop: Path) -> None:
    catalogue = take(shop / "products.csv")[1]
    assert len(catalogue.items) == 4 and catalogue.items["007"].images == ["a.jpg"]


def test_several_columns_of_pictures_and_lists(shop: Path) -> None:
    rows = [
        {"sku": "a", "name": "x", "p": ["a.jpg", None], "q": "a.jpg"},
        {"sku": "b", "name": "y", "p": None, "q": None},
    ]
    pl.DataFrame(rows).write_parquet(shop / "things.parquet")
    (shop / "my.yaml").write_text("items: {file: things.parquet, id: sku, title: name, images: [q, p]}")
    catalogue = take(shop, mapping=str(shop / "my.yaml"))[1]
    assert catalogue.items["a"].images == ["a.jpg", "a.jpg"] and catalogue.items["b"].images == []


def test_addresses_stay_unfetched_unless_asked_for(shop: Path) -> None:
    (shop / "orders.csv").unlink()
    (shop / "items.jsonl").write_text(
        json.dumps({"id": "a", "title": "x", "images": ["http://127.0.0.1:9/a.jpg"]})
    )
    config, catalogue = take(shop)
    assert catalogue.items["a"].images == []
    assert "1 addresses not fetched" in ingest(config)
    config.catalogue.allow_download = True
    ingest(config)
    (line,) = (config.path("catalogue") / "quarantine.jsonl").read_text().splitlines()[:1]
    assert json.loads(line)["reason"] == "address is not public" and json.loads(line)["kind"] == "media"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("items: {file: products.csv, id: sku}", "names column 'sku'; products.csv has SKU, Product Name"),
        ("items: {file: products.csv, id: SKU, titel: x}", "unknown field 'titel'; its fields are id, title"),
        ("items: {file: products.csv, title: Price}", "has no id"),
        ("items: {file: products.csv, id: [SKU]}", "id takes one column"),
        ("items: {file: products.csv, id: SKU, domain: {values: x}}", "write a column or"),
        ("items: {file: gone.csv, id: SKU}", "gone.csv cannot be read"),
        ("items: {file: ../../../etc/passwd, id: SKU}", "leads out of"),
        ("things: {}", "needs a table `items`"),
        ("items: [", "cannot be read"),
        ("items: !!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_a_wrong_mapping_is_one_line(shop: Path, mapping: str, message: str) -> None:
    (shop / "my.yaml").write_text(mapping)
    with pytest.raises(DataError) as error:
        take(shop, mapping=str(shop / "my.yaml"))
    assert message in str(error.value)


def test_of_two_candidates_the_better_is_taken_and_the_other_is_named(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "more.csv").write_text("sku,name\n1,x\n")
    assert "007" in take(shop)[1].items
    assert (
        "more.csv: not used; it could be the items, too, and products.csv is likelier"
        in capsys.readouterr().err
    )


def test_the_command_line_takes_the_readers_name(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(shop.parent / "run")
    main(["ingest", "tables", "--root", str(shop), "--run_dir", run, "--catalogue.max_quarantined", "1"])
    printed = capsys.readouterr()
    assert "4 items read = 4 kept + 0 quarantined" in printed.out and "mapping.yaml" in printed.err
    assert len(read_catalogue(Path(run, "catalogue")).interactions) == 2
