"""Phrases of an item's text that say something of it, each with its place: "adjustable hood", "keeps you dry".

English by rules over what part of speech a word can be (lemminflect's dictionary): no parser, some thousand texts a
second. A phrase is found where a text says what its item has, is or does:

- a line of a list: ``Adjustable drawstring hood``, ``Machine washable``;
- behind a word such as *with*, *features*, *made of*: ``a jacket with two zip pockets``;
- behind the item as the subject: ``It keeps your hands free``;
- behind *about*, of films, books and news: ``a comedy about two brothers``;
- of a line with a label the value, under the label's name: ``Material: waxed cotton``.

What speaks of price, stock, delivery, promotion or contact, or to a machine, is no phrase; nor is mere praise
(``perfect fit``, ``more room``) or what speaks of somebody whom the phrase does not name (``explores her memories``).
In a text that tells a story, *with* and the like speak of its people, not of the item.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mmreason.evidence.puffery import BLAME, PRAISE, without_looks
from mmreason.evidence.stories import tells_story
from mmreason.shops.plumbing import why_not_by_name

MOST_WORDS, MOST_CLAUSE = 9, 14
"""Of a noun phrase, and of one with a verb; what is longer is a sentence of its own."""

_ABBREVIATED = "|".join(
    rf"(?<=\b{name}\.)" for name in ("Mr", "Mrs", "Ms", "Dr", "St", "Jr", "Sr", "vs", "approx")
)
_UNIT = re.compile(rf"[^\n.!?;•]+(?:\.(?:(?=\w)|{_ABBREVIATED})[^\n.!?;•]*)*")
_TOKEN = re.compile(r"[^\W_]+(?:['’\-‑/.][^\W_]+)*%?[®™©]?|[^\w\s]")
_LABEL = re.compile(r"[ \t]*[-*–·•]*[ \t]*([^\W\d_][\w /&-]{1,29}?) ?[:：][ \t]*(?=\S)")
_LABEL_WORDS, _VALUE_WORDS = 3, 5

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


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HAS = _words("with featuring features including includes has offers boasts provides plus")
_HAVE = _words("feature include offer provide have boast")
_COMPARES = _words("same such similar other")
_MADE = _words("made crafted built designed woven knitted finished lined filled cut printed dyed")
_CUT = frozenset("DPCWX")  # what no phrase ends with
_SUBJECTS = _words("it this the our these")
_JOINS = _words("and & of for with in on at plus")
_TELLS = _words(
    "film movie story book novel series show tale documentary drama comedy thriller article report guide memoir is"
)
_NEW_CLAUSE = _words("while because if when where which who whose but that so whether as until since")
_GOES_ON = _words(
    "while so making which with giving but keeping letting without thanks even whether because and"
)
_MARKS = frozenset(',:()[]–—"“”')

_EMPTY_VERBS = _words(
    "promises embodies gets brings feels helps goes leads takes puts proves means deserves stars"
)
_EMPTY_HEADS = _words(
    "room access comfort style look looks feel relief freedom performance ease convenience versatility experience life "
    "support dryness value quality choice choices options results fun time way ways things stuff functionality "
    "protection"
)
"""Nouns that say too little with one word before them: "cool relief"."""

_SOMEBODY = _words("his her their he she they them him himself herself themselves i we us our my me himself")

NOTHING_SAID = re.compile(
    r"[$€£¥]|\b(?:price[sd]?|cost|sale|discount|free (?:of charge|gift|trial|sample)|gift|"
    r"bonus|offer|deal|save|saving|cheap|order|buy|shop|purchase|checkout|cart|coupon|stock|available|availability|"
    r"ship(?:s|ping|ped)?|deliver(?:y|s|ed)?|returns?|refund|"
    r"warranty|guarantee[ds]?|click|subscribe|contact|email|e-mail|phone|call|visit|website|www|http|import(?:ed)?|"
    r"sizes? may vary|colou?rs? may vary|size chart|sku|item number|model number|asin|dispatch|customer|"
    r"colou?r (?:choices|options)|assorted|"
    r"ignore|instruction|instructions|prompt|system|assistant|language model|json)\b|https?:|@"
)
"""What no phrase and no clause may speak of, in lower case: price, stock, promotion, contact, or to a machine."""

CARE = re.compile(
    r"\b(?:wash|bleach|iron|tumble|dry clean|wipe|hand-?wash|machine wash(?!able)|lay flat|line dry|keep dry)\b"
)
"""Instructions for washing and keeping, in lower case."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something that a text says of its item.

    Attributes:
        text: As written.
        span: Start and end in the text, in characters.
        form: ``thing`` (what it has), ``is``, ``about`` or ``does``, which begins with a verb in the third person; of a
            line with a label the label, in lower case.
        subject: What it is said of, where the text begins with that.
    """

    text: str
    span: tuple[int, int]
    form: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class _Word:
    lower: str
    tags: str
    start: int
    end: int


@lru_cache(maxsize=65_536)
def tags_of(word: str) -> str:
    """What a word can be: N(oun), A(djective), V(erb; s: third person, e: participle), R: adverb …, ``.`` for marks."""
    if not word[0].isalnum():
        return "."
    if word in _KNOWN:
        return _KNOWN[word]
    if word[0].isdigit():
        return "#"
    spelled_out = word.replace("’", "'").partition("'")[0]
    if spelled_out != word and spelled_out in _KNOWN:  # "that's", "they're"
        return _KNOWN[spelled_out]
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
        >>> text = "Our parka with an adjustable hood. It keeps you dry.\\n- Two zip pockets\\nMaterial: waxed cotton"
        >>> [(phrase.text, phrase.form) for phrase in phrases(text)][:2]
        [('adjustable hood', 'thing'), ('keeps you dry', 'does')]
        >>> [(phrase.text, phrase.form) for phrase in phrases(text)][2:]
        [('Two zip pockets', 'thing'), ('waxed cotton', 'material')]
    """
    story = tells_story(text)
    for match in _UNIT.finditer(text):
        unit = match.group()
        label = _LABEL.match(unit) if match.start() == 0 or text[match.start() - 1] in "\n•" else None
        name = " ".join(label[1].lower().split()) if label else ""
        start = match.start() + (label.end() if label else 0)
        words = [
            _Word(
                found.group().lower(),
                tags_of(found.group().lower()),
                start + found.start(),
                start + found.end(),
            )
            for found in _TOKEN.finditer(text[start : match.end()])
        ]
        if name and why_not_by_name(name):
            continue
        labelled = _labelled(name, words, text) if name and not story else ()
        for piece in labelled or _in_unit(words, text, story):
            lower = piece.text.lower()
            if not NOTHING_SAID.search(lower) and not CARE.search(lower):
                yield piece


