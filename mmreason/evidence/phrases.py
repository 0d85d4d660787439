"""Phrases of an item's text that say something of it, each with its place: "adjustable hood", "keeps you dry".

English by rules over what part of speech a word can be (lemminflect's dictionary): no parser, some thousand texts a
second. A phrase is found where a text says what its item has, is or does:

- a line of a list: ``Adjustable drawstring hood``, ``Machine washable``;
- behind a word such as *with*, *features*, *made of*: ``a jacket with two zip pockets``;
- behind the item as the subject: ``It keeps your hands free``;
- behind *about*, of films, books and news: ``a comedy about two brothers``.

What speaks of price, stock, delivery, promotion or contact, or to a machine, is no phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Form = Literal["thing", "is", "does", "about"]

MOST_WORDS, MOST_CLAUSE = 9, 14
"""Of a noun phrase, and of one with a verb; what is longer is a sentence of its own."""

_UNIT = re.compile(r"[^\n.!?;•]+(?:\.(?=\w)[^\n.!?;•]*)*")
_TOKEN = re.compile(r"[^\W_]+(?:['’\-‑/.][^\W_]+)*%?[®™©]?|[^\w\s]")
_LABEL = re.compile(r"\s*[-*–·•]*\s*([\w /&-]{2,30}):\s+(?=\S)")

_CLOSED = {
    "D": "a an the this that these those its their our your his her any some no each every all both another such",
    "P": "with of for in on at from by to into over under without through against between within across around",
    "C": "and or & plus but nor",
    "W": "i we us me he she they them it you who which what whose that there here this",
    "X": "is are was were be been being am has have had do does did will would can could may might must shall should",
    "R": "very extra super fully ultra quite highly easily perfectly slightly lightly completely always never also "
    "well twice equally just only even not more most less so too as than when while if because then where how",
}
_KNOWN = {word: tag for tag, words in _CLOSED.items() for word in words.split()}

_HAS = frozenset(
    ["with", "featuring", "features", "including", "includes", "has", "offers", "boasts", "provides", "plus"]
)
_MADE = frozenset(
    [
        "made",
        "crafted",
        "built",
        "designed",
        "woven",
        "knitted",
        "finished",
        "lined",
        "filled",
        "cut",
        "printed",
        "dyed",
    ]
)
_CUT = frozenset("DPCWX")  # what no phrase ends with
_SUBJECTS = frozenset(["it", "this", "the", "our", "these"])
_JOINS = frozenset(["and", "&", "of", "for", "with", "in", "on", "at", "plus"])
_TELLS = frozenset(
    [
        "film",
        "movie",
        "story",
        "book",
        "novel",
        "series",
        "show",
        "tale",
        "documentary",
        "drama",
        "comedy",
        "article",
        "report",
        "guide",
        "is",
    ]
)
_NEW_CLAUSE = frozenset(
    [
        "while",
        "because",
        "if",
        "when",
        "where",
        "which",
        "who",
        "whose",
        "but",
        "that",
        "so",
        "whether",
        "as",
        "until",
        "since",
    ]
)
_MARKS = frozenset(',:()[]–—"“”')

_NOTHING_SAID = re.compile(
    r"(?i)[$€£¥%]|\b(?:price[sd]?|cost|sale|discount|free (?:of charge|gift|trial|sample)|gift|"
    r"bonus|offer|deal|save|saving|cheap|order|buy|shop|purchase|checkout|cart|coupon|stock|available|availability|ship(?:s|ping|ped)?|deliver(?:y|s|ed)?|returns?|refund|"
    r"warranty|guarantee[ds]?|click|subscribe|contact|email|e-mail|phone|call|visit|website|www|http|import(?:ed)?|"
    r"sizes? may vary|colou?rs? may vary|size chart|sku|item number|model number|asin|dispatch|customer|"
    r"ignore|instruction|instructions|prompt|system|assistant|language model|json)\b|https?:|@"
)
_CARE = re.compile(
    r"(?i)\b(?:wash|bleach|iron|tumble|dry clean|wipe|hand-?wash|machine wash(?!able)|lay flat|line dry|keep dry)\b"
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something that a text says of its item.

    Attributes:
        text: As written.
        span: Start and end in the text, in characters.
        form: ``thing`` (what it has), ``is``, ``about`` or ``does``, which begins with a verb in the third person.
    """

    text: str
    span: tuple[int, int]
    form: Form


@dataclass(frozen=True, slots=True)
class _Word:
    lower: str
    tags: str
    start: int
    end: int


@lru_cache(maxsize=65_536)
def _tags(word: str) -> str:
    """What a word can be: N(oun), A(djective), V(erb; s: third person, e: participle), R: adverb …, ``.`` for marks."""
    if not word[0].isalnum():
        return "."
    if word in _KNOWN:
        return _KNOWN[word]
    if word[0].isdigit():
        return "#"
    from lemminflect import getAllLemmas

    found = getAllLemmas(word.rpartition("-")[2].replace("’", "'").removesuffix("'s") or word)
    tags = "".join(
        letter
        for name, letter in (("NOUN", "N"), ("ADJ", "A"), ("ADV", "R"), ("PROPN", "N"))
        if name in found
    )
    verb = found.get("VERB", ())
    if verb and word.endswith("s") and word not in verb:
        tags += "s"
    elif verb and word.endswith(("ed", "en", "ing", "n", "t")) and word not in verb:
        tags += "e"
    elif verb:
        tags += "V"
    return tags or "N"


