"""The verifier: what is true passes in many wordings; each kind of fault is found and named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.evidence.schema import Case, Fact, Taste
from mmreason.generate.verify import Rejection, Verifier
from mmreason.schema import Interaction, Item, User

HELD = {
    "scarf": [("material", "wool"), ("color", "red"), ("category", "Scarves")],
    "gloves": [("material", "wool"), ("color", "blue"), ("category", "Gloves")],
    "socks": [("material", "wool"), ("color", "blue"), ("category", "Socks")],
    "mug": [("material", "ceramic"), ("category", "Mugs")],
    "tray": [("material", "steel"), ("category", "Trays")],
}
EVENTS = {"scarf": "purchase", "gloves": "purchase", "socks": "click", "mug": "click"}


@pytest.fixture(scope="module")
def case() -> Case:
    """A wool hat for someone with wool things, a mug, and a tray that they rated low."""
    steps = [Interaction("u", item, event) for item, event in EVENTS.items()]
    steps.append(Interaction("u", "tray", "rating", rating=1))
    text = "A knitted hat with a hidden pocket. It keeps your ears warm. Not waterproof."
    facts = [
        Fact("hat", "material", "Wool"),
        Fact("hat", "color", "blue", "picture", probability=0.97),
        Fact("hat", "category", "Hats"),
        Fact("hat", "thing", "hidden pocket", "text", (19, 32)),
        Fact("hat", "does", "keeps your ears warm", "text", (37, 57)),
        Fact("hat", "bought with", "scarf", "relation", supporters=5),
    ]
    return Case(
        User("u", steps),
        Item("hat", "Fjord Hat", text, domain="shop"),
        facts,
        history_items={i: Item(i, f"Fjord {i.title()}", domain="shop") for i in HELD},
        history_facts={i: [Fact(i, *fact) for fact in told] for i, told in HELD.items()},
    )


@pytest.mark.parametrize(
    "text",
    [
        "You keep choosing wool, and this hat is made of wool too.",
        "This hat is made of wool, just like several of your recent picks.",
        "You bought wool pieces before, and this hat is made of wool as well.",
        "Since you often go for wool, this hat should please you: it is made of wool.",
        "You've a soft spot for blue, and this hat comes in blue.",
        "Your history leans towards wool, so this hat fits right in.",
        "This wool hat suits your taste for wool: it has a hidden pocket.",
        "It's made of wool, like the wool scarf you bought.",
        "This hat goes with the Fjord Scarf you bought.",
        "This hat comes in blue, just like the Fjord Gloves you chose.",
        "Because you like wool, you may enjoy this wool hat.",
        "Three of your recent picks were wool, and so is this hat.",
        "You've bought wool before, so this wool hat should be a good fit.",
        "Your love of wool makes this hat a natural pick.",
        "Two of the pieces you bought are wool, and this hat is made of wool.",
    ],
)
def test_true_words_about_the_person_pass(case: Case, text: str) -> None:
    verdict = Verifier().check(text, case)
    assert (verdict.passed, verdict.level, verdict.why) == (True, "personal", "")


@pytest.mark.parametrize(
    "text",
    [
        "This hat is made of wool.",
        "A hat with a hidden pocket.",
        "This hat keeps your ears warm.",
        "A blue wool hat.",
    ],
)
def test_words_about_the_item_alone_are_a_selling_point(case: Case, text: str) -> None:
    verdict = Verifier().check(text, case)
    assert (verdict.passed, verdict.level, verdict.why) == (True, "selling point", "")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("This wool hat is waterproof, fireproof and cures colds.", "left-over words"),
        ("You keep choosing wool, and this wool hat is waterproof.", "left-over words"),
        ("You keep choosing red, and this hat is red.", "untrue of the item"),
        ("You keep choosing ceramic, and this hat is made of wool.", "strength"),
        ("You keep choosing linen, and this hat is made of wool.", "left-over words"),
        ("You keep choosing hats, and this hat is made of wool.", "untrue of the person"),
        ("You keep choosing steel, and this hat is made of wool.", "untrue of the person"),
        ("You always choose wool, and this hat is made of wool.", "strength"),
        ("You often choose blue, and this hat comes in blue.", "strength"),
        ("Most of your picks are blue, and this hat comes in blue.", "strength"),
        ("You bought several blue pieces, and this hat is blue.", "event"),
        ("This hat has a hidden pocket, like others in your history.", "untrue of the person"),
        ("You watched wool pieces to the end, and this hat is made of wool.", "event"),
        ("You keep choosing wool, and this hat is not made of wool.", "polarity"),
        ("Unlike the wool you chose, this hat is made of wool.", "polarity"),
        ("This hat is made of wool and is made of wool, like several of your picks.", "twice"),
        ("This wool hat is made of wool, like several of your picks.", "twice"),
        ("You keep choosing blue pieces, and this hat is made of wool.", "does not follow"),
        ("You keep choosing wool, so this hat is made of wool.", "does not follow"),
        ("You keep choosing wool, and this hat has a wool pocket.", "left-over words"),
        ("This hat is about wool, like several of your picks.", "broken grammar"),
        ("This hat is blue, as do several of your picks.", "broken grammar"),
        ("This is a anything blue hat.", "broken grammar"),
        ("This story is made of wool, like several of your picks.", "untrue of the item"),
        ("You may like this hat.", "no claim"),
        ("This hat is made of wool, like two mugs you chose.", "untrue of the person"),
        ("You bought this wool hat.", "untrue of the person"),
        ("This hat is made of blue.", "broken grammar"),
        ("This hat goes with the Fjord Gloves you bought.", "does not follow"),
        ("This hat is made of wool, like the Fjord Mug you chose.", "does not follow"),
        ("This hat is warmer than the scarf you bought.", "left-over words"),
        ("You gave the Fjord Scarf high ratings, and this hat is made of wool.", "event"),
        ("This hat is an hidden pocket.", "broken grammar"),
    ],
)
def test_faults_are_named(case: Case, text: str, kind: Rejection) -> None:
    verdict = Verifier().check(text, case)
    assert (verdict.passed, verdict.kind) == (False, kind), verdict.why
    assert verdict.span is not None and verdict.why


def test_what_makes_one_noun_must_hold_of_the_same_items(case: Case) -> None:
    """Two are of wool and two are blue; whether "a blue wool hat" is like several of them depends on which."""
    text = "A blue wool hat, just like several of your recent picks."
    apart = {
        item: [Fact(item, "material", material), Fact(item, "color", color)]
        for item, material, color in (
            *(("scarf", "wool", "red"), ("gloves", "wool", "green")),
            *(("socks", "silk", "blue"), ("mug", "steel", "blue")),
        )
    }
    together = {
        **apart,
        "scarf": apart["gloves"][:1] + apart["socks"][1:],
        "gloves": case.history_facts["gloves"],
    }
    verdicts = [
        Verifier().check(text, Case(case.user, case.item, case.facts, history_facts=held))
        for held in (together, apart, {**apart, "scarf": together["scarf"]})
    ]
    assert [verdict.kind for verdict in verdicts] == ["", "untrue of the person", "strength"]


def test_a_text_that_is_true_of_what_is_called_otherwise_only_is_loose(case: Case) -> None:
    facts = [Fact("c", "category", "car"), Fact("c", "color", "red")]
    text, user = (
        "This clip shows a red car, just like several of your recent picks.",
        User("u", case.user.history[:2]),
    )
    kinds = {"car": "scarf gloves", "kite": "gloves"}
    for kind, holders in kinds.items():
        held = {
            item: [Fact(item, "color", "red"), *([Fact(item, "category", "car")] * (item in holders))]
            for item in ("scarf", "gloves")
        }
        verdict = Verifier().check(text, Case(user, Item("c", domain="video"), facts, history_facts=held))
        assert (verdict.passed, verdict.loose) == (True, kind != "car"), verdict.why


def test_pictures_are_of_colors_not_of_forms() -> None:
    told = [Fact("s", "format", "portrait"), Fact("s", "color", "red", "picture")]
    held = {item: [Fact(item, fact.name, fact.value) for fact in told] for item in "abc"}
    user = User("u", [Interaction("u", item, "read") for item in held])
    case = Case(user, Item("s", domain="news"), told, history_facts=held)
    assert Verifier().check("This story is pictured in red.", case).passed
    assert not Verifier().check("This story is pictured in a portrait.", case).passed


def test_evidence_says_what_each_claim_rests_on(case: Case) -> None:
    text = "You keep choosing blue, and this hat comes in blue."
    verdict = Verifier().check(text, case)
    of_user, naming, of_item = verdict.evidence
    assert (of_user.attribute, of_user.value, of_user.item_ids) == ("color", "blue", ["gloves", "socks"])
    assert naming.attribute == "category"
    assert of_item.source == "picture" and of_item.span is not None
    assert text[slice(*of_item.span)] == "comes in blue"


def test_what_the_text_denies_is_no_evidence(case: Case) -> None:
    case.item.text, text = "A hat that is not fully waterproof.", case.item.text
    try:
        assert not Verifier().check("This hat is fully waterproof.", case).passed
    finally:
        case.item.text = text


def test_often_is_what_the_taste_allows(case: Case) -> None:
    text = "You often choose wool, and this hat is made of wool."
    wool = Fact("", "material", "wool").concept
    chance = Taste(wool, ("scarf", "gloves", "socks"), p_value=0.2)
    assert Verifier().check(text, case).passed
    unlikely = Case(case.user, case.item, case.facts, [chance], history_facts=case.history_facts)
    assert Verifier().check(text, unlikely).kind == "strength"


def test_references_license_wording_of_their_domain(case: Case) -> None:
    text = "You keep choosing blue, and this hat carries a blue motif."
    verifier = Verifier()
    assert verifier.check(text, case).kind == "left-over words"
    for _ in range(3):
        verifier.learn(text, case)
    assert verifier.check(text, case).passed
    refused = "You keep choosing the blue kind, and this hat is of the blue kind."
    for _ in range(3):
        verifier.learn(refused, case)
    assert verifier.check(refused, case).kind == "left-over words"
    clip = Case(case.user, Item("c", domain="video"), case.facts, history_facts=case.history_facts)
    assert not verifier.check(text, clip).passed


def test_what_a_reference_names_never_becomes_glue(case: Case) -> None:
    text = (
        "You keep choosing blue, and this hat is a mauve hat in blue."  # mauve: only its picture shows that
    )
    verifier = Verifier()
    for _ in range(3):
        verifier.learn(text, case, ["blue", "mauve"])
    assert "'mauve'" in verifier.check(text, case).why


@given(st.text(max_size=80))
def test_any_text_gets_a_verdict(text: str) -> None:
    """No text breaks the verifier, and what names no fact does not pass."""
    verdict = Verifier().check(text, Case(User("u"), Item("a"), []))
    assert not verdict.passed and verdict.kind


@pytest.mark.parametrize(
    "text",
    [
        "This hat hat is made of wool.",
        "this hat is made of wool.",
        "This hat is very Very blue.",
        "A hat blue made of wool.",
        "You keep you choosing wool, and this hat is made of wool.",
        "This hat is a made of wool.",
    ],
)
def test_broken_sentences_are_stopped(case: Case, text: str) -> None:
    """What a small language model's slips look like: a word twice, a capital out of place, words changed round."""
    assert Verifier().check(text, case).kind in ("broken grammar", "twice")
