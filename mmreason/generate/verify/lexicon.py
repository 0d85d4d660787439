"""What a language's words claim, and which sequences of them a reason may be made of (``en.yaml``, ``zh.yaml``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise, product
from typing import Any, Literal

import yaml

from mmreason.generate.verify.words import Word, stem, stems_of, words_of

Tags = tuple[str, ...]
"""What one word can stand for in a shape: a word, a class in capitals, or the kind of a value in angle brackets."""

Cue = Literal["", "item", "user", "open", "nobody", "links"]
START, END, COMMA, NAME = "START", "END", "COMMA", "NAME"
FORMS = frozenset(["thing", "is", "does", "about", "praise"])
"""Names of facts that are phrases (:class:`mmreason.evidence.schema.Fact`)."""

_ARTICLES = frozenset(["a", "an", "the"])
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_SLOTS = ("{X}", "{D}", "{N}", "{V}", "{A}", "{K}", "{ts}", "{t}")
_PLAIN = {"{A}": NAME, "{K}": "THING", "{ts}": "THINGS", "{t}": "THING"}


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
    licensed: bool = False


@dataclass(slots=True)
class Lexicon:
    """One language's words, kinds of attributes and sequences that a reason may be made of.

    Attributes:
        by_first: First word → expressions that begin with it, the longest first.
        licensed: Words that a reason may use for something else than a claim.
        kinds: Name of an attribute → its kind, which tells how its values are said.
        names: Kind → the words for it.
        things: Domain → the words for its items.
        contractions: "you've" → "you have".
        sequences: Twos and threes of tags that may follow one another.
        nouns: A value and the noun behind it, and with the two words before: "has a red picture".
    """

    by_first: dict[str, list[Expression]] = field(default_factory=dict)
    licensed: set[str] = field(default_factory=set)
    kinds: dict[str, str] = field(default_factory=dict)
    names: dict[str, frozenset[str]] = field(default_factory=dict)
    things: dict[str, frozenset[str]] = field(default_factory=dict)
    contractions: dict[str, list[str]] = field(default_factory=dict)
    sequences: set[Tags] = field(default_factory=set)
    nouns: set[Tags] = field(default_factory=set)

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
        return any((*pair, c) in self.sequences for pair in pairs for c in behind)

    def frames(self, before: Tags, article: Tags, value: Tags, noun: Tags) -> bool:
        """Whether a verb or preposition may stand before an article, a value and its noun: "has a red picture"."""
        if not _ARTICLES.issuperset(article):
            return True
        pairs = [(v, n) for v in value for n in noun if (v, n) in self.nouns]
        return not pairs or any(
            (b, a, *pair) in self.nouns for b in before for a in article for pair in pairs
        )

    def license(self, sentence: Sequence[str]) -> None:
        """Take up every two and three tags that follow one another, and what stands before "a red *picture*"."""
        self.sequences.update(pairwise(sentence))
        self.sequences.update(zip(sentence, sentence[1:], sentence[2:], strict=False))
        for four in zip(sentence, sentence[1:], sentence[2:], sentence[3:], strict=False):
            if four[1] in _ARTICLES and four[2][0] == "<":
                self.nouns.update((four, four[2:]))

    def tags(self, text: str) -> list[str]:
        """A shape's words as tags, slots as they are; words that may stand anywhere are left out."""
        found: list[str] = []
        words = list(expanded(words_of(text), self.contractions))
        place = 0
        while place < len(words):
            slot = _slot(words, place)
            if slot:
                found.append(slot)
                place += 3
            elif words[place].is_mark:
                found.append(COMMA if words[place].lower in ",，、" else END)
                place += 1
            else:
                expression = self.longest(words, place)
                assert expression, f"{words[place].lower!r} of a shape is in no list"
                expression.licensed = True
                found += [expression.tag] if expression.tag else []
                place += len(expression.words)
        return found


def expanded(words: Iterable[Word], contractions: Mapping[str, Sequence[str]]) -> Iterator[Word]:
    """Words with "you've" as "you have"."""
    for word in words:
        whole = contractions.get(word.lower)
        if whole is None:
            yield word
        else:
            yield from (Word(part, part, word.start, word.end) for part in whole)


@cache
def lexicon(language: str) -> Lexicon:
    """The lexicon of a language; the English one where there is none."""
    file = files("mmreason.generate.verify").joinpath(f"{language.split('-')[0].lower() or 'en'}.yaml")
    if not file.is_file():
        return lexicon("en")
    # Every scalar is a word, "no" and "on" too.
    return _built(yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER))


