"""The reader of plain tables: three formats, loose spellings, and bad rows named by file and row."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.schema import DataError
from mmreason.shops.tables import read_folder
from mmreason.values import NO_VALUE
from mmreason.values import facts as read_facts

ROW = {
    "id": "007",
    "title": "Coat, warm",
    "images": "a.jpg|b/c.jpg",
    "attributes": "color=red;size=s|m",
    "x": "y",
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8-sig")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_formats_agree(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"items.{ending}", [ROW, ROW])
    rows = list(read_folder(tmp_path).items)
    assert [row.record["id"] for row in rows] == ["007", "007"] and not any(row.problem for row in rows)
    assert rows[1].record["images"] == ["a.jpg", "b/c.jpg"]
    assert rows[1].record["attributes"] == {"color": ["red"], "size": ["s", "m"]}
    assert (rows[0].file, rows[0].number, rows[1].number) == (
        f"items.{ending}",
        1,
        2 if ending != "jsonl" else 3,
    )


@pytest.mark.parametrize(
    ("images", "paths"),
    [
        ('["a.jpg", "b.jpg"]', ["a.jpg", "b.jpg"]),
        (["a.jpg", None], ["a.jpg"]),
        ("a.jpg", ["a.jpg"]),
        ("", []),
        (None, []),
    ],
)
def test_spellings_of_images(tmp_path: Path, images: Any, paths: list[str]) -> None:
    write(tmp_path / "items.jsonl", [{"id": "a", "images": images}])
    assert next(iter(read_folder(tmp_path).items)).record["images"] == paths


def test_attribute_columns_and_parquet_structs(tmp_path: Path) -> None:
    row = {
        "id": "a",
        "attributes": {"material": ["wool"], "size": None},
        "attributes.color": "red|blue",
        "hidden.x": "y",
    }
    write(tmp_path / "items.parquet", [row])
    record = next(iter(read_folder(tmp_path).items)).record
    assert record["attributes"] == {"material": ["wool"], "color": ["red", "blue"]} and record["hidden"] == {
        "x": ["y"]
    }


def test_parquet_maps(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.list_(pa.string()))
    table = pa.table({"id": ["a"], "attributes": pa.array([[("color", ["red"])]], kind)})
    pq.write_table(table, tmp_path / "items.parquet")
    assert next(iter(read_folder(tmp_path).items)).record["attributes"] == {"color": ["red"]}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("items.jsonl", b'{"id": "a"', "not a JSON object"),
        ("items.jsonl", b"[1]", "not a JSON object"),
        ("items.jsonl", b"[" * 100_000, "not a JSON object"),
        ("items.jsonl", b'{"id": ' + b"9" * 5000 + b"}", "not a JSON object"),
        ("items.csv", b"id,title\na,b,c\n", "more or fewer fields than the header"),
        ("items.csv", b"id,title\na\n", "more or fewer fields than the header"),
        ("items.csv", b'id,title\na,"b,c\n', 'a quote (") that does not end'),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    (row,) = list(read_folder(tmp_path).items)
    assert (row.file, row.number, row.problem) == (name, 1, problem)


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("items.jsonl", b'{"id": "a", "images": "[\\"a.jpg"}', "images"),
        ("items.jsonl", b'{"id": "a", "images": 5}', "images"),
        ("items.jsonl", b'{"id": "a", "attributes": ["ab", "cd"]}', "attributes"),
        ("items.jsonl", b'{"id": "a", "attributes": {"a": [{"b": 1}]}}', "attributes"),
        ("items.csv", b"id,attributes\na,red\n", "attributes"),
        ("items.csv", b'id,attributes.color\na,"[\'red"\n', "attributes.color"),
    ],
)
def test_an_unreadable_field_costs_itself(tmp_path: Path, name: str, content: bytes, field: str) -> None:
    (tmp_path / name).write_bytes(content)
    (row,) = list(read_folder(tmp_path).items)
    assert not row.problem and [named for named, _ in row.unreadable] == [field]
    assert row.record["images"] == [] and row.record["attributes"] == {}


def test_a_row_of_broken_bytes_does_not_take_the_others(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(b"id,title\na,caf\xc3\nb,caf\xc3\xa9\n")
    rows = list(read_folder(tmp_path).items)
    assert rows[1].record["title"] == "café" and rows[0].record["title"] == "caf\udcc3"


def test_unnamed_index_column_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(",id,title\n0,a,x\n")
    assert next(iter(read_folder(tmp_path).items)).problem == ""


def test_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no items\.parquet, items\.csv or items\.jsonl"):
        read_folder(tmp_path)
    (tmp_path / "items.parquet").write_text("nonsense")
    with pytest.raises(DataError, match="is not a Parquet file"):
        read_folder(tmp_path)


plain = (
    st.text(st.characters(codec="utf-8", exclude_characters=";=|{"), min_size=1, max_size=6)
    .map(str.strip)
    .filter(lambda text: text.lower() not in (*NO_VALUE, "true", "false"))
)


@given(st.dictionaries(plain, st.lists(plain, min_size=1, max_size=3), max_size=3))
def test_attribute_spellings_mean_the_same(facts: dict[str, list[str]]) -> None:
    joined = ";".join(f"{name}={'|'.join(values)}" for name, values in facts.items())
    assert read_facts(joined) == read_facts(json.dumps(facts)) == read_facts(facts) == facts


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(plain, cells, cells), min_size=1, max_size=5))
def test_any_text_survives_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerows([("id", "title", "text"), *rows])
    (folder / "items.csv").write_bytes(file.getvalue().encode())
    found = list(read_folder(folder).items)
    assert [(r.record["id"], r.record["title"], r.record["text"]) for r in found] == rows
