"""What several rooms must know of languages: scripts without spaces, one spelling of a value, English plurals."""

from __future__ import annotations

import re
import unicodedata

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Ideographs, as the inside of a character class."""

CJK = f"\u3040-\u30ff{HAN}"
"""Kana and ideographs, which are written without spaces: each is a word of its own."""

UNSPACED = re.compile(f"[{CJK}\u0e00-\u0e7f]")
"""A character whose words no space ends: Chinese, Japanese or Thai."""

PLURAL_ONLY = frozenset(
    ["basics", "classics", "essentials", "glasses", "goods", "greens", "news", "shorts", "tights"]
)
"""Plurals whose singular is another word ("shorts" is not "short")."""

# fmt: off
COMMON = frozenset([
    "all", "any", "best", "both", "few", "good", "great", "many", "more", "most", "new", "nice", "no", "none",
    "old", "one", "other", "others", "right", "solid", "yes",
])
# fmt: on
"""Values that running English uses for other things; they count only beside their attribute's name."""

_HAN = re.compile(f"[{HAN}]")
_LETTER = re.compile(r"[^\W\d_]")


def is_chinese(text: str) -> bool:
    """Whether a text is Chinese: a quarter of its letters are Han ideographs.

    Example:
        >>> is_chinese("用iPhone拍的味道很好"), is_chinese("So soft")
        (True, False)
    """
    return not text.isascii() and len(_HAN.findall(text)) * 4 >= max(len(_LETTER.findall(text)), 1)


def phrase(value: str) -> str:
    """The spelling under which values are compared: lower case, composed accents, single spaces."""
    return " ".join(unicodedata.normalize("NFC", str(value)).lower().split())


def singulars(word: str) -> list[str]:
    """What an English word in lower case may be the plural of, likeliest first; nothing if it is no plural.

    Example:
        >>> singulars("hoodies"), singulars("dresses"), singulars("shoes"), singulars("dress"), singulars("shorts")
        (['hoodie', 'hoody'], ['dress', 'dresse'], ['shoe', 'sho'], [], [])
    """
    plural = word.endswith("s") and not word.endswith(("ss", "us", "is")) and word not in PLURAL_ONLY
    if not (plural and len(word) > 2 and word.isascii() and word.isalpha()):
        return []
    if word.endswith("ies"):
        return [word[:-1], word[:-3] + "y"]
    if word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return [word[:-2], word[:-1]]
    if word.endswith(("ses", "oes")):
        return [word[:-1], word[:-2]]
    return [word[:-1]]


def plurals(word: str) -> list[str]:
    """How an English word in lower case may be written in the plural.

    Example:
        >>> plurals("berry"), plurals("dress")
        (['berrys', 'berries'], ['dresss', 'dresses'])
    """
    if len(word) < 3 or not word.isascii() or not word.isalpha():
        return []
    forms = [word + "s"]
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.append(word + "es")
    if word.endswith("y"):
        forms.append(word[:-1] + "ies")
    return forms


def stem_of_plural(word: str) -> str:
    """A word without a plural's s, in any script: enough to tell that two words are one.

    Example:
        >>> stem_of_plural("straps"), stem_of_plural("dress")
        ('strap', 'dress')
    """
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and word.isascii() else word
