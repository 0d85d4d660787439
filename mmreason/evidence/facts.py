"""What is true of an item, with where it stands: attributes, levels of its category, what its text says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mmreason.evidence.chinese import chinese_phrases
from mmreason.evidence.phrases import Phrase, phrases
from mmreason.evidence.schema import Fact
from mmreason.evidence.stories import makers, tells_story
from mmreason.language import is_chinese, phrase
from mmreason.reviews.languages import unmined_language
from mmreason.safety.untrusted import safe_item
from mmreason.schema import Item

VERSION = 10
"""Raised when the same item has other facts, or other text of it is refused: all are read again then."""

LEVELS = ">"
"""What parts the levels of a category: ``Apparel > Men > Shirts``."""

_CODES = {
    "German": "de", "French": "fr", "Spanish": "es", "Italian": "it", "Portuguese": "pt", "Dutch": "nl",
    "Swedish": "sv", "Danish": "da", "Norwegian": "no", "Finnish": "fi", "Polish": "pl", "Czech": "cs",
    "Turkish": "tr", "Romanian": "ro", "Hungarian": "hu", "Indonesian": "id", "Vietnamese": "vi",
    "Japanese": "ja", "Korean": "ko", "Hindi": "hi",
}  # fmt: skip
_WORD = re.compile(r"\w+")
_HAN = re.compile("[^\\W很的]")
_YEAR = re.compile(r"(?:1[89]|20)\d\d")
_YEARS = frozenset(["year", "release year", "released", "publication year", "年份"])
_LONGEST = 60  # characters; a longer value is a description


def language_of(item: Item) -> str:
    """The language of an item's text, or of its title if it has none: ``en``, ``zh``, ``de`` …; of others ``und``.

    Example:
        >>> language_of(Item("a", text="Die Jacke ist aus Wolle und sehr warm."))
        'de'
    """
    if is_chinese(item.text or item.title):
        return "zh"
    other = unmined_language(item.text)
    return _CODES.get(other, "und") if other else "en"


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
    language = language_of(item)
    words = _HAN.findall if language == "zh" else _WORD.findall
    title = set(words(item.title.lower()))
    for said in _READERS.get(language, _nothing)(item.text):
        if not title.issuperset(words(said.text.lower())):  # the title says it already
            yield Fact(item.id, said.form, said.text, "text", said.span)


def _nothing(text: str) -> Iterator[Phrase]:
    return iter(())


_READERS = {"en": phrases, "zh": chinese_phrases}
"""Language → what reads its phrases; attributes need no reader."""
