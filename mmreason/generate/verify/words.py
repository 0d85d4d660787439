"""Texts as words that can be compared: lower case, composed accents, no plural."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from mmreason.language import CJK, singulars

_WORD = re.compile(
    rf"[{CJK}]|\d+(?:[.,/]\d+)*%?|(?:(?![{CJK}\d])[^\W_])(?:(?![{CJK}])[^\W_])*(?:['’](?:(?![{CJK}])[^\W_])+)*|[^\w\s]"
)
_ASCII_WORD = re.compile(
    r"\d+(?:[.,/]\d+)*%?|[A-Za-z][A-Za-z\d]*(?:'[A-Za-z\d]+)*|[^\w\s]", re.ASCII
)  # the same, faster
_IRREGULAR = {
    **{
        f"{noun}ves": f"{noun}f" for noun in ("scar", "shel", "lea", "hal", "loa", "wol", "cal", "el", "thie")
    },
    **{
        "knives": "knife",
        "lives": "life",
        "wives": "wife",
        "women": "woman",
        "men": "man",
        "children": "child",
    },
    **{"people": "person", "feet": "foot", "teeth": "tooth", "mice": "mouse", "geese": "goose"},
}
_BREAK = frozenset(".!?;:•–—|()[]{}。！？；：（）【】\n")
_JOINERS = frozenset("-‐‑­_™®©℠'’*")


class Word(NamedTuple):
    """One word or mark.

    Attributes:
        lower: In lower case.
        stem: Without its plural's ending.
        start: Where it begins in the text, in characters.
        end: Where it ends.
        is_mark: Whether it is punctuation.
    """

    lower: str
    stem: str
    start: int
    end: int
    is_mark: bool = False


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A word in the form that singular and plural share.

    Example:
        >>> stem("hoodies") == stem("hoodie"), stem("berries") == stem("berry"), stem("dress")
        (True, True, 'dress')
    """
    one = _IRREGULAR.get(word) or next(iter(singulars(word)), word)
    return f"{one[:-2]}y" if len(one) > 4 and one.endswith("ie") else one


def words_of(text: str) -> list[Word]:
    """Words and marks of a text; hyphens part words, and trademark signs are dropped.

    Example:
        >>> [word.stem for word in words_of("Off-white Hoodies, 2.5 kg")]
        ['off', 'white', 'hoody', ',', '2.5', 'kg']
    """
    found = []
    for match in (_ASCII_WORD if text.isascii() else _WORD).finditer(text):
        lower = _lower(match.group())
        if lower:
            found.append(Word(lower, stem(lower), match.start(), match.end(), not lower[0].isalnum()))
    return found


def clauses_in_stems(text: str) -> list[str | None]:
    """The stems of a text's words, with None where a mark or a line's end parts two clauses.

    Example:
        >>> clauses_in_stems("Warm hoodies, in wool. Soft\\nLight")
        ['warm', 'hoody', 'in', 'wool', None, 'soft', None, 'light', None]
    """
    found: list[str | None] = []
    for line in text.split("\n"):
        for token in (_ASCII_WORD if line.isascii() else _WORD).findall(line):
            lower = _lower(token)
            if lower and lower[0].isalnum():
                found.append(stem(lower))
            elif lower and lower[0] in _BREAK:
                found.append(None)
        found.append(None)
    return found


@lru_cache(maxsize=65_536)
def _lower(token: str) -> str:
    """A word or mark in lower case; empty of one that is dropped."""
    if token in _JOINERS:
        return ""
    lower = (
        token.lower() if token.isascii() else unicodedata.normalize("NFKC", token).lower().replace("’", "'")
    )
    if lower.endswith("'s") and lower not in ("it's", "that's", "here's", "there's", "let's"):
        return lower[:-2]
    return "and" if lower == "&" else lower


@lru_cache(maxsize=65_536)
def stems_of(text: str) -> tuple[str, ...]:
    """The stems of a text's words, without marks: under which values are compared."""
    return tuple(word.stem for word in words_of(text) if not word.is_mark)


def people_of(activity: str) -> Iterator[str]:
    """Who does something: of *running* runners, of *hiking* hikers; none of another word.

    Example:
        >>> list(people_of("Running")), list(people_of("hiking")), list(people_of("wool"))
        (['runner'], ['hiker'], [])
    """
    if activity.isascii() and activity.isalpha() and activity.endswith("ing") and len(activity) > 5:
        yield f"{activity[:-3].lower()}er"


def breaks(word: Word) -> bool:
    """Whether a mark ends a clause that stands by itself; a comma does not."""
    return word.lower[0] in _BREAK
