"""Which attribute values a text names: the claims that verification and evaluation check."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmreason.language import CJK, COMMON, phrase, plurals, singulars
from mmreason.schema import DataError, Item

TOKEN = re.compile(
    rf"[{CJK}]|[^\W_{CJK}](?:[^\W_{CJK}]|[\u0300-\u036f]|['’](?=[^\W_{CJK}]))*[™®©℠]?|[^\w\s™®©℠]|_"
)
JOINERS = frozenset("-‐‑_")
BETWEEN = frozenset([":", "=", "is", "are"])
LEAF = ""

Token = tuple[str, int, int]
"""A word or punctuation mark in lower case, with its start and end."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One value that a text names.

    Attributes:
        attribute: The attribute that the value belongs to.
        value: The value as :func:`phrase` writes it.
        span: Start and end in the text, in characters.
    """

    attribute: str
    value: str
    span: tuple[int, int]

    def true_of(self, item: Item) -> bool:
        """Whether the item has this value (hidden attributes included)."""
        return self.value in {phrase(value) for value in item.facts().get(self.attribute, [])}


def _tokens(text: str) -> list[Token]:
    """Words and punctuation marks of a text in lower case, with their spans."""
    found = []
    for match in TOKEN.finditer(text):
        token = match.group().lower()
        if not token.isascii():
            token = unicodedata.normalize("NFC", token.rstrip("™®©℠")).replace("’", "'")
        token = "and" if token == "&" else token.removesuffix("'s")
        found.append((token, match.start(), match.end()))
    return found


def _forms(word: str) -> set[str]:
    """A word with its simple English singular and plural."""
    others = [*singulars(word), *plurals(word)]
    return {form for form in others if len(form) > 2 and form not in COMMON} | {word}


def _needs_name(words: list[str]) -> bool:
    """Whether a value is too short or too common to be a claim by itself: "M", "32", "all"."""
    if len(words) > 1:
        return False
    word = words[0]
    return word in COMMON or word.isdigit() or (len(word) == 1 and word.isascii())


@dataclass
class Vocabulary:
    """Every value of every attribute, and a matcher for them.

    Matching ignores case, hyphens and trademark signs, reads "&" as "and", accepts the last word in singular
    or plural, and takes whole words only: "off-white" names neither "off" nor "white". The longest phrase
    wins; phrases do not overlap. A span gets one mention for every (attribute, value) that it can mean.
    Numbers, single letters and the words in :data:`COMMON` count only beside a word of their attribute's name
    ("size M", "pattern: solid", "all seasons").

    Args:
        values: Attribute → its values; they are stored as :func:`phrase` writes them.

    Example:
        >>> vocabulary = Vocabulary({"category": ["Hoodies & Sweatshirts"], "color": ["red"]})
        >>> [(m.value, m.span) for m in vocabulary.find("A red one of our hoodies and sweatshirts")]
        [('red', (2, 5)), ('hoodies & sweatshirts', (17, 40))]
    """

    values: Mapping[str, Iterable[str]]
    _trie: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.values = {name: {phrase(v) for v in values} - {""} for name, values in self.values.items()}
        self._trie = {}
        for attribute in sorted(self.values):
            for value in sorted(self.values[attribute]):
                self._add(attribute, value)

    def _add(self, attribute: str, value: str) -> None:
        tokens = _tokens(value)
        words = [token for i, (token, _, _) in enumerate(tokens) if not _is_joined(tokens, i)]
        if not words:
            return
        beside = (
            frozenset().union(*(_forms(w) for w, _, _ in _tokens(attribute))) if _needs_name(words) else None
        )
        node = self._trie
        for word in words[:-1]:
            node = node.setdefault(word, {})
        for form in _forms(words[-1]):
            node.setdefault(form, {}).setdefault(LEAF, []).append((attribute, value, beside))

    @classmethod
    def of(cls, items: Iterable[Item]) -> Vocabulary:
        """The values that a catalogue uses, hidden ones included."""
        values: dict[str, set[str]] = defaultdict(set)
        for item in items:
            for attribute, named in item.facts().items():
                values[attribute].update(named)
        return cls(values)

    def to_json(self) -> str:
        """The vocabulary as JSON text, the same for the same values."""
        return json.dumps(
            {n: sorted(v) for n, v in sorted(self.values.items())}, ensure_ascii=False, indent=1
        )

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """The inverse of :meth:`to_json`.

        Raises:
            DataError: If the text is not a JSON object of lists of strings.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"vocabulary is not JSON: {error}; write it with Vocabulary.to_json") from None
        if not isinstance(values, dict) or not all(
            isinstance(v, list) and all(isinstance(s, str) for s in v) for v in values.values()
        ):
            raise DataError(
                "vocabulary is not an object of lists of strings; write it with Vocabulary.to_json"
            )
        return cls(values)

    def find(self, text: str) -> list[Mention]:
        """Every value that a text names, in reading order.

        Args:
            text: Any text.

        Returns:
            Mentions; those with the same span are readings of the same words.
        """
        tokens = _tokens(text)
        mentions: list[Mention] = []
        position = 0
        while position < len(tokens):
            if tokens[position][0] not in self._trie:
                position += 1
                continue
            readings, end = self._longest(tokens, position)
            span = (tokens[position][1], tokens[end - 1][2])
            mentions += (Mention(attribute, value, span) for attribute, value in readings)
            position = end
        return mentions

    def _longest(self, tokens: list[Token], start: int) -> tuple[list[tuple[str, str]], int]:
        """The readings of the longest phrase that starts at a token, and the token after it."""
        best: list[tuple[str, str]] = []
        end = stop = start + 1
        node = None if _is_joined(tokens, start - 1) else self._trie[tokens[start][0]]
        while node is not None:
            if LEAF in node and not _is_joined(tokens, stop):
                around = _around(tokens, start, stop)
                readings = [
                    (a, v) for a, v, beside in node[LEAF] if beside is None or not around.isdisjoint(beside)
                ]
                if readings:
                    best, end = readings, stop
            while _is_joined(tokens, stop):
                stop += 1
            node = node.get(tokens[stop][0]) if stop < len(tokens) else None
            stop += 1
        return best, end


def _is_joined(tokens: list[Token], index: int) -> bool:
    """Whether the token at ``index`` is a hyphen with no space around it, so that it makes one word."""
    if not 0 < index < len(tokens) - 1 or tokens[index][0] not in JOINERS:
        return False
    return tokens[index - 1][2] == tokens[index][1] and tokens[index][2] == tokens[index + 1][1]


def _around(tokens: list[Token], start: int, stop: int) -> set[str]:
    """The words on both sides of a phrase, past a colon or "is"."""
    before, after = start - 1, stop
    while before > 0 and tokens[before][0] in BETWEEN:
        before -= 1
    while after < len(tokens) - 1 and tokens[after][0] in BETWEEN:
        after += 1
    return {tokens[i][0] for i in (before, after) if 0 <= i < len(tokens)}
