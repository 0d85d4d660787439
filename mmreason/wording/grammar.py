"""How the facts of a language and domain are said, from YAML files: in ``grammars/``, ``<language>[-<domain>].yaml``.

A file of a domain adds to the language's own or replaces parts of it; ``grammars/en.yaml`` explains the format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from mmreason.evidence.claims import phrase
from mmreason.evidence.schema import Fact
from mmreason.packaged import packaged_yaml
from mmreason.safety.untrusted import refusal
from mmreason.schema import DataError, Item
from mmreason.wording import english
from mmreason.wording.attributes import TEXTS, Attribute, Forms, parse_attribute

_NUMBER = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_NOT_SAID = re.compile(r"[%/;:|()\[\]{}\"“”<>=@#*_\\\n]|\s-\s")
_DIGIT = re.compile(r"\d")
_SEPARATORS = re.compile(r"[-_.]+")
_WORDS = re.compile(r"[^\W_]+")
_THIS = re.compile(r"\b[Tt]his (\w+)\b")
_SPACES = re.compile(r"  +")
_PARTS = re.compile(r"\s*(?:&|/|,|\band\b)\s*")
_LONGEST, _MOST_WORDS = 40, 4  # of an attribute's value; what is longer is no value but a sentence
_LONGEST_FREE, _MOST_WORDS_FREE = 70, 12


_NONE = Attribute("")


@dataclass(frozen=True, slots=True)
class Said(Forms):
    """A fact in words, its slots filled; ``does`` is for one thing.

    Attributes:
        attribute: What the fact is of.
        does_many: ``does`` of several things, or of a pair.
        place: Among the attribute's own ``values``: of two that make one noun the later one is the noun.
        parts: Of two facts that are said as one: what each is of.
    """

    attribute: Attribute = _NONE
    does_many: str = ""
    place: int = -1
    parts: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Thing:
    """What an item is called.

    Attributes:
        one: The word, in the singular if it has one; empty where nothing is known but that it is one.
        many: Its plural.
        paired: Spoken of in the plural: *these boots*.
        uncountable: Takes no article: *tea*.
        measure: Measure word, of languages that have some.
        known: Whether the item's attributes tell it.
    """

    one: str
    many: str
    paired: bool = False
    uncountable: bool = False
    measure: str = ""
    known: bool = True


@dataclass(frozen=True, eq=False)
class Grammar:
    """The wording of a language and domain.

    Example:
        >>> grammar = grammar_of("en", "shop")
        >>> said = grammar.say(Fact("a", "Colour", "Navy"))
        >>> said.before, said.after, said.does
        ('navy', 'in navy', 'comes in navy')
        >>> grammar.thing(Item("a", attributes={"category": ["Home > Mugs"]})).one
        'mug'
    """

    language: str
    attributes: Mapping[str, Attribute]
    shapes: Mapping[str, Sequence[str]]
    events: Mapping[str, Mapping[str, Any]]
    words: Mapping[str, Any]
    by_name: dict[str, Attribute] = field(default_factory=dict, init=False)
    by_known: dict[str, Attribute] = field(default_factory=dict, init=False)
    _nothing: set[str] = field(default_factory=set, init=False)
    _puffery: set[str] = field(default_factory=set, init=False)
    joins: set[str] = field(default_factory=set, init=False)
    order: dict[str, int] = field(default_factory=dict, init=False)
    _generic: dict[str, Thing] = field(default_factory=dict, init=False)
    uncountable: set[str] = field(default_factory=set, init=False)
    known_words: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.order.update((name, place) for place, name in enumerate(self.attributes))
        for attribute in self.attributes.values():
            self.by_name.update(dict.fromkeys(attribute.names, attribute))
            self.by_known.update(dict.fromkeys(attribute.known, attribute))
            self.known_words.update(word for known in attribute.known for word in known.split())
        self._nothing.update(map(phrase, self.words.get("nothing", ())))
        self.uncountable.update(self.words.get("uncountable", ()))
        self.joins.update(self.words.get("joins", ()))
        self._puffery.update(map(phrase, self.words.get("puffery", ())))

        for name, word in [*self.words.get("things", {}).items(), ("", self.words["thing"])]:
            one, many = word["one"], word.get("many", word["one"])
            self._generic[name] = Thing(one, many, measure=self.measure(one), known=False)

    def attribute(self, name: str, value: str) -> Attribute | None:
        """The attribute by its name in the catalogue, or by what its value is known to be."""
        return _attribute_of(self, name, value)

    def say(self, fact: Fact, among: bool = False) -> Said | None:
        """A fact in words; None if it cannot be said well.

        Args:
            fact: Any fact.
            among: The item has other values of this attribute, too.
        """
        return _say(self, fact.name, fact.value, among)

    def thing(self, item: Item) -> Thing:
        """What an item is called: its type or category in the singular, else the domain's word."""
        for name in self.words["called_by"]:
            for value in item.attributes.get(name, ()) or item.attributes.get(name.title(), ()):
                for level in reversed(value.split(" > ")):
                    thing = self._noun_in(level, item.title)
                    if thing is not None:
                        return thing
        generic = next((thing for name, thing in self._generic.items() if name in item.attributes), None)
        return (
            generic
            or (_of_text(self, item.text) if "text_things" in self.words else None)
            or self._generic[""]
        )

    def thing_of_text(self, item: Item) -> Thing:
        """As :meth:`thing`; of an item of which nothing tells that, the last word of its title, if its text uses it."""
        thing = self.thing(item)
        if thing.one or self.language != "en":
            return thing
        return _of_title(self, item.title, item.text) or thing

    def noun(self, value: str) -> Thing | None:
        """A category as the name of a thing; None if it is none ("Sale", "Home & Garden")."""
        return _noun(self, value)

    def can_be_named(self, value: str) -> bool:
        """Whether a category may stand in a sentence as the catalogue writes it."""
        short = len(value) <= _LONGEST and value.count(" ") < _MOST_WORDS and value.isprintable()
        return short and not (_NOT_SAID.search(value) or refusal(value) or self.is_nothing(value))

    def is_nothing(self, value: str) -> bool:
        """Whether a value tells nothing ("other", "n/a") or only praises ("the ultimate comfort")."""
        plain = phrase(value)
        return plain in self._nothing or not self._puffery.isdisjoint(_WORDS.findall(plain))

    def _noun_in(self, level: str, title: str) -> Thing | None:
        parts = _PARTS.split(level)
        if len(parts) == 1:
            return self.noun(level)
        nouns = [noun for part in parts if (noun := self.noun(part))]
        return next((noun for noun in nouns if noun.one in title.lower()), None)

    def measure(self, noun: str) -> str:
        """The measure word of a noun, by its end; of languages that have none empty."""
        measures: Mapping[str, str] = self.words.get("measures", {})
        return next((measures[end] for end in measures if end and noun.endswith(end)), measures.get("", ""))


