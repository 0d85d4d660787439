"""Relations in words: what the source links is told as what it is, and the verifier binds it."""

from __future__ import annotations

import pytest

from mmreason.evidence.plan import plans
from mmreason.evidence.schema import Case, Fact
from mmreason.generate.verify.verifier import Verifier
from mmreason.schema import Interaction, Item, User
from mmreason.wording.template import tells, write


def case_of(
    name: str,
    language: str = "en",
    event: str = "purchase",
    kinds: tuple[str, str] = ("Hats", "Scarves"),
    **told: int,
) -> Case:
    """A hat with one relation to a scarf that somebody took."""
    titles = ("Fjord Hat", "Dune Wrap") if language == "en" else ("暖山帽子", "晴川围巾")
    hat, scarf = (
        Item(i, title, attributes={"category": [kind]} if kind else {}, domain="shop")
        for i, title, kind in zip(("hat", "scarf"), titles, kinds, strict=True)
    )
    fact = Fact("hat", name, "scarf", "relation", **told)
    user = User("u", [Interaction("u", "scarf", event)])
    return Case(
        user, hat, [fact], history_items={"scarf": scarf}, history_facts={"scarf": []}, language=language
    )


def texts_of(case: Case) -> list[str]:
    return [each.text for plan in plans(case, tells) for seed in range(6) for each in write(plan, case, seed)]


@pytest.mark.parametrize("event", ["purchase", "click", "cart", "review"])
@pytest.mark.parametrize(
    ("language", "kinds", "goes", "beside"),
    [
        (
            "en",
            ("Hats", "Scarves"),
            "hat to go with the Dune Wrap you ",
            "Often bought with the Dune Wrap you ",
        ),
        ("zh", ("帽子", "围巾"), "搭配", "一同选购"),
    ],
)
def test_links_are_told_as_what_they_are_and_pass(
    language: str, kinds: tuple[str, str], goes: str, beside: str, event: str
) -> None:
    for name, words in (("goes with", goes), ("related", goes), ("bought with", beside)):
        case = case_of(name, language, event, kinds)
        texts = texts_of(case)
        assert any(words in text for text in texts)
        for text in texts:
            verdict = Verifier().check(text, case)
            assert (verdict.passed, verdict.level, verdict.why) == (True, "personal", ""), text
            links = [(e.attribute, e.source, e.item_ids) for e in verdict.evidence if e.source != "title"]
            assert links == [(name, "relation", ["scarf"])]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("alternative", ("Hats", "Scarves")),
        ("related", ("Hats", "Hats")),  # a dearer one of the same does not go with it
        ("goes with", ("Hats", "Hats")),
        ("related", ("", "")),  # alternatives are called so, too
    ],
)
def test_what_may_be_taken_in_its_place_does_not_go_with_it(name: str, kinds: tuple[str, str]) -> None:
    case = case_of(name, kinds=kinds)
    assert texts_of(case) == []
    if kinds != ("", ""):
        assert Verifier().check("Goes with the Dune Wrap you bought.", case).kind == "does not follow"


def test_nothing_made_for_others_goes_with_it() -> None:
    case = case_of("goes with")
    case.item.attributes["gender"] = ["Men"]
    case.history_items["scarf"].attributes["gender"] = ["Women"]
    assert texts_of(case) == []


@pytest.mark.parametrize(
    "text",
    [
        "Often bought with the Dune Wrap you bought.",
        "People who bought the Dune Wrap, as you did, often bought this hat too.",
        "Like you, others bought the Dune Wrap, and they often bought this hat too.",
    ],
)
def test_that_others_took_both_is_no_link_of_the_shop(text: str) -> None:
    assert Verifier().check(text, case_of("bought with", supporters=4, asked=5)).passed
    assert Verifier().check(text, case_of("goes with")).kind == "does not follow"


def test_what_people_bought_comes_before_what_the_shop_links() -> None:
    case = case_of("goes with")
    together = Fact("hat", "bought with", "scarf", "relation", supporters=4, asked=5)
    case.facts = [*case.facts, together]
    assert [plan.tie.fact.name for plan in plans(case, tells) if plan.tie and plan.tie.fact] == [
        "bought with",
        "goes with",
    ]
