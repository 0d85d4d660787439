"""Which items are told of where nobody says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.concepts.stage import find_evidence
from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.recommend import recommend
from mmreason.schema import Interaction, Item
from mmreason.store.store import EmbeddingStore, StoreWriter


def told_of(folder: Path, items: list[Item], steps: list[Interaction], user: str, top_k: int) -> list[str]:
    catalogue = Catalogue({item.id: item for item in items}, steps, [], folder)
    write_catalogue(catalogue, folder / "catalogue")
    find_evidence(Config(run_dir=str(folder)))
    found = recommend(catalogue, EvidenceStore.open(folder / "evidence"), top_k)
    return [item.id for who, item in found if who.id == user]


def test_what_goes_with_what_they_took_comes_before_what_everybody_takes(tmp_path: Path) -> None:
    items = [Item(name) for name in ("kettle", "lamp", "mug", "rose")]
    items.append(Item("pot", links={"goes with": ["mug"], "alternative": ["kettle"]}))
    items.append(Item("vase", links={"goes with": ["rose"]}))
    steps = [Interaction(f"u{n}", "lamp", "purchase") for n in range(3)]
    steps += [Interaction("ann", "pot", "purchase"), Interaction("ann", "vase", "rating", rating=1)]
    assert told_of(tmp_path, items, steps, "ann", 2) == ["mug", "lamp"]


def test_the_nearest_come_first_those_that_answer_a_taste_before_the_others(tmp_path: Path) -> None:
    near = {name: {"material": ["wool"]} if name in "cd" else {} for name in "abcd"}
    items = [Item(name, name, attributes=told) for name, told in near.items()]
    items += [Item(f"far{n}", f"far {n}") for n in range(190)]
    items += [Item(f"end{n}", f"end {n}", attributes={"material": ["wool"]}) for n in range(10)]
    steps = [Interaction("ann", name, "purchase") for name in ("a", "c")]
    steps += [Interaction("bob", "gone", "purchase")]
    steps += [Interaction(f"u{n}", "far7", "purchase") for n in range(3)]
    catalogue = Catalogue({item.id: item for item in items}, steps, [], tmp_path)
    write_catalogue(catalogue, tmp_path / "catalogue")
    find_evidence(Config(run_dir=str(tmp_path)))
    angles = np.linspace(0, 1.5, len(items), dtype=np.float32)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ids = [item.id for item in items]
    StoreWriter(tmp_path / "embed", {}).write_part(
        ids, ids, {"fused": vectors}, {"text": np.ones(len(ids), bool)}
    )
    store, evidence = EmbeddingStore.open(tmp_path / "embed"), EvidenceStore.open(tmp_path / "evidence")
    found = [(user.id, item.id) for user, item in recommend(catalogue, evidence, 2, store)]
    ann = [item for user, item in found if user == "ann"]
    assert ann == ["d", "b"]  # not of the far ones, though these are of wool, too
    assert [item for user, item in found if user == "bob"] == ["far7", "a"]  # nothing of his is known
    assert found == [(u.id, i.id) for u, i in recommend(catalogue, evidence, 2, store)]
    by_taste = [item.id for user, item in recommend(catalogue, evidence, 2) if user.id == "ann"]
    assert by_taste == ["d", "end0"]
