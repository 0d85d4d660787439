"""The audit reads any table of reasons, counts what breaks a rule, and fails where something does."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmreason.cli import main
from mmreason.generate.audit import audit
from mmreason.schema import DataError

GOOD = "You keep choosing wool, and this hat is merino."
ROWS = [
    {"user_id": "u1", "item_id": "a", "text": GOOD},
    {"user_id": "u2", "item_id": "a", "text": "The best hat, only $5!"},
    {"user_id": "u3", "item_id": "b", "text": None},
    {"user_id": "u4", "item_id": "c", "text": "这是最佳羊毛帽"},
]


def write(path: Path, rows: list[dict[str, str | None]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["reasons.parquet", "reasons.jsonl"])
def test_breaches_are_counted_shown_and_written(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / name, ROWS)
    with pytest.raises(SystemExit) as error:
        main(["audit", str(path)])
    assert "2 of 4 reasons (50.0%)" in str(error.value)
    printed = capsys.readouterr().out
    assert "superlative: 2" in printed and "row 2: 'The best'" in printed and "1 rows have no text" in printed
    found = pq.read_table(tmp_path / "reasons.breaches.parquet").to_pylist()
    assert [(row["row"], row["user_id"], row["kind"]) for row in found] == [
        (2, "u2", "superlative"),
        (2, "u2", "price"),
        (4, "u4", "superlative"),
    ]
    assert all(row["text"][row["start"] : row["end"]] == row["said"] for row in found)


def test_what_breaks_nothing_is_reported_and_no_error(tmp_path: Path) -> None:
    report = audit(str(write(tmp_path / "reasons.jsonl", ROWS[:1])))
    assert "0 of 1 reasons (0.0%) break a rule" in report
    assert pq.read_table(tmp_path / "reasons.breaches.parquet").num_rows == 0


def test_a_folder_of_parts_and_packs_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder / "part-0.parquet", ROWS[:1])
    write(folder / "part-1.parquet", ROWS[:1])
    own = tmp_path / "own.yaml"
    own.write_text("rules: [{kind: house style, why: we say pullover, words: [merino]}]", encoding="utf-8")
    assert "0 of 2" in audit(str(folder))
    with pytest.raises(DataError, match="2 of 2"):
        audit(str(folder), packs=[str(own)])


def test_sensitive_terms_of_ones_own(tmp_path: Path) -> None:
    terms = tmp_path / "terms.yaml"
    terms.write_text("belief: [tarot]\n")
    path = write(tmp_path / "reasons.parquet", [{"text": "You keep choosing tarot."}])
    audit(str(path))
    with pytest.raises(DataError, match="may not be shown"):
        audit(str(path), sensitive=str(terms))


def test_the_category_of_a_row_counts(tmp_path: Path) -> None:
    row = {"text": "A doctor who cures colds at half price."}
    assert "0 of 1" in audit(str(write(tmp_path / "films.jsonl", [{**row, "domain": "film"}])))
    with pytest.raises(DataError):
        audit(str(write(tmp_path / "hats.jsonl", [{**row, "domain": "shop"}])))


@pytest.mark.parametrize(("name", "text"), [("none.csv", None), ("reasons.csv", "a,b\n1,2\n")])
def test_what_is_no_table_of_reasons_is_one_line(tmp_path: Path, name: str, text: str | None) -> None:
    path = tmp_path / name
    if text:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=name):
        audit(str(path))
