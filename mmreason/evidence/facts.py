"""What is true of an item, with where it stands: attributes, levels of its category, what its text says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mmreason.evidence.chinese import chinese_phrases
from mmreason.evidence.phrases import phrases
from mmreason.evidence.schema import Fact
from mmreason.evidence.stories import makers, tells_story
from mmreason.language import is_chinese, phrase
from mmreason.safety.untrusted import safe_item
from mmreason.schema import Item

VERSION = 3
"""Raised when the same item has other facts: all are read again then."""

LEVELS = ">"
"""What parts the levels of a category: ``Apparel > Men > Shirts``."""

_WORD = re.compile(r"\w+")
_YEAR = re.compile(r"(?:1[89]|20)\d\d")
_YEARS = frozenset(["year", "release year", "released", "publication year", "年份"])
_LONGEST = 60  # characters; a longer value is a description


def facts_of(item: Item) -> Iterator[Fact]:
    """The facts that an item's attributes and text tell; ``hidden`` attributes are never looked at.

    Example:
        >>> item = Item("a", attributes={"category": ["Apparel > Men > Shirts"], "year": ["1994"]})
        >>> [fact.value for fact in facts_of(item)]
        ['Apparel', 'Men', 'Shirts', '1994', '1990s']
    """
    item = safe_item(item)
    for name, values in item.attributes.items():
        for value in values:
            for level in value.split(LEVELS) if f" {LEVELS} " in value else [value]:
                if level.strip() and len(level.strip()) <= _LONGEST:
                    yield Fact(item.id, name, level.strip())
            if phrase(name) in _YEARS and _YEAR.fullmatch(value.strip()):
                yield Fact(item.id, "decade", f"{value.strip()[:3]}0s")
    if tells_story(item.text):
        for role, name, span in makers(item.text):
            yield Fact(item.id, role, name, "text", span)
    title = set(_WORD.findall(item.title.lower()))
    read = chinese_phrases if is_chinese(item.text) else phrases
    for said in read(item.text):
        if not title.issuperset(_WORD.findall(said.text.lower())):  # the title says it already
            yield Fact(item.id, said.form, said.text, "text", said.span)
