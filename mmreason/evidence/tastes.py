"""What a history shows that its person likes: concepts that it holds more of than chance would, and on what evidence.

A history is compared with what everybody takes. Recent steps count more, strong ones (a purchase, a high rating, a
video watched to its end) count more than a click, and a step that tells of dislike counts against its concepts. The
share of a concept is drawn towards everybody's, as much as a few steps weigh (a Beta prior), so that one step of a
short history is not yet a taste.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmreason.evidence.schema import Taste
from mmreason.schema import Interaction

ENGAGED = {"purchase": 1.0, "cart": 0.8, "review": 0.6, "watch": 0.5, "read": 0.5, "view": 0.4, "click": 0.4}
"""How much a step tells by its event alone; those that are not here (``impression``) tell nothing."""

_NEUTRAL_RATING = 3.0
_COOL = 0.2  # what a middling rating tells, or an impression
_LEFT_EARLY, _TO_THE_END = 0.1, 0.9  # share of a video or an article


@dataclass(frozen=True, slots=True)
class TasteRule:
    """When a history shows a taste.

    Args:
        half_life: Steps after which an older one counts half.
        prior: How many steps everybody's behaviour weighs.
        min_items: Different items that must show the concept; one is enough where it was bought or rated high.
        min_lift: Share of the concept in the history over everybody's.
        significance: Largest chance of so many such items by popularity alone.
        min_liked: Share of the history's items with it that were liked: who rates three of sixteen dramas highly does
            not often do so.
    """

    half_life: float = 10.0
    prior: float = 5.0
    min_items: int = 2
    min_lift: float = 1.2
    significance: float = 0.05
    min_liked: float = 0.5


def engagement(step: Interaction) -> float:
    """How much a step tells of its person, from -1 (disliked) to 1 (bought, loved, seen to the end).

    Example:
        >>> engagement(Interaction(event="purchase")), engagement(Interaction(event="rating", rating=1))
        (1.0, -1.0)
    """
    if step.rating is not None:
        return max(-1.0, min(1.0, (step.rating - _NEUTRAL_RATING) / 2)) or _COOL
    if step.share is not None and step.event in ("watch", "read", "view"):
        return -0.5 if step.share < _LEFT_EARLY else min(1.0, 0.2 + step.share)
    told = ENGAGED.get(step.event, 0.0)
    return min(1.0, told * (1 + 0.25 * (step.count - 1)))


def find_tastes(
    history: Sequence[Interaction],
    concepts: Mapping[str, Iterable[str]],
    popularity: Mapping[str, float],
    rule: TasteRule = TasteRule(),
) -> list[Taste]:
    """The tastes that a history shows, the strongest first.

    Args:
        history: Oldest first.
        concepts: Item id → the concepts that it shows; an item that is not there tells nothing.
        popularity: Concept → share of everybody's steps that are on items with it.
        rule: When a history shows a taste.

    Returns:
        Likes by falling lift, then dislikes by falling number of items.

    Example:
        >>> steps = [Interaction("u", item, "purchase") for item in ("a", "b", "c")]
        >>> shown = {"a": ["red", "hat"], "b": ["red"], "c": ["blue"]}
        >>> [(taste.concept, taste.item_ids) for taste in find_tastes(steps, shown, {"red": .1, "blue": .5, "hat": .6})]
        [('red', ('a', 'b'))]
    """
    told = {
        step.item_id: step for step in history if step.item_id in concepts
    }  # of several steps the last one
    weights = {item_id: engagement(step) for item_id, step in told.items()}
    liked = [item_id for item_id in told if weights[item_id] > 0]
    disliked = [item_id for item_id in told if weights[item_id] < 0]
    age = np.arange(len(liked))[::-1]
    recency = 0.5 ** (age / rule.half_life) * [weights[item_id] for item_id in liked]
    held: dict[str, list[int]] = {}
    for place, item_id in enumerate(liked):
        for concept in concepts[item_id]:
            held.setdefault(concept, []).append(place)
    found = _likes(held, liked, recency, popularity, rule)
    cool = Counter(concept for i, weight in weights.items() if weight <= _COOL for concept in concepts[i])
    warm = Counter(concept for i, weight in weights.items() if weight > _COOL for concept in concepts[i])
    tastes = [
        Taste(concept, items, _events(history, items), share, lift, p_value)
        for concept, items, share, lift, p_value in found
        if (len(items) >= rule.min_items or weights[items[0]] >= 1)
        and warm[concept] >= rule.min_liked * (warm[concept] + cool[concept])
    ]
    return tastes + _dislikes(disliked, liked, concepts, history, rule)


def _likes(
    held: Mapping[str, list[int]],
    liked: Sequence[str],
    weights: np.ndarray,
    popularity: Mapping[str, float],
    rule: TasteRule,
) -> list[tuple[str, tuple[str, ...], float, float, float]]:
    """(concept, items, share, lift, p-value) of what is above chance, by falling lift."""
    from scipy.special import betainc

    names = [concept for concept in held if 0 < popularity.get(concept, 0) < 1]
    if not names:
        return []
    expected = np.array([popularity[name] for name in names])
    mass = np.array([weights[held[name]].sum() for name in names])
    share = (mass + rule.prior * expected) / (weights.sum() + rule.prior)
    lift = share / expected
    count = np.array([len(held[name]) for name in names])
    p_value = betainc(
        count, len(liked) - count + 1, expected
    )  # of so many or more, in a binomial distribution
    good = (lift >= rule.min_lift) & (p_value <= rule.significance)
    order = [i for i in np.argsort(-lift, kind="stable") if good[i]]
    return [
        (
            names[i],
            tuple(liked[p] for p in held[names[i]]),
            float(share[i]),
            float(lift[i]),
            float(p_value[i]),
        )
        for i in order
    ]


def _dislikes(
    disliked: Sequence[str],
    liked: Sequence[str],
    concepts: Mapping[str, Iterable[str]],
    history: Sequence[Interaction],
    rule: TasteRule,
) -> list[Taste]:
    """Concepts of several items that were turned away from, and of none that was liked."""
    against: dict[str, list[str]] = {}
    for item_id in disliked:
        for concept in concepts[item_id]:
            against.setdefault(concept, []).append(item_id)
    forgiven = {concept for item_id in liked for concept in concepts[item_id]}
    found = [
        Taste(concept, tuple(items), _events(history, items), liked=False)
        for concept, items in against.items()
        if len(items) >= rule.min_items and concept not in forgiven
    ]
    return sorted(found, key=lambda taste: -len(taste.item_ids))


def _events(history: Sequence[Interaction], items: Iterable[str]) -> dict[str, int]:
    """Event → on how many of the items it happened."""
    wanted = set(items)
    happened: dict[str, set[str]] = {}
    for step in history:
        if step.item_id in wanted:
            happened.setdefault(step.event, set()).add(step.item_id)
            if (step.share or 0) >= _TO_THE_END:
                happened.setdefault("finished", set()).add(step.item_id)
            if (step.rating or 0) >= 4:
                happened.setdefault("rated high", set()).add(step.item_id)
    return {event: len(those) for event, those in happened.items()}


def strongest(tastes: Iterable[Taste], min_share: float = 0.25) -> Taste | None:
    """The taste to name when one may be named: the largest lift of those that much of the history shows.

    Args:
        tastes: Of one history.
        min_share: Share of the history that the concept must have; if none has, the largest share counts.
    """
    likes = [taste for taste in tastes if taste.liked]
    broad = [taste for taste in likes if taste.share >= min_share]
    return max(broad, key=lambda t: t.lift, default=max(likes, key=lambda t: t.share, default=None))
