import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.evidence.claims import Vocabulary
from mmreason.language import COMMON
from mmreason.schema import DataError, Item

VOCABULARY = Vocabulary(
    {
        "category": [
            "Hoodies & Sweatshirts",
            "shorts",
            "hoodie",
            "capes",
            "caps",
            "Dresses",
            "long sleeve shirt",
        ],
        "color": ["red", "White", "orange", "navy blue", "blue"],
        "flavour": ["Orange"],
        "climate": ["All-Weather", "cool", "all"],
        "pattern": ["solid"],
        "size": ["M", "32"],
        "material": ["LumaTech™", "1/4 zip", "wool"],
        "gender": ["men", "women"],
        "颜色": ["红色"],
        "drink": ["café"],
        "sleeve": ["long sleeve"],
        "kind": ["Tea - Loose"],
    }
)


def said(text: str) -> list[tuple[str, str]]:
    """What is found, with the words it was found in."""
    return [(m.value, text[slice(*m.span)]) for m in VOCABULARY.find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A RED coat", [("red", "RED")]),
        ("hired, redo, infrared", []),
        ("our hoodies and sweatshirts", [("hoodies & sweatshirts", "hoodies and sweatshirts")]),
        ("Hoodies & Sweatshirts.", [("hoodies & sweatshirts", "Hoodies & Sweatshirts")]),
        ("soft LumaTech™, a 1/4 zip", [("lumatech™", "LumaTech™"), ("1/4 zip", "1/4 zip")]),
        ("soft lumatech", [("lumatech™", "lumatech")]),
        ("a navy blue one", [("navy blue", "navy blue")]),
        ("a long sleeve shirt", [("long sleeve shirt", "long sleeve shirt")]),
        ("a long sleeve tee", [("long sleeve", "long sleeve")]),
        ("off-white, red-hot, non-wool", []),
        ("all-weather and all weather", [("all-weather", "all-weather"), ("all-weather", "all weather")]),
        ("for all. Weather is", []),
        ("navy - blue", [("blue", "blue")]),
        ("tea - loose, tea loose", [("tea - loose", "tea - loose")]),
        ("women’s and men's", [("women", "women’s"), ("men", "men's")]),
        ("我喜欢红色的外套", [("红色", "红色")]),
        ("cafe\u0301 and CAFÉ", [("café", "cafe\u0301"), ("café", "CAFÉ")]),
        ("", []),
    ],
)
def test_phrases(text, expected):
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("hoodies", ["hoodie"]),
        ("a cape", ["capes"]),
        ("a cap", ["caps"]),
        ("one dress, two dresses", ["dresses", "dresses"]),
        ("short sleeves, two shorts", ["shorts"]),
        ("wools", ["wool"]),
    ],
)
def test_singular_and_plural(text, values):
    assert [m.value for m in VOCABULARY.find(text)] == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a solid choice for all of us, I'm 32", []),
        ("a solid pattern", ["solid"]),
        ("patterns: solid", ["solid"]),
        ("the size is M, not size 32", ["m", "32"]),
        ("for all climates", ["all"]),
    ],
)
def test_common_and_short_values_need_their_attributes_name(text, values):
    assert [m.value for m in VOCABULARY.find(text)] == values


def test_one_span_can_belong_to_several_attributes():
    mentions = VOCABULARY.find("an orange drink")
    assert [(m.attribute, m.span) for m in mentions] == [("color", (3, 9)), ("flavour", (3, 9))]


def test_of_reads_hidden_facts_and_truth_ignores_case():
    item = Item(id="a", attributes={"material": ["Merino  Wool"]}, hidden={"color": ["Red"]})
    mentions = Vocabulary.of([item, Item(id="b", hidden={"color": ["blue"]})]).find(
        "Red merino wool, not blue"
    )
    assert [(m.value, m.true_of(item)) for m in mentions] == [
        ("red", True),
        ("merino wool", True),
        ("blue", False),
    ]


def test_json_round_trip_finds_the_same():
    again = Vocabulary.from_json(VOCABULARY.to_json())
    assert again == VOCABULARY
    assert again.find("a red café, 红色") == VOCABULARY.find("a red café, 红色")


@pytest.mark.parametrize("text", ["{", "[]", '{"color": "red"}', '{"color": [1]}'])
def test_bad_json_is_a_data_error(text):
    with pytest.raises(DataError, match=r"Vocabulary\.to_json"):
        Vocabulary.from_json(text)


WORD = st.text("abcdefgö红色-&'", min_size=2, max_size=8)


@given(
    st.dictionaries(
        WORD, st.lists(st.lists(WORD, min_size=1, max_size=3).map(" ".join), max_size=6), max_size=4
    )
)
def test_every_value_is_found_in_itself(values):
    vocabulary = Vocabulary(values)
    for attribute, phrases in vocabulary.values.items():
        for value in phrases:
            if value in COMMON or sum(c.isalnum() for c in value) < 2 or value.strip("-'& ") != value:
                continue
            assert (attribute, value, (0, len(value))) in [
                (m.attribute, m.value, m.span) for m in vocabulary.find(value)
            ]


@given(st.text(max_size=80))
def test_any_text_gives_spans_in_order_inside_it(text):
    vocabulary = Vocabulary({"a": [text, text[:5], "red"], "b": [text[3:9]]})
    spans = [m.span for m in vocabulary.find(text + " red " + text)]
    distinct = list(dict.fromkeys(spans))
    assert spans == sorted(spans)
    assert all(0 <= start < end <= 2 * len(text) + 5 for start, end in distinct)
    assert all(a[1] <= b[0] for a, b in pairwise(distinct))


def test_is_fast():
    vocabulary = Vocabulary({f"a{i}": [f"word{j} x{i}" for j in range(100)] for i in range(10)})
    text = "because you bought word5 x3 and like word7 x9 this one may be something for you too"
    started = time.perf_counter()
    found = sum(len(vocabulary.find(text)) for _ in range(2000))
    assert found == 4000
    assert time.perf_counter() - started < 2  # 10,000 a second on an idle core; slack for a busy one
