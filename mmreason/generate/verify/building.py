"""The lexicon of a language, built from its file here (``en.yaml`` …) and from the grammars that the writers use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import yaml

from mmreason.generate.verify.grammars import Wording, wording_of
from mmreason.generate.verify.lexicon import (
    COMMA,
    END,
    FREE,
    NAME,
    START,
    Expression,
    Lexicon,
    act_or_thing,
    expanded,
    says,
)
from mmreason.generate.verify.words import Word, stem, stems_of, words_of

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_SLOTS = {slot.lower(): slot for slot in ("X", "D", "N", "W", "P", "V", "A", "K", "O", "M", "ts", "t")}
_PLAIN = {"{A}": NAME, "{K}": "THING", "{ts}": "THINGS", "{t}": "THING", "{O}": "<name>", "{M}": "MEASURE"}
_SAID = {"{X}": "x", "{D}": "d", "{W}": "w", "{P}": "p"}
_CLASSES = {
    **{name: (name,) for name in (START, END, COMMA)},
    "noun": ("THING", "THINGS", NAME, "PICKS", "TASTE"),
    "verb": ("VERB", "KEEP", "LEANS", "GOES"),
    "doing": ("DOING",),
    "several": ("SEVERAL",),
    "conj": ("BECAUSE", "AFTER"),
    "phrase": ("FIT", "PLEASE", "WE", "<=after>", "<=rest>", "<=does>", "<does>"),
}

Fill = dict[str, dict[tuple[str, ...], None]]
"""Slot → the tags that may stand for it."""


@cache
def lexicon(language: str) -> Lexicon:
    """The lexicon of a language; the English one where there is none."""
    language = language.lower().partition("-")[0].partition("_")[0]
    file = files("mmreason.generate.verify").joinpath(f"{language}.yaml")
    if not language or not file.is_file():
        return lexicon("en")
    # Every scalar is a word, "no" and "on" too.
    read = yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER)
    return _Builder(read, wording_of(language)).built()


class _Builder:
    def __init__(self, read: Mapping[str, Any], wording: Wording) -> None:
        self.read = read
        self.wording = wording
        self.made = Lexicon(
            contractions={short: whole.split() for short, whole in read["contractions"].items()}
        )
        self.known: dict[tuple[str, ...], Expression] = {}
        self.shapes = [*read["shapes"], *wording.shapes]
        self.kinds: Mapping[str, Mapping[str, Sequence[str]]] = read["kinds"]

    def built(self) -> Lexicon:
        made = self.made
        made.refused = frozenset(self.read["refused"])
        made.commas_end = self.read.get("commas") == "end"
        self._claims()
        self._classes()
        self._things()
        self._license_words()
        self._free()
        self._inherit()
        for found in self.known.values():
            made.by_first.setdefault(found.words[0], []).append(found)
        for expressions in made.by_first.values():
            expressions.sort(key=lambda e: -len(e.words))
        for kind, told in self.kinds.items():
            made.names[kind] = frozenset(stem(name) for name in told.get("names", ()))
            made.kinds |= {" ".join(stems_of(name)): kind for name in told.get("names", ())}
        self._license_shapes()
        made.licensed = {e.words[0] for e in self.known.values() if e.licensed and len(e.words) == 1}
        return made

    def _expression(self, text: str) -> Expression:
        words = tuple(word.lower for word in expanded(words_of(text), self.made.contractions))
        return self.known.setdefault(words, Expression(words))

    def _claims(self) -> None:
        for cue, texts in self.read["cues"].items():
            for text in texts:
                self._expression(text).cue = cue
        for group, attribute in (("quantities", "quantity"), ("events", "event")):
            for value, texts in self.read[group].items():
                for text in texts:
                    setattr(self._expression(text), attribute, value)
        for group in ("negates", "fits", "links", "others"):
            for text in self.read[group]:
                setattr(self._expression(text), group, True)

    def _classes(self) -> None:
        """Words that stand for one another: a class of what is said, or of words of grammar ("is" and "are")."""
        for name, texts in self.read["classes"].items():
            for text in texts:
                self._expression(text).tag = name.upper()
        for texts in self.read["same"]:
            for text in texts:
                self._expression(text).tag = texts[0]

    def _things(self) -> None:
        made = self.made
        made.domains = dict(self.wording.domains)
        for things in (self.read["things"], self.wording.things):
            for domain, numbers in things.items():
                told = frozenset(word for words in numbers.values() for word in words if word)
                made.things[domain] = made.things.get(domain, frozenset()) | told
                for number, tag in (("one", "THING"), ("many", "THINGS")):
                    for text in numbers[number]:
                        if words_of(text):
                            self._expression(text).tag = tag

    def _license_words(self) -> None:
        """Whatever a shape is made of, and whatever may stand for it, is licensed."""
        ignored = {self._expression(text).words for text in self.read["ignored"]}
        for found in self.known.values():
            found.licensed |= bool(found.tag) or bool(found.cue) or found.words in ignored
            if found.words in ignored:
                found.tag = ""
            elif not found.tag:
                found.tag = " ".join(found.words)
        said = [
            text for told in self.kinds.values() for part in _SAID.values() for text in told.get(part, ())
        ]
        for text in [*self.shapes, *said, *self.read["item"]]:
            words = words_of(text)
            for place, word in enumerate(words):
                if not word.is_mark and not (place and words[place - 1].lower == "{"):
                    self.known.setdefault(
                        (word.lower,), Expression((word.lower,), word.lower)
                    ).licensed = True

    def _free(self) -> None:
        """Words by class; what a shape or list has keeps its tag."""
        made = self.made
        made.never = {name: frozenset(behind) for name, behind in self.read.get("never", {}).items()}
        made.classes.update({tag: name for name, tags in _CLASSES.items() for tag in tags})
        for name, texts in self.read.get("free", {}).items():
            for text in texts:
                found = self._expression(text)
                if not found.licensed:
                    found.licensed, found.tag = True, f"{FREE}{name}"
                if found.tag:
                    made.classes.setdefault(found.tag, name)

    def _inherit(self) -> None:
        """What a word claims, an expression with it claims too: *most* of, *fits* right in; not of other people."""
        for found in self.known.values():
            for word in found.words if len(found.words) > 1 and not found.others else ():
                inner = self.known.get((word,), found)
                found.quantity = found.quantity or inner.quantity
                found.event = found.event or inner.event
                found.fits |= inner.fits

    def _license_shapes(self) -> None:
        made = self.made
        fill: Fill = {slot: {} for slot in ("{N}", "{V}", *_SAID)}
        for kind, told in self.kinds.items():
            texts = {slot: told.get(part, ()) for slot, part in _SAID.items()}
            for slot, options in {**texts, "{N}": self.read["item"], "{V}": ["{V}"]}.items():
                for text in options:
                    fill[slot][tuple(_filled(self._tags(text), f"<{kind}>"))] = None
        for options in fill.values():
            for option in options:
                made.license(option)
                made.license_noun(option)
        before = self.read["before"]
        for first, second in product(before, [*before, "category", "name", "=one"]):
            made.license([f"<{first}>", f"<{second}>"])
        pieces = {tuple(piece): None for text in self.shapes for piece in _pieces(self._tags(text))}
        for piece in pieces:
            _license_piece(
                made, [list(fill[tag]) if tag in fill else [(_PLAIN.get(tag, tag),)] for tag in piece]
            )

    def _tags(self, text: str) -> list[str]:
        """A shape's words as tags, slots as they are; words that may stand anywhere are left out."""
        found: list[str] = []
        words = list(expanded(words_of(text), self.made.contractions))
        place = 0
        while place < len(words):
            slot = _slot(words, place)
            if slot:
                found.append(slot)
                place += 3
            elif words[place].is_mark:
                if words[place].lower not in '“”"《》「」':
                    found.append(COMMA if words[place].lower in ",，、" else END)
                place += 1
            else:
                expression = self.made.longest(words, place)
                assert expression, f"{words[place].lower!r} of a shape is in no list"
                expression.licensed = True
                if expression.tag:
                    found.append(act_or_thing(found[-1] if found else "", expression.tag))
                place += len(expression.words)
        return found


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
    slot = _SLOTS.get(words[place + 1].lower, "")
    return f"{{{slot}}}" if slot else ""
