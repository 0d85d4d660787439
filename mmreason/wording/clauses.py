"""The clauses of an English item text that can stand beside the item: "keeps you dry", "a film about two brothers".

By rules over what part of speech a word can be, without a parser. A sentence is taken only where its subject is sure:
the item (its title, its category, *it* behind such a sentence) or a part of it ("flat seams prevent chafing").
Sentences about the shop or to its customers, and those that point back to what was said before, are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mmreason.evidence.phrases import CARE, NOTHING_SAID
from mmreason.language import singulars
from mmreason.wording.shortening import Word, beginnings, is_past, joined, words_of

Form = Literal["is", "does", "about", "part", "for"]

LONGEST = 110
"""Characters of a clause; one that cannot be shortened to this is left."""

_MOST_WORDS = 80  # of a sentence; a longer one is none

_SENTENCE = re.compile(
    r"(?:[^\n•.!?…]++|[.!?…])+?(?:(?<!\b[A-Z])(?<!\b[MDS][rt])(?<!\bMrs)(?<!\bvs)[.!?…]+(?=\s|$)|(?=[\n•])|$)"
)
_ODD = re.compile(r"[:?!…/\"“”\\|<>{}*#=~^%]|\d\s*(?:cm|mm|inch|in\.|oz|kg|lbs?|ml|g)\b")
_REFUSED = re.compile(  # in lower case
    # the shop and its customers
    r"\b(?:we|us|our|i|me|my|mine|ours|ourselves|let's|don['’]t|you['’]\w+)\b"
    # what was said before
    r"|\b(?:also|same(?! name)|such|former|latter|below|following|however|therefore|what's|another|others?|is back"
    r"|(?:do|does|make|makes|making|keeps?|gives?) (?:it|that|so))\b|\b(?:that|this|these|those|it|them)(?=[,;.]|$)"
    r"|\bthere\b"
    r"|^(?:that|those|there|here|he|she|they|what|who|each|you|about)\b"
    # superlatives, and comparison with what is not there
    r"|\b(?:best|finest|greatest|ultimate|unbeatable|perfect|leading|world's|number one|most|only|never|always"
    r"|more than|even more|(?:is|are) so)\b"
    # a thing that was named before
    r"|\b(?:allows?|lets?|helps?|enables?) (?:you )?(?:to )?\w+ (?:it|them)\b"
    # praise that says nothing
    r"|\b(?:what|everything|all) you (?:want|need|\w+ been)\b|\b(?:every|any)where you\b|\bwherever\b|\bin style\b"
    r"|\b(?:with confidence|confidently|maximi[sz]\w+|elevates?|redefines?|next level)\b"
    r"|\b(?:many|loads of|lots of|plenty of|tons of) (?:\S+ )?(?:features|benefits)\b"
    r"|\b(?:effortless\w*|super-\w+|unique(?:ly)?|appealing|flattering|unmatched|unparalleled|stunning|gorgeous|amazing|incredibl[ey]"
    r"|attractive|endless|luxurious|awesome|fabulous|revolutionary|must-have|popular among"
    r"|(?:total|complete|utmost|absolute) (?:comfort|satisfaction|convenience|freedom|ease|confidence))\b"
    # persons
    r"|^(?:[\w' -]+ )?(?:fans|readers|users|customers|lovers|enthusiasts|anyone|everyone)\b"
    r"|(?:will|would) (?:love|enjoy|appreciate)"
    # two verbs in a row
    r"|\bhelps? \w+[^s]s\b"
)
_PEOPLE = (
    r"(?P<who>(?:fans|readers|lovers|viewers|listeners|players|those|people|anyone|everyone) "
    r"(?P<link>of|who (?:enjoys?|likes?|loves?|appreciates?)|interested in|looking for) "
)
_FOR_WHOM = (
    re.compile(
        rf"(?i)^\s*{_PEOPLE}[^.!?]+?) (?:will|would|may|might|should|can) "
        r"(?:\w+ly )?(?:enjoy|love|like|appreciate|find)\b"
    ),
    re.compile(
        r"(?i)\b(?:is|are|be)(?: an?)?(?: \w+){0,3}? (?:for|by) " + _PEOPLE + r"[^.!?]+?)(?=[.!?]?\s*$)"
    ),
)
_IN_GENERAL = re.compile(r"(?i)^(?:the|this|it|these|such|their|his|her)\b|\b(?:this|similar|other)\b")
_MISREAD = re.compile(r"(?<!is )(?<!are )\b[a-z]+ enough\b")  # "a lamp in brass light enough for every day"
_WRONG_ARTICLE = re.compile(r"(?i)\ba (?=[aeio](?!ne\b|u))|\ban (?=[bcdfgjklpqrtvwz])")
_PERSON = re.compile(r"(?i)\b(?:he|she|they|him|them|his|hers?|their)\b")
_NAMES_ONE = re.compile(r"(?<!^)\b(?:[A-Z]\w+|an?|one|two|three|the)\b|^(?:an?|one|two|three|the)\b")
_GENERIC = frozenset(
    [
        "movie",
        "film",
        "clip",
        "story",
        "book",
        "novel",
        "series",
        "show",
        "game",
        "documentary",
        "album",
        "article",
    ]
)
_LEADS = frozenset(
    ["without", "if", "unless", "when", "once", "until", "although", "though", "while", "before"]
)
_WAYS = frozenset(["into", "over", "around", "through", "against", "under", "across"])
_BE = frozenset(["is", "are"])
_FINITE = frozenset(["is", "are", "has", "have", "can", "will"])


@dataclass(frozen=True, slots=True)
class Clause:
    """What a text says of its item, shortened.

    Attributes:
        text: Words of the text, in their order, some left out.
        form: ``is`` (a noun phrase that says what the item is), ``does`` (a predicate whose subject is the item),
            ``about`` (what it tells of), ``part`` (a whole sentence about a part of it), ``for`` (who will like it).
        span: Start and end, in the text, of the words used.
        plural: Whether a predicate's verb stands in the plural.
    """

    text: str
    form: Form
    span: tuple[int, int]
    plural: bool = False


@lru_cache(maxsize=4096)
def clauses(text: str, title: str, names: frozenset[str]) -> tuple[Clause, ...]:
    """The clauses of an item's text that may be shown by themselves, in reading order.

    Args:
        text: The item's text.
        title: Its title.
        names: Words that name the item, in lower case: those of its title and its category.

    Example:
        >>> text = "Our Alva Throw is a throw in wool that gets softer with use."
        >>> found = clauses(text, "Alva Throw", frozenset(["alva", "throw"]))
        >>> [(clause.form, clause.text) for clause in found]
        [('is', 'a throw in wool that gets softer with use'), ('does', 'gets softer with use')]
    """
    found: list[Clause] = []
    called = tuple(word.lower for word in words_of(title, 0, len(title)))
    of_item = True  # whether "it" would mean the item
    for match in _SENTENCE.finditer(text):
        words = words_of(text, match.start(), match.end())
        if not 0 < len(words) <= _MOST_WORDS:
            continue
        found += _for_whom(match.group(), text, match.start())
        subject = _behind_title(words, called) or _subject(words, names, of_item, match.start() == 0)
        of_item = bool(subject and subject[2]) or any(
            not names.isdisjoint(_forms(word.lower)) for word in words
        )
        if subject and "?" not in match.group():
            found += _said(words, *subject)
        elif not subject and _is_noun_sentence(words, names):
            found += [*_clause(words, "is"), *_of_noun(words, 0)]
    return tuple(found)


def _for_whom(sentence: str, text: str, start: int) -> Iterator[Clause]:
    """People who will like the item, by what they like: "fans of slow thrillers", "readers who enjoy long walks"."""
    for pattern in _FOR_WHOM:
        match = pattern.search(sentence)
        if match is None:
            continue
        begin, end = start + match.start("who"), start + match.end("who")
        people, _, what = match["who"].partition(f" {match['link']} ")
        pieces = beginnings(words_of(text, end - len(what), end), 1)
        for piece in pieces:
            told = joined(piece)
            if len(told) <= LONGEST - len(people) and not _unfit(told) and not _IN_GENERAL.search(told):
                said = f"{people[:1].lower()}{people[1:]} {match['link']} {told}"
                yield Clause(said, "for", (begin, piece[-1].end), plural=True)
                break
        return


def _subject(
    words: Sequence[Word], names: frozenset[str], of_item: bool, first: bool
) -> tuple[int, int, bool] | None:
    """Where a sentence's subject and its verb stand, and whether the subject is the item; None if it is neither sure.

    What leads up to the item is left out: "Soft and light, the hat keeps you warm".
    """
    if first and words[0].lower in _BE:
        return 0, 0, True
    starts = [0] + [i + 1 for i, word in enumerate(words[:14]) if word.text == ","]
    if words[0].lower in _LEADS:
        starts = starts[:1]
    for start in starts:
        verb = _verb(words, start)
        if verb:
            named = _is_named(words[start:verb], names)
            points = words[start].lower in ("it", "its", "this", "these")
            if points and not of_item:
                return None
            if words[start].lower != "its" and (points or named):
                return start, verb, True
            if start == 0 and verb > 1:
                return start, verb, False
    return None


def _is_noun_sentence(words: Sequence[Word], names: frozenset[str]) -> bool:
    """Whether a sentence says only what the item is: "A light jacket for cool evenings"."""
    if words[0].lower not in ("a", "an"):
        return False
    end = next((place for place, word in enumerate(words[1:], 1) if not set(word.tags) & set("NAe#")), 0)
    behind = words[end].lower if end else ""
    return behind in ("for", "with", "about", "of", "in", "that") and _is_named(words[end - 1 : end], names)


def _behind_title(words: Sequence[Word], title: tuple[str, ...]) -> tuple[int, int, bool] | None:
    """The subject and verb of a sentence that begins with the item's title, whatever words that is made of."""
    end = len(title)
    if not 0 < end < len(words) - 1 or tuple(word.lower for word in words[:end]) != title:
        return None
    return (0, end, True) if words[end].lower in _FINITE or words[end].tags.endswith("s") else None


