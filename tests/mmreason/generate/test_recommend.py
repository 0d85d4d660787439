"""Which items are told of where nobody says."""

from __future__ import annotations

from pathlib import Path

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.concepts.stage import find_evidence
from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.recommend import recommend
from mmreason.schema import Interaction, Item


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
