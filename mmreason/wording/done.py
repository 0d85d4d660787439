"""What a person did with the items of a tie, as far as it may be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmreason.evidence.schema import Case, Tie
from mmreason.schema import Interaction
from mmreason.wording.grammar import Grammar

LATEST = 12
"""Of the history's items with a taste, those that are looked at."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a person did with the items of a tie, as it may be told.

    Attributes:
        strength: 3 if "often" is true of it, else of how many items it is told: two or one.
        event: Its name in the grammar.
        words: How the grammar tells it.
        item_ids: The items with which it happened, the latest ones.
    """

    strength: int
    event: str
    words: Mapping[str, Any]
    item_ids: tuple[str, ...]


def done_with(grammar: Grammar, tie: Tie | None, case: Case) -> Done | None:
    """The most that may be said of what a person did; None if there is nothing or no tie to them.

    The first event of the grammar that is true of enough items is told: for "often" three, hardly by chance.
    """
    if tie is None or not tie.item_ids:
        return None
    latest = tie.item_ids[-LATEST:]
    happened = _events_of(case.user.history, frozenset(latest))
    often = tie.taste is not None and tie.taste.often
    for strength in (3, 2, 1) if often else (2, 1):
        for event, words in grammar.events.items():
            counted = frozenset(words.get("of", (event,)))
            items = tuple(i for i in latest if i in happened and not counted.isdisjoint(happened[i]))
            enough = not words.get("mostly") or 2 * len(items) > len(latest)
            different = _different(items, case)
            if len(different) >= strength and enough:
                return Done(strength, event, words, different)
    return None


def _different(item_ids: Sequence[str], case: Case) -> tuple[str, ...]:
    """The items without those that are called like a later one: variants of one thing count once."""
    called = {case.history_items[i].title if i in case.history_items else i: i for i in item_ids}
    return tuple(i for i in item_ids if i in called.values())


def _events_of(history: Sequence[Interaction], item_ids: frozenset[str]) -> Mapping[str, set[str]]:
    """Item → what was done with it."""
    happened: dict[str, set[str]] = {}
    for step in history:
        if step.item_id in item_ids:
            done = happened.setdefault(step.item_id, set())
            done.add(step.event)
            if (step.rating or 0) >= 4:
                done.add("rated high")
            if (step.share or 0) >= 0.9:
                done.add("finished")
    return happened