def _is_named(subject: Sequence[Word], names: frozenset[str]) -> bool:
    """Whether a noun phrase names the item: by its head, or by nothing but words of its name ("Tales of the Sea")."""
    of = next((place for place, word in enumerate(subject) if word.lower in ("of", "by")), len(subject))
    head = _forms(subject[of - 1].lower) if of else frozenset()
    whole = all(not names.isdisjoint(_forms(w.lower)) for w in subject if w.tags not in ("D", "P", "C", "."))
    return bool(head & (names | _GENERIC)) or whole


@lru_cache(maxsize=65_536)
def _forms(word: str) -> frozenset[str]:
    """A word, its singular, and the parts of a compound, under which it may be among an item's names."""
    parts = {word, *re.split(r"[-‑/&]", word)}
    return frozenset(parts.union(*map(singulars, parts)))


def _verb(words: Sequence[Word], start: int) -> int:
    """The place of the finite verb behind the noun phrase that starts here; 0 if there is none."""
    place = start
    if place + 1 < len(words) and words[place].lower in ("it", "this") and _is_verb(words, place + 1):
        return place + 1
    if place < len(words) and (words[place].tags == "D" or words[place].lower == "this"):
        place += 1
    noun = False
    while place < len(words):
        word = words[place]
        if noun and _is_verb(words, place):
            return place
        if word.lower == "by" and noun and place + 1 < len(words) and words[place + 1].text[0].isupper():
            place += 1  # the maker's name
            continue
        if word.lower in ("and", "&", "of") and noun:
            place += 1 + (place + 1 < len(words) and words[place + 1].tags == "D")
            noun = False
            continue
        if word.text == "," and "A" not in words[place - 1].tags and "e" not in words[place - 1].tags:
            return 0
        is_name = place > start and word.text[0].isupper()
        if word.text not in ",-" and not is_name and not set(word.tags) & set("NAe#R"):
            return 0
        noun = noun or is_name or "N" in word.tags
        place += 1
    return 0