@cache
def grammar_of(language: str, domain: str = "") -> Grammar | None:
    """The grammar of a language and domain; of a domain without a file the language's own.

    Args:
        language: ``en``, ``zh`` …; of ``en-GB`` the first part counts.
        domain: An item's domain, or another name of one that has a file.

    Returns:
        None if the language has no file.
    """
    language = language.lower().partition("-")[0].partition("_")[0]
    whole = _read(language)
    if whole is None:
        return None
    domain = phrase(domain)
    more = _read(f"{language}-{whole.get('domains', {}).get(domain, domain)}") if domain.isalnum() else None
    return parse_grammar(_merged(whole, more) if more else whole)


def parse_grammar(settings: Mapping[str, Any]) -> Grammar:
    """A grammar of what YAML files hold.

    Raises:
        DataError: If a part is missing or unknown.
    """
    for part in ("language", "attributes", "shapes", "events", "thing", "called_by"):
        if part not in settings:
            raise DataError(f"grammar has no {part!r}; see mmreason/wording/grammars/en.yaml")
    attributes = {name: parse_attribute(name, of) for name, of in settings["attributes"].items() if of}
    words = {
        name: value
        for name, value in settings.items()
        if name not in ("attributes", "shapes", "events", "domains")
    }
    return Grammar(settings["language"], attributes, settings["shapes"], settings["events"], words)


