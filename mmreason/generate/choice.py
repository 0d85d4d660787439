"""Which of several texts that passed becomes the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf

from mmreason.evidence.schema import Candidate, Case, Plan
from mmreason.schema import Evidence


@dataclass(frozen=True, slots=True)
class Passed:
    """A candidate that was verified and breaks no rule.

    Attributes:
        candidate: With the plan that it says.
        evidence: What it rests on.
        loose: Whether it is true of the person in parts only (:class:`~mmreason.generate.verify.Verdict`).
    """

    candidate: Candidate
    evidence: list[Evidence]
    loose: bool = False

    @property
    def support(self) -> int:
        """How much it rests on: facts of the item, and for what it says of a person items of their history."""
        facts = {(each.attribute, each.value) for each in self.evidence}
        personal = self.candidate.plan.level == "personal"
        items = {item_id for each in self.evidence for item_id in each.item_ids} if personal else ()
        return len(facts) + len(items)


def best_of(passed: Sequence[Passed], used: Collection[str] = ()) -> Passed:
    """The one with the most support, none that is loose if there is another.

    Of those with as much the likeliest to its model is taken, then the first.

    Args:
        passed: Of one rung.
        used: First words that the page has used: a text that begins so comes last.

    Example:
        >>> from mmreason.evidence.schema import Plan
        >>> wool, blue = Evidence("material", "wool"), Evidence("color", "blue")
        >>> warm = Passed(Candidate("Warm wool.", Plan(()), "lm", -0.1), [wool])
        >>> likely = Passed(Candidate("Made of blue wool.", Plan(()), "lm", -0.2), [wool, blue])
        >>> drawn = Passed(Candidate("It is blue wool.", Plan(()), "lm", -0.9), [wool, blue])
        >>> best_of([warm, drawn, likely]).candidate.text
        'Made of blue wool.'
    """

    def worth(each: Passed) -> tuple[bool, bool, int, float]:
        score, fresh = each.candidate.score, opener(each.candidate.text) not in used
        return not each.loose, fresh, each.support, -inf if score is None else score

    return max(passed, key=worth)


def opener(text: str) -> str:
    """How a text begins: its first two words, or the first four characters of an unspaced script.

    Example:
        >>> opener("You keep choosing wool."), opener("你常看科幻片。")
        ('you keep', '你常看科')
    """
    words = text.lower().split(maxsplit=2)
    return " ".join(words[:2]) if len(words) > 2 else text[:4].lower()


def seed_of_plan(plan: Plan, case: Case, seed: int) -> int:
    """The seed of a plan: the same for every reader, in every batch and on every machine.

    Args:
        plan: What is said, of the case's item.
        case: In its language.
        seed: Of the run.
    """
    tie = plan.tie
    told = (
        [tie.kind, tie.taste.concept if tie.taste else "", tie.fact.spelling if tie.fact else ""]
        if tie
        else []
    )
    made_of = [str(seed), case.language, case.item.id, *told, *(fact.spelling for fact in plan.facts)]
    digest = hashlib.blake2b("\0".join(made_of).encode("utf-8", "replace"))
    return int.from_bytes(digest.digest()[:4], "big")