def _is_verb(words: Sequence[Word], place: int) -> bool:
    """Whether a word can only be the finite verb here: in the number of its subject and with something behind it."""
    word, before = words[place], words[place - 1]
    if place + 1 >= len(words):
        return False
    if word.lower in _FINITE:
        return True
    if word.lower in ("was", "were"):
        return "e" in words[place + 1].tags or is_past(words[place + 1].lower)
    if word.text[0].isupper():  # a part of the name
        return False
    behind = words[place + 1]
    if "s" in word.tags:
        if _is_plural(before):
            return False
        sure = "N" not in word.tags or before.lower in ("it", "this")
        return (
            sure or behind.tags in ("D", "#") or behind.lower in _WAYS or bool(set(behind.tags) & set("WNA"))
        )
    if "V" in word.tags and _is_plural(before) and not is_past(word.lower):
        return "N" not in word.tags or behind.tags == "D" or behind.lower == "you"
    return False


def _is_plural(word: Word) -> bool:
    return "N" in word.tags and bool(singulars(word.lower) or word.lower in ("shorts", "tights"))


def _said(words: Sequence[Word], start: int, verb: int, of_item: bool) -> Iterator[Clause]:
    """The clauses that a sentence with this subject and verb gives."""
    behind = verb + 1
    if not of_item:
        yield from _clause(words[start:], "part", least=verb - start + 2)
        return
    plural = words[verb].lower in ("are", "have", "were") or (
        "V" in words[verb].tags and "s" not in words[verb].tags
    )
    if words[verb].lower in _BE and behind < len(words):
        if words[behind].lower in ("a", "an", "one"):
            yield from _clause(words[behind:], "is", plural)
            yield from _of_noun(words, behind)
            return
        if words[behind].lower == "about":
            yield from _clause(words[behind + 1 :], "about")
            return
    yield from _clause(words[verb:], "does", plural)


