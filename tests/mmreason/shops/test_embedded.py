"""Pictures that stand in cells, as Hugging Face datasets and data frames write them."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config


def picture(color: str, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(file, kind)
    return file.getvalue()


def take(root: Path) -> tuple[Catalogue, list[dict[str, Any]], str]:
    config = Config(
        str(root.parent / "run"), catalogue=CatalogueConfig("tables", str(root), max_quarantined=1.0)
    )
    summary = ingest(config)
    quarantine = (config.path("catalogue") / "quarantine.jsonl").read_text().splitlines()
    return read_catalogue(config.path("catalogue")), [json.loads(line) for line in quarantine], summary


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    root.mkdir()
    (root / "here.jpg").write_bytes(picture("green"))
    return root


def test_bytes_are_written_once_and_paths_still_found(shop: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    red, blue = picture("red"), picture("blue", "PNG")
    cells = [
        [{"bytes": red, "path": "a.jpg"}],
        [{"bytes": red, "path": None}, {"bytes": blue, "path": "../../etc/x"}],
        [{"bytes": None, "path": "here.jpg"}],
        [{"bytes": None, "path": "../outside.jpg"}],
        [{"bytes": b"no picture", "path": "b.jpg"}],
        None,
    ]
    ids = list("abcdef")
    table = pa.table({"id": ids, "title": ids, "image": pa.array(cells, pa.list_(kind))})
    pq.write_table(table, shop / "items.parquet")
    catalogue, quarantine, summary = take(shop)
    pictures = {item.id: item.images for item in catalogue.items.values()}
    assert len(pictures) == 6 and [len(pictures[i]) for i in ids] == [1, 2, 1, 0, 0, 0]
    assert pictures["a"] == pictures["b"][:1] and pictures["b"][1].endswith(".png")
    read = {i: [catalogue.media(path).read_bytes() for path in paths] for i, paths in pictures.items()}
    assert read["b"] == [red, blue] and read["c"] == [picture("green")]
    assert [(row["kind"], row["record"]["id"]) for row in quarantine] == [
        ("media", "e"),
        ("fields", "d"),
    ] or [(row["kind"], row["record"]["id"]) for row in quarantine] == [("fields", "d"), ("media", "e")]
    assert "1 fields of items could not be read" in summary
    again, _, _ = take(shop)
    assert again == catalogue
    assert len([path for path in catalogue.media_root.rglob("*.*") if path.is_file()]) == 3, "each once"


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_column_of_bytes_and_one_of_bytes_that_are_text(shop: Path, kind: pa.DataType) -> None:
    red = picture("red", "WEBP")
    ids = pa.array([b"a", b"b"], pa.binary())
    pq.write_table(
        pa.table({"id": ids, "title": ids, "image": pa.array([red, None], kind)}), shop / "items.parquet"
    )
    catalogue, _, _ = take(shop)
    assert catalogue.items["a"].title == "a" and catalogue.items["b"].images == []
    (path,) = catalogue.items["a"].images
    assert path.endswith(".webp") and catalogue.media(path).read_bytes() == red


@pytest.mark.parametrize("cell", ["['here.jpg', 'here.jpg']", "['here.jpg' 'here.jpg']", "here.jpg|here.jpg"])
def test_lists_as_data_frames_write_them(shop: Path, cell: str) -> None:
    (shop / "items.csv").write_text(
        f"id,title,images,attributes\na,Coat,\"{cell}\",\"{{'material': 'wool'}}\"\nb,Hat,,nan\n"
    )
    catalogue, quarantine, _ = take(shop)
    assert catalogue.items["a"].images == ["here.jpg"] * 2 and quarantine == []
    assert [item.attributes for item in catalogue.items.values()] == [{"material": ["wool"]}, {}]


def test_an_unreadable_field_costs_the_field(shop: Path) -> None:
    (shop / "items.csv").write_text(
        'id,title,images,attributes\na,Coat,"[\'here.jpg",wool\nb,Hat,here.jpg,fit=slim\n'
    )
    catalogue, quarantine, summary = take(shop)
    assert catalogue.items["a"].title == "Coat" and catalogue.items["a"].images == []
    assert (
        "2 items read = 2 kept + 0 quarantined" in summary
        and "2 fields of items could not be read" in summary
    )
    assert [(row["kind"], row["reason"], row["record"]["id"]) for row in quarantine] == [
        ("fields", "images cannot be read", "a"),
        ("fields", "attributes cannot be read", "a"),
    ]


def test_columns_that_are_there_twice_are_said_once(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "items.csv").write_text("id,title,material,material\na,Coat,wool,silk\nb,Hat,wool,silk\n")
    catalogue, _, _ = take(shop)
    said = "items.csv: another column is called 'material', too; it is taken as 'material.2'"
    assert capsys.readouterr().err.count(said) == 1 and catalogue.items["a"].attributes["material"] == [
        "wool"
    ]
