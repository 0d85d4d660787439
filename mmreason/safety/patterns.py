"""Many regular expressions at once, quickly told to be absent: most texts hold none of what is looked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

_CHOICE = re.compile(r"\(\?:([\w '-]+(?:\|[\w '-]+)*)\)(?![*+?{])")


class Patterns:
    """Finds regular expressions in lower case in texts of lower case.

    A pattern that begins with ``\\b`` is tried where a Latin word begins with its first letter, the others where
    neither a Latin letter nor a space stands, so that the time hardly grows with their number; a choice that is in no
    brackets is tried anywhere.

    Args:
        patterns: Kind → its regular expressions.

    Example:
        >>> patterns = Patterns({"order": [r"\\b(?:buy|order) now\\b"], "price": [r"[$€]\\d"]})
        >>> list(patterns.find("order now for $5")), patterns.search("nothing")
        ([('order', (0, 9)), ('price', (14, 16))], False)
    """

    def __init__(self, patterns: Mapping[str, Iterable[str]]) -> None:
        self._patterns = {kind: tuple(each) for kind, each in patterns.items()}
        self._all = _one(pattern for each in self._patterns.values() for pattern in each)

    @cached_property
    def _by_kind(self) -> dict[str, re.Pattern[str]]:
        return {kind: _one(each) for kind, each in self._patterns.items() if each}

    def search(self, text: str) -> bool:
        """Whether a text holds any."""
        return self._all.search(text) is not None

    def find(self, text: str) -> Iterator[tuple[str, tuple[int, int]]]:
        """Each that a text holds: its kind, start and end in characters; by kind."""
        if self.search(text):
            for kind, pattern in self._by_kind.items():
                yield from ((kind, found.span()) for found in pattern.finditer(text))


def _one(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for several; those that begin a word by their first letter, which is what makes it fast."""
    by_letter: dict[str, list[str]] = {}
    signs, anywhere = [], []
    for pattern in patterns:
        if _has_branches(pattern):
            anywhere.append(pattern)
        elif pattern.startswith(r"\b"):
            for each in _choices(pattern[2:]):
                letter = each[0] if each[0].isalnum() and each[1:2] not in "?*+{" else ""
                by_letter.setdefault(letter, []).append(each[len(letter) :])
        else:
            signs.append(pattern)
    words = "|".join(f"{letter}(?:{'|'.join(ends)})" for letter, ends in by_letter.items())
    parts = [rf"\b(?=[a-z\d])(?:{words})"] if words else []
    parts += [f"(?=[^a-z ])(?:{'|'.join(signs)})"] if signs else []
    return re.compile("|".join(parts + anywhere) or "(?!)")


def _has_branches(pattern: str) -> bool:
    """Whether a pattern is a choice at its top level, so that its parts may begin anywhere."""
    bare, left = "", re.sub(r"\\.|\[[^\]]*\]", "", pattern)
    while bare != left:
        bare, left = left, re.sub(r"\([^()]*\)", "", left)
    return "|" in left


def _choices(pattern: str) -> list[str]:
    """A pattern that begins with a choice of words, as one for each."""
    found = _CHOICE.match(pattern)
    return [word + pattern[found.end() :] for word in found[1].split("|")] if found else [pattern]
