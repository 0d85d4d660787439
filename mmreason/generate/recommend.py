"""Which items reasons are written for where nobody says.

What answers a user's tastes, is like what they liked, or goes with it; what many take fills up.

No recommender: a shop asks for the pairs that its own one shows. This is for a first look at a catalogue.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from math import log

from mmreason.catalogue.catalogue import Catalogue
from mmreason.evidence.schema import Case, Fact
from mmreason.evidence.shared import MIN_LIKED
from mmreason.evidence.store import EvidenceStore
from mmreason.evidence.tastes import engagement
from mmreason.schema import Item, User
from mmreason.shards.histories import aggregate, by_user

MOST_REQUESTS = 10_000
"""Pairs that are made up where ``generate.limit`` names no number."""

PER_USER = 5
"""Items a user where ``generate.top_k`` names no number."""

_MOST_ITEMS = 500  # of a concept that are looked at, the popular ones first
_LATEST = 20  # items that a user liked, that others are likened to
_MOST_COMMON = 0.25  # what is true of more items makes none alike
_OF_LIKENESS = 0.1  # what it counts beside a taste
_OF_RELATION = 0.3  # the same of an item that goes with one of those
_RELATIONS = ("bought with", "goes with")


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
    """The items that answer most of a user's tastes, are most like what they liked or go with it, then popular ones.

    None that they have taken.
    """
    had = {step.item_id for step in user.history}
    groups = {items[item_id].group for item_id in had if item_id in items}
    case = evidence.case(user, items[next(iter(places))], items)
    scores: dict[str, float] = defaultdict(float)
    for taste in case.tastes:
        parts = case.concepts[taste.concept].parts or (taste.concept,)
        those = [showing.get(part, []) for part in parts] if taste.liked else [[]]
        for item_id in set(those[0]).intersection(*those[1:]):
            scores[item_id] += log(1 + taste.lift) * taste.share
    for concept, weight in _liked(case).items():
        for item_id in showing.get(concept, ()):
            scores[item_id] += weight
    for liked in _liked_items(user)[-_LATEST:]:
        for name in _RELATIONS:
            for item_id in showing.get(Fact("", name, liked).spelling, ()):
                scores[item_id] += _OF_RELATION
    best = sorted(scores, key=lambda item_id: (-scores[item_id], places[item_id]))
    new = (i for i in chain(best, places) if i not in had and _one_of(items[i], groups))
    return list(islice(new, top_k))


def _liked(case: Case) -> Mapping[str, float]:
    """Concepts of the items that the user liked last → how much each tells: the rarer, the more."""
    liked = _liked_items(case.user)[-_LATEST:]
    weights: dict[str, float] = defaultdict(float)
    for item_id in liked:
        for concept in {fact.concept for fact in case.history_facts.get(item_id, ())}:
            popularity = case.concepts[concept].popularity
            secret = bool(case.concepts[concept].sensitive) or concept in case.untold
            if not secret and 0 < popularity <= _MOST_COMMON:
                weights[concept] += -_OF_LIKENESS * log(popularity) / len(liked)
    return weights


def _liked_items(user: User) -> list[str]:
    told = {step.item_id: engagement(step) for step in user.history}
    return [item_id for item_id, much in told.items() if much >= MIN_LIKED]


def _one_of(item: Item, groups: set[str]) -> bool:
    """Whether nothing of the item's group was chosen yet; it is chosen now."""
    if item.group in groups:
        return False
    groups.add(item.group)
    return True
