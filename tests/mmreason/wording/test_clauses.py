"""Which clauses of an English item text may stand beside the item, and which may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.wording.clauses import LONGEST, clauses

NAMES = frozenset(["alva", "throw", "throws", "jacket", "jackets", "harbour"])


def found(text: str) -> list[tuple[str, str]]:
    return [(clause.form, clause.text) for clause in clauses(text, "Noon to Nine", NAMES)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Our Alva Throw is a throw in lambswool that gets softer with use.",
            [("is", "a throw in lambswool that gets softer with use"), ("does", "gets softer with use")],
        ),
        (
            "Soft and warm, the Harbour Jacket keeps you dry on long walks.",
            [("does", "keeps you dry on long walks")],
        ),
        ("This roomy jacket is made of waxed cotton.", [("does", "is made of waxed cotton")]),
        ("Noon to Nine follows a night nurse.", [("does", "follows a night nurse")]),
        ("This jacket by Norn is cut from felt.", [("does", "is cut from felt")]),
        ("The jacket was made for walks by the sea.", [("does", "was made for walks by the sea")]),
        ("A light jacket for cool evenings.", [("is", "a light jacket for cool evenings")]),
        ("Taped seams prevent leaks.", [("part", "Taped seams prevent leaks")]),
        ("Readers of old tales will love this throw.", [("for", "readers of old tales")]),
        (
            "The jacket is made for those who like long walks.",
            [("for", "those who like long walks"), ("does", "is made for those who like long walks")],
        ),
        (
            "The Harbour Jacket folds away. Its hood packs into the collar.",
            [("part", "Its hood packs into the collar")],
        ),
        (
            "is a comedy about two sisters, Ada and Bo Lark, who run a lighthouse.",
            [
                ("is", "a comedy about two sisters who run a lighthouse"),
                ("about", "two sisters who run a lighthouse"),
            ],
        ),
        ("The jacket keeps you warm for a laid-back look.", [("does", "keeps you warm")]),
        (
            "The film is about a baker named Tom Reed (Al Dane), who inherits a circus.",
            [("about", "a baker who inherits a circus")],
        ),
        (
            "is a western about a blind scout named Mrs.",  # cut by a splitter of sentences
            [("is", "a western about a blind scout"), ("about", "a blind scout")],
        ),
    ],
)
def test_clauses(text: str, said: list[tuple[str, str]]) -> None:
    assert found(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "The jacket keeps " + "the wind out and the rain out and " * 30 + "you dry.",
        "Wrap up in the Alva Throw.",  # the imperative
        "Need a warm throw?",
        "We weave every throw by hand.",
        "The throw suits our other blankets.",
        "You will love the Alva Throw.",
        "The throw is the best in the world.",
        "The jacket does it all.",
        "The throw keeps them warm.",
        "The jacket costs less than $40.",
        "The jacket is sold with a 2-year warranty.",
        "Wool, cotton, down.",
        "The jacket is 70 cm long.",
        "Marie has walked the Alps in winter.",  # nobody knows who that is
        "The jacket gives you more than style.",
        "The throw brings endless comfort.",
        "The jacket ensures total convenience on the road.",
        "The jacket goes with you wherever you go.",
    ],
)
def test_what_is_no_clause(text: str) -> None:
    assert found(text) == []


def test_long_clauses_are_cut_where_a_new_one_begins() -> None:
    text = (
        "The Harbour Jacket keeps wind and rain out on the coldest crossings of the northern sea, while its quilted "
        "lining of recycled down traps the heat of your body."
    )
    assert found(text) == [
        ("does", "keeps wind and rain out on the coldest crossings of the northern sea"),
    ]


def test_nothing_is_cut_within_a_list_of_what_one_does() -> None:
    text = (
        "The Harbour Jacket keeps wind and rain out on the coldest crossings of the northern sea, mending nets or "
        "hauling boats over the sand."
    )
    assert found(text) == []
    assert found(text.replace(" or hauling boats", "")) == [
        (
            "does",
            "keeps wind and rain out on the coldest crossings of the northern sea, mending nets over the sand",
        )
    ]


@given(st.text(alphabet="aeit hwkl,.()'-A\n", max_size=80))
def test_any_text_is_read(text: str) -> None:
    for clause in clauses(text, "Noon to Nine", NAMES):
        assert len(clause.text) <= LONGEST and 0 <= clause.span[0] < clause.span[1] <= len(text)
