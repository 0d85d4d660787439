"""The attributes of a grammar: under which names they are known, and by which texts their values are said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from mmreason.evidence.claims import phrase
from mmreason.schema import DataError


@dataclass(frozen=True, slots=True)
class Forms:
    """The texts by which an attribute's values are said; an empty one is not to be had.

    Attributes:
        before: Before the thing's name: *navy* mug.
        after: Behind it: a mug *in navy*.
        does: Behind the thing as the subject: this mug *comes in navy*.
        likes: What a person likes who likes it: *navy*.
        one: A thing that the fact itself is: *thriller*; without an article.
        many: The same in the plural.
        praised: What reviewers praise: *the straps*.
    """

    before: str = ""
    after: str = ""
    does: str = ""
    likes: str = ""
    one: str = ""
    many: str = ""
    praised: str = ""


TEXTS = tuple(f.name for f in fields(Forms))
_WORD = re.compile(r"[\w'-]+")
_PART = re.compile(r"\b(?<![\d.])\d{1,2}(?:\.\d+)?\s?%\s*((?:[\w-]+ ?){1,3})")
_UNLIKE = re.compile(
    r"-(?:like|free|look|effect|inspired)$|^(?:faux|mock|non)-"
)  # a fleece-like finish is no fleece
_FLAGS = ("keep", "capital", "digits", "free")
_KEYS = frozenset(
    [
        *TEXTS,
        *_FLAGS,
        "names",
        "known",
        "called",
        "tells",
        "shapes",
        "not",
        "among",
        "adjective",
        "values",
        "across",
        "alone",
        "partly",
        "named",
        "single",
    ]
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """How one attribute is said; ``grammars/en.yaml`` explains each part.

    Attributes:
        name: The grammar's own.
        names: Those of catalogues.
        known: Values that are of this attribute whatever a catalogue calls it.
        called: What it is in a sentence: *color*.
        tells: How much such a fact helps to decide, from 0 to 1.
        shapes: Beginning of the names of the shapes that are for such facts alone.
        keep: The catalogue's spelling is kept.
        capital: Values begin with capitals.
        digits: Values may hold digits.
        free: Values are phrases of a text.
        across: Items of other kinds of things that are needed for a tie to them; 0: only things of the same kind tie.
        alone: Whether such a fact by itself is worth a sentence.
        silent: Values that are not said, nor what holds one of these words.
        partly: Values that, among others, are true of a part of the thing only, and not said.
        named: A value is not said where the item's text names others and not this one: the text describes another
            variant, or a list of genres holds what the film is not.
        single: Where an item has several values, one is said only if title or text names it, and none that is a part of
            a mixture: a coat with wool among three materials is not made of wool.
        forms: The texts.
        among: Instead, where the item has several values.
        adjective: Instead, where the value is an adjective.
        values: Value → another one that is said in its place, or its own texts.
    """

    name: str
    names: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    called: str = ""
    tells: float = 1.0
    shapes: str = ""
    keep: bool = False
    capital: bool = False
    digits: bool = False
    free: bool = False
    across: int = 1
    alone: bool = True
    named: bool = False
    single: bool = False
    silent: frozenset[str] = frozenset()
    partly: frozenset[str] = frozenset()
    forms: Forms = Forms()
    among: Forms | None = None
    adjective: Forms | None = None
    values: Mapping[str, str | Forms | None] = field(default_factory=dict)

    def is_untold(self, value: str, text: str) -> bool:
        """Whether a text names other values of this attribute and not this one.

        Example:
            >>> color = parse_attribute("color", {"known": ["red", "gray"], "named": True})
            >>> [color.is_untold(value, "A gray hoodie in soft fleece.") for value in ("Gray", "Red")]
            [False, True]
        """
        if not self.named:
            return False
        words = _words(text)
        others = [*self.known, *self.values]
        return not self._names(phrase(value), words) and any(self._names(other, words) for other in others)

    def is_partly(self, value: str, text: str) -> bool:
        """Whether a text tells of a mixture that a value is a part of, or is not in.

        Example:
            >>> material = parse_attribute("material", {"known": ["cotton", "hemp"]})
            >>> [material.is_partly(value, "60% soft cotton, 40% hemp.") for value in ("Cotton", "Silk")]
            [True, True]
            >>> material.is_partly("Cotton", "Of 100% cotton, lined with hemp.")
            False
        """
        if "%" not in text:
            return False
        parts = [found.strip() for found in _PART.findall(text.lower())]
        if any(phrase(value) in part for part in parts):
            return True
        return any(known in part for known in self.known for part in parts) and not self.is_named(value, text)

    def is_named(self, value: str, text: str) -> bool:
        """Whether a text names a value.

        Example:
            >>> material = parse_attribute("material", {})
            >>> [material.is_named("Wool", text) for text in ("A coat of wool-blend tweed.", "A wool-like finish.")]
            [True, False]
        """
        return self._names(phrase(value), _words(text))

    def _names(self, value: str, words: frozenset[str]) -> bool:
        forms = self.values.get(value)
        before = forms.before if isinstance(forms, Forms) else ""
        return any(spelled and words.issuperset(spelled.lower().split()) for spelled in (value, before))


@lru_cache(maxsize=4096)
def _words(text: str) -> frozenset[str]:
    words = [word for word in _WORD.findall(text.lower()) if not _UNLIKE.search(word)]
    return frozenset([*words, *(part for word in words for part in word.split("-"))])


def parse_attribute(name: str, settings: Mapping[str, Any]) -> Attribute:
    """An attribute of what a YAML file holds.

    Raises:
        DataError: If a key is unknown.
    """
    if unknown := sorted(set(settings) - _KEYS):
        raise DataError(
            f"grammar, attribute {name!r}: unknown {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}"
        )

    def forms(of: Mapping[str, Any]) -> Forms:
        return Forms(**{key: text or "" for key, text in of.items() if key in TEXTS})

    return Attribute(
        name,
        tuple(map(phrase, settings.get("names", [name]))),
        tuple(map(phrase, settings.get("known", ()))),
        settings.get("called", ""),
        tells=float(settings.get("tells", 1.0)),
        shapes=settings.get("shapes", ""),
        keep=bool(settings.get("keep")),
        capital=bool(settings.get("capital")),
        digits=bool(settings.get("digits")),
        free=bool(settings.get("free")),
        across=int(settings.get("across", 1)),
        alone=bool(settings.get("alone", True)),
        named=bool(settings.get("named")),
        single=bool(settings.get("single")),
        silent=frozenset(map(phrase, settings.get("not", ()))),
        partly=frozenset(map(phrase, settings.get("partly", ()))),
        forms=forms(settings),
        among=forms(settings["among"]) if "among" in settings else None,
        adjective=forms(settings["adjective"]) if "adjective" in settings else None,
        values={
            phrase(value): forms(said) if isinstance(said, Mapping) else said
            for value, said in settings.get("values", {}).items()
        },
    )
