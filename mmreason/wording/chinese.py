"""The clauses of a Chinese item text that may be said: 环境清幽; 烤鸭皮脆肉嫩，分量很足."""

from __future__ import annotations

from itertools import pairwise

from mmreason.evidence.chinese import chinese_phrases, of_place
from mmreason.evidence.phrases import Phrase
from mmreason.wording.clauses import Clause

LONGEST = 30
"""Characters of clauses said together."""

_LEAST = 2  # characters of what is said of a subject


def chinese_clauses(text: str) -> tuple[Clause, ...]:
    """What a text says of its item: first two neighbours of one subject together, then each alone.

    Example:
        >>> [clause.text for clause in chinese_clauses("杏仁蛋糕甜而不腻，奶香浓郁。服务热情。")]
        ['杏仁蛋糕甜而不腻，奶香浓郁', '杏仁蛋糕甜而不腻', '杏仁蛋糕奶香浓郁', '服务热情']
    """
    said = list(chinese_phrases(text))
    one_thing = not of_place(text)
    together = [_together(one, two, one_thing) for one, two in pairwise(said)]
    alone = [Clause(each.text, "about" if each.form == "about" else "does", each.span) for each in said]
    return (*(clause for clause in together if clause), *alone)


def _together(one: Phrase, two: Phrase, one_thing: bool) -> Clause | None:
    """Two neighbours of the same subject, or of a text's only thing, in one line; None if they do not fit."""
    if "about" in (one.form, two.form):
        return None
    shared = bool(one.subject) and one.subject == two.subject
    if not shared and not one_thing:
        return None
    more = two.text.removeprefix(two.subject) if shared else two.text
    words = f"{one.text}，{more}"
    if len(more) < _LEAST or len(words) > LONGEST or one.text[-_LEAST:] == more[-_LEAST:]:
        return None
    return Clause(words, "does", (one.span[0], two.span[1]))
