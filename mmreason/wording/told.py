"""A plan, as far as it follows and has words: what every writer tells of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmreason.evidence.schema import Case, Fact, Plan
from mmreason.wording.done import Done, done_with
from mmreason.wording.grammar import Grammar, Said, Thing
from mmreason.wording.slots import said_of
from mmreason.wording.ties import goes_together, tie_that_follows


@dataclass(frozen=True, slots=True)
class Told:
    """What is told.

    Attributes:
        plan: With those of its tie's items that the item may be likened to.
        thing: What the item is called.
        facts: Those of the plan that have words.
        said: Their words; of two that the tie is of together they are one.
        done: What the reader did with the tie's items; None where nothing of it may be told.
    """

    plan: Plan
    thing: Thing
    facts: tuple[Fact, ...]
    said: list[Said]
    done: Done | None


def told_of(grammar: Grammar, plan: Plan, case: Case) -> Told | None:
    """What of a plan is to be told; None if its first fact has no words, or its tie does not follow.

    Args:
        grammar: Of the case's language and domain.
        plan: What to say; a second fact without words is left out.
        case: The user and the item.
    """
    thing, tie = grammar.thing(case.item), plan.tie
    facts, said = said_of(grammar, plan, case, thing)
    if (plan.facts and not said) or (tie and not goes_together(grammar, tie, case)):
        return None
    if tie and said:
        tie = tie_that_follows(grammar, tie, said[0], case)
        if tie is None:
            return None
    return Told(replace(plan, tie=tie), thing, facts, said, done_with(grammar, tie, case))
