"""Opinions of a sentence in either language, and whether it says why somebody would want the item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mmreason.language import is_chinese
from mmreason.reviews.aspects import Lexicon
from mmreason.reviews.languages import not_mined, unmined_language
from mmreason.reviews.opinions import GENERAL, Opinion, OpinionFinder

LONGEST = 400
"""A sentence of more characters is a text without full stops, and no reason to show."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sentence says why; if not, the cause it is counted under.

    Attributes:
        cause: Empty if it says why.
        opinions: All that the sentence says of the item's aspects.
    """

    cause: str
    opinions: list[Opinion]


@dataclass
class Miner:
    """Judges sentences of either language with one lexicon.

    Example:
        >>> miner = Miner(Lexicon.seed())
        >>> miner.judge("The straps are comfy.").cause, miner.judge("Came a week late!").cause
        ('', 'names no opinion of an aspect')
    """

    lexicon: Lexicon

    @cached_property
    def english(self) -> OpinionFinder:
        """Opinions in English."""
        from mmreason.reviews.english import English

        return OpinionFinder(self.lexicon, English())

    @cached_property
    def chinese(self) -> OpinionFinder:
        """Opinions in Chinese."""
        from mmreason.reviews.chinese import Chinese

        return OpinionFinder(self.lexicon, Chinese(self.lexicon))

    def finder(self, text: str) -> OpinionFinder:
        """The finder for a text's language."""
        return self.chinese if is_chinese(text) else self.english

    def judge(self, sentence: str, around: str = "") -> Verdict:
        """Whether one sentence says why somebody would want the item.

        Args:
            sentence: Of a review.
            around: The review's language, if that cannot be mined.
        """
        if language := unmined_language(sentence, around):
            return Verdict(not_mined(language), [])
        finder = self.finder(sentence)
        said = finder.find(sentence)
        opinions = [o for o in said if o.aspect != GENERAL and self.lexicon.aspects[o.aspect].why]
        off_topic = {a for a in finder.mentions(sentence) if not self.lexicon.aspects[a].why}
        return Verdict(self._cause(sentence, said, opinions, off_topic), opinions)

    def _cause(self, sentence: str, said: list[Opinion], opinions: list[Opinion], off_topic: set[str]) -> str:
        if len(sentence) > LONGEST:
            return "too long"
        if sentence.rstrip("”’\"') ").endswith(("?", "？")):
            return "a question"
        praised = {o.aspect for o in opinions if o.polarity > 0}
        if off_topic and len(off_topic) >= len(praised):
            return f"about {min(off_topic)}"
        decisive = [o for o in said if not o.conceded]
        if any(o.polarity < 0 for o in decisive):
            return "against the item"
        if praised and not any(o.polarity > 0 for o in decisive):
            return "praise that a contrast takes back"
        if praised:
            return ""
        if any(o.polarity > 0 for o in said):
            return "praise of no aspect"
        return "names no opinion of an aspect"
