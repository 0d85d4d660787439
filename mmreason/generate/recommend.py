"""Which items reasons are written for where nobody says.

The items nearest to what a user liked, where there are embeddings; of these those that answer their tastes, are like
what they liked, or go with it. Such items of the whole catalogue follow, and what many take fills up.

No recommender: a shop asks for the pairs that its own one shows. This is for a first look at a catalogue.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain, islice
from math import log

import numpy as np

from mmreason.catalogue.catalogue import Catalogue
from mmreason.evidence.schema import Case, Fact
from mmreason.evidence.shared import MIN_LIKED
from mmreason.evidence.store import EvidenceStore
from mmreason.evidence.tastes import engagement
from mmreason.schema import Item, User
from mmreason.shards.histories import aggregate, by_user
from mmreason.store.nearest import EXACT, Nearest
from mmreason.store.store import EmbeddingStore

MOST_REQUESTS = 10_000
"""Pairs that are made up where ``generate.limit`` names no number."""

PER_USER = 5
"""Items a user where ``generate.top_k`` names no number."""

_MOST_ITEMS = 500  # of a concept that are looked at, the popular ones first
_LATEST = 20  # items that a user liked, that others are likened to
_MOST_COMMON = 0.25  # what is true of more items makes none alike
_OF_LIKENESS = 0.1  # what it counts beside a taste
_OF_RELATION = 0.3  # the same of an item that goes with one of those
_NEAREST = 10  # times as many items as are wanted, that are looked at among the nearest
_PEOPLE = 256  # whose nearest items are searched for together
_RELATIONS = ("bought with", "goes with")


def recommend(
    catalogue: Catalogue, evidence: EvidenceStore, top_k: int, store: EmbeddingStore | None = None
) -> Iterator[tuple[User, Item]]:
    """For every user the items to tell of; without any behaviours every item, for nobody in particular.

    Args:
        catalogue: Items and behaviours.
        evidence: Of the items.
        top_k: Items a user.
        store: Their embeddings; None where there are none.
    """
    histories = by_user(catalogue.interactions)
    if not histories:
        yield from ((User(""), item) for item in catalogue.items.values())
        return
    taken = Counter(step.item_id for step in catalogue.interactions if step.event != "impression")
    popular = sorted(catalogue.items, key=lambda item_id: (-taken[item_id], item_id))
    places = {item_id: place for place, item_id in enumerate(popular)}
    showing = _items_by_concept(evidence, popular)
    users = (
        User(user_id, aggregate(sorted(steps, key=lambda step: step.timestamp)))
        for user_id, steps in histories.items()
    )
    nearest = _Neighbours(store, top_k) if store is not None and "fused" in store.dims else None
    while some := list(islice(users, _PEOPLE)):
        near: Sequence[Sequence[str]] = nearest.of(some) if nearest else [()] * len(some)
        for user, ids in zip(some, near, strict=True):
            known = [item_id for item_id in ids if item_id in places]
            for item_id in _chosen(user, known, evidence, catalogue.items, showing, places, top_k):
                yield user, catalogue.items[item_id]


class _Neighbours:
    """Finds the items nearest to what users liked last."""

    def __init__(self, store: EmbeddingStore, top_k: int) -> None:
        self._store, self._count = store, _NEAREST * top_k + _LATEST
        exact = EXACT if find_spec("faiss") else len(store)
        self._nearest = Nearest(store, exact=exact)

    def of(self, users: Sequence[User]) -> list[list[str]]:
        """The ids of the items nearest to each user, the nearest first; none where nothing that they liked is known."""
        liked = [[i for i in _liked_items(user)[-_LATEST:] if i in self._store] for user in users]
        means = [self._store.get("fused", ids).mean(0) for ids in liked if ids]
        found = iter(self._nearest.search(np.stack(means), self._count) if means else [])
        return [[item_id for item_id, _ in next(found)] if ids else [] for ids in liked]


def _items_by_concept(evidence: EvidenceStore, popular: list[str]) -> dict[str, list[str]]:
    showing: dict[str, list[str]] = defaultdict(list)
    for item_id in popular:
        for concept in {fact.concept for fact in evidence.facts(item_id)}:
            if len(showing[concept]) < _MOST_ITEMS:
                showing[concept].append(item_id)
    return showing


def _chosen(
    user: User,
    near: Sequence[str],
    evidence: EvidenceStore,
    items: Mapping[str, Item],
    showing: Mapping[str, list[str]],
    places: Mapping[str, int],
    top_k: int,
) -> list[str]:
    """The items that answer most of a user's tastes, are most like what they liked or go with it.

    Those that are near come first, then others, then popular ones; none that they have taken.
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
    nearby = sorted(near, key=lambda item_id: -scores.get(item_id, 0.0))
    found = chain(nearby, best, places)
    new = (i for i in found if i not in had and _one_of(items[i], groups))
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
