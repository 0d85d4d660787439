"""Who made a film or a book and who plays in it, from what a text says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.evidence.stories import makers, tells_story


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A film directed by Ann Li.", [("director", "Ann Li")]),
        (
            "It stars Bo Ek, J. D. Day, and Cy de la Mar as thieves.",
            [("actor", name) for name in ("Bo Ek", "J. D. Day", "Cy de la Mar")],
        ),
        ("Based on the novel of the same name by Ida B. Orr.", [("author", "Ida B. Orr")]),
        ("A man played by Jean-Luc Roy leaves.", [("actor", "Jean-Luc Roy")]),
        ("Directed by them, starring a dog.", []),
    ],
)
def test_who_made_it(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(role, name) for role, name, _ in makers(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("is a 1994 crime film about two thieves.", True),
        ("The story follows a nurse.", True),
        ("This hat is a classic. It keeps you dry.", False),
        ("Wool throw.\nMaterial: wool", False),
        ("", False),
    ],
)
def test_what_tells_a_story(text: str, expected: bool) -> None:
    assert tells_story(text) is expected


@given(st.text(max_size=200))
def test_names_stand_where_they_say(text: str) -> None:
    text = "It stars Bo Ek and " + text
    assert all(text[slice(*span)] == name for _, name, span in makers(text))
