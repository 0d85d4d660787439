"""Titles of items as sentences can name them."""

from __future__ import annotations

import re
from functools import lru_cache

from mmreason.safety.sensitive import sensitive_kind
from mmreason.safety.untrusted import refusal
from mmreason.schema import Item

_BEHIND = re.compile(r"(?<=\S)(?:\s*\([^()]*\))+\s*$")  # "(a.k.a. …)", the title in another language
_ARTICLE_BEHIND = re.compile(r"^(.*), (The|A|An|Le|La|Les|El|Il|Der|Die|Das)$")
_ODD_IN_TITLE = re.compile(r"[.,:;|?!()\[\]{}<>@#\"“”\n]|\s[-–]\s|https?|\.\s")
_TITLE_LENGTH, _TITLE_WORDS = 36, 6
_SMALL_WORD = re.compile(r"(?:a|an|the|and|of|in|on|to|for|with|at|by|from|de|la|le|du|des|von|van|der|&)\b")


def name_of(item: Item) -> str:
    """An item's title as a sentence can name it; empty if it is too long, a sentence, or tells something protected.

    Example:
        >>> titles = "Firm, The (Firma, La) (1993)", "Really? Yes! 10 ways to sleep", "Mug"
        >>> [name_of(Item("a", title)) for title in titles]
        ['The Firm', '', 'Mug']
    """
    return _name(item.title)


@lru_cache(maxsize=65_536)
def _name(title: str) -> str:
    title = _ARTICLE_BEHIND.sub(r"\2 \1", _BEHIND.sub("", title).strip())
    odd = _ODD_IN_TITLE.search(title) or len(title) > _TITLE_LENGTH or title.count(" ") >= _TITLE_WORDS
    sentence = any(word[0].islower() and not _SMALL_WORD.match(word) for word in title.split())
    unsafe = not title.isprintable() or refusal(title) or sensitive_kind(title)
    return "" if odd or sentence or unsafe else title