def _labelled(name: str, words: Sequence[_Word], text: str) -> list[Phrase]:
    """The values behind a label, such as ``Material: cotton, linen``; nothing if it is no attribute's name."""
    if len(name.split()) > _LABEL_WORDS or not _is_name(name):
        return []
    values: list[list[_Word]] = [[]]
    for word in words:
        if word.lower == ",":
            values.append([])
        else:
            values[-1].append(word)
    if not all(0 < len(value) <= _VALUE_WORDS and _is_value(value) for value in values):
        return []
    return [_phrase(value, text, name) for value in values]


def _is_name(label: str) -> bool:
    return all(set(tags_of(word)) & set("NAe") for word in label.split() if word.isalnum())


def _is_value(words: Sequence[_Word]) -> bool:
    """Whether words name something: no sentence, and more than a number."""
    tags = [word.tags for word in words]
    return (
        not any(set(t) & set("WX") for t in tags)
        and any(set(t) & set("NAe") for t in tags)
        and tags[-1] not in _CUT
    )


def _in_unit(words: Sequence[_Word], text: str, story: bool) -> Iterator[Phrase]:
    """The phrases of one sentence or line of a list."""
    words = _bare(words)
    if not words:
        return
    if len(words) <= MOST_WORDS and words[0].tags != "D" and not story:
        if len(words) > 1 and _noun_end(words, 0) == len(words):
            if words := _without_praise(words):
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
        elif _says_much(words[verb:place], words[place:]):
            yield _phrase(words[verb:place], text, "does")
    while place < len(words):
        found = _behind(words, place, text, story)
        if found and found[0]:
            yield found[0]
        place = found[1] if found else place + 1


