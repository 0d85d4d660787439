"""What pictures and videos show of items whose texts do not tell it: facts of source ``picture``.

Every attribute is tried on the items whose value is known, the hidden values of training and validation items
included; see :mod:`mmreason.probes.calibrated`. Where the picture and the text tower were trained together, prompts are
tried too, and of the two that reads which reads more items with the same precision: prompts serve attributes of which
too few items are known to learn from. Items are gone through product by product: what a variant's picture
has that its siblings' have not, such as its colour, stands out that way.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mmreason.catalogue.index import read_index
from mmreason.config import Config
from mmreason.database import Database
from mmreason.evidence.claims import Vocabulary
from mmreason.evidence.schema import Fact
from mmreason.files import TEMPORARY, atomic_write, remove
from mmreason.language import phrase
from mmreason.probes.calibrated import MIN_VALUE, Probe, Space
from mmreason.probes.calibration import Known
from mmreason.safety.untrusted import refusal
from mmreason.schema import Item, from_record
from mmreason.store.index import index_files
from mmreason.store.store import EmbeddingStore

if TYPE_CHECKING:
    from mmreason.probes.pair import TowerPair

MOST_ITEMS = 3000
"""Items that are learned from; of more, products are drawn by the hash of their name."""

LEAST_ITEMS = 40
"""Items whose value must be known before an attribute is learned."""

LEAST_CALIBRATED = 20
"""Items whose value must be known before an attribute is read by prompts: with fewer, 95 % cannot be told."""

MOST_ATTRIBUTES, MOST_VALUES = 30, 100
"""Attributes that are tried, and values that one may have; with more it is a name or a measure."""

USUAL = 0.5
"""Share of a domain's items whose value must be known for the others of the domain to be read."""

BATCH = 1024
REPORT = "seen.json"
_COUNTED = 1000  # different values of an attribute; one with more is not tried


