"""The evidence of a run on disk: facts by item and concepts by id, found again without holding either.

``facts.parquet`` is sorted by item, ``concepts.parquet`` by id. A concept that a single item shows is in no table:
nobody can have a taste for it, and all there is to know of it stands in the fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from mmreason.evidence.facts import facts_of
from mmreason.evidence.lookup import SortedTable
from mmreason.evidence.schema import Case, Concept, Fact
from mmreason.evidence.sensitive import sensitive_kind, sensitive_together
from mmreason.evidence.tastes import find_tastes
from mmreason.evidence.untrusted import safe_item
from mmreason.language import is_chinese
from mmreason.schema import Item, User

FACTS = pa.schema(
    {
        **dict.fromkeys(("item_id", "name", "value", "source"), pa.string()),
        **dict.fromkeys(("start", "end"), pa.int32()),
        "probability": pa.float64(),
        **dict.fromkeys(("supporters", "asked"), pa.int32()),
        "concept_id": pa.string(),
    }
)
"""Columns of ``facts.parquet``: a :class:`Fact`, its span as two of them."""

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

TASTED = frozenset(["attribute", "title", "text", "picture"])
"""Sources of facts that a person can have a taste for; what others say of an item or take with it is none."""

_HELD = 16_384  # items whose facts, and concepts, are in memory


class EvidenceStore:
    """What is known of every item of a run.

    Args:
        folder: ``<run>/evidence``.

    Raises:
        DataError: If there is no evidence, or it cannot be read.

    Example:
        >>> store = EvidenceStore.open(Path("run/evidence"))
        >>> store.facts("coat-7")[0].value
        'waxed cotton'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._facts = SortedTable(folder / "facts.parquet")
        self.concepts: Mapping[str, Concept] = _Concepts(SortedTable(folder / "concepts.parquet"))
        self._of_item = lru_cache(maxsize=_HELD)(self._look_up)

    @classmethod
    def open(cls, folder: str | Path) -> EvidenceStore:
        """The evidence that the stage ``evidence`` wrote into a folder."""
        return cls(Path(folder))

    def facts(self, item_id: str) -> list[Fact]:
        """The facts of an item; none if it is not known."""
        return list(self._of_item(item_id))

    def item_ids(self) -> Iterator[str]:
        """Every item that has a fact, in order."""
        return self._facts.keys()

    def case(self, user: User, item: Item, items: Mapping[str, Item], language: str = "") -> Case:
        """All that is known of one user and one item.

        Args:
            user: With their history, oldest first.
            item: The item to be recommended; one that the catalogue does not hold is read on the spot.
            items: Item id → item, of the catalogue.
            language: Of the reason; by default that of the item's text.
        """
        known = {
            step.item_id: found for step in user.history if (found := step.item or items.get(step.item_id))
        }
        history_facts = {item_id: self._facts_of(each) for item_id, each in known.items()}
        private, untold = _private(known, history_facts)
        known = {item_id: safe_item(each) for item_id, each in known.items() if item_id not in private}
        history_facts = {item_id: history_facts[item_id] for item_id in known}
        facts = self._facts_of(item)
        concepts = self._concepts_of([*facts, *(fact for some in history_facts.values() for fact in some)])
        shown = {
            item_id: list(
                dict.fromkeys(
                    f.concept for f in some if f.value not in untold and _can_be_liked(f, concepts[f.concept])
                )
            )
            for item_id, some in history_facts.items()
        }
        popularity = {concept.id: concept.popularity for concept in concepts.values()}
        return Case(
            user=user,
            item=safe_item(item),
            facts=facts,
            tastes=find_tastes(user.history, shown, popularity),
            history_items=known,
            history_facts=history_facts,
            concepts=concepts,
            language=language or language_of(item),
        )

    def _facts_of(self, item: Item) -> tuple[Fact, ...]:
        return self._of_item(item.id) or tuple(facts_of(item))

    def _concepts_of(self, facts: list[Fact]) -> dict[str, Concept]:
        return {fact.concept: self.concepts.get(fact.concept) or alone(fact) for fact in facts}

    def _look_up(self, item_id: str) -> tuple[Fact, ...]:
        return tuple(
            Fact(span=None if start is None else (start, end), **row)
            for row in self._facts.rows(item_id)
            for start, end in [(row.pop("start"), row.pop("end"))]
        )


class _Concepts(Mapping[str, Concept]):
    """The concepts of several items, by id."""

    def __init__(self, table: SortedTable) -> None:
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
        rows = self._table.rows(key)
        return replace(Concept(**rows[0]), spellings=tuple(rows[0]["spellings"])) if rows else None


def alone(fact: Fact) -> Concept:
    """The concept of a fact that no other item shows."""
    kind = sensitive_kind(fact.value) or sensitive_kind(fact.name)
    return Concept(fact.concept, fact.name, fact.value, sensitive=kind, spellings=(fact.spelling,))


def language_of(item: Item) -> str:
    """The language of an item's text: ``zh`` or ``en``."""
    return "zh" if is_chinese(item.text or item.title) else "en"


def _private(items: Mapping[str, Item], facts: Mapping[str, Iterable[Fact]]) -> tuple[set[str], set[str]]:
    """Ids of a history's items, and values of their facts, that would tell of their person what nobody may infer."""
    named = {("item", item_id): item.title for item_id, item in items.items()}
    said = sorted({fact.value for some in facts.values() for fact in some if fact.source in TASTED})
    told = sensitive_together(named | {("value", value): value for value in said})
    return {name for of, name in told if of == "item"}, {name for of, name in told if of == "value"}


def _can_be_liked(fact: Fact, concept: Concept) -> bool:
    return fact.source in TASTED and concept.items > 1 and not concept.sensitive