def phrases(text: str) -> Iterator[Phrase]:
    """What an English text says of its item, in reading order; phrases do not overlap.

    Example:
        >>> text = "Our parka with an adjustable hood. It keeps you dry.\\n- Two zip pockets"
        >>> [(phrase.text, phrase.form) for phrase in phrases(text)]
        [('adjustable hood', 'thing'), ('keeps you dry', 'does'), ('Two zip pockets', 'thing')]
    """
    for match in _UNIT.finditer(text):
        unit = match.group()
        label = _LABEL.match(unit)
        start = match.start() + (label.end() if label else 0)
        words = [
            _Word(
                found.group().lower(),
                _tags(found.group().lower()),
                start + found.start(),
                start + found.end(),
            )
            for found in _TOKEN.finditer(text[start : match.end()])
        ]
        for piece in _in_unit(words, text):
            if not _NOTHING_SAID.search(piece.text) and not _CARE.search(piece.text):
                yield piece


def _in_unit(words: Sequence[_Word], text: str) -> Iterator[Phrase]:
    """The phrases of one sentence or line of a list."""
    words = _bare(words)
    if not words:
        return
    if len(words) <= MOST_WORDS and words[0].tags != "D":
        if len(words) > 1 and _noun_end(words, 0) == len(words):
            yield _phrase(words, text, "thing")
            return
        if len(words) <= 4 and _says_how(words):
            yield _phrase(words, text, "is")
            return
    place = 0
    verb = _verb_of_item(words)
    if verb:
        place = _clause_end(words, verb)
        if words[verb].lower in _HAS:
            place = verb
        elif 2 <= place - verb <= MOST_CLAUSE and _is_whole(words[verb:place], words[place:]):
            yield _phrase(words[verb:place], text, "does")
    while place < len(words):
        found = _behind(words, place, text)
        if found:
            yield found[0]
        place = found[1] if found else place + 1


def _bare(words: Sequence[_Word]) -> Sequence[_Word]:
    """Without the marks at both ends."""
    marks = [word.tags == "." for word in words]
    if all(marks):
        return []
    return words[marks.index(False) : len(words) - marks[::-1].index(False)]


def _says_how(words: Sequence[_Word]) -> bool:
    """Whether a line says only how the item is: ``Machine washable``, ``Moisture-wicking``."""
    last = words[-1]
    adjective = last.tags in ("A", "Ae") or (
        "-" in last.lower and last.lower.endswith(("ing", "ed", "free", "proof"))
    )
    return adjective and all(set(word.tags) & set("RANe") for word in words)


def _is_whole(clause: Sequence[_Word], behind: Sequence[_Word]) -> bool:
    """Whether a clause is not cut short: ``with slim``, of "with slim, contoured fit", and tells more than how."""
    last = clause[-1].tags
    cut = bool(behind) and behind[0].lower == "," and not set(last) & set("N")
    return not cut and last not in _CUT and any(set(word.tags) & set("NA#") for word in clause[1:])


def _verb_of_item(words: Sequence[_Word]) -> int:
    """The place of the verb whose subject is the item; 0 if there is none at the sentence's beginning."""
    if words[0].lower not in _SUBJECTS:
        return 0
    for place, word in enumerate(words[1:8], 1):
        follows = words[place + 1].tags if place + 1 < len(words) else ""
        if "s" in word.tags and (words[0].lower == "it" or place > 1) and follows != "X":
            return place
        if set(word.tags) & set("PCXW.#") or (words[0].lower == "it" and "R" not in word.tags):
            return 0
    return 0


def _behind(words: Sequence[_Word], place: int, text: str) -> tuple[Phrase, int] | None:
    """The phrase that a word such as *with*, *made of* or *about* announces, and the place behind it."""
    word, before = words[place].lower, words[place - 1].lower if place else ""
    begin = place + 1
    if word == "about" and before in _TELLS:
        end = _clause_end(words, place, stop=_NEW_CLAUSE - {"who", "that", "whose"})
        return (_phrase(words[begin:end], text, "about"), end) if 3 <= end - begin <= MOST_CLAUSE else None
    if word not in _HAS and not (word in ("of", "from") and before in _MADE):
        return None
    if begin < len(words) and words[begin].tags == "D":
        begin += 1
    end = _noun_end(words, begin)
    if not 2 <= end - begin <= MOST_WORDS or not _is_whole(words[begin:end], words[end:]):
        return None
    return _phrase(words[begin:end], text, "thing"), end


def _noun_end(words: Sequence[_Word], start: int) -> int:
    """The end of the noun phrase that starts here; ``start`` if there is none.

    (adverb | adjective | participle | number | noun)* noun, and more of the kind behind a word such as *and* or *of*.
    """
    place = end = start
    while place < len(words):
        tags = words[place].tags
        if words[place].lower == "," and place > end == start:  # soft, breathable fabric
            place += 1
            continue
        if not set(tags) & set("NAe#R") or (set(tags) <= set("R") and end > start):
            break
        place += 1
        if "N" in tags:
            end = place
    if end == start or end != place:
        return end
    if place + 1 < len(words) and words[place].lower in _JOINS:
        begin = place + 1 + (words[place + 1].tags == "D")
        more = _noun_end(words, begin) if begin < len(words) else begin
        if more > begin:
            return more
    return end


def _clause_end(words: Sequence[_Word], start: int, stop: frozenset[str] | None = None) -> int:
    """Where the clause that a word starts ends: at a mark, a new clause, or the sentence's end."""
    for place in range(start + 1, len(words)):
        if words[place].lower in (_NEW_CLAUSE if stop is None else stop) or words[place].lower in _MARKS:
            return place
    return len(words)


def _phrase(words: Sequence[_Word], text: str, form: Form) -> Phrase:
    start, end = words[0].start, words[-1].end
    return Phrase(text[start:end], (start, end), form)