def seen_facts(config: Config) -> Iterator[Fact]:
    """Facts that only the pictures of a run's items show; ``evidence/seen.json`` says how well each attribute is read.

    Nothing without pictures, an embedding store, or known values to learn from.

    Raises:
        DataError: If a file of the catalogue or of the store cannot be read.
    """
    report = config.path("evidence", REPORT)
    remove(report)
    if not index_files(config.path("embed")):
        return
    store = EmbeddingStore.open(config.path("embed"))
    scratch = config.path("evidence", TEMPORARY + "pictures")
    with Database(config.path("catalogue"), scratch) as database:
        database.view("items", read_index(config.path("catalogue")).paths["items"])
        survey = Survey()
        for items in _products(database, store):
            survey.add(items)
        names = survey.attributes()
        prompted = survey.attributes(LEAST_CALIBRATED, 1)
        pair = _pair(config, store) if prompted else None
        prompted = prompted if pair else []
        if not names and not prompted:
            return
        space, learned = _learn(database, store, survey, names, prompted, pair, config.seed)
        found = {each.probe.name: each.probe.report() for each in learned}
        with atomic_write(report) as file:
            file.write((json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode())
        for items in _products(database, store) if learned else ():
            pictures = pair.pictures([item.id for item in items]) if pair else None
            yield from _read(items, space.project(_features(items, store)), pictures, learned)


@dataclass(frozen=True)
class Learned:
    """A probe, and of which items it may speak.

    Attributes:
        probe: Reads an attribute.
        held_out: Item id → what probes that had not learned from it read of it.
        kinds: Attribute → its values, of attributes that all items learned from have: an item with another value is of
            a kind that nothing was learned of.
        words: Finds the attribute's values in a text, which then tells it already.
    """

    probe: Probe
    held_out: dict[str, tuple[str, float]]
    kinds: Mapping[str, frozenset[str]]
    words: Vocabulary

    def speaks_of(self, item: Item) -> bool:
        """Whether the item is of a kind that was learned from, and its text does not tell the attribute."""
        known = all(
            values.issuperset(map(phrase, item.attributes[n]))
            for n, values in self.kinds.items()
            if n in item.attributes
        )
        return (
            known
            and self.probe.name not in item.attributes
            and not self.words.find(f"{item.title}\n{item.text}")
        )


@dataclass
class Survey:
    """What is known of the attributes of items with a picture or video.

    Attributes:
        values: Attribute → value → items to learn from that have it and no other value.
        spellings: (attribute, value) → as written → items.
        several: Attribute → items to learn from that have several values.
        known: (domain, attribute) → items to learn from that have it.
        told: (domain, attribute) → items whose texts tell it.
        items: Domain → items to learn from.
        shown: Domain → items.
    """

    values: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    spellings: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    several: Counter[str] = field(default_factory=Counter)
    known: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)

    def add(self, items: Iterable[Item]) -> None:
        """Count some items."""
        for item in items:
            self.shown[item.domain] += 1
            self.told.update((item.domain, name) for name in item.attributes)
            if item.split == "test":
                continue
            self.items[item.domain] += 1
            for name, values in item.facts().items():
                self.known[item.domain, name] += 1
                self.several[name] += len(values) > 1
                value = single(values)
                counts = self.values[name]
                if value and (value in counts or len(counts) < _COUNTED):
                    counts[value] += 1
                    self.spellings[name, value][values[0]] += 1

    def domains(self, name: str) -> frozenset[str]:
        """Domains in which an attribute is usual, so that an item without it may have it all the same."""
        return frozenset(d for d, n in self.items.items() if self.known[d, name] >= USUAL * n)

    def attributes(self, least: int = LEAST_ITEMS, of_value: int = MIN_VALUE) -> list[str]:
        """The attributes to try, those that most items have first.

        Args:
            least: Items that must have it.
            of_value: Items that must have a value, for two values at least.
        """
        found = {}
        for name, counts in self.values.items():
            learned = [value for value, count in counts.items() if count >= of_value]
            untold = sum(self.shown[d] - self.told[d, name] for d in self.domains(name))
            single_valued = counts.total() >= max(least, self.several[name])
            if untold and single_valued and 2 <= len(learned) <= MOST_VALUES and len(counts) < _COUNTED:
                found[name] = counts.total()
        return sorted(found, key=lambda name: (-found[name], name))[:MOST_ATTRIBUTES]

    def spelling(self, name: str) -> dict[str, str]:
        """Value → how most items write it."""
        return {
            value: min(self.spellings[name, value].items(), key=lambda each: (-each[1], each[0]))[0]
            for value in self.values[name]
        }


def single(values: Sequence[str]) -> str:
    """The one value of an attribute, as it is compared; empty if there are several or it may not be said.

    Example:
        >>> single(["Navy "]), single(["wool", "silk"])
        ('navy', '')
    """
    return phrase(values[0]) if len(values) == 1 and not refusal(values[0]) else ""


def _products(database: Database, store: EmbeddingStore) -> Iterator[list[Item]]:
    """All items with a picture or video, product by product, about so many at a time."""
    from mmreason.probes.picture import (
        has_picture,  # needs torch, which a catalogue without vectors does without
    )

    held: list[Item] = []
    for batch in database.stream('SELECT * FROM items ORDER BY "group", id', BATCH):
        items = [item for row in batch.to_pylist() if (item := from_record(Item, row)).id in store]
        shown = has_picture(store, [item.id for item in items]).tolist()
        for item, is_shown in zip(items, shown, strict=True):
            if is_shown:
                if len(held) >= BATCH and held[-1].group != item.group:
                    yield held
                    held = []
                held.append(item)
    if held:
        yield held


def _features(items: Sequence[Item], store: EmbeddingStore) -> np.ndarray:
    """(N, 2 F) float32: the features of pictures, and how they differ from the mean of their product's."""
    from mmreason.probes.picture import picture_features

    features = picture_features(store, [item.id for item in items]).numpy()
    _, product = np.unique([item.group for item in items], return_inverse=True)
    sums = np.zeros((product.max() + 1, features.shape[1]), np.float32)
    np.add.at(sums, product, features)
    means = sums / np.bincount(product)[:, None].astype(np.float32)
    return np.hstack([features, features - means[product]])


