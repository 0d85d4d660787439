"""What to say: which facts of an item, and what ties them to its reader; the best plan first.

A plan's score is a sum of parts, each of which may be looked at:

- ``relevance``: how much more the history holds of the tie's concept than everybody's does (log of the lift), more
  where it is hardly chance; of a likeness, how few items are so;
- ``specificity``: how few items the first fact is true of (``-log10`` of its popularity), none if of this one alone;
- ``certainty``: the log of the probability that the facts are true;
- ``helpfulness``: how much such a fact tells that could decide, and how apt its source is to tell it;
- ``novelty``: below zero if the title says the first fact already;
- ``detail``: the helpfulness of a second fact.

Another score, a learned one for instance, takes its place as a :class:`Score`. A page is chosen by maximal marginal
relevance (Carbonell and Goldstein, 1998), so that no fact and no tie dominates it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from mmreason.evidence.schema import Case, Fact, Plan, Tie
from mmreason.evidence.shared import Shared, likeness_ties, popularity_of, taste_ties
from mmreason.language import UNSPACED, stem_of_plural
from mmreason.schema import Interaction, Item

_WORD = re.compile(r"[^\W_]+")
_COUNTS = {"two": ("2", "dual", "double", "twin"), "three": ("3", "triple")}
_SHORT = 3  # letters
_TRADEMARK = re.compile(r"\w+(?=[™®])")
# How apt a source is to tell what decides.
_SOURCES = {"attribute": 1.0, "picture": 0.8, "review": 1.0, "title": 0.4, "text": 0.6, "relation": 1.0}


class Score(Protocol):
    """How good a plan is: name of a part → its value; the plan's score is their sum."""

    def __call__(self, case: Case, facts: Sequence[Fact], tie: Tie | None) -> Mapping[str, float]: ...


Tells = Callable[[Case, Fact], float]
"""How much a fact helps to decide, from 0 (never say it) to 1."""


@dataclass(frozen=True, slots=True)
class PlanRule:
    """Which plans are made.

    Args:
        most: Plans of a case, at most.
        ties: Tastes that plans are made of, the strongest ones.
        points: Selling points that plans are made of.
        details: Second facts that are tried beside each first one.
        most_common: A fact that is true of a larger share of the items is no selling point.
        most_common_text: The same of a phrase of the text: what a shop writes of everything says nothing.
        most_common_tie: A taste for what is even commoner ties nobody to an item: half of all films are dramas.
        most_common_likeness: Nor is what is even commoner a likeness to a single item, by itself.
        most_common_pair: The same of two facts together.
        least_told: Nor is one that tells less than this.
    """

    most: int = 24
    ties: int = 8
    points: int = 6
    details: int = 2
    most_common: float = 0.5
    most_common_text: float = 0.1
    most_common_tie: float = 0.25
    most_common_likeness: float = 0.05
    most_common_pair: float = 0.1
    least_told: float = 0.3


STANDARD_RULE = PlanRule()


def plans(
    case: Case,
    tells: Tells = lambda case, fact: 1.0,
    score: Score | None = None,
    rule: PlanRule = STANDARD_RULE,
) -> list[Plan]:
    """The plans of a case, the best first: personal ones, and selling points that say nothing of the person.

    Args:
        case: A user and an item.
        tells: How much a fact helps to decide; for the writers of this package
            :func:`mmreason.wording.template.tells`, so that no plan is made that has no words.
        score: Takes the place of :class:`StandardScore`.
        rule: Which plans are made.

    Example:
        >>> from mmreason.evidence.schema import Taste
        >>> from mmreason.schema import Interaction, User
        >>> wool = Fact("a", "material", "wool")
        >>> user = User("u", [Interaction("u", item, "purchase") for item in "bcd"])
        >>> taste = Taste(wool.concept, ("b", "c", "d"), {}, 0.6, 5.0, 0.001)
        >>> case = Case(user, Item("a", "Cove Blanket"), [wool], [taste])
        >>> [(plan.level, plan.facts[0].value) for plan in plans(case)]
        [('personal', 'wool'), ('selling point', 'wool')]
    """
    facts = _each_once(case)
    told = {id(fact): tells(case, fact) for fact in facts}
    facts = [fact for fact in facts if told[id(fact)] > 0]
    score = score or StandardScore(lambda case, fact: told[id(fact)])
    alone = {id(fact): score(case, (fact,), None) for fact in facts}
    facts.sort(key=lambda fact: -sum(alone[id(fact)].values()))
    titled = {id(fact) for fact in facts if in_title(fact, case.item)}
    points = [
        fact for fact in facts if id(fact) not in titled and _is_point(case, fact, told[id(fact)], rule)
    ][: rule.points]
    shared = Shared(case, facts)
    starts = [
        *taste_ties(shared, rule.most_common_tie, rule.most_common_text)[: rule.ties],
        *likeness_ties(shared, rule.most_common_likeness, rule.most_common_pair)[: rule.ties],
        *_relation_ties(case),
        *(((fact,), None) for fact in points),
    ]
    words = [(fact, _stems(fact.value)) for fact in points]
    found = []
    for said, tie in starts:
        more = []
        if len(said) == 1:
            own = _stems(said[0].value)
            more = [(said[0], fact) for fact, stems in words if own.isdisjoint(stems)][: rule.details]
        told_by_title = bool(said) and all(id(fact) in titled for fact in said)
        for facts_said in more if told_by_title else [said, *more]:
            is_alone = tie is None and len(facts_said) == 1
            parts = alone[id(facts_said[0])] if is_alone else score(case, facts_said, tie)
            found.append(Plan(facts_said, tie, sum(parts.values()), parts))
    found.sort(key=lambda plan: -plan.score)
    return _of_both_levels(found, rule.most)


