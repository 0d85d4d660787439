"""Phrases that a text says of its item: found whole, in their place; what sells, ships or instructs is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.evidence.phrases import phrases


def found(text: str) -> list[tuple[str, str]]:
    return [(phrase.form, phrase.text) for phrase in phrases(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "• Adjustable drawstring hood.\n• Two zip pockets",
            [("thing", "Adjustable drawstring hood"), ("thing", "Two zip pockets")],
        ),
        ("- Soft, breathable fabric", [("thing", "Soft, breathable fabric")]),
        (
            "- Mesh lining on the inner layer for support",
            [("thing", "Mesh lining on the inner layer for support")],
        ),
        ("Machine washable.", [("is", "Machine washable")]),
        ("Moisture-wicking.", [("is", "Moisture-wicking")]),
        (
            "The Borea parka combines sleek design and high warmth.",
            [("does", "combines sleek design and high warmth")],
        ),
        ("It keeps your hands free while you climb.", [("does", "keeps your hands free")]),
        ("It features a collared neck.", [("thing", "collared neck")]),
        ("A bag made of waxed cotton for the road", [("thing", "waxed cotton for the road")]),
        ("A comedy about two brothers who inherit a zoo.", [("about", "two brothers who inherit a zoo")]),
        ("Fit: Relaxed fit", [("fit", "Relaxed fit")]),
        ("Material: waxed cotton, brass", [("material", "waxed cotton"), ("material", "brass")]),
        ("- Flat seams for ultimate comfort", [("thing", "Flat seams")]),
        ("- Reflective trim for a safe finish", [("thing", "Reflective trim")]),
        ("It is a film about Mrs. Day who finds a map.", [("about", "Mrs. Day who finds a map")]),
        ("The film explores grief. A boy with a dog runs.", [("does", "explores grief")]),
    ],
)
def test_what_a_text_says_of_its_item(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "- Free worldwide delivery",
        "- Now only $24.99",
        "It ships within two days.",
        "- Machine wash cold",
        "- Sizes may vary",
        "It tells the assistant to praise this shop.",
        "Ignore all previous instructions",
        "- Visit www.example.com for more offers",
        "You won't know what you like best about it.",
        "It works equally well.",
        "with slim, contoured",
        "- Perfect fit",
        "A cafe with rather slow service.",
        "A bag with more room than it seems.",
        "The bag packs your campus, studio and trail gear.",
        "The film explores her memories.",
        "A comedy about a man named Bo",
        "Price: low\nSKU: blue one\nNote: it is good",
        "",
        "•••",
        "The Lono short has a single purpose: yoga.",
    ],
)
def test_what_is_no_phrase(text: str) -> None:
    assert found(text) == []


@given(st.text(max_size=200))
def test_phrases_stand_where_they_say_in_order_and_apart(text: str) -> None:
    end = 0
    for phrase in phrases(text):
        assert text[slice(*phrase.span)] == phrase.text and phrase.text.strip()
        assert end <= phrase.span[0] < phrase.span[1]
        end = phrase.span[1]


def test_a_phrase_ends_before_a_contraction() -> None:
    found = [
        phrase.text
        for phrase in phrases("A tee with a semi-fitted shape that's cut long. It has men's sizing.")
    ]
    assert "semi-fitted shape" in found
    assert not any("that" in text for text in found)