def _pair(config: Config, store: EmbeddingStore) -> TowerPair | None:
    from mmreason.probes.pair import TowerPair  # needs torch

    return TowerPair.open(config, store)


def _learn(
    database: Database,
    store: EmbeddingStore,
    survey: Survey,
    names: Sequence[str],
    prompted: Sequence[str],
    pair: TowerPair | None,
    seed: int,
) -> tuple[Space, list[Learned]]:
    """Probes of the attributes that pictures tell, and the space in which they read.

    Args:
        names: Attributes that are learned.
        prompted: Attributes that are tried by prompts of the pair of towers.
    """
    share = MOST_ITEMS / max(survey.items.total(), 1)
    tried = dict.fromkeys([*names, *prompted])
    items: list[Item] = []
    parts: list[np.ndarray] = []
    for every in _products(database, store):
        some = [item for item in every if zlib.crc32(item.group.encode()) < share * 2**32]
        rows = [n for n, i in enumerate(some) if i.split != "test" and not i.facts().keys().isdisjoint(tried)]
        if rows:
            parts.append(_features(some, store)[rows])
            items += [some[n] for n in rows]
    features = np.concatenate(parts)
    space = Space.fit(features, seed)
    projected = space.project(features)
    pictures = pair.pictures([item.id for item in items]) if pair else None
    learned = []
    for name in tried:
        known, rows = _known(name, items, survey)
        probes = [Probe.fit(name, known, projected[rows])] if name in names else []
        if pair is not None and pictures is not None and name in prompted:
            values = sorted(known.spelling)
            prompts = pair.prompts(name, [known.spelling[value] for value in values])
            probes.append(Probe.by_prompts(name, known, pictures[rows], values, prompts))
        found = max(filter(None, probes), key=lambda probe: probe.coverage, default=None)
        if found is not None:
            learned.append(_learned(found, known, [items[row] for row in rows]))
    return space, learned


def _known(name: str, items: Sequence[Item], survey: Survey) -> tuple[Known, list[int]]:
    """What is known of an attribute, and of which of the items."""
    usual = survey.domains(name)
    values = [single(item.facts().get(name, ())) if item.domain in usual else "" for item in items]
    rows = [row for row, value in enumerate(values) if value]
    known = [items[row] for row in rows]
    _, groups = np.unique([item.group for item in known], return_inverse=True)
    others = [
        {"domain": item.domain, **{n: ", ".join(v) for n, v in item.facts().items() if n != name}}
        for item in known
    ]
    domains = [item.domain for item in known]
    return Known([values[row] for row in rows], groups, domains, others, survey.spelling(name)), rows


def _learned(probe: Probe, known: Known, items: Sequence[Item]) -> Learned:
    """A probe with what it reads of the items that it has learned from."""
    held_out = {item.id: said for item, said in zip(items, probe.held_out, strict=True)}
    return Learned(probe, held_out, _kinds(items, probe.name), Vocabulary({probe.name: set(known.values)}))


def _kinds(items: Sequence[Item], name: str) -> dict[str, frozenset[str]]:
    """Attributes that all of these items have, but the one named, and their values."""
    shared = set.intersection(*(set(item.attributes) for item in items)) - {name}
    return {n: frozenset(phrase(v) for item in items for v in item.attributes[n]) for n in sorted(shared)}


def _read(
    items: Sequence[Item], projected: np.ndarray, pictures: np.ndarray | None, learned: Sequence[Learned]
) -> Iterator[Fact]:
    """What pictures show of items whose texts do not tell it."""
    domains = [item.domain for item in items]
    for each in learned:
        vectors = pictures if each.probe.prompted and pictures is not None else projected
        for item, found in zip(items, each.probe.read(vectors, domains), strict=True):
            value, probability = each.held_out.get(item.id, found)
            if value and each.speaks_of(item):
                yield Fact(item.id, each.probe.name, value, "picture", probability=round(probability, 4))
