"""The clauses of a Chinese item text that may stand alone: 环境优雅，服务热情."""

from __future__ import annotations

from collections.abc import Sequence

from mmreason.evidence.chinese import chinese_phrases
from mmreason.evidence.phrases import Phrase
from mmreason.wording.clauses import Clause

LONGEST = 30
"""Characters of clauses said together."""

_SUBJECT = 2  # characters that two clauses must not begin with alike


def chinese_clauses(text: str) -> tuple[Clause, ...]:
    """What a text says of its item, up to three neighbours together.

    Example:
        >>> [clause.text for clause in chinese_clauses("茶馆环境清幽，点心也很精致。")]
        ['茶馆环境清幽，点心精致']
    """
    said = list(chinese_phrases(text))
    found = [Clause(each.text, "about", each.span) for each in said if each.form == "about"]
    states = [each for each in said if each.form != "about"]
    for start in range(len(states)):
        for several in (states[start : start + 3], states[start : start + 2]):
            if len(several) > 1 and _fit_together(several):
                words = "，".join(each.text for each in several)
                found.append(Clause(words, "does", (several[0].span[0], several[-1].span[1])))
                break
    return tuple(found)


def _fit_together(several: Sequence[Phrase]) -> bool:
    """Whether clauses are short enough, and speak of different things."""
    begins = [each.text[:_SUBJECT] for each in several]
    ends = [each.text[-_SUBJECT:] for each in several]
    different = len(set(begins)) == len(set(ends)) == len(several)
    return different and sum(len(each.text) + 1 for each in several) <= LONGEST