class StandardScore:
    """The score that needs no training; its parts are explained in the module.

    Args:
        tells: How much a fact helps to decide.
    """

    def __init__(self, tells: Tells) -> None:
        self._tells = tells
        self._case: Case | None = None
        self._known: dict[int, tuple[float, float, float]] = {}  # by id of a fact of that case

    def __call__(self, case: Case, facts: Sequence[Fact], tie: Tie | None) -> dict[str, float]:
        """Name of a part → its value."""
        if not facts:
            return {"relevance": _relevance(tie)}
        told, helpfulness, novelty = self._of(case, facts[0])
        concept = case.concepts.get(tie.taste.concept if tie and tie.taste else facts[0].concept)
        popularity = concept.popularity if concept else 0.0
        if tie and tie.kind == "likeness":
            popularity = tie.popularity
        alone = concept is not None and concept.items <= 1
        parts = {
            "relevance": _relevance(tie) * (0.5 + 0.5 * told),
            "specificity": 0.0 if alone else -0.3 * math.log10(max(popularity, 1e-3)),
            "certainty": sum(2 * math.log(max(f.probability, 1e-3)) for f in facts if f.probability < 1),
            "helpfulness": helpfulness,
            "novelty": novelty,
        }
        if len(facts) > 1:
            parts["detail"] = 0.3 * self._of(case, facts[1])[0] * _SOURCES[facts[1].source]
        return parts

    def _of(self, case: Case, fact: Fact) -> tuple[float, float, float]:
        """(how much a fact tells, its helpfulness, its novelty), once for all plans of a case."""
        if case is not self._case:
            self._case, self._known = case, {}
        found = self._known.get(id(fact))
        if found is None:
            told = self._tells(case, fact)
            found = self._known[id(fact)] = (
                told,
                told * _SOURCES[fact.source],
                -0.3 * in_title(fact, case.item),
            )
        return found


def _relevance(tie: Tie | None) -> float:
    if tie is None or tie.kind == "popular":
        return 0.0
    if tie.kind == "likeness":
        return 0.5 - 0.5 * math.log10(max(tie.popularity, 1e-3)) * len(tie.item_ids) / (len(tie.item_ids) + 1)
    if tie.taste is None:
        together = tie.fact.supporters / tie.fact.asked if tie.fact and tie.fact.asked else 0.0
        return 1.2 + together
    enough = len(tie.item_ids) / (len(tie.item_ids) + 1)
    return 1 + enough * math.log(max(tie.taste.lift, 1.0)) + 0.5 * tie.taste.often


def choose_page(plans_of_items: Sequence[Sequence[Plan]], variety: float = 0.5) -> list[list[Plan]]:
    """The plans of a page's items, each item's reordered so that the first ones do not repeat each other.

    Args:
        plans_of_items: Of each item, the best first.
        variety: What repeating costs, in points of the score: once for a fact's concept, once for a tie's, half for the
            same attribute; it grows with every further time.

    Returns:
        The same plans, item by item.
    """
    told: dict[str, int] = {}
    page = []
    for of_item in plans_of_items:
        ordered = sorted(of_item, key=lambda plan: -(plan.score - variety * _repeats(plan, told)))
        for part, _ in _told_by(ordered[0]) if ordered else ():
            told[part] = told.get(part, 0) + 1
        page.append(ordered)
    return page


