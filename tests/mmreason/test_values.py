"""What a value means, in whatever way a program wrote it."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.values import facts, identifier, is_nothing, literal, paths, text, words


@pytest.mark.parametrize(
    "value", [None, float("nan"), np.float32("nan"), "", " N/A ", "null", "None", "-", "NaN", [], {}]
)
def test_what_stands_for_nothing(value: Any) -> None:
    assert is_nothing(value) and text(value) == "" and paths(value) == [] and facts(value) == {}


@pytest.mark.parametrize("value", ["00123", "1e5", "NA", "nan", "N/A", "👟", "../..", "a\nb", "123.0"])
def test_an_id_stays_what_it_is(value: str) -> None:
    assert identifier(value) == value


def test_ids_of_columns_with_gaps_are_whole_numbers() -> None:
    assert [identifier(value) for value in (123.0, np.float64(7), 5, np.int64(5), 0, None, 1.5)] == [
        *("123", "7", "5", "5", "0", "", "1.5")
    ]


@pytest.mark.parametrize("value", [{"a": 1}, ["a"], ("a",)])
def test_an_id_is_one_value(value: Any) -> None:
    with pytest.raises(ValueError):
        identifier(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["One.", None, "Two."], "One.\nTwo."),
        ("['One.', 'Two.']", "One.\nTwo."),
        (np.array(["One.", "Two."]), "One.\nTwo."),
        ("[sic] stays", "[sic] stays"),
        ("[new]", "[new]"),
        (b"caf\xc3\xa9", "café"),
        (5, "5"),
        (date(2024, 5, 1), "2024-05-01"),
    ],
)
def test_texts(value: Any, expected: str) -> None:
    assert text(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"material": ["wool", "silk"], "fit": "slim"},
        "{'material': ['wool', 'silk'], 'fit': 'slim'}",
        '{"material": "wool|silk", "fit": ["slim", null]}',
        [("material", ["wool", "silk"]), ("fit", "slim")],
        [{"name": "material", "options": ["wool", "silk"]}, {"name": "fit", "value": "slim"}],
        "[{'key': 'material', 'value': ['wool', 'silk']}, {'key': 'fit', 'value': 'slim'}]",
        "material=wool|silk; fit=slim",
        "material: wool|silk; fit: slim; care: N/A",
        {"material": np.array(["wool", "silk"]), "fit": "slim", "size": float("nan"), "color": []},
    ],
)
def test_facts_in_every_spelling(value: Any) -> None:
    assert facts(value) == {"material": ["wool", "silk"], "fit": ["slim"]}


def test_objects_in_objects() -> None:
    given = {
        "WiFi": "u'free'",
        "Parking": "{'garage': False, 'street': True}",
        "size": {"width": 3.0, "depth": None},
    }
    assert facts(given) == {"WiFi": ["free"], "Parking": ["street"], "size.width": ["3"]}


@pytest.mark.parametrize(
    "value",
    ["wool", 5, ["wool"], {"a": {"b": {"c": {"d": {"e": 1}}}}}, {"a": [{"b": 1}]}, "{'a': open('x')}"],
)
def test_what_has_no_one_reading(value: Any) -> None:
    with pytest.raises(ValueError):
        facts(value)


@pytest.mark.parametrize(
    "value",
    [
        ["a.jpg", "b/c d.png"],
        "['a.jpg', 'b/c d.png']",
        "['a.jpg' 'b/c d.png']",
        "array(['a.jpg', 'b/c d.png'], dtype=object)",
        "['a.jpg', nan, 'b/c d.png']",
        "a.jpg|b/c d.png",
        [{"src": "a.jpg"}, {"path": "b/c d.png", "bytes": None}],
        '[{"src": "a.jpg"}, {"url": "b/c d.png"}]',
        (Path("a.jpg"), "b/c d.png"),
        np.array(["a.jpg", "b/c d.png"], dtype=object),
    ],
)
def test_pictures_in_every_spelling(value: Any) -> None:
    assert paths(value) == ["a.jpg", "b/c d.png"]


def test_an_address_with_commas_is_one() -> None:
    address = "https://img.example/c_fill,w_200/a.jpg?x=1,2"
    assert paths(address) == [address]
    assert paths("https://x.example/a.jpg,https://x.example/b.png?v=1") == [
        "https://x.example/a.jpg",
        "https://x.example/b.png?v=1",
    ]
    assert paths("my photos/a b.jpg") == ["my photos/a b.jpg"]


@pytest.mark.parametrize(
    "value",
    ["[" * 5000, "['a", "__import__('os').getcwd()", "{" * 300 + "}" * 300, "[" + "9" * 300_000 + "]"],
)
def test_a_literal_is_data_and_bounded(value: str) -> None:
    with pytest.raises(ValueError):
        literal(value)


plain = st.text(st.characters(codec="utf-8"), max_size=8)


@given(st.lists(plain, max_size=4))
def test_python_and_json_lists_mean_the_same(values: list[str]) -> None:
    assert words(repr(values)) == words(json.dumps(values)) == words(values)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(value: str) -> None:
    for read in (facts, paths, words):
        try:
            read(value)
        except ValueError:
            continue
    assert isinstance(text(value), str) and identifier(value) == value.strip()


def test_moments_of_other_kinds() -> None:
    from mmreason.times import moment

    assert (
        moment(datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)) == 1.7e9
        and moment(date(2023, 11, 14)) == 1699920000
    )
