"""Words that praise or blame and tell nothing that could be looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

# fmt: off
PRAISE = frozenset([
    "perfect", "optimal", "ultimate", "best", "favorite", "favourite", "incredible", "amazing", "awesome", "great",
    "superior", "unbeatable", "unrivaled", "unmatched", "exceptional", "excellent", "stunning", "gorgeous", "ideal",
    "essential", "must-have", "wonderful", "fantastic", "flawless", "more", "future", "everything", "anything",
    "anywhere", "everywhere", "whatever", "want", "need", "world", "unique", "special",
])
"""What praises and tells nothing that could be looked up."""

BLAME = frozenset([
    "inconsistent", "poor", "bad", "worse", "worst", "lacking", "lacks", "lack", "limited", "slow", "rude", "noisy",
    "dirty", "broken", "defective", "unreliable", "disappointing", "mediocre", "overpriced", "expensive", "boring",
    "crowded",
])
"""What speaks against an item, and is no reason to want it."""
# fmt: on

_LOOKS = frozenset(["style", "finish", "look", "feel", "vibe", "touch"])
"""What nearly everything is said to be for, with a word of praise: "for a laid-back style"."""


class Tagged(Protocol):
    """A word, and what part of speech it can be."""

    @property
    def lower(self) -> str:
        """In lower case."""

    @property
    def tags(self) -> str:
        """See :func:`mmreason.evidence.phrases.tags_of`."""


T = TypeVar("T", bound=Tagged)


def without_looks(words: Sequence[T]) -> Sequence[T]:
    """Words without a tail that only praises how a thing looks: *reflective trim* "for a safe finish".

    Args:
        words: Of a phrase or a sentence, each with its text in lower case and its tags.
    """
    last = max((place for place, word in enumerate(words) if word.lower == "for"), default=0)
    tail = words[last + 1 :]
    is_tail = (
        0 < len(tail) <= 4 and tail[-1].lower in _LOOKS and all(set(w.tags) & set("DANeR,") for w in tail)
    )
    return words[:last] if last and is_tail else words
