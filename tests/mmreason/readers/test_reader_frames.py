"""Both ways of reading a file, by Arrow and row by row, give the same rows with the same numbers."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.readers import frames
from mmreason.readers.frames import csv_frames, json_frames, row_frames, table_frames
from mmreason.readers.rows import csv_rows, read_rows
from mmreason.readers.source import SourceRow
from mmreason.schema import DataError

SCHEMA = pa.schema({"id": pa.string(), "rating": pa.float64(), "time": pa.int64()})


def cells(found: Any) -> list[tuple]:
    """SourceRow number, problem and text of each row, however it was typed."""
    made = []
    for frame in found:
        for row in frame.iter_rows(named=True):
            if row.get("problem"):
                made.append((row["row"], row["problem"]))
            else:
                made.append((row["row"], row.get("id"), _number(row.get("rating")), _number(row.get("time"))))
    return sorted(made)


def _number(value: Any) -> Any:
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


texts = st.text(st.characters(codec="utf-8"), max_size=5)
good = st.fixed_dictionaries(
    {"id": texts, "rating": st.none() | st.integers(0, 9), "time": st.integers(0, 2**50)}
)
odd = st.fixed_dictionaries(
    {"id": texts | st.integers(), "x": st.lists(texts, max_size=2)}, optional={"rating": texts}
)
lines = st.one_of(
    good.map(json.dumps), odd.map(json.dumps), st.sampled_from(["", "{broken", "[1]", '{"id":"a"}{}', "3"])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(lines, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_json_block_by_block_is_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], newline: str, marked: bool
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    path.write_bytes((("\ufeff" if marked else "") + newline.join(rows)).encode())
    slow = cells(row_frames(read_rows(path)))
    assert cells(json_frames(path, SCHEMA)) == slow


def test_an_odd_line_costs_its_own_block_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [json.dumps({"id": f"{n:03d}", "rating": n, "time": n}) for n in range(300)]
    rows[77] = '{"id": 5, "rating": "x"}'
    rows[123] = "caf\xe9"
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode("latin1")))
    monkeypatch.setattr(frames, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(frames, "_SLOW", 200)
    found = list(json_frames(path, SCHEMA))
    assert sum(frame.height for frame in found if "problem" not in frame.columns) > 280
    assert [row[0] for row in cells(found)] == list(range(1, 301))
    assert cells(found)[77] == (78, "5", "x", None) and cells(found)[123] == (124, "not a JSON object")


fields = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(fields, min_size=2, max_size=4), max_size=6), st.sampled_from("\t,"))
def test_csv_block_by_block_is_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([["id", "rating", "time"], *rows])
    path.write_bytes(b"\xef\xbb\xbf" + file.getvalue().encode())
    assert cells(csv_frames(path, delimiter)) == cells(row_frames(csv_rows(path, delimiter)))


def test_a_broken_byte_sets_its_own_row_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,rating\n007,1\ncaf\xe9\xff\x81\x90,2\nb,3,4\nc,5\n")
    assert cells(table_frames(path)) == [
        (1, "007", 1.0, None),
        (2, "text is not valid Unicode"),
        (3, "more or fewer fields than the header"),
        (4, "c", 5.0, None),
    ]


def test_what_is_not_whole_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"id": "a"}\n' * 9)[:-9])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz is not whole gzip"):
        list(json_frames(tmp_path / "a.jsonl.gz", SCHEMA))
    (tmp_path / "b.csv.gz").write_bytes(b"id\na\n")
    with pytest.raises(DataError, match=r"b\.csv\.gz is not whole gzip"):
        list(read_rows(tmp_path / "b.csv.gz"))
    (tmp_path / "c.parquet").write_bytes(b"id")
    with pytest.raises(DataError, match="is not a Parquet file"):
        list(table_frames(tmp_path / "c.parquet"))
    (tmp_path / "d.csv").touch()
    assert list(table_frames(tmp_path / "d.csv")) == []


def test_frames_of_rows_keep_the_record() -> None:
    (frame,) = row_frames([SourceRow("f", 3, {"id": 7, "x": [1]}), SourceRow("f", 4, {"id": "\ud800"})])
    assert frame["id"].to_list()[0] == "7" and json.loads(frame["record"][0]) == {"id": 7, "x": [1]}
    assert (
        frame["problem"].to_list() == [None, "text is not valid Unicode"] and frame.schema["row"] == pl.Int64
    )
