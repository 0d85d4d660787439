"""Delimited text as programs and offices write it: encodings, delimiters, headers, stray quotes, long fields."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.readers import delimited
from mmreason.readers.delimited import STRAY_QUOTE, dialect_of
from mmreason.readers.frames import table_frames
from mmreason.readers.rows import oddities, read_rows
from mmreason.readers.source import SourceRow
from mmreason.schema import DataError

ROWS = "id,title,price\n1,Größe für Küche,5\n2,Écharpe à rayures,7\n3,Smörgås,9\n"


def both(path: Path) -> list[SourceRow]:
    """The rows of a file, whose numbers and problems must be the same read one by one and as frames."""
    rows = list(read_rows(path))
    framed = [row for frame in table_frames(path) for row in frame.iter_rows(named=True)]
    assert sorted((row["row"], row.get("problem") or "") for row in framed) == [
        (row.number, row.problem) for row in rows
    ]
    return rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "A.CSV", "a.csv.gz"])
def test_encoding_and_delimiter_are_seen(tmp_path: Path, encoding: str, delimiter: str, name: str) -> None:
    data = ROWS.replace(",", delimiter).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    rows = both(tmp_path / name)
    assert [row.record["title"] for row in rows] == ["Größe für Küche", "Écharpe à rayures", "Smörgås"]
    assert list(rows[0].record) == ["id", "title", "price"]


@pytest.mark.parametrize("first", ["sep=;\n", "sep=;\r\n", "\ufeffSEP=;\n"])
def test_excels_first_line_names_the_delimiter(tmp_path: Path, first: str) -> None:
    (tmp_path / "a.csv").write_text(f"{first}id;title\n1;a,b\n2;c,d\n", newline="")
    assert [row.record for row in both(tmp_path / "a.csv")] == [
        {"id": "1", "title": "a,b"},
        {"id": "2", "title": "c,d"},
    ]


def test_a_delimiter_is_what_parts_most_rows_like_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;size, cm;price\n1;40;19,90\n2;50;7,5\n")
    assert dialect_of(tmp_path / "a.csv").delimiter == ";"
    (tmp_path / "b.csv").write_text("id\n1\n2,5\n")
    assert [bool(row.problem) for row in read_rows(tmp_path / "b.csv")] == [False, True]


def test_headers_that_are_there_twice_or_empty(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(" id ,tag,tag,,tag\n1,a,b,c,d\n")
    assert both(tmp_path / "a.csv")[0].record == {
        "id": "1",
        "tag": "a",
        "tag.2": "b",
        "column 4": "c",
        "tag.3": "d",
    }
    assert dialect_of(tmp_path / "a.csv").renamed == (("tag", "tag.2"), ("tag", "tag.3"))


@pytest.mark.parametrize(
    ("bad", "problems"),
    [
        ('4,"24 inch frame,oak', {3: STRAY_QUOTE}),
        ('4,"24 inch" frame,oak', {}),
        ('4,24" frame,oak', {}),
        ('4,"24 inch frame,oak\n5,x,"oak', {3: STRAY_QUOTE, 4: STRAY_QUOTE}),
        ('4,"24 inch frame,oak\n5,x,oak\n6,A 5",oak', {3: STRAY_QUOTE}),
        ('4,"24 inch frame,oak\n5,"x, y",oak', {3: STRAY_QUOTE}),
        ('4,"two\nlines",oak', {}),
        ('4,"two\n\nlines, with ""quotes""",oak', {}),
    ],
)
def test_a_stray_quote_costs_its_own_row(tmp_path: Path, bad: str, problems: dict[int, str]) -> None:
    before = "".join(f"{n},Frame {n},oak\n" for n in range(1, 4))
    after = "".join(f"{n},Frame {n},oak\n" for n in range(7, 60))
    (tmp_path / "a.csv").write_text(f"id,title,material\n{before}{bad}\n{after}")
    rows = both(tmp_path / "a.csv")
    assert {place: row.problem for place, row in enumerate(rows) if row.problem} == problems
    good = [row.record["id"] for row in rows if not row.problem]
    assert good[:3] == ["1", "2", "3"] and good[-53:] == [str(n) for n in range(7, 60)]


def test_a_quote_that_never_ends_is_given_up_after_a_bounded_stretch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "LONGEST_ROW", 500)
    (tmp_path / "a.csv").write_text('id,title\n1,"a\n' + "".join(f"{n},b\n" for n in range(500)))
    rows = list(read_rows(tmp_path / "a.csv"))
    assert len(rows) == 501 and [row.number for row in rows if row.problem] == [1]


def test_long_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'id,title\n1,{"x" * 400_000}\n2,"{"y, " * 400_000}"\n3,z\n')
    assert [len(row.record["title"]) for row in both(tmp_path / "a.csv")] == [400_000, 1_200_000, 1]


