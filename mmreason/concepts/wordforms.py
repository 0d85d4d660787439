"""Words that are forms of one word, and the numbers of a phrase."""

from __future__ import annotations

import re
from itertools import takewhile

AND = " and "
"""Between the parts of a key."""

_NUMBER = re.compile(
    r"\d+|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|single|double|triple|dual|no|not|non|without|free)\b|"
    r"[一二两三四五六七八九十不没无]"
)
"""What makes another thing of phrases that are else alike: "two pockets", "without pockets"."""


def same_numbers(one: str, other: str) -> bool:
    """Whether two keys hold the same numbers and negations.

    Example:
        >>> same_numbers("2 pocket", "pocket two"), same_numbers("no hood", "hood no")
        (False, True)
    """
    return sorted(_NUMBER.findall(one)) == sorted(_NUMBER.findall(other))


def are_forms(one: str, other: str) -> bool:
    """Whether two words begin alike, and for the most part are alike.

    Example:
        >>> are_forms("topstitch", "topstitching"), are_forms("hood", "hook")
        (True, False)
    """
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return common >= 4 and common * 5 >= 3 * max(len(one), len(other))
