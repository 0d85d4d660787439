"""What to say: which facts of an item, and what ties them to its reader; the best plan first.

A plan's score is a sum of parts, each of which may be looked at:

- ``relevance``: how much more the history holds of the tie's concept than everybody's does (log of the lift), more
  where it is hardly chance;
- ``specificity``: how few items the first fact is true of (``-log10`` of its popularity), none if of this one alone;
- ``certainty``: the log of the probability that the facts are true;
- ``detail``: what a second fact adds;
- ``source``: how apt a fact's source is to tell something that decides.

Another score, a learned one for instance, takes its place as :class:`Score`. A page is chosen by maximal marginal
relevance (Carbonell and Goldstein, 1998), so that no fact and no tie dominates it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mmreason.evidence.schema import Case, Fact, Plan, Taste, Tie
from mmreason.evidence.sensitive import sensitive_kind
from mmreason.language import UNSPACED, stem_of_plural
from mmreason.schema import Item

RELATIONS = frozenset(["bought with", "related"])
"""Names of facts that name another item."""

_WORD = re.compile(r"[^\W_]+")
_SOURCES = {"attribute": 0.5, "picture": 0.4, "review": 0.5, "title": 0.0, "text": 0.2, "relation": 0.0}
_MOST_COMMON = 0.5  # a fact of more than half of all items says nothing of this one


class Score(Protocol):
    """How good a plan is: name of a part → its value; the plan's score is their sum."""

    def __call__(self, case: Case, facts: Sequence[Fact], tie: Tie | None) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True)
class PlanRule:
    """Which plans are made.

    Args:
        most: Plans of a case, at most.
        details: Second facts that are tried beside each first one.
        most_common: A fact that is true of a larger share of the items is no selling point.
    """

    most: int = 24
    details: int = 2
    most_common: float = _MOST_COMMON


def plans(
    case: Case,
    score: Score | None = None,
    can_say: Callable[[Fact], bool] = lambda fact: True,
    rule: PlanRule = PlanRule(),
) -> list[Plan]:
    """The plans of a case, the best first: personal ones, and selling points that say nothing of the person.

    Args:
        case: A user and an item.
        score: Takes the place of :func:`standard_score`.
        can_say: Whether the writers have words for a fact; of the others no plan is made.
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
    score = score or standard_score
    facts = [fact for fact in _worth_saying(case) if can_say(fact)]
    points = [fact for fact in facts if _popularity(case, fact) <= rule.most_common]
    points.sort(key=lambda fact: -sum(score(case, [fact], None).values()))
    starts: list[tuple[tuple[Fact, ...], Tie | None]] = [
        ((fact,), tie) for fact, tie in _taste_ties(case, facts)
    ]
    starts += [((), tie) for tie in _relation_ties(case)]
    starts += [((fact,), None) for fact in points]
    found = []
    for said, tie in starts:
        details = [fact for fact in points if tie is None or tie.kind == "taste" if _adds(fact, said)]
        for facts_said in [said, *([*said, fact] for fact in details[: rule.details if said else 0])]:
            parts = score(case, facts_said, tie)
            found.append(Plan(tuple(facts_said), tie, sum(parts.values()), parts))
    found.sort(key=lambda plan: -plan.score)
    return _of_both_levels(found, rule.most)


def standard_score(case: Case, facts: Sequence[Fact], tie: Tie | None) -> Mapping[str, float]:
    """The score that needs no training; see the module."""
    parts = {"relevance": 0.0, "specificity": 0.0, "certainty": 0.0, "detail": 0.0, "source": 0.0}
    if facts:
        popularity = max(_popularity(case, facts[0]), 1e-3)
        alone = case.concepts[facts[0].concept].items <= 1 if facts[0].concept in case.concepts else False
        parts["specificity"] = 0.0 if alone else -0.3 * math.log10(popularity)
        parts["certainty"] = 2 * sum(math.log(max(fact.probability, 1e-3)) for fact in facts)
        parts["source"] = _SOURCES[facts[0].source]
    if len(facts) > 1:
        parts["detail"] = 0.3 * _SOURCES[facts[1].source]
    if tie and tie.taste:
        enough = len(tie.item_ids) / (len(tie.item_ids) + 1)
        parts["relevance"] = 1 + enough * math.log(max(tie.taste.lift, 1.0)) + 0.5 * tie.taste.often
    elif tie and tie.kind == "complement":
        parts["relevance"] = 1.2
    return parts


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
    """Whether the item's title says a fact already, in whatever singular or plural.

    Example:
        >>> in_title(Fact("a", "category", "Hoodies"), Item("a", "Teton Pullover Hoodie"))
        True
    """
    if UNSPACED.search(fact.value):
        return fact.value in item.title
    said = _stems(fact.value)
    return bool(said) and said <= _stems(item.title)


def _worth_saying(case: Case) -> list[Fact]:
    """Facts that may be a reason: not in the title, not sensitive, each concept once, by the surest of its facts."""
    best: dict[str, Fact] = {}
    for fact in case.facts:
        if fact.name in RELATIONS or in_title(fact, case.item):
            continue
        known = best.get(fact.concept)
        if known is None or (fact.probability, _SOURCES[fact.source]) > (
            known.probability,
            _SOURCES[known.source],
        ):
            best[fact.concept] = fact
    return list(best.values())


def _taste_ties(case: Case, facts: Iterable[Fact]) -> list[tuple[Fact, Tie]]:
    tastes = {taste.concept: taste for taste in case.tastes if taste.liked}
    found = []
    for fact in facts:
        taste = tastes.get(fact.concept)
        if taste is None or _is_sensitive(case, fact):
            continue
        others = _others(case, taste)
        if others:
            found.append((fact, Tie("taste", others, taste)))
    return found


def _others(case: Case, taste: Taste) -> tuple[str, ...]:
    """The taste's items without the item itself and its variants."""
    item, known = case.item, case.history_items
    return tuple(
        item_id
        for item_id in taste.item_ids
        if item_id != item.id
        and not (
            item_id in known and (known[item_id].group == item.group or known[item_id].title == item.title)
        )
    )


def _relation_ties(case: Case) -> list[Tie]:
    """Items of the history that this one goes with, and what reviewers praise."""
    took = {step.item_id for step in case.user.history}
    ties = [
        Tie("complement", (fact.value,), fact=fact)
        for fact in case.facts
        if fact.name in RELATIONS and fact.value in took and fact.value in case.history_items
    ]
    return ties + [Tie("popular", fact=fact) for fact in case.facts if fact.source == "review"]


def _is_sensitive(case: Case, fact: Fact) -> bool:
    concept = case.concepts.get(fact.concept)
    return bool(concept and concept.sensitive) or bool(sensitive_kind(fact.value))


def _popularity(case: Case, fact: Fact) -> float:
    concept = case.concepts.get(fact.concept)
    return concept.popularity if concept else 0.0


def _adds(fact: Fact, said: Sequence[Fact]) -> bool:
    """Whether a fact tells something besides those said: another attribute, in other words."""
    words = {word for other in said for word in _stems(other.value)}
    return all(fact.name != other.name or fact.name == "thing" for other in said) and not words & _stems(
        fact.value
    )


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


def _stems(text: str) -> set[str]:
    return {stem_of_plural(word) for word in _WORD.findall(text.lower())}
