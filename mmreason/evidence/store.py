"""The evidence of a run on disk: facts by item and concepts by id, found again without holding either.

``facts.parquet`` is sorted by item, ``concepts.parquet`` by id. A concept that a single item shows is in no table:
nobody can have a taste for it, and all there is to know of it stands in the fact.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmreason.evidence.facts import VERSION, facts_of, language_of
from mmreason.evidence.lookup import NoRows, SortedTable
from mmreason.evidence.pairs import Pairs
from mmreason.evidence.schema import Case, Concept, Fact, Taste
from mmreason.evidence.tastes import engagement, find_tastes
from mmreason.safety.sensitive import read_terms, sensitive_kind, sensitive_together
from mmreason.safety.terms import TermFinder
from mmreason.safety.untrusted import safe_item
from mmreason.schema import Interaction, Item, User

FACTS = pa.schema(
    {
        **dict.fromkeys(("item_id", "name", "value", "source"), pa.string()),
        **dict.fromkeys(("start", "end"), pa.int32()),
        "probability": pa.float64(),
        **dict.fromkeys(("supporters", "asked"), pa.int32()),
        **dict.fromkeys(("concept_id", "content", "language"), pa.string()),
        "clean": pa.bool_(),
    }
)
"""Columns of ``facts.parquet``: a :class:`Fact`, its span as two of them, and of the item that it was read from the
digest (of one that a picture shows, that of the embedding store), the language of its text, and whether nothing of it
was refused (:mod:`mmreason.safety.untrusted`)."""

CONCEPTS = pa.schema(
    {
        **dict.fromkeys(("id", "name", "value"), pa.string()),
        "items": pa.int32(),
        "popularity": pa.float64(),
        "sensitive": pa.string(),
        "spellings": pa.list_(pa.string()),
    }
)
"""Columns of ``concepts.parquet``: a :class:`Concept`."""

SENSITIVE = "sensitive.yaml"
"""The run's own terms of what nobody may infer of a person."""

TASTED = frozenset(["attribute", "title", "text", "picture"])
"""Sources of facts that a person can have a taste for; what others say of an item or take with it is none."""

_PEOPLE = 64  # whose tastes are in memory
_STEP = attrgetter("item_id", "event", "count", "rating", "share", "timestamp")
_HELD = 16_384  # items whose facts, and concepts, are in memory