def in_title(fact: Fact, item: Item) -> bool:
    """Whether the item's title says most of a fact already, in whatever singular or plural; its year says the decade.

    Example:
        >>> in_title(Fact("a", "category", "Hoodies"), Item("a", "Teton Pullover Hoodie"))
        True
        >>> in_title(Fact("a", "thing", "crew neckline"), Item("a", "Teton Tee (Crew-Neck)"))
        True
    """
    return _says(item.title, fact.name, fact.value)


@lru_cache(maxsize=65_536)
def _says(title: str, name: str, value: str) -> bool:
    if UNSPACED.search(value):
        return value in title
    if name == "decade" and value[:3].isdigit():
        return re.search(rf"\b{value[:3]}\d\b", title) is not None
    said, named = _stems(value), _stems(title)
    if any(count in said and not named.isdisjoint(words) for count, words in _COUNTS.items()):
        return True  # "two dials" of a dual watch
    marked = {stem for word in _TRADEMARK.findall(value.lower()) for stem in _stems(word)}
    known = [word for word in said if word in named or word.startswith(_begins(named))]
    return bool(marked & named) or len(known) > len(said) / 2


def _is_point(case: Case, fact: Fact, told: float, rule: PlanRule) -> bool:
    """Whether a fact may be a selling point.

    It helps, is not true of most items, and what the person turned away from was not so.
    """
    if fact.concept in case.disliked:
        return False
    most = rule.most_common_text if fact.source == "text" else rule.most_common
    return told >= rule.least_told and popularity_of(case, fact.concept) <= most


def _each_once(case: Case) -> list[Fact]:
    """Facts that may be a reason, each concept once, by the surest of its facts."""
    best: dict[str, Fact] = {}
    for fact in case.facts:
        if fact.source in ("relation", "review"):
            continue
        known = best.get(fact.concept)
        if known is None or (fact.probability, _SOURCES[fact.source]) > (
            known.probability,
            _SOURCES[known.source],
        ):
            best[fact.concept] = fact
    return list(best.values())


def _relation_ties(case: Case) -> list[tuple[tuple[Fact, ...], Tie]]:
    """Items of the history that this one goes with, the latest first, and what reviewers praise."""
    took = {step.item_id: place for place, step in enumerate(case.user.history) if _may_like(step)}
    bought = {step.item_id for step in case.user.history if step.event == "purchase"}
    beside = [
        fact
        for fact in case.facts
        if fact.source == "relation" and fact.name != "alternative" and fact.value in case.history_items
        if fact.value in (bought if fact.supporters else took)
    ]
    beside.sort(key=lambda fact: -took[fact.value])
    ties = [Tie("complement", (fact.value,), fact=fact) for fact in beside]
    ties += [Tie("popular", fact=fact) for fact in case.facts if fact.source == "review"]
    return [((), tie) for tie in ties]


def _may_like(step: Interaction) -> bool:
    return step.event != "impression" and (step.rating is None or step.rating >= 4)


def _of_both_levels(found: Sequence[Plan], most: int) -> list[Plan]:
    """The best plans; a third of the places is for selling points, so that there is something to step down to."""
    personal = [plan for plan in found if plan.level == "personal"]
    points = [plan for plan in found if plan.level != "personal"]
    places = max(most - len(points), most - most // 3)
    kept = {id(plan) for plan in [*personal[:places], *points[: most - min(len(personal), places)]]}
    return [plan for plan in found if id(plan) in kept]


def _repeats(plan: Plan, told: Mapping[str, int]) -> float:
    return sum(weight * told.get(part, 0) for part, weight in _told_by(plan))


def _told_by(plan: Plan) -> list[tuple[str, float]]:
    """What a plan tells, and how much it matters that a page tells it again."""
    parts = [(f"fact {fact.concept}", 1.0) for fact in plan.facts] + [
        (f"name {f.name}", 0.5) for f in plan.facts[:1]
    ]
    if plan.tie:
        parts.append((f"tie {plan.tie.taste.concept if plan.tie.taste else plan.tie.item_ids}", 1.0))
        parts += [(f"item {item_id}", 0.25) for item_id in plan.tie.item_ids[:2]]
    return parts


@lru_cache(maxsize=4096)
def _begins(named: frozenset[str]) -> tuple[str, ...]:
    """Words that may begin a longer one: *neck*, of a neckline."""
    return tuple(word for word in named if len(word) > _SHORT)


@lru_cache(maxsize=65_536)
def _stems(text: str) -> frozenset[str]:
    return frozenset(stem_of_plural(word) for word in _WORD.findall(text.lower()))
