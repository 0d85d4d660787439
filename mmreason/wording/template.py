"""Plans in the sentences of a grammar: no model, no training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from mmreason.evidence.plan import in_title
from mmreason.evidence.schema import Candidate, Case, Fact, Plan
from mmreason.wording.grammar import Said, fill, grammar_of, slots_of
from mmreason.wording.slots import sentence, shape_keys, thing_slots, tie_slots, turned
from mmreason.wording.told import told_of

MOST_CANDIDATES = 4
GOOD_LENGTH, LONGEST = 110, 150
"""Characters: a longer text comes last; an even longer one is not said."""


def write(plan: Plan, case: Case, seed: int = 0) -> list[Candidate]:
    """Sentences that say a plan, the best first; none if the grammar has no words for it.

    Args:
        plan: What to say; a second fact that cannot be said is left out.
        case: The user and the item.
        seed: Which of the shapes that fit comes first.

    Returns:
        Candidates with the plan that each of them says.

    Example:
        >>> from mmreason.evidence.schema import Taste, Tie
        >>> from mmreason.schema import Interaction, Item, User
        >>> navy = Fact("a", "color", "Navy")
        >>> taste = Taste(navy.concept, ("b", "c", "d"), {"purchase": 3}, p_value=0.001)
        >>> user = User("u", [Interaction("u", item, "purchase") for item in "bcd"])
        >>> case = Case(user, Item("a", "Alder", attributes={"type": ["Mugs"]}, domain="shop"), [navy])
        >>> write(Plan((navy,), Tie("taste", ("b", "c", "d"), taste)), case)[0].text
        'You often buy navy things, and this mug comes in navy too.'
    """
    grammar = grammar_of(case.language, case.item.domain)
    if not grammar:
        return []
    told = told_of(grammar, plan, case)
    if told is None:
        return []
    plan, thing, facts, said, done = told.plan, told.thing, told.facts, told.said, told.done
    if said and not thing.one and said[0].attribute.across != 1:
        return []  # what has a color or a material, if not even that is known?
    slots = thing_slots(grammar, thing, said) | tie_slots(grammar, plan.tie, case, thing, said, done)
    both = plan.tie is not None and plan.tie.both
    found: list[Candidate] = []
    for key in shape_keys(plan.tie, said, done):
        for shape in turned([each for each in grammar.shapes.get(key, ()) if fits(each, slots)], seed):
            text = sentence(fill(shape, slots))
            says = replace(plan, facts=facts if both or _says_second(shape) else facts[:1])
            news = len(says.facts) != 1 or _is_news(plan, case, said[0])
            if news and len(text) <= LONGEST:
                found.append(Candidate(text, says, "template"))
        if found:
            break
    found.sort(key=lambda candidate: len(candidate.text) > GOOD_LENGTH)
    return found[:MOST_CANDIDATES]


def tells(case: Case, fact: Fact) -> float:
    """How much a fact helps to decide, from 0 (there are no words for it) to 1, as the case's grammar has it."""
    return _tells(case.language, case.item.domain, fact.name, fact.value)


@lru_cache(maxsize=65_536)
def _tells(language: str, domain: str, name: str, value: str) -> float:
    grammar = grammar_of(language, domain)
    said = grammar.say(Fact("", name, value)) if grammar else None
    return said.attribute.tells if said else 0.0


def is_no_reason(case: Case, fact: Fact) -> bool:
    """Whether the case's grammar knows that nobody chooses by such a fact: the color of a news story's picture."""
    grammar = grammar_of(case.language, case.item.domain)
    attribute = grammar.attribute(fact.name, fact.value) if grammar else None
    return attribute is not None and attribute.tells == 0


def _is_news(plan: Plan, case: Case, first: Said) -> bool:
    """Whether a single fact is worth a sentence: not what the title says, nor a bare color without a tie."""
    return not in_title(plan.facts[0], case.item) and (plan.tie is not None or first.attribute.alone)


def fits(shape: str, slots: Mapping[str, str]) -> bool:
    """Whether all that a shape names is known."""
    return all(slots.get(slot) for slot in slots_of(shape))


def _says_second(shape: str) -> bool:
    return any(slot in shape for slot in ("{one_and}", "{kind_and}", "{does_two}", "{does_and}"))
