"""Basic colour terms: what may be said of an item whose exact shade nobody is sure of."""

from __future__ import annotations

import re
from functools import cache

from mmreason.language import is_chinese
from mmreason.packaged import packaged_yaml

_WORD = re.compile(r"[^\W\d_]+")


@cache
def basic_color(value: str) -> str:
    """The basic colour term that a colour's name belongs to; empty if it is no name of a colour that is known.

    Example:
        >>> basic_color("Navy"), basic_color("Blue/Gray"), basic_color("深蓝色"), basic_color("Midnight Oil")
        ('blue', 'gray', 'blue', '')
    """
    terms = _terms()
    words = list(value) if is_chinese(value) else _WORD.findall(value.lower())
    return next((terms[word] for word in reversed(words) if word in terms), "")


def color_name(term: str, chinese: bool = False) -> str:
    """A basic colour term as it is said.

    Example:
        >>> color_name("blue"), color_name("blue", chinese=True)
        ('blue', '蓝色')
    """
    return next(word for word in _families()[term] if is_chinese(word)) + "色" if chinese else term


@cache
def _families() -> dict[str, list[str]]:
    families: dict[str, list[str]] = packaged_yaml("mmreason.probes", "colors.yaml")
    return families


@cache
def _terms() -> dict[str, str]:
    return {word: family for family, words in _families().items() for word in words}
