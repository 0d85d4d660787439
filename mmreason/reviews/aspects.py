"""The aspect lexicon: what reviews talk about, in a file that a person reads and edits.

It starts from the seed that comes with the package and grows by what the catalogue and its reviews hold: an
attribute's values become terms of an aspect of its name, and nouns that many reviews judge become aspects of
their own. Written once, the file is what later runs read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from mmreason.files import atomic_write
from mmreason.language import COMMON, phrase, stem_of_plural
from mmreason.schema import DataError, Item

WORD_KINDS = ("terms", "good", "bad")
HEADER = """\
# What reviews of this catalogue talk about; `mmreason mine-reasons` reads this file if it is here, and learns it
# if it is not. Edit it freely: move a term to another aspect, delete what is noise, add your own, in any language.
#   terms   words that name the aspect; an opinion beside them is about it
#   good    words that name the aspect and praise it at once ("comfy"); bad: those that blame it
#   why     false for what is no reason to want an item (delivery, price of the day)
#   said    what its praise is called, a word a language; not given: by the term that most people praise; []: never
#   seen    reviews that name the aspect when this file was learned; only for you to read
# opinions.good and .bad judge whatever aspect they stand beside; opinions.ignore judges nothing.
# item_words name the item itself: "a great bag" is no aspect.
"""
_WORD = re.compile(r"[^\W\d_][\w-]+")
_ITEM_KINDS = (
    "category",
    "kind",
    "type",
    "gender",
    "genre",
    "brand",
)  # attributes that name the item, not an aspect


@dataclass(slots=True)
class Aspect:
    """One thing that reviews judge.

    Attributes:
        terms: Words that name it.
        good: Words that name and praise it at once.
        bad: Words that name and blame it at once.
        why: Whether it can be a reason to want an item.
        said: What its praise is called, a word a language; None: by the term that most people praise.
        seen: In how many reviews it was named when the lexicon was learned.
    """

    terms: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    why: bool = True
    said: list[str] | None = None
    seen: int = 0


@dataclass(slots=True)
class Lexicon:
    """Aspects by name, general opinion words, and the words that name an item.

    Example:
        >>> lexicon = Lexicon.seed()
        >>> "comfy" in lexicon.aspects["comfort"].good, lexicon.aspects["delivery"].why
        (True, False)
    """

    aspects: dict[str, Aspect]
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)
    item_words: list[str] = field(default_factory=list)

    @classmethod
    def seed(cls) -> Lexicon:
        """What the package knows before it has seen a catalogue, English and Chinese."""
        source = files("mmreason.reviews") / "aspects_seed.yaml"
        return _parse(source.read_text(encoding="utf-8"), source.name)

    @classmethod
    def read(cls, path: Path) -> Lexicon:
        """Read a file that :meth:`write` wrote and a person may have edited.

        Raises:
            DataError: Naming the file and the aspect that is not as it should be.
        """
        try:
            return _parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}); mend or delete it") from None

    def write(self, path: Path) -> None:
        """Write YAML, aspects named by most reviews first, to a temporary name first."""
        ordered = sorted(self.aspects.items(), key=lambda pair: (not pair[1].why, -pair[1].seen, pair[0]))
        record: dict[str, Any] = {"aspects": {name: _record(aspect) for name, aspect in ordered}}
        record["opinions"] = {"good": self.good, "bad": self.bad, "ignore": self.ignore}
        record["item_words"] = self.item_words
        text = yaml.safe_dump(record, allow_unicode=True, sort_keys=False, width=110, default_flow_style=None)
        with atomic_write(path) as file:
            file.write((HEADER + text).encode())

    def add_attributes(self, items: Iterable[Item]) -> None:
        """Make the catalogue's attribute values terms, and the last words of titles and categories item words.

        Values go to the aspect of which the attribute's name is a term ("color": look), else to one of its name.
        """
        facts: dict[tuple[str, str], None] = {}  # in the order found
        last_words: dict[str, None] = {}
        for item in items:
            facts |= {(name, phrase(v)): None for name, values in item.facts().items() for v in values}
            last_words |= dict.fromkeys(_WORD.findall(phrase(item.title)[-40:])[-1:])
        naming = [value for name, value in facts if name.lower() in _ITEM_KINDS]
        words = [word for value in naming for word in _WORD.findall(value)[-1:]]
        self.item_words = list(dict.fromkeys((*self.item_words, *words, *last_words)))
        known = self._words()
        home = {phrase(term): name for name, aspect in self.aspects.items() for term in aspect.terms}
        for name, value in facts:
            plain = (
                stem_of_plural(value) not in known
                and value not in COMMON
                and len(value) > 1
                and not value.isdigit()
            )
            if plain and name.lower() not in _ITEM_KINDS:
                known.add(stem_of_plural(value))
                self.aspects.setdefault(home.get(phrase(name), name), Aspect()).terms.append(value)

    def add_nouns(self, counts: Mapping[str, int], min_reviews: int) -> None:
        """Make each noun phrase that at least ``min_reviews`` reviews judge an aspect of its own."""
        known = self._words() | {stem_of_plural(name) for name in self.aspects}
        for noun, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
            if count >= min_reviews and stem_of_plural(noun) not in known:
                self.aspects[noun] = Aspect(terms=[noun])

    def _words(self) -> set[str]:
        """Every word that has its place already."""
        words = [
            word for aspect in self.aspects.values() for kind in WORD_KINDS for word in getattr(aspect, kind)
        ]
        words += [*self.good, *self.bad, *self.ignore, *self.item_words]
        return {stem_of_plural(phrase(word)) for word in words}


def _record(aspect: Aspect) -> dict[str, Any]:
    record: dict[str, Any] = {} if aspect.why else {"why": False}
    record |= {} if aspect.said is None else {"said": aspect.said}
    record |= {kind: getattr(aspect, kind) for kind in WORD_KINDS if getattr(aspect, kind)}
    return record | ({"seen": aspect.seen} if aspect.seen else {})


def _parse(text: str, name: str) -> Lexicon:
    try:
        record = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{name} is not YAML ({' '.join(str(error).split())}); mend or delete it") from None
    if not isinstance(record, dict) or not isinstance(record.get("aspects"), dict):
        raise DataError(f"{name} holds no `aspects:`; mend it, or delete it to learn it anew")
    aspects = {str(key): _aspect(str(key), value or {}, name) for key, value in record["aspects"].items()}
    opinions = record.get("opinions") or {}
    if not isinstance(opinions, dict):
        raise DataError(f"{name}: opinions is not good, bad and ignore; mend it")
    good, bad, ignore = (
        _words(opinions.get(kind), f"{name}: opinions.{kind}") for kind in ("good", "bad", "ignore")
    )
    return Lexicon(aspects, good, bad, ignore, _words(record.get("item_words"), f"{name}: item_words"))


def _aspect(key: str, value: Any, name: str) -> Aspect:
    if not isinstance(value, dict) or set(value) - {*WORD_KINDS, "why", "said", "seen"}:
        raise DataError(f"{name}: aspect {key!r} may hold terms, good, bad, why, said and seen; mend it")
    if not isinstance(value.get("why", True), bool) or not isinstance(value.get("seen", 0), int):
        raise DataError(f"{name}: aspect {key!r}: why is true or false and seen a number; mend it")
    words = {kind: _words(value.get(kind), f"{name}: {key}.{kind}") for kind in WORD_KINDS}
    said = None if value.get("said") is None else _words(value["said"], f"{name}: {key}.said")
    return Aspect(**words, why=value.get("why", True), said=said, seen=value.get("seen", 0))


def _words(value: Any, place: str) -> list[str]:
    """A list of words; YAML's own readings of "no", "on" and numbers are taken back to text."""
    if not isinstance(value or [], list) or any(isinstance(word, dict | list) for word in value or []):
        raise DataError(f"{place} is not a list of words; mend it")
    plain = {True: "yes", False: "no"}
    texts = (plain[word] if isinstance(word, bool) else str(word).strip() for word in value or [])
    return list(dict.fromkeys(text for text in texts if text))
