"""What customers write, without what must not be told on."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.cleaning import MAYBE_UNCLEAN, clean_review, without_contacts

PRIVATE = [
    "Call me at 555-0100",
    "Write to ann@shop.example",
    "See https://shop.example/oak",
    "See shop.example/oak",
    "Ring +44 20 7946 0018",
    "Ring +٤٤ ٢٠ ٧٩٤٦ ٠٠١٨",
    "Ring +８６ １３９ １２３４ ５６７８",
    "Refund to DE89 3704 0044 0532 0130 00 please",
    "Refund to NL91ABNA0417164300 please",
    "Refund to GB29 NWBK 6016 1331 9268 19 please",
    "Refund to IT60 X054 2811 1010 0000 0123 456 please",
    "Paid with 4111 1111 1111 1111",
]
HARMLESS = [
    "Size 42, bought on 2024-11-12 for 1,299.00.",
    "The XT20 with a 18-55 lens weighs 383 g.",
    "EAN 4006381333931, model AB12 is fine.",
    "60x40x20 cm, holds 10 20 30 litres.",
]


@pytest.mark.parametrize("sentence", PRIVATE)
def test_sentences_with_contact_or_bank_data_leave_a_review(sentence: str) -> None:
    assert clean_review(f"Warm wool. {sentence}. I love it.") == "Warm wool. I love it."
    assert without_contacts(sentence) != sentence


@pytest.mark.parametrize("text", HARMLESS)
def test_other_numbers_stay(text: str) -> None:
    assert clean_review(text) == without_contacts(text) == text


@given(
    st.lists(
        st.sampled_from(
            [
                *PRIVATE,
                *HARMLESS,
                "<br>",
                "&amp;",
                "[/row]",
                "<",
                "\u200b",
                "\u00ad",
                "é",
                "٣",
                "4",
                "/",
                ".",
                " ",
            ]
        )
    ).map("".join)
)
def test_the_quick_look_misses_nothing_that_would_be_cleaned(text: str) -> None:
    column = pl.Series([text])
    if not any(column.str.contains(pattern).item() for pattern in MAYBE_UNCLEAN):
        assert clean_review(text) == text