def _says_much(clause: Sequence[_Word], behind: Sequence[_Word]) -> bool:
    """Whether what the item does is said whole, and is more than praise."""
    if not 2 <= len(clause) <= MOST_CLAUSE or clause[0].lower in _EMPTY_VERBS or clause[1].tags == "V":
        return False
    return _is_whole(clause, behind) and _tells(clause)


def _tells(words: Sequence[_Word]) -> bool:
    """Whether words say more than praise, nothing against the item, and of nobody whom they do not name."""
    lower = {word.lower for word in words}
    unnamed = bool(words) and words[-1].lower in ("features", "benefits")  # "loads of performance features"
    return not unnamed and all(map(lower.isdisjoint, (PRAISE, BLAME, _SOMEBODY)))


def _without_praise(words: Sequence[_Word]) -> Sequence[_Word]:
    """A noun phrase without a tail of praise (``for ultimate comfort``); nothing if the rest is praise."""
    words = without_looks(words)
    joins = [place for place, word in enumerate(words) if word.tags == "P" and place]
    while words and not _tells(words):
        if not joins:
            return []
        words = words[: joins.pop()]
    nouns = len(words) - (words[0].tags == "#") if words else 0
    return [] if nouns <= 2 and words and words[-1].lower in _EMPTY_HEADS else words


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
    """Whether a clause is not cut short and tells more than how: ``packs your campus``, of "…, gym and trail gear"."""
    if behind and behind[0].lower == ":":  # "has a single purpose: yoga"
        return False
    last = clause[-1].tags
    after = behind[1] if len(behind) > 1 and behind[0].lower == "," else None
    cut = after is not None and not (
        after.lower in _GOES_ON or after.tags in ("R", "P", "X") or after.tags == "s"
    )
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


def _behind(words: Sequence[_Word], place: int, text: str, story: bool) -> tuple[Phrase | None, int] | None:
    """The phrase that a word such as *with*, *made of* or *about* announces, and the place behind it."""
    word, before = words[place].lower, words[place - 1].lower if place else ""
    begin = place + 1
    if word == "about" and before in _TELLS:
        return _about(words, place, text)
    if story or (word not in _HAS and not (word in ("of", "from") and before in _MADE)):
        return None
    if begin < len(words) and words[begin].tags == "D":
        begin += 1
    if begin < len(words) and words[begin].lower in _COMPARES:  # with what is not there
        return None
    end = _noun_end(words, begin)
    if not 2 <= end - begin <= MOST_WORDS or not _is_whole(words[begin:end], words[end:]):
        return None
    said = _without_praise(words[begin:end])
    return _phrase(said, text, "thing") if len(said) > 1 else None, end


def _about(words: Sequence[_Word], place: int, text: str) -> tuple[Phrase | None, int]:
    """What a story is about; "a woman named Theresa" says too little of it."""
    end = _clause_end(words, place, stop=_NEW_CLAUSE - {"who", "that", "whose", "as"})
    after = end
    while end > place and words[end - 1].tags in _CUT:
        end -= 1
    said = words[place + 1 : end]
    lower = [word.lower for word in said]
    only_named = not {"named", "called"}.isdisjoint(lower) and _NEW_CLAUSE.isdisjoint(lower)
    whole = 3 <= len(said) <= MOST_CLAUSE and not only_named and lower[0] not in _SOMEBODY
    return _phrase(said, text, "about") if whole else None, after


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
        if words[place].lower in _HAVE and end > start and words[place - 1].lower.endswith("s"):
            break  # "back straps feature …"
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


def _phrase(words: Sequence[_Word], text: str, form: str) -> Phrase:
    start, end = words[0].start, words[-1].end
    return Phrase(text[start:end], (start, end), form)
