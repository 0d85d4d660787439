"""Concepts that tell of a person what nobody may infer are known by kind; what only looks like them is not."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yaml

from mmreason.evidence.sensitive import sensitive_kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("books on Insulin", "health"),
        ("hearing-aids", "health"),
        ("pieces for pregnant women", "family"),
        ("halal cooking", "religion"),
        ("left-wing podcasts", "politics"),
        ("Payday Loans", "finances"),
        ("LGBTQ cinema", "sexuality"),
        ("union membership", "union"),
        ("糖尿病食谱", "health"),
        ("清真餐厅", "religion"),
    ],
)
def test_protected_kinds_are_known(text: str, kind: str) -> None:
    assert sensitive_kind(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "credit union jack mug",
        "race bikes",
        "concert",
        "trance music",
        "Pagani cars",
        "gayle",
        "hats",
        "",
        "红色帽子",
    ],
)
def test_what_only_looks_like_them_is_not(text: str) -> None:
    assert sensitive_kind(text) == ""


def test_terms_can_be_added() -> None:
    assert sensitive_kind("astrology charts") == ""
    assert sensitive_kind("astrology charts", {"belief": ["astrology"]}) == "belief"


def test_every_term_of_the_list_is_found_by_its_own_kind_or_an_earlier_one() -> None:
    read = yaml.safe_load(files("mmreason.evidence").joinpath("sensitive.yaml").read_text(encoding="utf-8"))
    assert {
        "health",
        "sexuality",
        "religion",
        "politics",
        "origin",
        "family",
        "finances",
        "union",
        "minors",
    } <= set(read)
    for by in read.values():
        assert set(by) == {"en", "zh"}
        assert all(sensitive_kind(term) for terms in by.values() for term in terms)
