"""Tastes: what a history shows above chance, on what evidence, and what it must not be said to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.evidence.tastes import TasteRule, engagement, find_tastes, strongest
from mmreason.schema import Interaction

SHOWN = {
    **{f"red{n}": ["color=red", "category=hat"] for n in range(6)},
    **{f"blue{n}": ["color=blue", "category=hat"] for n in range(6)},
}
POPULARITY = {"color=red": 0.1, "color=blue": 0.5, "category=hat": 0.98}


def steps(*items: str, event: str = "purchase", **told: float) -> list[Interaction]:
    return [Interaction("u", item, event, timestamp=n, **told) for n, item in enumerate(items)]


STANDARD = TasteRule()


def found(history: list[Interaction], rule: TasteRule = STANDARD) -> dict[str, tuple[str, ...]]:
    return {
        taste.concept: taste.item_ids
        for taste in find_tastes(history, SHOWN, POPULARITY, rule)
        if taste.liked
    }


def test_a_taste_names_the_items_that_show_it_and_what_was_done() -> None:
    history = [*steps("red0", "blue0", "red1"), *steps("red2", event="watch", share=0.95)]
    taste = find_tastes(history, SHOWN, POPULARITY)[0]
    assert (taste.concept, taste.item_ids) == ("color=red", ("red0", "red1", "red2"))
    assert taste.events == {"purchase": 2, "watch": 1, "finished": 1}
    assert taste.often and taste.lift > 1.2


def test_what_everybody_takes_is_no_taste() -> None:
    assert found(steps("blue0", "blue1", "red0", event="click")) == {}


def test_one_click_is_no_taste_and_one_purchase_is() -> None:
    assert found(steps("red0", event="click", count=1)) == {}
    assert found(steps("red0")) == {}, "one of ten items is red: by chance, quite likely"
    strict = TasteRule(significance=0.1)
    assert found(steps("red0"), strict) == {"color=red": ("red0",)}
    assert found(steps("red0", event="click"), strict) == {}


def test_the_same_item_again_is_one_item() -> None:
    assert found(steps("red0", "red0", "red0", event="click")) == {}


def test_impressions_tell_nothing() -> None:
    assert found(steps("red0", "red1", "red2", event="impression")) == {}


def test_low_ratings_and_early_leaves_are_dislikes() -> None:
    history = [
        *steps("red0", event="rating", rating=1.0),
        *steps("red1", event="watch", share=0.02),
        *steps("blue0"),
    ]
    tastes = find_tastes(history, SHOWN, POPULARITY)
    assert [(t.concept, t.liked) for t in tastes if t.concept == "color=red"] == [("color=red", False)]
    assert "category=hat" not in [t.concept for t in tastes], "a hat was bought"


def test_recent_steps_count_more() -> None:
    lately = [*steps("blue0", "blue1", "blue2"), *steps("red0", "red1")]
    before = [*steps("red0", "red1"), *steps("blue0", "blue1", "blue2")]
    red = [
        next(
            t
            for t in find_tastes(h, SHOWN, POPULARITY, TasteRule(significance=1.0))
            if t.concept == "color=red"
        )
        for h in (lately, before)
    ]
    assert red[0].share > red[1].share and red[0].item_ids == red[1].item_ids


def test_the_strongest_is_broad_before_it_is_rare() -> None:
    rare = {**POPULARITY, "color=red": 0.02}
    history = steps(*(f"blue{n}" for n in range(6)), *(f"red{n}" for n in range(2)))
    tastes = find_tastes(history, SHOWN, rare, TasteRule(min_lift=1.0, significance=1.0))
    assert strongest(tastes, min_share=0.6).concept != "color=red"  # type: ignore[union-attr]
    assert strongest(tastes, min_share=0.1).concept == "color=red"  # type: ignore[union-attr]
    assert strongest([]) is None


@pytest.mark.parametrize(
    ("told", "sign"),
    [
        ({"event": "rating", "rating": 5.0}, 1),
        ({"event": "rating", "rating": 2.0}, -1),
        ({"event": "watch", "share": 0.05}, -1),
        ({"event": "watch", "share": 1.0}, 1),
        ({"event": "impression"}, 0),
        ({"event": "click"}, 1),
    ],
)
def test_engagement_has_the_right_sign(told: dict, sign: int) -> None:
    value = engagement(Interaction("u", "a", **told))
    assert (value > 0) - (value < 0) == sign and -1 <= value <= 1


@given(st.lists(st.sampled_from(sorted(SHOWN)), max_size=12), st.sampled_from(["purchase", "click", "watch"]))
def test_a_taste_is_backed_by_items_of_the_history(items: list[str], event: str) -> None:
    for taste in find_tastes(steps(*items, event=event), SHOWN, POPULARITY):
        assert set(taste.item_ids) <= set(items)
        assert all(taste.concept in SHOWN[item] for item in taste.item_ids)
        assert 0 < taste.share <= 1 and 0 <= taste.p_value <= 1


def test_three_liked_of_many_are_no_taste() -> None:
    """A habit of watching something is not one of liking it."""
    shown = {f"d{n}": ["drama"] for n in range(8)} | {f"c{n}": ["comedy"] for n in range(8)}
    ratings = [5.0] * 3 + [3.0, 2.5, 3.0, 2.0, 3.0]
    mostly_cool = [Interaction("u", f"d{n}", "rating", rating=r) for n, r in enumerate(ratings)]
    mostly_warm = [
        Interaction("u", f"d{n}", "rating", rating=r) for n, r in enumerate([5.0] * 6 + [3.0, 2.0])
    ]
    popularity = {"drama": 0.2, "comedy": 0.2}
    assert not [t for t in find_tastes(mostly_cool, shown, popularity) if t.liked]
    assert [t.concept for t in find_tastes(mostly_warm, shown, popularity) if t.liked] == ["drama"]
