"""English sentences made shorter without a parser: names and parentheses left out, cut where a new clause begins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from mmreason.evidence.phrases import tags_of
from mmreason.evidence.puffery import without_looks

_TOKEN = re.compile(r"[^\W_]+(?:['’\-‑/.,&](?=[^\W_])[^\W_]+)*[®™©%]?|[^\w\s]")
_TRUNCATED = re.compile(r"\b(?:[A-Z]|Mrs?|Dr|St)\.$")
# fmt: off
_CUTS = frozenset([
    "which", "while", "whereas", "as", "because", "when", "where", "after", "before", "until", "if", "although",
    "though", "but", "so", "amid", "making",
])
# fmt: on
_RELATIVE = frozenset(["where", "when", "which"])
_NAMED = frozenset(["named", "called", "by"])
_IN_NAMES = frozenset(["and", ".", ",", "by", "played"])
_OPEN = frozenset(
    ["of", "with", "for", "in", "on", "at", "to", "by", "from", "into", "and", "or", "the", "a"]
)


class Word(NamedTuple):
    """A word or mark, and what part of speech it can be; see :mod:`mmreason.evidence.phrases`."""

    text: str
    lower: str
    tags: str
    start: int
    end: int


def words_of(text: str, start: int, end: int) -> list[Word]:
    """The words of a sentence without its full stop; a sentence that a splitter cut at "Mrs." loses its last name."""
    words = [Word(*_word(match[0]), *match.span()) for match in _TOKEN.finditer(text, start, end)]
    while words and words[-1].tags == ".":
        words.pop()
    if words and _TRUNCATED.search(text[start:end].strip()):
        names = [i for i, word in enumerate(words) if word.lower in _NAMED]
        last = names[-1] if names else 0
        return words[: last - (words[last].lower == "by" and "e" in words[last - 1].tags)] if names else []
    return words


@lru_cache(maxsize=65_536)
def _word(text: str) -> tuple[str, str, str]:
    return text, text.lower(), tags_of(text.lower())


def beginnings(words: Sequence[Word], least: int) -> Iterator[Sequence[Word]]:
    """The words without parentheses and names, whole, then cut ever earlier, where what remains is a whole.

    Args:
        words: Of a sentence.
        least: Words that must remain.
    """
    kept = without_looks(_without_names(_without_parentheses(words)))
    for place in range(len(kept), least - 1, -1):
        whole = place == len(kept) or (_starts_clause(kept, place) and set(kept[place - 1].tags) & set("NR#"))
        if whole and _is_whole(kept[:place]):
            yield kept[:place]


@lru_cache(maxsize=65_536)
def is_past(word: str) -> bool:
    """Whether a verb's form is a past or a participle without the ending: "made"."""
    from lemminflect import getAllLemmas

    verbs = getAllLemmas(word, "VERB").get("VERB", ())
    return bool(verbs) and word not in verbs and not word.endswith("s")


def _without_parentheses(words: Sequence[Word]) -> list[Word]:
    kept: list[Word] = []
    depth = 0
    for word in words:
        depth += word.text in "(["
        if not depth:
            kept.append(word)
        depth -= word.text in ")]" and depth > 0
    return kept


def _without_names(words: list[Word]) -> list[Word]:
    """Without "named Ada Lark" and ", Ada and Bo,": who they are has been said."""
    kept: list[Word] = []
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


def _is_who(words: Sequence[Word], place: int) -> bool:
    return place < len(words) and words[place].lower in ("who", "that")


def _starts_clause(words: Sequence[Word], place: int) -> bool:
    """Whether what stands before this word can be a whole by itself."""
    word = words[place]
    behind = words[place + 1] if place + 1 < len(words) else None
    if word.lower == "as":  # not of what somebody works as
        return place + 1 < len(words) and words[place + 1].lower in ("he", "she", "they", "it")
    if word.lower in _RELATIVE and any(w.lower in ("a", "an") for w in words[max(0, place - 3) : place]):
        return False  # "in a future where the ice has melted" says which one
    if word.lower in _CUTS or word.text in ":;–—":
        return True
    if behind is None or (word.text in (",", "and") and any(w.text == "," for w in words[place - 4 : place])):
        return False  # within a list
    if word.text == "," and _is_ing(behind):
        return not any(a.lower in ("and", "or") and _is_ing(b) for a, b in pairwise(words[place:]))  # a list
    if word.text == ",":
        return behind.lower in _CUTS | {"who", "and"} or behind.tags == "P"
    return word.lower == "and" and (
        _is_ing(behind) or "s" in behind.tags or behind.lower in ("is", "are", "it", "they")
    )


def _is_ing(word: Word) -> bool:
    return "e" in word.tags and word.lower.endswith("ing") and "-" not in word.lower


def _is_whole(words: Sequence[Word]) -> bool:
    """Whether words end where a phrase may end."""
    if not words:
        return False
    last = words[-1]
    if last.lower in ("throughout", "inside", "outside"):
        return True
    return last.lower not in _OPEN and bool(set(last.tags) & set("NARe#")) and last.tags != "R"


def joined(words: Sequence[Word]) -> str:
    """The words as one text: with the spaces of the source, and one where words were left out."""
    text = words[0].text
    for before, word in pairwise(words):
        tight = before.end == word.start or word.text in ",;:."
        text += ("" if tight else " ") + word.text
    return text
