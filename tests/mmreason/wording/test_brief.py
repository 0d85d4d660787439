"""Plans in words: all that a writer needs, and nothing of a reader but what the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mmreason.evidence.schema import Case, Concept, Fact, Plan, Taste, Tie
from mmreason.schema import Evidence, Interaction, Item, User
from mmreason.wording.brief import Brief, brief_of

WOOL = Fact("a", "material", "merino wool")
NAVY = Fact("a", "color", "navy")
THROW = Item("a", "Alder", attributes={"type": ["Throws"]}, domain="shop")


def _reader(name: str, *titles: str, event: str = "purchase", extra: str = "") -> tuple[Case, Plan]:
    """Somebody with wool throws of those titles, and with another item of their own."""
    items = {
        f"{name}{n}": Item(f"{name}{n}", title, attributes=THROW.attributes, domain="shop")
        for n, title in enumerate(titles)
    }
    items[f"{name}-more"] = Item(f"{name}-more", extra or f"Secret of {name}", domain="shop")
    steps = [Interaction(name, item_id, event, timestamp=n) for n, item_id in enumerate(items)]
    ids = tuple(items)[:-1]
    taste = Taste(WOOL.concept, ids, {event: len(ids)}, 0.6, 5.0, 0.001)
    facts = {item_id: [replace(WOOL, item_id=item_id)] for item_id in ids}
    concepts = {WOOL.concept: Concept(WOOL.concept, WOOL.name, WOOL.value, 12, 0.1)}
    case = Case(User(name, steps), THROW, [WOOL, NAVY], [taste], items, facts, concepts)
    return case, Plan((WOOL,), Tie("taste", ids, taste))


def _brief(case: Case, plan: Plan) -> Brief:
    brief = brief_of(plan, case)
    assert brief is not None
    return brief


def test_readers_of_whom_the_same_is_to_be_said_have_the_same_words() -> None:
    ann, ben = _reader("ann", "Cove", "Dune", "Elm"), _reader("ben", "Fern", "Glen", "Holt", "Iris")
    assert _brief(*ann) == _brief(*ben)
    assert _brief(*ann).words == (
        "Thing: throw\nSay: material merino wool\nTie: taste, often, purchase\nStyle: en, shop"
    )


@pytest.mark.parametrize("titles", [("Cove",), ("Cove", "Dune"), ("Cove", "Dune", "Elm")])
def test_words_hold_nothing_of_a_reader_but_what_the_plan_says(titles: Sequence[str]) -> None:
    case, plan = _reader("ann", *titles)
    for each in (
        plan,
        replace(plan, tie=replace(plan.tie, kind="likeness", taste=None)),
        replace(plan, tie=None),
    ):
        words = _brief(case, each).words
        assert not any(told in words for told in ("ann", "Secret", *titles, *case.history_items))


def test_an_item_of_the_reader_is_a_place() -> None:
    (ann, plan), (ben, other) = _reader("ann", "Cove"), _reader("ben", "Fern")
    hers, his = _brief(ann, plan), _brief(ben, other)
    assert hers.words == his.words and "Name: [1]" in hers.words and "one" in hers.words
    text = "Merino wool, like the [1] you bought."
    assert hers.filled(text) == "Merino wool, like the Cove you bought."
    assert his.filled(text) == "Merino wool, like the Fern you bought."


def test_a_text_with_a_place_that_is_not_to_be_filled_is_none() -> None:
    assert Brief("").filled("Like the [1].") == "" and Brief("", ("Cove",)).filled("[1] and [2]") == ""


def test_titles_in_a_text_become_places_and_one_that_is_not_to_be_named_is_no_text() -> None:
    text = "Wool, like the Cove and the Dune you bought."
    evidence = [
        Evidence("title", "Cove", "title", ["x"], (15, 19)),
        Evidence("title", "Dune", "title", ["y"], (28, 32)),
        Evidence("material", "wool", "attribute", ["x"], (0, 4)),
    ]
    assert Brief("", ("Dune", "Cove")).emptied(text, evidence) == "Wool, like the [2] and the [1] you bought."
    assert Brief("", ("Cove",)).emptied(text, evidence) == ""


def test_what_differs_is_told() -> None:
    case, plan = _reader("ann", "Cove", "Dune", "Elm")
    clicked, _ = _reader("ann", "Cove", "Dune", "Elm", event="click")
    words = [
        _brief(case, plan).words,
        _brief(case, replace(plan, facts=(WOOL, NAVY))).words,
        _brief(case, replace(plan, tie=None)).words,
        _brief(clicked, plan).words,
        _brief(replace(case, item=replace(THROW, domain="")), plan).words,
    ]
    assert len(set(words)) == len(words)


def test_what_does_not_follow_has_no_words() -> None:
    case, plan = _reader("ann", "Cove", "Dune", "Elm")
    assert brief_of(plan, replace(case, user=User("ann"))) is None, "nothing was done with them"
    assert brief_of(plan, replace(case, language="fi")) is None, "there is no grammar"
    navy = Plan((NAVY,), Tie("likeness", ("ann0",)))
    assert brief_of(navy, case) is None, "one thing of a color is no reason for another"
