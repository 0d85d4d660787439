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
from itertools import pairwise
from typing import Literal

from mmreason.evidence.phrases import _CARE, _NOTHING_SAID, _tags
from mmreason.language import singulars

Form = Literal["is", "does", "about", "part"]

LONGEST = 110
"""Characters of a clause; one that cannot be shortened to this is left."""

_SENTENCE = re.compile(
    r"[^\n•]+?(?:(?<!\b[A-Z])(?<!\b[MDS][rt])(?<!\bMrs)(?<!\bvs)[.!?…]+(?=\s|$)|(?=[\n•])|$)"
)
_TOKEN = re.compile(r"[^\W_]+(?:['’\-‑/.,&](?=[^\W_])[^\W_]+)*[®™©%]?|[^\w\s]")
_TRUNCATED = re.compile(r"\b(?:[A-Z]|Mrs?|Dr|St)\.$")
_REFUSED = re.compile(
    r"[?!…/\"“”\\|<>{}*#=~^%]|\d\s*(?:cm|mm|inch|in\.|oz|kg|lbs?|ml|g)\b"
    # the shop and its customers
    r"|(?i:\b(?:we|us|our|i|me|my|mine|ours|ourselves|let's|don['’]t|you['’]\w+)\b"
    # what was said before
    r"|\b(?:also|same(?! name)|such|former|latter|below|following|however|therefore|what's|another|others?|is back"
    r"|(?:do|does|make|makes|making|keeps?|gives?) (?:it|that|so))\b|\b(?:that|this|these|those|it|them)(?=[,;.]|$)"
    r"|^(?:that|those|there|here|he|she|they|what|who|each|you|about)\b"
    # superlatives, and comparison with what is not there
    r"|\b(?:best|finest|greatest|ultimate|unbeatable|perfect|leading|world's|number one|most|only|never|always"
    r"|more than|even more|(?:is|are) so)\b"
    # two verbs in a row
    r"|\bhelps? \w+[^s]s\b)"
)
_WRONG_ARTICLE = re.compile(r"(?i)\ba (?=[aeio](?!ne\b|u))|\ban (?=[bcdfgjklpqrtvwz])")
_PERSON = re.compile(r"(?i)\b(?:he|she|they|him|them|his|hers?|their)\b")
_NAMES_ONE = re.compile(r"(?<!^)\b(?:[A-Z]\w+|an?|one|two|three|the)\b|^(?:an?|one|two|three|the)\b")
_GENERIC = frozenset(
    ["movie", "film", "story", "book", "novel", "series", "show", "game", "documentary", "album", "article"]
)
_LEADS = frozenset(
    ["without", "if", "unless", "when", "once", "until", "although", "though", "while", "before"]
)
_WAYS = frozenset(["into", "over", "around", "through", "against", "under", "across"])
_BE = frozenset(["is", "are"])
_FINITE = frozenset(["is", "are", "has", "have", "can", "will"])
# fmt: off
_CUTS = frozenset([
    "which", "while", "whereas", "as", "because", "when", "where", "after", "before", "until", "if", "although",
    "though", "but", "so", "amid", "making",
])
# fmt: on
_NAMED = frozenset(["named", "called", "by"])
_IN_NAMES = frozenset(["and", ".", ",", "by", "played"])
_OPEN = frozenset(
    ["of", "with", "for", "in", "on", "at", "to", "by", "from", "into", "and", "or", "the", "a"]
)


@dataclass(frozen=True, slots=True)
class Clause:
    """What a text says of its item, shortened.

    Attributes:
        text: Words of the text, in their order, some left out.
        form: ``is`` (a noun phrase that says what the item is), ``does`` (a predicate whose subject is the item),
            ``about`` (what it tells of), ``part`` (a whole sentence about a part of it).
        span: Start and end, in the text, of the words used.
        plural: Whether a predicate's verb stands in the plural.
    """

    text: str
    form: Form
    span: tuple[int, int]
    plural: bool = False


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    lower: str
    tags: str
    start: int
    end: int


@lru_cache(maxsize=4096)
def clauses(text: str, names: frozenset[str]) -> tuple[Clause, ...]:
    """The clauses of an item's text that may be shown by themselves, in reading order.

    Args:
        text: The item's text.
        names: Words that name the item, in lower case: those of its title and its category.

    Example:
        >>> text = "Our Alva Throw is a throw in wool that gets softer with use."
        >>> found = clauses(text, frozenset(["alva", "throw"]))
        >>> [(clause.form, clause.text) for clause in found]
        [('is', 'a throw in wool that gets softer with use'), ('does', 'gets softer with use')]
    """
    found: list[Clause] = []
    of_item = True  # whether "it" would mean the item
    for match in _SENTENCE.finditer(text):
        words = _words(text, match.start(), match.end())
        if not words:
            continue
        subject = _subject(words, names, of_item, match.start() == 0)
        of_item = bool(subject and subject[2]) or not names.isdisjoint(
            form for word in words for form in _forms(word.lower)
        )
        if subject and "?" not in match.group():
            found += _said(words, *subject)
    return tuple(found)