def fill(text: str, slots: Mapping[str, str]) -> str:
    """A text with its slots filled; spaces around empty ones collapse.

    Example:
        >>> fill("with {a} {v}", {"a": "", "v": "two pockets"})
        'with two pockets'
    """
    filled = text.format_map(slots).strip()
    return _SPACES.sub(" ", filled) if "  " in filled else filled


def slots_of(text: str) -> tuple[str, ...]:
    """The names of a text's slots."""
    return tuple(_SLOT.findall(text))


def _read(name: str) -> dict[str, Any] | None:
    path = files("mmreason.wording").joinpath("grammars", f"{name}.yaml")
    return packaged_yaml("mmreason.wording", "grammars", path.name) if path.is_file() else None


def _merged(whole: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``more`` on top of ``whole``: mappings are merged, null takes away, all else is replaced."""
    merged = dict(whole)
    for name, value in more.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merged(old, value)
        merged[name] = value
    return {name: value for name, value in merged.items() if value is not None}


@lru_cache(maxsize=65_536)
def _attribute_of(grammar: Grammar, name: str, value: str) -> Attribute | None:
    named = grammar.by_name.get(_SEPARATORS.sub(" ", phrase(name)))
    if named is not None and not named.free:
        return named
    words = phrase(value).split(" ")
    if len(words) > _MOST_WORDS or not grammar.joins.isdisjoint(words):
        return named
    ends = (" ".join(words[start:]) for start in range(len(words)))
    return next((grammar.by_known[end] for end in ends if end in grammar.by_known), named)


@lru_cache(maxsize=65_536)
def _say(grammar: Grammar, name: str, value: str, among: bool) -> Said | None:
    attribute = grammar.attribute(name, value)
    if attribute is None or not _can_be_said(grammar, attribute, value):
        return None
    said = attribute.values.get(phrase(value), value)
    if said is None:
        return None
    forms = attribute.forms
    if among and phrase(value) in attribute.partly:
        return None
    if isinstance(said, Forms):
        forms, said = said, value
    elif among and attribute.among:
        forms = attribute.among
    if attribute.free and grammar.language == "en":
        said = "" if "{a}" in forms.after and english.is_no_noun(said) else english.whole_phrase(said)
    text = said if attribute.keep else _small(grammar, said)
    if attribute.capital and text == text.lower():
        text = text.title()
    if forms is attribute.forms and attribute.adjective and (english.is_adjective(text) or not _any(forms)):
        if not english.is_adjective(text) and phrase(value) not in attribute.known:
            return None
        forms = replace(forms, **{f: getattr(attribute.adjective, f) for f in TEXTS})
    if not text or not _any(forms):
        return None
    own = [*attribute.values]
    place = own.index(phrase(value)) if phrase(value) in attribute.values else -1
    return _filled(grammar, attribute, forms, name, text, place)


def _any(forms: Forms) -> bool:
    return any(getattr(forms, f) for f in TEXTS)


def _can_be_said(grammar: Grammar, attribute: Attribute, value: str) -> bool:
    """Whether a value is short running text: no code, list, sentence or number."""
    plain = phrase(value)
    if plain in attribute.values:
        return True
    longest, most = (_LONGEST_FREE, _MOST_WORDS_FREE) if attribute.free else (_LONGEST, _MOST_WORDS)
    if not plain or len(plain) > longest or plain.count(" ") >= most or _NOT_SAID.search(value):
        return False
    if not value.isprintable() or (
        _DIGIT.search(value) and not (attribute.digits or attribute.keep or attribute.free)
    ):
        return False
    if plain.startswith(("http", "www.")) or (not any(map(str.isalpha, plain)) and not attribute.digits):
        return False
    words = _WORDS.findall(plain)
    if not words or not grammar.joins.isdisjoint((words[0], words[-1])):
        return False
    return attribute.silent.isdisjoint([plain, *words]) and not grammar.is_nothing(plain)


def _small(grammar: Grammar, value: str) -> str:
    """A value as it is written within a sentence."""
    if grammar.language != "en":
        return value
    words = (w.capitalize() if w.isupper() and len(w) > 3 else w for w in value.split())
    return " ".join(w.lower() if _is_known(grammar, w.lower()) else english.in_sentence(w) for w in words)


def _is_known(grammar: Grammar, word: str) -> bool:
    """Whether a word is a value that the grammar knows, or ends with one: *lambswool*."""
    known = grammar.known_words
    return word in known or any(word[start:] in known for start in range(2, len(word) - 3))


def _filled(
    grammar: Grammar, attribute: Attribute, forms: Forms, name: str, text: str, place: int
) -> Said | None:
    """The forms with a value in their slots; None if one needs a noun and the value is none."""
    last = _WORDS.findall(text.lower())[-1:]
    called = "" if last and phrase(name).startswith(last[0]) else phrase(name)  # V-neck says neckline
    slots = {"v": text, "name": called, "a": "", "v_one": text, "v_many": text, "verb": text}
    verb_of_many = text
    if grammar.language == "en":
        head = slots["name"] if "{name}" in forms.after else ""
        slots["a"] = english.article_of(text, grammar.uncountable, head)
        if any("{v_many}" in getattr(forms, name) for name in TEXTS):
            noun = grammar.noun(text)
            if noun is None:
                return None
            slots |= {"v_one": noun.one, "v_many": noun.many}
        if "{verb}" in forms.does:
            verb_of_many = english.verb_of_many(text)
    done = {name: fill(_NUMBER.sub(r"\1", getattr(forms, name)), slots) for name in TEXTS}
    many = fill(_NUMBER.sub(r"\2", forms.does), {**slots, "verb": verb_of_many})
    return Said(**done, attribute=attribute, does_many=many, place=place, parts=())


@lru_cache(maxsize=16_384)
def _of_text(grammar: Grammar, text: str) -> Thing | None:
    """What a text calls its item: *this book*."""
    said = (match[1].lower() for match in _THIS.finditer(text))
    return next((grammar.noun(word) for word in said if word in grammar.words["text_things"]), None)


@lru_cache(maxsize=16_384)
def _of_title(grammar: Grammar, title: str, text: str) -> Thing | None:
    """The last word of a title whose text says it of the item, too: *this rope*, of "a jump rope enables …"."""
    last = _WORDS.findall(title)[-1:]
    word = last[0].lower() if last else ""
    if not re.search(rf"\b(?:[Tt]he|[Tt]his|[Aa]n?)\s(?:[a-z\d-]+\s){{0,2}}{word}\b", text) or not word:
        return None
    thing = grammar.noun(word) if word not in grammar.uncountable else None
    return replace(thing, known=False) if thing and (thing.paired or thing.one == word) else None


@lru_cache(maxsize=16_384)
def _noun(grammar: Grammar, value: str) -> Thing | None:
    if _NOT_SAID.search(value) or _DIGIT.search(value) or len(value) > _LONGEST or "&" in value:
        return None
    if not value.isprintable() or refusal(value):
        return None
    if grammar.language != "en":
        return Thing(value, value, measure=grammar.measure(value))
    words = [w for w in _small(grammar, value).split() if w.lower() not in grammar.words.get("without", ())]
    if not 0 < len(words) <= 3:
        return None
    words[-1] = last = words[-1].lower() if words[-1][1:].islower() else words[-1]
    text = " ".join(words)
    nothing = set(grammar.words.get("not_things", ()))
    if last in nothing or text.lower() in nothing or not english.is_noun(last):
        return None
    if last in grammar.uncountable:
        return Thing(text, text, uncountable=True)
    one = english.singular(text)
    return Thing(one, english.plural(one), paired=last in english.PAIRS)
