"""Plans put in words by a model, each once, whoever it is said to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from mmreason.bulk.worded import Texts, Worded, WordedPlans
from mmreason.decoding.requests import Decoded
from mmreason.evidence.schema import Candidate, Case, Plan
from mmreason.generate.embeddings import Embeddings
from mmreason.generate.ladder import Request
from mmreason.generate.writers import LM
from mmreason.wording.brief import Brief, brief_of

MOST_PLANS = 2
"""Plans of a case that are put in words, the best ones, by a model that costs nothing but time."""


class Speaker(Protocol):
    """A model that puts plans in words.

    Attributes:
        tokens: Tokens written so far.
    """

    @property
    def tokens(self) -> int: ...

    def say(self, plans: Sequence[str], batch_size: int = 0) -> list[list[Decoded]]:
        """The texts of plans in words, each plan's candidates."""


class PlanWriter:
    """Has the best plans of cases put in words; those of the same words once.

    Args:
        speaker: The model.
        worded: What was put in words before; None has each plan of each case put in words by itself.
        most: Plans of a case.

    Attributes:
        asked: Plans that were to be said so far.
        said: Those of them that the model put in words; the others were said before.
    """

    def __init__(self, speaker: Speaker, worded: WordedPlans | None, most: int = MOST_PLANS) -> None:
        self.speaker, self.worded, self.most = speaker, worded, most
        self.asked = self.said = 0

    @property
    def tokens(self) -> int:
        """Tokens that the model has written so far."""
        return self.speaker.tokens

    def write_all(
        self, asked: Sequence[Request], embeddings: Embeddings | None = None, batch_size: int = 0
    ) -> list[list[Candidate] | str]:
        """The candidates of each request with their plans, the best plan's first; where the model fails, why.

        Args:
            asked: Cases with their plans.
            embeddings: Not looked at.
            batch_size: Texts decoded together.
        """
        briefs = [self.briefs_of(each.plans, each.case) for each in asked]
        words = [brief.words for some in briefs for _, brief in some]
        self.asked += len(words)
        if self.worded is None:
            texts = iter(self._say(words, batch_size))
        else:
            texts = iter(self._say_once(words, self.worded, batch_size))
        return [_candidates([(plan, brief, next(texts)) for plan, brief in some]) for some in briefs]

    def briefs_of(self, plans: Sequence[Plan], case: Case) -> list[tuple[Plan, Brief]]:
        """The best plans of a case that have words, with these."""
        told = ((plan, brief) for plan in plans if (brief := brief_of(plan, case)))
        return list(islice(told, self.most))

    def _say_once(self, words: Sequence[str], worded: WordedPlans, batch_size: int) -> Iterator[Texts | str]:
        once = list(dict.fromkeys(words))
        known = worded.find(once)
        missing = [each for each in once if each not in known]
        new = dict(zip(missing, self._say(missing, batch_size), strict=True))
        worded.add({each: texts for each, texts in new.items() if not isinstance(texts, str)})
        return (known[each] if each in known else new[each] for each in words)

    def _say(self, words: Sequence[str], batch_size: int) -> list[Texts | str]:
        """The texts of plans; of one that the model fails at its error."""
        self.said += len(words)
        found: list[Texts | str] = []
        for decoded in self.speaker.say(words, batch_size) if words else ():
            error = next((text.error for text in decoded if text.finish == "error"), "")
            found.append(error or tuple(Worded(text.text.strip(), text.log_prob) for text in decoded))
        return found


def _candidates(said: Sequence[tuple[Plan, Brief, Texts | str]]) -> list[Candidate] | str:
    """The texts of a case's plans, its own titles filled in."""
    found = []
    for plan, brief, texts in said:
        if isinstance(texts, str):
            return texts
        filled = ((brief.filled(each.text), each.score) for each in texts)
        found += [Candidate(text, plan, LM, score) for text, score in filled if text]
    return found
