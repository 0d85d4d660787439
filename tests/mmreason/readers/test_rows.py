"""Rows of JSON in its shapes, of Excel, and of names in any letters."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.readers import rows as reading
from mmreason.readers.rows import read_rows
from mmreason.schema import DataError

ROWS: list[dict[str, Any]] = [{"id": "a", "tags": ["x]", "{y"]}, {"id": 7, "title": 'quo"te,}'}, {"id": "ü"}]


WRAPPED = [json.dumps({"version": 1, "products": ROWS, "tags": []}), json.dumps({"products": ROWS}, indent=2)]
"""An object around the list, which is one row where JSON Lines are meant."""


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name in ("a.json", "A.JSON", "a.json.gz") for content in WRAPPED],
)
def test_a_list_in_an_object_is_found(tmp_path: Path, name: str, content: str) -> None:
    test_json_in_its_shapes(tmp_path, name, content)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson", "A.JSON", "a.json.gz"])
@pytest.mark.parametrize(
    "content",
    [
        "\n".join(map(json.dumps, ROWS)),
        "\n\n".join(map(json.dumps, ROWS)) + "\n",
        json.dumps(ROWS),
        "\n " + json.dumps(ROWS, indent=1, ensure_ascii=False) + "\n",
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        "\n".join(map(repr, ROWS)),
        "\ufeff[\n" + ",\n".join(map(json.dumps, ROWS)) + "]",
    ],
)
def test_json_in_its_shapes(tmp_path: Path, name: str, content: str) -> None:
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found = list(read_rows(tmp_path / name))
    assert [row.record for row in found] == ROWS and not any(row.problem for row in found)


def test_a_broken_value_of_an_array_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_CHUNK", 16)
    many = [json.dumps({"id": n, "text": "x" * n}) for n in range(40)]
    many[3] = '{"id": 3, "text": broken}'
    many[5] = "5"
    (tmp_path / "a.json").write_text("[" + ", ".join(many) + "]")
    found = list(read_rows(tmp_path / "a.json"))
    assert [row.record.get("id") for row in found if not row.problem] == [
        n for n in range(40) if n not in (3, 5)
    ]
    assert [row.number for row in found if row.problem] == [4, 6] and len(found) == 40


def test_lines_that_are_lists_do_not_end_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('["a"]\n{"id": 1}\n[{"id": 2}]\n{"id": 3}\n')
    assert [(row.record.get("id"), bool(row.problem)) for row in read_rows(tmp_path / "a.jsonl")] == [
        *((None, True), (1, False), (None, True), (3, False))
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), values, max_size=3), min_size=2, max_size=6), st.booleans()
)
def test_any_array_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]], indented: bool
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(made, indent=1 if indented else None))
    assert [row.record for row in read_rows(path)] == made


def test_excel_is_read_or_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "items.xlsx"
    path.write_bytes(b"PK nothing")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(DataError, match=r"items\.xlsx: to read Excel, pip install 'mmreason\[excel\]'"):
            list(read_rows(path))
    from openpyxl import Workbook

    with pytest.raises(DataError, match=r"items\.xlsx is not an Excel workbook"):
        list(read_rows(path))
    book = Workbook()
    for row in (["id", "title", None], [7, "Coat", 1.5], [None, None, None], ["008", "Hat", None]):
        book.active.append(row)
    book.save(path)
    assert [row.record for row in read_rows(path)] == [
        {"id": 7, "title": "Coat", "column 3": 1.5},
        {"id": "008", "title": "Hat", "column 3": None},
    ]


def test_names_of_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"notes\.md is none of parquet, csv"):
        list(read_rows(tmp_path / "notes.md"))