def _words(text: str, start: int, end: int) -> list[_Word]:
    """The words of a sentence without its full stop; a sentence that a splitter cut at "Mrs." loses its last name."""
    words = [
        _Word(m.group(), m.group().lower(), _tags(m.group().lower()), start + m.start(), start + m.end())
        for m in _TOKEN.finditer(text[start:end])
    ]
    while words and words[-1].tags == ".":
        words.pop()
    if words and _TRUNCATED.search(text[start:end].strip()):
        names = [i for i, word in enumerate(words) if word.lower in _NAMED]
        last = names[-1] if names else 0
        return words[: last - (words[last].lower == "by" and "e" in words[last - 1].tags)] if names else []
    return words


def _subject(
    words: Sequence[_Word], names: frozenset[str], of_item: bool, first: bool
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
            named = {form for word in words[start:verb] for form in _forms(word.lower)}
            points = words[start].lower in ("it", "its", "this", "these")
            if points and not of_item:
                return None
            if words[start].lower != "its" and (points or named & (names | _GENERIC)):
                return start, verb, True
            if start == 0 and verb > 1:
                return start, verb, False
    return None


def _forms(word: str) -> Iterator[str]:
    """A word, its singular, and the parts of a compound, under which it may be among an item's names."""
    for part in {word, *re.split(r"[-‑/&]", word)}:
        yield part
        yield from singulars(part)


def _verb(words: Sequence[_Word], start: int) -> int:
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


def _is_verb(words: Sequence[_Word], place: int) -> bool:
    """Whether a word can only be the finite verb here: in the number of its subject and with something behind it."""
    word, before = words[place], words[place - 1]
    if place + 1 >= len(words):
        return False
    if word.lower in _FINITE:
        return True
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
    if "V" in word.tags and _is_plural(before) and not _is_past(word.lower):
        return "N" not in word.tags or behind.tags == "D" or behind.lower == "you"
    return False


@lru_cache(maxsize=65_536)
def _is_past(word: str) -> bool:
    """Whether a verb's form is a past or a participle without the ending: "made"."""
    from lemminflect import getAllLemmas

    verbs = getAllLemmas(word, "VERB").get("VERB", ())
    return bool(verbs) and word not in verbs and not word.endswith("s")


def _is_plural(word: _Word) -> bool:
    return "N" in word.tags and bool(singulars(word.lower) or word.lower in ("shorts", "tights"))


def _said(words: Sequence[_Word], start: int, verb: int, of_item: bool) -> Iterator[Clause]:
    """The clauses that a sentence with this subject and verb gives."""
    behind = verb + 1
    if not of_item:
        yield from _clause(words[start:], "part", least=verb - start + 2)
        return
    plural = words[verb].lower in ("are", "have") or ("V" in words[verb].tags and "s" not in words[verb].tags)
    if words[verb].lower in _BE and behind < len(words):
        if words[behind].lower in ("a", "an", "one"):
            yield from _clause(words[behind:], "is", plural)
            yield from _of_noun(words, behind)
            return
        if words[behind].lower == "about":
            yield from _clause(words[behind + 1 :], "about")
            return
    yield from _clause(words[verb:], "does", plural)


def _of_noun(words: Sequence[_Word], start: int) -> Iterator[Clause]:
    """What stands behind "a film" or "a throw in wool": "about …", "that …", "made for …"."""
    for place in range(start + 1, len(words) - 1):
        word, behind = words[place], words[place + 1]
        if word.lower == "about":
            yield from _clause(words[place + 1 :], "about")
            return
        if word.lower in ("that", "which") and "s" in behind.tags:
            yield from _clause(words[place + 1 :], "does")
            return
        if _is_modifier(words, place) and word.lower not in ("released", "set"):
            yield from _clause(words[place:], "does", verb="is ")
            return
        if set(word.tags) <= set("CWX.") and word.text not in ",-":
            return


def _is_modifier(words: Sequence[_Word], place: int) -> bool:
    """Whether a participle or adjective stands behind its noun: "made for …", "light enough"."""
    word = words[place]
    behind = words[place + 1] if place + 1 < len(words) else None
    if behind is None or "N" not in words[place - 1].tags or word.lower == "enough":
        return False
    if behind.lower == "enough":
        return "A" in word.tags
    own = "e" in word.tags or word.tags in ("A", "Ae", "AR") or _is_past(word.lower)
    return own and behind.tags == "P" and not word.lower.endswith("ing")


def _clause(
    words: Sequence[_Word], form: Form, plural: bool = False, verb: str = "", least: int = 3
) -> Iterator[Clause]:
    """A clause of these words, or of their beginning if all are too long; none if no beginning is a whole."""
    kept = _without_names(_without_parentheses(words))
    for place in range(len(kept), least - 1, -1):
        piece = kept[:place]
        if (place == len(kept) or _starts_clause(kept, place)) and _is_whole(piece):
            text = verb + _joined(piece)
            if len(text) <= LONGEST and not _unfit(text) and not _points_back(piece):
                yield Clause(text, form, (piece[0].start, piece[-1].end), plural)
                return


def _unfit(text: str) -> bool:
    """Whether a text says what no reason may say, points back, or breaks the article."""
    person = _PERSON.search(text)
    if person and not _NAMES_ONE.search(text[: person.start()]):
        return True
    return any(pattern.search(text) for pattern in (_REFUSED, _NOTHING_SAID, _CARE, _WRONG_ARTICLE))


def _points_back(words: Sequence[_Word]) -> bool:
    """Whether a clause is about what was said before ("completes that mission"), or ends within a list."""
    within_list = len(words) > 2 and words[-2].text == "," and "N" not in words[-1].tags
    cut = any(word.lower in ("who", "that", "which") for word in words[-2:])
    return within_list or cut or (len(words) > 1 and words[1].lower in ("that", "this", "these"))


def _without_parentheses(words: Sequence[_Word]) -> list[_Word]:
    kept: list[_Word] = []
    depth = 0
    for word in words:
        depth += word.text in "(["
        if not depth:
            kept.append(word)
        depth -= word.text in ")]" and depth > 0
    return kept


def _without_names(words: list[_Word]) -> list[_Word]:
    """Without "named Ada Lark" and ", Ada and Bo,": who they are has been said."""
    kept: list[_Word] = []
    place = 0
    while place < len(words):
        word = words[place]
        if word.lower in ("named", "called") or word.text == ",":
            end = place + 1
            while end < len(words) and (words[end].text[0].isupper() or words[end].text in _IN_NAMES):
                end += 1
            if word.text != ",":
                end = next(i for i in range(end, place, -1) if words[i - 1].text not in _IN_NAMES)
            named = any(each.text[0].isupper() for each in words[place + 1 : end])
            closed = word.text != "," or (words[end - 1].text == "," or end == len(words))
            if named and closed:
                place = end + (
                    words[end : end + 1] != [] and words[end].text == "," and _is_who(words, end + 1)
                )
                continue
        kept.append(word)
        place += 1
    return kept


def _is_who(words: Sequence[_Word], place: int) -> bool:
    return place < len(words) and words[place].lower in ("who", "that")


def _starts_clause(words: Sequence[_Word], place: int) -> bool:
    """Whether what stands before this word can be a whole by itself."""
    word = words[place]
    behind = words[place + 1] if place + 1 < len(words) else None
    if word.lower == "as":  # not of what somebody works as
        return place + 1 < len(words) and words[place + 1].lower in ("he", "she", "they", "it")
    if word.lower in _CUTS or word.text in ";–—":
        return True
    if behind is None or (word.text in (",", "and") and any(w.text == "," for w in words[place - 4 : place])):
        return False  # within a list
    if word.text == ",":
        return behind.lower in _CUTS | {"who", "and"} or _is_ing(behind) or behind.tags == "P"
    return word.lower == "and" and (
        _is_ing(behind) or "s" in behind.tags or behind.lower in ("is", "are", "it", "they")
    )


def _is_ing(word: _Word) -> bool:
    return "e" in word.tags and word.lower.endswith("ing") and "-" not in word.lower


def _is_whole(words: Sequence[_Word]) -> bool:
    """Whether words end where a phrase may end."""
    if not words:
        return False
    last = words[-1]
    return last.lower not in _OPEN and bool(set(last.tags) & set("NARe#")) and last.tags != "R"


def _joined(words: Sequence[_Word]) -> str:
    """The words as one text: with the spaces of the source, and one where words were left out."""
    text = words[0].text
    for before, word in pairwise(words):
        tight = before.end == word.start or word.text in ",;:."
        text += ("" if tight else " ") + word.text
    return text