class EvidenceStore:
    """What is known of every item of a run.

    Args:
        folder: ``<run>/evidence``.

    Attributes:
        sensitive: Finds the run's own terms that nobody may infer of a person.

    Raises:
        DataError: If there is no evidence, or it cannot be read.

    Example:
        >>> store = EvidenceStore.open(Path("run/evidence"))
        >>> store.facts("coat-7")[0].value
        'waxed cotton'
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._facts = SortedTable(folder / "facts.parquet") if folder else NoRows()
        self.concepts: Mapping[str, Concept] = _Concepts(
            SortedTable(folder / "concepts.parquet") if folder else NoRows()
        )
        own = folder / SENSITIVE if folder else None
        self.sensitive = read_terms(own) if own and own.is_file() else None
        self.pairs = Pairs(folder / "pairs.parquet" if folder else None)
        self._of_item = lru_cache(maxsize=_HELD)(self._look_up)
        self._given: dict[str, list[Fact]] = {}
        self._of_person: OrderedDict[Any, _History] = OrderedDict()

    @classmethod
    def open(cls, folder: str | Path | None) -> EvidenceStore:
        """The evidence that the stage ``evidence`` wrote into a folder; of None nothing is known beforehand."""
        return cls(None if folder is None else Path(folder))

    def facts(self, item_id: str) -> list[Fact]:
        """The facts of an item; none if it is not known."""
        return list(self._of_item(item_id).facts)

    def content(self, item_id: str) -> str:
        """Digest of what the facts of an item were read from; empty if it has none.

        Where some were read off its pictures, a digest of these follows behind a slash.
        """
        known = self._of_item(item_id)
        return f"{known.content}/{known.shown}" if known.shown else known.content

    def facts_of(self, item: Item) -> list[Fact]:
        """The facts of an item, which is read on the spot unless it is as the catalogue had it."""
        return list(self._known_of(item).facts)

    def _known_of(self, item: Item) -> _Known:
        if item.id in self._given:
            return _Known(self._given[item.id])
        known = self._of_item(item.id)
        if known.facts and known.content in ("", content_of(item)):
            return known
        ids = self._meaning
        return _Known([replace(fact, concept_id=ids.get(fact.spelling, "")) for fact in facts_of(item)])

    def put(self, item_id: str, facts: Iterable[Fact]) -> None:
        """Let an item have these facts, whatever else is known of it."""
        self._given[item_id] = list(facts)

    def item_ids(self) -> Iterator[str]:
        """Every item that has a fact, in order."""
        return self._facts.keys()

    def case(self, user: User, item: Item, items: Mapping[str, Item], language: str = "") -> Case:
        """All that is known of one user and one item; of the latest users their tastes are remembered.

        Args:
            user: With their history, oldest first.
            item: The item to be recommended; one that the catalogue does not hold like this is read on the spot.
            items: Item id → item, of the catalogue.
            language: Of the reason; by default that of the item's text.
        """
        history, known = self._history(user, items), self._known_of(item)
        facts = list(known.facts)
        return Case(
            user=user,
            item=item if known.clean else safe_item(item),
            facts=facts,
            tastes=history.tastes,
            history_items=history.items,
            history_facts=history.facts,
            concepts=history.concepts | self._concepts_of(facts) | self._pairs_of(facts),
            language=language or known.language or language_of(item),
            sensitive=self.sensitive,
            untold=history.untold,
            disliked=history.disliked,
        )

    def _history(self, user: User, items: Mapping[str, Item]) -> _History:
        """What a history shows; of the latest people it is remembered, unless they brought items of their own."""
        if any(step.item is not None for step in user.history):
            return self._read_history(user, items)
        key = (id(items), user.id, tuple(map(_STEP, user.history)))
        found = self._of_person.pop(key, None)
        if found is None or found.catalogue is not items:
            found = self._read_history(user, items)
        self._of_person[key] = found
        if len(self._of_person) > _PEOPLE:
            self._of_person.popitem(last=False)
        return found

    def _read_history(self, user: User, items: Mapping[str, Item]) -> _History:
        known = {
            step.item_id: found for step in user.history if (found := step.item or items.get(step.item_id))
        }
        read = {item_id: self._known_of(each) for item_id, each in known.items()}
        facts = {item_id: each.facts for item_id, each in read.items()}
        private, values = _private(known, facts, self.sensitive)
        untold = frozenset(f.concept for some in facts.values() for f in some if f.value in values)
        safe = {
            item_id: each if read[item_id].clean else safe_item(each)
            for item_id, each in known.items()
            if item_id not in private
        }
        facts = {item_id: facts[item_id] for item_id in safe}
        concepts = self._concepts_of([fact for some in facts.values() for fact in some])
        shown = {
            item_id: list(
                dict.fromkeys(
                    f.concept
                    for f in some
                    if f.concept not in untold and _can_be_liked(f, concepts[f.concept])
                )
            )
            for item_id, some in facts.items()
        }
        for item_id, some in shown.items():
            pairs = self.pairs.of(some)
            concepts |= {pair.id: pair for pair in pairs}
            shown[item_id] = [*some, *(pair.id for pair in pairs)]
        popularity = {concept.id: concept.popularity for concept in concepts.values()}
        tastes = find_tastes(user.history, shown, popularity)
        return _History(items, safe, facts, concepts, tastes, untold, _disliked(user.history, facts))

    def _concepts_of(self, facts: Iterable[Fact]) -> dict[str, Concept]:
        return {
            fact.concept: self.concepts.get(fact.concept) or alone(fact, self.sensitive) for fact in facts
        }

    def _pairs_of(self, facts: Iterable[Fact]) -> dict[str, Concept]:
        return {pair.id: pair for pair in self.pairs.of(fact.concept for fact in facts)}

    @cached_property
    def _meaning(self) -> dict[str, str]:
        """Spelling → its concept, where that has another spelling for its id."""
        return {
            spelling: concept.id
            for concept in self.concepts.values()
            for spelling in concept.spellings
            if spelling != concept.id
        }

    def _look_up(self, item_id: str) -> _Known:
        columns = self._facts.columns(item_id)
        if not columns:
            return _Known(())
        spans = [
            None if start is None else (start, end)
            for start, end in zip(columns["start"], columns["end"], strict=True)
        ]
        told = (columns[name] for name in ("name", "value", "source"))
        numbers = (columns[name] for name in ("probability", "supporters", "asked", "concept_id"))
        facts = (Fact(item_id, *each) for each in zip(*told, spans, *numbers, strict=True))
        # Facts of the item's own text come first; those that only the catalogue tells know nothing of it.
        contents = columns.get("content", [""] * len(spans))
        shown = next((c for c, s in zip(contents, columns["source"], strict=True) if s == "picture"), "")
        own = "" if columns["source"][0] == "picture" else contents[0]
        about = (columns[name][0] for name in ("language", "clean") if name in columns)
        return _Known(tuple(facts), shown, own, *about)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of an item; ``language`` and ``clean`` of an item that is as the catalogue had it.

    Attributes:
        facts: In the file's order.
        shown: Digest of the pictures that some were read off; empty if of none.
        content: Digest of what the others were read from; empty if of nothing of the item's own.
        language: Of its text; empty if it is yet to be told.
        clean: Whether all of it may be quoted as it is.
    """

    facts: Sequence[Fact]
    shown: str = ""
    content: str = ""
    language: str = ""
    clean: bool = False


