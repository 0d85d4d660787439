"""What the law, the shop and decency forbid is found by kind; what only looks like it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safety_cases import ALLOWED, ATTACKS, FORBIDDEN, Attack, Forbidden

from mmreason.generate.compliance import Compliance
from mmreason.schema import DataError

COMPLIANCE = Compliance()


@pytest.mark.parametrize("case", FORBIDDEN, ids=lambda case: f"{case.kind}-{case.text[:24]}")
def test_what_is_forbidden_is_found_where_it_stands(case: Forbidden) -> None:
    found = COMPLIANCE.breaches(case.text, case.language, case.category)
    assert case.kind in {each.kind for each in found}
    assert all(0 <= each.span[0] < each.span[1] <= len(case.text) and each.why for each in found)


@pytest.mark.parametrize(("text", "category", "language"), ALLOWED)
def test_what_may_be_said_passes(text: str, category: str, language: str) -> None:
    assert COMPLIANCE.breaches(text, language, category) == []


@pytest.mark.parametrize(
    "attack", [a for a in ATTACKS if not a.name.startswith("fake")], ids=lambda a: a.name
)
def test_an_attack_that_reached_a_text_is_stopped(attack: Attack) -> None:
    assert COMPLIANCE.breaches(attack.text)


def test_films_and_news_speak_of_what_goods_may_not_claim() -> None:
    text = "A doctor cures a cold at half price."
    assert {each.kind for each in COMPLIANCE.breaches(text, "en", "shop")} == {"health", "price"}
    assert COMPLIANCE.breaches(text, "en-GB", "Films > Drama") == []


def test_the_title_of_a_work_claims_nothing() -> None:
    text = "It is by the maker of The Greatest Game."
    assert [each.kind for each in COMPLIANCE.breaches(text)] == ["superlative"]
    assert COMPLIANCE.breaches(text, names=["The Greatest Game"]) == []


def test_packs_of_ones_own_add_and_allow(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "for: {languages: [en], categories: [garden]}\nlimits: {emoji: 1}\nallow: [price]\n"
        "rules:\n- {kind: house style, why: we say plant, words: [flora]}\n",
        encoding="utf-8",
    )
    compliance = Compliance([own])
    assert compliance.breaches("Cheap seeds 🌱", "en", "garden") == []
    assert [each.kind for each in compliance.breaches("Rare flora", "en", "garden tools")] == ["house style"]
    assert [each.kind for each in compliance.breaches("Cheap flora 🌱", "en", "shop")] == ["price", "emoji"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [{kind: x}]", "rule 1: needs kind and why"),
        ("rule: []", "unknown key 'rule'"),
        ("limits: {characters: many}", "characters must be a int"),
        ("for: {language: en}", "unknown key 'language'"),
        ("rules: [{kind: x, why: y, patterns: ['(']}]", "is no regular expression"),
        ("- a", "must be a mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_pack_that_is_none_says_where(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.yaml") as error:
        Compliance([path])
    assert told in str(error.value)


@given(st.text(max_size=120), st.sampled_from(["en", "zh", "de"]), st.sampled_from(["", "shop", "film"]))
def test_any_text_can_be_checked(text: str, language: str, category: str) -> None:
    for each in COMPLIANCE.breaches(text, language, category):
        assert 0 <= each.span[0] < each.span[1] <= len(text)
