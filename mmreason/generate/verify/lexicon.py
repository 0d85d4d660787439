"""What a language's words claim, and which sequences of them a reason may be made of (``en.yaml``, ``zh.yaml``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Literal

from mmreason.generate.verify.words import Word, stems_of

Tags = tuple[str, ...]
"""What one word can stand for in a shape: a word, a class in capitals, or the kind of a value in angle brackets."""

Cue = Literal["", "item", "user", "open", "nobody", "links"]
START, END, COMMA, NAME = "START", "END", "COMMA", "NAME"
FREE = "~"
"""Begins the tag of a word that claims nothing and stands in no shape; behind it its class: ``~noun``."""
FORMS = frozenset(["thing", "is", "does", "about", "praise"])
"""Names of facts that are phrases (:class:`mmreason.evidence.schema.Fact`)."""

_ARTICLES = frozenset(["a", "an", "the"])
_NOUNS = ("THING", "THINGS")
_NOUN_LIKE = frozenset(["noun", "value", "phrase", START, COMMA])
_FRAMING = frozenset(["verb", "doing", "prep", "aux"])  # what a value behind it is said by


@dataclass(slots=True)
class Expression:
    """A word, or several that mean something together, and what they claim.

    Attributes:
        words: In lower case.
        tag: What it counts as in a shape; empty if it may stand anywhere.
        cue: Whose claims follow: ``item``, ``user``, ``open`` (the next cue
            tells) or ``nobody``; empty if it tells nothing.
        quantity: How much of a history it needs.
        event: Which event it tells of.
        negates: Whether it turns a claim round.
        fits: Whether it says that the item goes with a person.
        links: Whether it says that the item goes with another one.
        others: Whether it says that other people take both.
        licensed: Whether a reason may use it at all.
    """

    words: tuple[str, ...]
    tag: str = ""
    cue: Cue = ""
    quantity: str = ""
    event: str = ""
    negates: bool = False
    fits: bool = False
    links: bool = False
    others: bool = False
    licensed: bool = False


@dataclass(slots=True, eq=False)
class Lexicon:
    """One language's words, kinds of attributes and sequences that a reason may be made of.

    Attributes:
        by_first: First word → expressions that begin with it, the longest first.
        licensed: Words that a reason may use for something else than a claim.
        refused: Words that no reference can license.
        kinds: Name of an attribute → its kind, which tells how its values are said.
        names: Kind → the words for it.
        things: Domain → the words for its items.
        domains: Other names of domains.
        commas_end: Whether what is behind a comma speaks of the item again, unless a cue tells.
        contractions: "you've" → "you have".
        sequences: Twos and threes of tags that may follow one another.
        nouns: A value and the noun behind it, and with the two words before: "has a red picture".
        classes: Tag → class of words: ``noun`` …
        never: Class → classes that never follow it; where none is told, shapes alone tell the order.
    """

    by_first: dict[str, list[Expression]] = field(default_factory=dict)
    licensed: set[str] = field(default_factory=set)
    refused: frozenset[str] = frozenset()
    kinds: dict[str, str] = field(default_factory=dict)
    names: dict[str, frozenset[str]] = field(default_factory=dict)
    things: dict[str, frozenset[str]] = field(default_factory=dict)
    domains: dict[str, str] = field(default_factory=dict)
    commas_end: bool = False
    contractions: dict[str, list[str]] = field(default_factory=dict)
    sequences: set[Tags] = field(default_factory=set)
    nouns: set[Tags] = field(default_factory=set)
    classes: dict[str, str] = field(default_factory=dict)
    never: dict[str, frozenset[str]] = field(default_factory=dict)

    def longest(self, words: Sequence[Word], place: int) -> Expression | None:
        """The longest expression that begins at a word."""
        for found in self.by_first.get(words[place].lower, ()):
            n = len(found.words)
            if n == 1:
                return found
            if (
                place + n <= len(words)
                and words[place + 1].lower == found.words[1]
                and all(words[place + i].lower == found.words[i] for i in range(2, n))
            ):
                return found
        return None

    def kind(self, name: str, is_phrase: bool = False) -> str:
        """The kind of an attribute by its name: how its values are said."""
        if is_phrase and name in FORMS:
            return name
        return self.kinds.get(" ".join(stems_of(name)), "other")

    def follows(self, before: Tags, here: Tags, behind: Tags) -> bool:
        """Whether words in this order are licensed: by twos around what is said, by threes around words of grammar."""
        pairs = [(a, b) for a in before for b in here if (a, b) in self.sequences]
        if any(says(b) for _, b in pairs):
            return True
        if any((*pair, c) in self.sequences for pair in pairs for c in behind):
            return True
        if not self.never:
            return _is_free(before) or _is_free(here) or (bool(pairs) and _is_free(behind))
        if self._class(before) in _NOUN_LIKE and any(
            (noun, a, b) in self.sequences for noun in _NOUNS for a in here for b in behind
        ):
            return True  # transport *in Northport*, as things *in Northport*
        return self._may_follow(before, here, behind)

    def _may_follow(self, before: Tags, here: Tags, behind: Tags) -> bool:
        """Whether words of their classes follow one another in the language, where no shape tells."""
        first, second, third = map(self._class, (before, here, behind))
        if second in self.never.get(first, ()) or third in self.never.get(second, ()):
            return False
        if _is_free(before):
            return True
        if second in _FRAMING and third == "value" and not _is_free(here):
            return False  # what stands before a value's own verb or preposition matters
        if second == "value" and first in _FRAMING:
            return False
        return (
            _is_free(here)
            or here[0] == NAME
            or (bool(first and second) and not (before[0][0] == "<" and second == "noun"))
        )

    def _class(self, tags: Tags) -> str:
        """The class of a word by what it can stand for; empty if none is told."""
        if not tags:
            return ""
        if not set(_NOUNS).isdisjoint(tags):
            return "noun"
        return self.classes.get(tags[0], "value" if tags[0][0] == "<" else "")

    def are_strange(self, words: Tags, domain: str) -> bool:
        """Whether they name a thing that no item of a domain is: a *story*, of a shop's piece."""
        domain = self.domains.get(domain.lower(), domain.lower())
        if domain not in self.things or not any(words[0] in those for those in self.things.values()):
            return False
        return words[0] not in self.things[domain] and words[0] not in self.things.get("", ())

    def frames(self, before: Tags, article: Tags, value: Tags, noun: Tags) -> bool:
        """Whether a verb or preposition may stand before an article, a value and its noun: "has a red picture"."""
        if not _ARTICLES.issuperset(article):
            return True
        pairs = [(v, n) for v in value for n in noun if (v, n) in self.nouns]
        return not pairs or any(
            (b, a, *pair) in self.nouns for b in before for a in article for pair in pairs
        )

    def license(self, sentence: Sequence[str]) -> None:
        """Take up every two and three tags that follow one another."""
        self.sequences.update(pairwise(sentence))
        self.sequences.update(zip(sentence, sentence[1:], sentence[2:], strict=False))

    def license_noun(self, said: Sequence[str]) -> None:
        """Take up what may stand before "a red *picture*", of a text that ends so."""
        end = tuple(said[-4:])
        if len(end) == 4 and end[1] in _ARTICLES and end[2][0] == "<" and not says(end[3]):
            self.nouns.update((end, end[2:]))


def _is_free(tags: Tags) -> bool:
    return bool(tags) and tags[0][0] == FREE


def expanded(words: Iterable[Word], contractions: Mapping[str, Sequence[str]]) -> Iterator[Word]:
    """Words with "you've" as "you have"."""
    for word in words:
        whole = contractions.get(word.lower)
        if whole is None:
            yield word
        else:
            yield from (Word(part, part, word.start, word.end) for part in whole)


def act_or_thing(before: str, tag: str) -> str:
    """The tag of a word that is a verb behind "you": "you *book* hotels"; elsewhere it names a thing."""
    return "VERB" if before == "you" and tag in ("THING", "THINGS") else tag


@cache
def says(tag: str) -> bool:
    """Whether a tag stands for something that is said, and not for a word of grammar."""
    return tag[0] == "<" or tag.isupper()
