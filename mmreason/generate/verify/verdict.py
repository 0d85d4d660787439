"""What verification says of a text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mmreason.evidence.schema import Case
from mmreason.schema import Evidence

Rejection = Literal[
    "",
    "no claim",
    "left-over words",
    "untrue of the item",
    "untrue of the person",
    "strength",
    "event",
    "polarity",
    "twice",
    "does not follow",
    "broken grammar",
    "contradicted",
    "not entailed",
]
"""Of what kind a fault is; the last two are those of an entailment check."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a text may be shown as a reason, and what it rests on.

    Attributes:
        passed: Every claim has evidence, and nothing is left over.
        level: The highest rung of the ladder that the text may stand on: ``personal`` if it says something true of the
            person, else ``selling point``; empty if it did not pass.
        evidence: One entry a claim, in the order of the text; ``source`` is ``none`` where there is no evidence.
        kind: Of what kind the first fault is; empty if there is none.
        span: Where the fault is, start and end in characters.
        why: The fault in one line.
        loose: Whether it is true of the person in parts only: "a bouncing car, like several of your picks", of which
            several bounce and too few are cars. It passes, but another one is better.
    """

    passed: bool
    level: Literal["", "personal", "selling point"] = ""
    evidence: list[Evidence] = field(default_factory=list)
    kind: Rejection = ""
    span: tuple[int, int] | None = None
    why: str = ""
    loose: bool = False


Claimed = tuple[str, Case, Verdict]
"""A text, its case, and what was found of it."""
