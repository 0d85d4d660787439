"""What an item shares with a history, as ties between them: tastes, and likeness to a single item.

A taste is a claim about a person and needs a history that shows it. A likeness only names an item that the person
liked (bought, rated highly) and says what both are: it needs no habit, but it must be specific, or the two are not
alike. What is rare ties alone, what is commoner by two: thrillers are many, crime thrillers of the 1990s few.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import combinations

from mmreason.evidence.pairs import MIN_SHARE, pair_id
from mmreason.evidence.schema import Case, Fact, Tie
from mmreason.evidence.tastes import engagement
from mmreason.safety.sensitive import sensitive_kind, sensitive_together

Start = tuple[tuple[Fact, ...], Tie]
"""The facts that a tie is about, and the tie."""

MIN_LIKED = 0.5
"""How much a step must tell that an item was liked, before another one is likened to it: four stars, a purchase."""

MIN_ALIKE = 0.4
"""Of all that is known of two items, each thing weighed by how rare it is: what they must have in common, for one to
be likened to the other. A cartoon is not like a melodrama because there is love in both."""

MIN_ALIKE_TASTE = 0.3
"""The same for a taste that several items show and that is no habit; of a habit nothing is asked: it is no chance."""

MOST_OF_KIND = 0.5
"""Popularity of two concepts together over that of the rarer one, at most: that most jackets are of polyester makes no
two of them alike."""

LATEST = 12
"""Of the items that show a taste, those that are looked at for likeness; of a history four times as many."""

_ASIDE = re.compile(r"[™®©]|\([^)]*\)|\[[^]]*\]")
_FORMS = frozenset(["thing", "is", "does", "about"])  # what texts say; two items may say it in passing


def taste_ties(shared: Shared, most_common: float, most_common_text: float) -> list[Start]:
    """Tastes that the item answers, by one of its facts or by two together, the largest lift first.

    Args:
        shared: Of a user and an item.
        most_common: Popularity of a concept, or of two together, that can tie anybody to an item.
        most_common_text: The same of a phrase of the text.
    """
    case, mine, found = shared.case, shared.mine, []
    for taste in case.tastes:
        concept = case.concepts.get(taste.concept)
        parts = (concept.parts if concept else ()) or (taste.concept,)
        if not taste.liked or not all(part in mine for part in parts):
            continue
        said = tuple(mine[part] for part in parts)
        most = most_common_text if said[0].source == "text" else most_common
        others = tuple(i for i in taste.item_ids if i not in shared.own)
        if not taste.often:
            others = tuple(i for i in others[-LATEST:] if shared.likeness(i) >= MIN_ALIKE_TASTE)
        if others and (concept is None or concept.popularity <= most) and _may_be_told(case, said):
            found.append((said, Tie("taste", others, taste, both=len(said) > 1), taste.lift))
    found.sort(key=lambda start: -start[2])
    return [(said, tie) for said, tie, _ in found]


def likeness_ties(shared: Shared, most_common: float, most_common_pair: float) -> list[Start]:
    """What the item shares with items that its reader liked, the most specific first.

    Args:
        shared: Of a user and an item.
        most_common: Popularity of a concept that makes two items alike by itself.
        most_common_pair: The same of two concepts together.
    """
    case = shared.case
    latest = case.user.history[-4 * LATEST :]
    told = {step.item_id: engagement(step) for step in latest if step.item_id not in shared.own}
    liked = {item_id for item_id, much in told.items() if much >= MIN_LIKED and item_id in case.history_items}
    mine = {concept: fact for concept, fact in shared.mine.items() if fact.name not in _FORMS}
    showing: dict[str, dict[str, None]] = {}
    for item_id in told if liked else ():
        for fact in case.history_facts.get(item_id, ()):
            if fact.concept in mine:
                showing.setdefault(fact.concept, {})[item_id] = None
    both = [fact for concept, fact in mine.items() if concept in showing]
    found: list[Start] = []
    for said in [*((fact,) for fact in both), *combinations(both, 2)]:
        popularity = _together(case, said)
        if popularity > (most_common if len(said) < 2 else most_common_pair) or not _may_be_told(case, said):
            continue
        ids = [i for i in showing[said[0].concept] if all(i in showing[fact.concept] for fact in said)]
        those = tuple(i for i in ids if i in liked)
        if 2 * len(those) < max(len(ids), 1):
            continue
        those = tuple(i for i in those if shared.likeness(i) >= MIN_ALIKE)
        if those:
            found.append((said, Tie("likeness", those, both=len(said) > 1, popularity=popularity)))
    found.sort(key=lambda start: start[1].popularity)
    return found


def own_items(case: Case) -> frozenset[str]:
    """The item and its variants among the history."""
    item = case.item
    variants = (
        i
        for i, each in case.history_items.items()
        if each.group == item.group or _called(each.title) == _called(item.title)
    )
    return frozenset([item.id, *variants])


@lru_cache(maxsize=65_536)
def _called(title: str) -> tuple[str, ...]:
    """A title without what tells variants apart, in brackets, and without trademark signs."""
    return tuple(_ASIDE.sub(" ", title).lower().split())


def is_sensitive(case: Case, fact: Fact) -> bool:
    """Whether nobody may be said to like it."""
    concept = case.concepts.get(fact.concept)
    if fact.concept in case.untold:
        return True
    return bool(concept and concept.sensitive) or bool(sensitive_kind(fact.value, case.sensitive))


def _may_be_told(case: Case, said: Sequence[Fact]) -> bool:
    """Whether two facts together tell nothing that each does not."""
    return len(said) < 2 or not sensitive_together(
        {fact.concept: fact.value for fact in said}, case.sensitive
    )


class Shared:
    """What an item and a history have in common.

    Args:
        case: A user and an item.
        facts: Of the item, each concept once.

    Attributes:
        mine: Concept → the item's fact, of what somebody may be said to like.
        own: The item and its variants among the history.
    """

    def __init__(self, case: Case, facts: Iterable[Fact]) -> None:
        self.case = case
        self.mine = {fact.concept: fact for fact in facts if not is_sensitive(case, fact)}
        self.own = own_items(case)
        self._rarity: dict[str, float] = {}
        self._known: dict[str, float] = {}

    def likeness(self, item_id: str) -> float:
        """How much the item has in common with one of the history, from 0 to 1: a weighted Jaccard index.

        What is the same of both counts once, by how rare it is; 1 if nothing is known of that one.
        """
        found = self._known.get(item_id)
        if found is None:
            theirs = self._weights(self.case.history_facts.get(item_id, ()))
            shared = sum(weight for concept, weight in theirs.items() if concept in self._weighed)
            every = self._total + sum(theirs.values()) - shared
            found = self._known[item_id] = shared / every if theirs and every else 1.0
        return found

    @cached_property
    def _weighed(self) -> dict[str, float]:
        return self._weights(self.case.facts)

    @cached_property
    def _total(self) -> float:
        return sum(self._weighed.values())

    def _weights(self, facts: Iterable[Fact]) -> dict[str, float]:
        """Concept → how rare it is, of all but what a text may say in passing."""
        rarity, found = self._rarity, {}
        for fact in facts:
            if fact.name not in _FORMS and fact.source in ("attribute", "text", "picture"):
                concept = fact.concept
                if concept not in rarity:
                    rarity[concept] = -math.log(min(max(popularity_of(self.case, concept), 1e-4), 1.0))
                found[concept] = rarity[concept]
        return found


def popularity_of(case: Case, concept_id: str) -> float:
    """Of a concept of a case; 0 of one that nothing is known of."""
    concept = case.concepts.get(concept_id)
    return concept.popularity if concept else 0.0


def _together(case: Case, said: Sequence[Fact]) -> float:
    """Popularity of what facts say together, by the rarer one if it is rare; 1 if one follows from the other."""
    popularity = min(popularity_of(case, fact.concept) for fact in said)
    if len(said) < 2 or popularity < MIN_SHARE:
        return popularity
    known = case.concepts.get(pair_id(*(fact.concept for fact in said)))
    return known.popularity if known and known.popularity <= MOST_OF_KIND * popularity else 1.0