def _of_noun(words: Sequence[Word], start: int) -> Iterator[Clause]:
    """What stands behind "a film" or "a throw in wool": "about …", "that …", "made for …"."""
    for place in range(start + 1, len(words) - 1):
        word, behind = words[place], words[place + 1]
        if word.lower == "about":
            yield from _clause(words[place + 1 :], "about")
            return
        if word.lower in ("that", "which") and "s" in behind.tags:
            yield from _clause(words[place + 1 :], "does")
            return
        if _is_modifier(words, place) and word.lower not in ("released", "set", "directed"):
            yield from _clause(_until_relative(words[place:]), "does", verb="is ")
            return
        if set(word.tags) <= set("CWX.") and word.text not in ",-":
            return


def _until_relative(words: Sequence[Word]) -> Sequence[Word]:
    """Up to a *that*, which belongs to the noun before these words: "directed by Ana Reis that follows a nurse"."""
    ends = (place for place, word in enumerate(words) if word.lower in ("that", "which"))
    return words[: next(ends, len(words))]


def _is_modifier(words: Sequence[Word], place: int) -> bool:
    """Whether a participle or adjective stands behind its noun: "made for …", "light enough"."""
    word = words[place]
    behind = words[place + 1] if place + 1 < len(words) else None
    if behind is None or "N" not in words[place - 1].tags or word.lower == "enough":
        return False
    if behind.lower == "enough":
        return "A" in word.tags
    own = "e" in word.tags or word.tags in ("A", "Ae", "AR") or is_past(word.lower)
    return own and behind.tags == "P" and not word.lower.endswith("ing")


def _clause(
    words: Sequence[Word], form: Form, plural: bool = False, verb: str = "", least: int = 3
) -> Iterator[Clause]:
    """A clause of these words, or of their beginning if all are too long; none if no beginning is a whole."""
    for piece in beginnings(words, least):
        text = verb + joined(piece)
        if form == "is":
            text = text[:1].lower() + text[1:]  # the article of a sentence without a verb
        if len(text) <= LONGEST and not _unfit(text) and not _points_back(piece) and not _adds_another(piece):
            yield Clause(text, form, (piece[0].start, piece[-1].end), plural)
            return


def _adds_another(words: Sequence[Word]) -> bool:
    """Whether an "as" begins a sentence of its own within: "keeps you warm as the fleece dries quickly"."""
    begins = [place for place, word in enumerate(words) if word.lower == "as"]
    return any("s" in word.tags for place in begins for word in words[place + 2 : place + 6])


def _unfit(text: str) -> bool:
    """Whether a text says what no reason may say, points back, or breaks the article."""
    person = _PERSON.search(text)
    if person and not _NAMES_ONE.search(text[: person.start()]):
        return True
    lower = text.lower()
    return bool(
        _ODD.search(text)
        or _WRONG_ARTICLE.search(text)
        or any(pattern.search(lower) for pattern in (_REFUSED, NOTHING_SAID, CARE, _MISREAD))
    )


def _points_back(words: Sequence[Word]) -> bool:
    """Whether a clause is about what was said before ("completes that mission"), or ends within a list."""
    within_list = len(words) > 2 and words[-2].text == "," and "N" not in words[-1].tags
    cut = any(word.lower in ("who", "that", "which") for word in words[-2:])
    return within_list or cut or (len(words) > 1 and words[1].lower in ("that", "this", "these"))