def _built(read: Mapping[str, Any]) -> Lexicon:
    made = Lexicon(contractions={short: whole.split() for short, whole in read["contractions"].items()})
    known: dict[tuple[str, ...], Expression] = {}

    def expression(text: str) -> Expression:
        words = tuple(word.lower for word in expanded(words_of(text), made.contractions))
        return known.setdefault(words, Expression(words))

    for cue, texts in read["cues"].items():
        for text in texts:
            expression(text).cue = cue
    _claims(read, expression)
    for name, texts in read["classes"].items():
        for text in texts:
            expression(text).tag = name.upper()
    for domain, numbers in read["things"].items():
        made.things[domain] = frozenset(word for words in numbers.values() for word in words)
        for number, tag in (("one", "THING"), ("many", "THINGS")):
            for text in numbers[number]:
                expression(text).tag = tag
    for text in read["ignored"]:
        expression(text).licensed = True
    ignored = {expression(text).words for text in read["ignored"]}
    _license_words(read, known, ignored)
    _inherit(known)
    for found in known.values():
        made.by_first.setdefault(found.words[0], []).append(found)
    for expressions in made.by_first.values():
        expressions.sort(key=lambda e: -len(e.words))
    for kind, told in read["kinds"].items():
        made.names[kind] = frozenset(stem(name) for name in told.get("names", ()))
        made.kinds |= {" ".join(stems_of(name)): kind for name in told.get("names", ())}
    _license_shapes(made, read)
    made.licensed = {found.words[0] for found in known.values() if found.licensed and len(found.words) == 1}
    return made


def _claims(read: Mapping[str, Any], expression: Any) -> None:
    for name in ("quantities", "events"):
        attribute = {"quantities": "quantity", "events": "event"}[name]
        for value, texts in read[name].items():
            for text in texts:
                setattr(expression(text), attribute, value)
    for name, attribute in (("negations", "negates"), ("fits", "fits"), ("links", "links")):
        for text in read[name] if name != "links" else read["cues"]["links"]:
            setattr(expression(text), attribute, True)


def _inherit(known: Mapping[tuple[str, ...], Expression]) -> None:
    """What a word claims, an expression with it claims too: *most* of, *fits* right in."""
    for found in known.values():
        for word in found.words if len(found.words) > 1 else ():
            inner = known.get((word,), found)
            found.quantity = found.quantity or inner.quantity
            found.event = found.event or inner.event
            found.fits |= inner.fits


def _license_words(
    read: Mapping[str, Any], known: dict[tuple[str, ...], Expression], ignored: set[tuple[str, ...]]
) -> None:
    """Whatever a shape is made of, and whatever may stand for it, is licensed."""
    for found in known.values():
        found.licensed |= bool(found.tag) or found.cue in ("item", "user", "nobody", "open")
        if found.words in ignored:
            found.tag = ""
        elif not found.tag:
            found.tag = " ".join(found.words)
    kinds = [text for told in read["kinds"].values() for part in ("x", "d") for text in told.get(part, ())]
    for text in [*read["shapes"], *kinds, *read["item"]]:
        for slot in _SLOTS:
            text = text.replace(slot, " ")
        for word in words_of(text):
            if not word.is_mark:
                found = known.setdefault((word.lower,), Expression((word.lower,), word.lower))
                found.licensed = True


def _license_shapes(made: Lexicon, read: Mapping[str, Any]) -> None:
    fill: dict[str, dict[tuple[str, ...], None]] = {"{X}": {}, "{D}": {}, "{N}": {}, "{V}": {}}
    for kind, told in read["kinds"].items():
        texts = {"{X}": told.get("x", ()), "{D}": told.get("d", ()), "{N}": read["item"], "{V}": ["{V}"]}
        for slot, options in texts.items():
            for text in options:
                fill[slot][tuple(_filled(made.tags(text), f"<{kind}>"))] = None
    for options in fill.values():
        for option in options:
            made.license(option)
    for first, second in product(read["before"], [*read["before"], "category", "name"]):
        made.license([f"<{first}>", f"<{second}>"])
    for text in read["shapes"]:
        for piece in _pieces(made.tags(text)):
            _license_piece(
                made, [list(fill[tag]) if tag in fill else [(_PLAIN.get(tag, tag),)] for tag in piece]
            )


def _license_piece(made: Lexicon, parts: Sequence[Sequence[tuple[str, ...]]]) -> None:
    """License what stands on both sides of every seam; inside its parts a piece is licensed already."""
    first = [dict.fromkeys(_edge(option[:2], of=0) for option in part) for part in parts]
    last = [dict.fromkeys(_edge(option[-2:], of=-1) for option in part) for part in parts]
    for place in range(len(parts) - 1):
        for before, behind in product(last[place], first[place + 1]):
            made.license(before + behind)
            if len(behind) == 1 and place + 2 < len(parts) and not says(behind[0]):
                made.sequences.update((before[-1], *behind, after[0]) for after in first[place + 2])


def _edge(tags: tuple[str, ...], of: int) -> tuple[str, ...]:
    """Of two tags both if the outer one is a word of grammar, whose other neighbour counts, else the outer one."""
    return (tags[of],) if says(tags[of]) else tags


@cache
def says(tag: str) -> bool:
    """Whether a tag stands for something that is said, and not for a word of grammar."""
    return tag[0] == "<" or tag.isupper()


def _filled(tags: Iterable[str], value: str) -> list[str]:
    return [value if tag == "{V}" else _PLAIN.get(tag, tag) for tag in tags]


def _pieces(shape: Sequence[str]) -> Iterator[list[str]]:
    """A shape cut where a mark parts it, each piece with its start and end."""
    piece: list[str] = []
    for tag in [*shape, END]:
        if tag != END:
            piece.append(tag)
        elif piece:
            yield [START, *piece, END]
            piece = []


def _slot(words: Sequence[Word], place: int) -> str:
    if words[place].lower != "{" or place + 2 >= len(words):
        return ""
    inside = words[place + 1].lower
    return next((slot for slot in _SLOTS if slot[1:-1].lower() == inside), "")
