"""Which items reasons are written for where nobody says: those that answer a user's tastes, then what many take.

No recommender: a shop asks for the pairs that its own one shows. This is for a first look at a catalogue.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from math import log

from mmreason.catalogue.catalogue import Catalogue
from mmreason.evidence.store import EvidenceStore
from mmreason.schema import Item, User
from mmreason.shards.histories import aggregate, by_user

MOST_REQUESTS = 10_000
"""Pairs that are made up where ``generate.limit`` names no number."""

_MOST_ITEMS = 500  # of a concept that are looked at, the popular ones first


def recommend(catalogue: Catalogue, evidence: EvidenceStore, top_k: int) -> Iterator[tuple[User, Item]]:
    """For every user the items to tell of; without any behaviours every item, for nobody in particular.

    Args:
        catalogue: Items and behaviours.
        evidence: Of the items.
        top_k: Items a user.
    """
    histories = by_user(catalogue.interactions)
    if not histories:
        yield from ((User(""), item) for item in catalogue.items.values())
        return
    taken = Counter(step.item_id for step in catalogue.interactions if step.event != "impression")
    popular = sorted(catalogue.items, key=lambda item_id: (-taken[item_id], item_id))
    places = {item_id: place for place, item_id in enumerate(popular)}
    showing = _items_by_concept(evidence, popular)
    for user_id, steps in histories.items():
        user = User(user_id, aggregate(sorted(steps, key=lambda step: step.timestamp)))
        for item_id in _chosen(user, evidence, catalogue.items, showing, places, top_k):
            yield user, catalogue.items[item_id]


def _items_by_concept(evidence: EvidenceStore, popular: list[str]) -> dict[str, list[str]]:
    showing: dict[str, list[str]] = defaultdict(list)
    for item_id in popular:
        for concept in {fact.concept for fact in evidence.facts(item_id)}:
            if len(showing[concept]) < _MOST_ITEMS:
                showing[concept].append(item_id)
    return showing


def _chosen(
    user: User,
    evidence: EvidenceStore,
    items: Mapping[str, Item],
    showing: Mapping[str, list[str]],
    places: Mapping[str, int],
    top_k: int,
) -> list[str]:
    """The items that answer most of a user's tastes, then the most popular ones; none that they have taken."""
    had = {step.item_id for step in user.history}
    groups = {items[item_id].group for item_id in had if item_id in items}
    case = evidence.case(user, items[next(iter(places))], items)
    scores: dict[str, float] = defaultdict(float)
    for taste in case.tastes:
        for item_id in showing.get(taste.concept, ()) if taste.liked else ():
            scores[item_id] += log(1 + taste.lift) * taste.share
    best = sorted(scores, key=lambda item_id: (-scores[item_id], places[item_id]))
    new = (i for i in chain(best, places) if i not in had and _one_of(items[i], groups))
    return list(islice(new, top_k))


def _one_of(item: Item, groups: set[str]) -> bool:
    """Whether nothing of the item's group was chosen yet; it is chosen now."""
    if item.group in groups:
        return False
    groups.add(item.group)
    return True
