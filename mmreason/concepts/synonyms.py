"""Phrases that say the same in other words, by the run's text encoder: "hidden pocket" and "secret pocket".

In an encoder's space "front pocket" lies nearly as close to "hidden pocket" as "secret pocket" does, and "red hat"
close to "blue hat". So nearness of phrases only proposes. They mean the same if they differ in one word for one, these
two are each other's nearest among all words of the catalogue, nothing says that the words exclude each other, and no
item shows both phrases.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Protocol

import numpy as np

from mmreason.concepts.wordforms import AND, are_forms, same_numbers
from mmreason.language import UNSPACED
from mmreason.packaged import packaged_yaml
from mmreason.probes.colors import basic_color

NEAR_PHRASES, NEAR_WORDS = 0.87, 0.65
"""Cosines from which phrases, and the words in which they differ, may mean the same."""

_SHORTEST = 3  # letters of a word; shorter ones are initials, units and particles


class Vectors(Protocol):
    """A text encoder: :class:`mmreason.embed.texts.TextFeatures`."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(N, F) unit vectors."""

    def is_word(self, text: str) -> bool:
        """Whether the encoder knows a text as one word."""


def synonymous(
    phrases: Sequence[tuple[str, str]], vectors: Vectors, taken: Collection[str]
) -> Iterator[tuple[int, int]]:
    """Pairs of phrases that mean the same, as two places; the second is the commoner one's.

    Args:
        phrases: (key, as written), the commonest first. A key is what :func:`mmreason.concepts.meaning.key_of` gives.
        vectors: The encoder.
        taken: Words of the values of the catalogue's attributes, which are told apart there.
    """
    found = [
        (here, there, words)
        for here, there in near_places(vectors([written for _, written in phrases]), NEAR_PHRASES)
        if (words := difference(phrases[here][0], phrases[there][0])) and not set(words) & set(taken)
    ]
    if not found:
        return
    vocabulary = sorted({word for key, _ in phrases for word in key.split() if _may_differ(word)})
    place = {word: number for number, word in enumerate(vocabulary)}
    units = vectors(vocabulary)
    nearest: dict[str, str] = {}
    for word in sorted({word for _, _, words in found for word in words}):
        cosines = units @ units[place[word]]
        cosines[place[word]] = -1
        best = int(cosines.argmax())
        if cosines[best] >= NEAR_WORDS and vectors.is_word(word):
            nearest[word] = vocabulary[best]
    for here, there, (one, other) in found:
        if nearest.get(one) == other and nearest.get(other) == one:
            yield here, there


def difference(one: str, other: str) -> tuple[str, str] | None:
    """The one word for one in which two keys differ, if these may be synonyms; None otherwise.

    Example:
        >>> difference("hidden pocket zip", "pocket secret zip"), difference("back pocket", "front pocket")
        (('hidden', 'secret'), None)
        >>> difference("blue hat", "red hat"), difference("hat", "warm hat"), difference("2 m cable", "3 m cable")
        (None, None, None)
        >>> difference("hidden pocket and soft cuff", "hidden cuff and soft bag")   # what the words belong to counts
    """
    if UNSPACED.search(one + other) or not same_numbers(one, other):
        return None
    parts = [part for part in one.split(AND) if part not in other.split(AND)]
    others = [part for part in other.split(AND) if part not in one.split(AND)]
    if len(parts) != 1 or len(others) != 1 or one.count(AND) != other.count(AND):
        return None
    here, there = parts[0].split(), others[0].split()
    for word in parts[0].split():
        same = next((each for each in there if each == word or are_forms(each, word)), None)
        if same is not None:
            here.remove(word)
            there.remove(same)
    if len(here) != 1 or len(there) != 1 or not (_may_differ(here[0]) and _may_differ(there[0])):
        return None
    groups = _opposites()
    exclude = groups.get(here[0], frozenset()) & groups.get(there[0], frozenset())
    return None if exclude or basic_color(here[0]) or basic_color(there[0]) else (here[0], there[0])


def near_places(vectors: np.ndarray, least: float, most: int = 10) -> Iterator[tuple[int, int]]:
    """Pairs of rows that are among each other's nearest, for each row the nearest of those before it first.

    Args:
        vectors: (N, F), dense or sparse.
        least: Cosine of a pair.
        most: Neighbours of a row that are looked at.
    """
    from sklearn.neighbors import NearestNeighbors

    count = min(most, vectors.shape[0])
    distances, places = NearestNeighbors(n_neighbors=count, metric="cosine").fit(vectors).kneighbors(vectors)
    mutual = [set(row) for row in places.tolist()]
    for here, (row, distance) in enumerate(zip(places.tolist(), distances.tolist(), strict=True)):
        for there, far in zip(row, distance, strict=True):
            if there < here and here in mutual[there] and far <= 1 - least:
                yield here, there


def _may_differ(word: str) -> bool:
    return word.isalpha() and len(word) >= _SHORTEST and word != AND.strip()


@cache
def _opposites() -> dict[str, frozenset[int]]:
    """Word → the groups of words that exclude each other which it is in."""
    found: dict[str, set[int]] = {}
    for number, words in enumerate(packaged_yaml("mmreason.concepts", "opposites.yaml")):
        for word in words:
            found.setdefault(str(word), set()).add(number)
    return {word: frozenset(groups) for word, groups in found.items()}