def test_a_column_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,row,problem,record\na,b,c,d\n")
    (frame,) = table_frames(tmp_path / "a.csv", lambda frame: frame.rename(lambda name: f"x {name}"))
    assert frame.row(0, named=True) == {
        **{"x file": "a", "x row": "b", "x problem": "c", "x record": "d"},
        **{"file": "a.csv", "row": 1},
    }


def test_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv cannot be read"):
        list(read_rows(tmp_path / "gone.csv"))
    (tmp_path / "a.csv").write_text("\n\n")
    assert list(read_rows(tmp_path / "a.csv")) == []


fields = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(fields, fields), min_size=1, max_size=6), st.sampled_from(",;\t|"))
def test_whatever_the_csv_module_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("id", "title"), *rows])
    path.write_bytes(file.getvalue().encode())
    assert [tuple(row.record.values()) for row in read_rows(path)] == rows


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_problems(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.csv"
    path.write_bytes(data)
    rows = list(read_rows(path))
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("encoding", "titles"),
    [
        ("cp1251", ["Ваза красная", "Плед шерстяной"]),
        ("cp1253", ["Βάζο κόκκινο", "Κούπα κεραμική"]),
        ("cp1250", ["Wełniany koc, żółty", "Lampa stołowa"]),
        ("cp1250", ["Dřevěný stůl", "Keramický hrnek, příjemná"]),
        ("cp932", ["花瓶 赤い 大きい", "ウールの毛布"]),
        ("gbk", ["花瓶 红色 大号", "羊毛毯"]),
        ("euc_kr", ["꽃병 빨간색", "양모 담요"]),
        ("cp1252", ["Lampe en chêne, très élégante", "Crème brûlée à la façade"]),
        ("cp1252", ["Almofada de algodão, coração", "Lâmpada não incluída"]),
        ("cp1252", ["Blå kjøkkenstol, smørrebrød", "Æbletræ"]),
        ("cp1252", ["¿Qué? Niño, 5 m³", "Café"]),
    ],
)
def test_code_pages_are_recognised_and_said(tmp_path: Path, encoding: str, titles: list[str]) -> None:
    rows = "".join(f'{n},"{titles[n % 2]} {n}",7\n' for n in range(12))
    (tmp_path / "a.csv").write_bytes(f"id,title,price\n{rows}".encode(encoding))
    assert [row.record["title"] for row in both(tmp_path / "a.csv")] == [
        f"{titles[n % 2]} {n}" for n in range(12)
    ]
    assert oddities(tmp_path / "a.csv") == [f"a.csv: not UTF-8; taken for {encoding}"]


def test_western_rows_late_in_a_file_that_is_utf8_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_LOOK_BYTES", 100)
    head = "id,title\n" + "".join(f"{n},Lamp {n}\n" for n in range(40)) + "40,Größe\n"
    late = "41,Größe\n42,Crème\n".encode("cp1252") + b"43,cut \xc3\n"
    (tmp_path / "a.csv").write_bytes(head.encode() + late)
    titles = [row.record["title"] for row in read_rows(tmp_path / "a.csv")]
    assert titles[40:] == ["Größe", "Größe", "Crème", "cut \udcc3"]
    framed = [row for frame in table_frames(tmp_path / "a.csv") for row in frame.iter_rows(named=True)]
    assert [row["title"] for row in framed][40:43] == ["Größe", "Größe", "Crème"]
    assert [row["row"] for row in framed if row.get("problem")] == [44]


@pytest.mark.parametrize(
    "text",
    [
        'id,title,color\n1,Vase,red,\n2,"A, b",blue,\n3,"two\nlines",,\n',
        'id,title,color\n1,Vase,red\n2,"A, b",blue\n3,"two\nlines"\n4,Mug\n5,Cap\n',
        'id, title, color\n1, "Vase", red\n2, "A, b", blue\n3, "two\nlines",\n',
    ],
)
def test_fields_too_many_or_too_few_at_the_end_and_blanks_before_quotes(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    found = both(tmp_path / "a.csv")
    assert not any(row.problem for row in found)
    assert [(row.record["title"], row.record["color"].strip()) for row in found][:3] == [
        *(("Vase", "red"), ("A, b", "blue"), ("two\nlines", ""))
    ]


def test_rows_cut_by_a_line_break_are_not_rows_that_end_early(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,title,color\n1,Big\nvase,red\n2,Big\nmug,red\n3,Cap,blue\n")
    assert [bool(row.problem) for row in both(tmp_path / "a.csv")] == [True] * 4 + [False]


def test_backslashes_before_quotes(tmp_path: Path) -> None:
    text = 'id,title,color\n0,"Vase \\"big\\", 0",red\n1,"C:\\\\temp",\\N\n2,"a ""b"" c",blue\n'
    (tmp_path / "a.csv").write_text(text)
    assert [tuple(row.record.values()) for row in both(tmp_path / "a.csv")] == [
        *(("0", 'Vase "big", 0', "red"), ("1", "C:\\temp", "\\N"), ("2", 'a "b" c', "blue"))
    ]
