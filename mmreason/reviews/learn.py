"""The aspect lexicon of a catalogue, learned from its attributes and reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from mmreason.catalogue.tables import stream_table
from mmreason.database import Database
from mmreason.progress import track
from mmreason.reviews.aspects import Lexicon
from mmreason.reviews.languages import unmined_language
from mmreason.reviews.miner import Miner
from mmreason.reviews.sentences import sentences
from mmreason.schema import Item

MIN_LEARN = 3
"""A noun is learned as an aspect if at least this many reviews judge it, and one in 200 of them."""

JUDGED_SHARE = 0.3
"""… and if this share of the reviews that name it does."""

ITEM_SHARE = 0.25
"""A noun is a word for the item if this share of the reviews that name it says "this …"."""


class Texts(Protocol):
    """Texts that are counted and can be gone through again, as a list is."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


def learn_lexicon(items: Iterable[Item], texts: Texts) -> Lexicon:
    """The seed, the catalogue's attribute values, and the nouns that its reviews judge.

    Args:
        items: For their attributes, and the words that name an item.
        texts: Whole reviews; gone through twice.
    """
    lexicon = Lexicon.seed()
    lexicon.add_attributes(items)
    miner = Miner(lexicon)
    judged, pointed, named = Counter[str](), Counter[str](), Counter[str]()
    for text in track(texts, "learn aspects", "review"):
        if unmined_language(text):
            continue
        found = [noun for sentence in sentences(text) for noun in miner.finder(sentence).nouns(sentence)]
        named.update({noun for noun, _, _ in found})
        judged.update({noun for noun, near, _ in found if near})
        pointed.update({noun for noun, _, this in found if this})
    for noun, count in pointed.most_common():
        if count >= MIN_LEARN and count >= ITEM_SHARE * named[noun]:
            lexicon.item_words.append(noun)
    often = {noun: count for noun, count in judged.items() if count >= JUDGED_SHARE * named[noun]}
    lexicon.add_nouns(often, max(MIN_LEARN, len(texts) // 200))
    seen: Counter[str] = Counter()
    learned = Miner(lexicon)
    for text in track(texts, "count aspects", "review"):
        if unmined_language(text):
            continue
        seen.update({aspect for s in sentences(text) for aspect in learned.finder(s).mentions(s)})
    for name, aspect in lexicon.aspects.items():
        aspect.seen = seen[name]
    return lexicon


class ReviewTexts:
    """The texts of a catalogue's reviews, read anew from disk each time they are gone through.

    Args:
        database: With a view ``interactions``.
        most: Only so many, drawn by the hash of their text; 0 for all.
    """

    def __init__(self, database: Database, most: int = 0) -> None:
        some = f"ORDER BY md5(text), text LIMIT {most}" if most else ""
        self._database = database
        self._query = f"SELECT text FROM interactions WHERE trim(text) <> '' {some}"
        self._count = int(database.value(f"SELECT count(*) FROM ({self._query})"))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for batch in self._database.stream(self._query, 8192):
            yield from batch["text"].to_pylist()


def read_or_learn(path: Path, items: Path, texts: Texts, relearn: bool = False) -> tuple[Lexicon, str]:
    """The aspect lexicon, and in words where it is from; learned and written if it is not there.

    Args:
        path: The lexicon's file.
        items: The catalogue's table of items.
        texts: Whole reviews.
        relearn: Learn it even if it is there.
    """
    learns = relearn or not path.exists()
    if learns:
        learn_lexicon(stream_table(items, Item), texts).write(path)
    lexicon = Lexicon.read(path)
    return lexicon, f"{len(lexicon.aspects)} aspects {'learned' if learns else 'read'}: {path}"