@dataclass(frozen=True, slots=True)
class _History:
    """What a history shows, over which catalogue."""

    catalogue: Mapping[str, Item]
    items: Mapping[str, Item]
    facts: Mapping[str, Sequence[Fact]]
    concepts: dict[str, Concept]
    tastes: Sequence[Taste]
    untold: frozenset[str]
    disliked: frozenset[str]


def content_of(item: Item) -> str:
    """A digest of what an item's facts are read from.

    Example:
        >>> content_of(Item("a", title="Hat")) == content_of(Item("b", title="Hat", images=["hat.jpg"]))
        True
    """
    attributes = json.dumps(item.attributes, ensure_ascii=False)
    content = "\x1f".join((str(VERSION), item.title, item.text, attributes))
    return hashlib.md5(content.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


class _Concepts(Mapping[str, Concept]):
    """The concepts of several items, by id."""

    def __init__(self, table: SortedTable | NoRows) -> None:
        self._table = table
        self._one = lru_cache(maxsize=4 * _HELD)(self._look_up)

    def __getitem__(self, key: str) -> Concept:
        found = self._one(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: str, default: Concept | None = None) -> Concept | None:  # type: ignore[override]
        return self._one(key) or default

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        return self._table.keys()

    def _look_up(self, key: str) -> Concept | None:
        found = self._table.columns(key)
        if not found:
            return None
        one = {name: values[0] for name, values in found.items()}
        return Concept(**{**one, "spellings": tuple(one["spellings"])})


def alone(fact: Fact, sensitive: TermFinder | None = None) -> Concept:
    """The concept of a fact that no other item shows; ``sensitive`` finds further terms."""
    kind = sensitive_kind(fact.value, sensitive) or sensitive_kind(fact.name, sensitive)
    return Concept(fact.concept, fact.name, fact.value, sensitive=kind, spellings=(fact.spelling,))


def _private(
    items: Mapping[str, Item], facts: Mapping[str, Iterable[Fact]], sensitive: TermFinder | None
) -> tuple[set[str], set[str]]:
    """Ids of a history's items, and values of their facts, that would tell of their person what nobody may infer."""
    named = {("item", item_id): item.title for item_id, item in items.items()}
    said = sorted({fact.value for some in facts.values() for fact in some if fact.source in TASTED})
    told = sensitive_together(named | {("value", value): value for value in said}, sensitive)
    return {name for of, name in told if of == "item"}, {name for of, name in told if of == "value"}


def _disliked(history: Sequence[Interaction], facts: Mapping[str, Sequence[Fact]]) -> frozenset[str]:
    """Concepts of what a person turned away from, and of nothing else in their history."""
    told = {step.item_id: engagement(step) for step in history}
    left = [item_id for item_id, much in told.items() if much < 0]
    if not left:
        return frozenset()
    kept = {fact.concept for item_id, much in told.items() if much >= 0 for fact in facts.get(item_id, ())}
    return frozenset(fact.concept for item_id in left for fact in facts.get(item_id, ())) - kept


def _can_be_liked(fact: Fact, concept: Concept) -> bool:
    return fact.source in TASTED and concept.items > 1 and not concept.sensitive
