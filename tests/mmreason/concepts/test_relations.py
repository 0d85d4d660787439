"""Bought together: by several people, and more often than chance would have it."""

from __future__ import annotations

from pathlib import Path

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.concepts.stage import find_evidence
from mmreason.config import Config
from mmreason.evidence.schema import Fact
from mmreason.evidence.store import EvidenceStore
from mmreason.schema import Interaction, Item


def _relations(
    folder: Path, items: list[Item], steps: list[tuple[str, str]], event: str = "purchase"
) -> list[Fact]:
    interactions = [Interaction(user, item, event) for user, item in steps]
    write_catalogue(
        Catalogue({item.id: item for item in items}, interactions, [], folder), folder / "catalogue"
    )
    find_evidence(Config(run_dir=str(folder)))
    store = EvidenceStore.open(folder / "evidence")
    return [fact for item in items for fact in store.facts(item.id) if fact.source == "relation"]


ITEMS = [
    Item("teapot"),
    Item("mug red", group="mug"),
    Item("mug blue", group="mug"),
    Item("lamp"),
    Item("rug"),
]
# Four bought teapot and mug, everybody a lamp, and many only a rug.
STEPS = [
    *((f"u{i}", "teapot") for i in range(4)),
    *((f"u{i}", "mug red" if i else "mug blue") for i in range(4)),
    *((f"u{i}", "lamp") for i in range(20)),
    *((f"u{i}", "rug") for i in range(4, 20)),
]


def test_what_people_buy_together_goes_together_for_every_variant(tmp_path: Path) -> None:
    found = {(f.item_id, f.value): (f.supporters, f.asked) for f in _relations(tmp_path, ITEMS, STEPS)}
    assert found == {
        ("teapot", "mug red"): (4, 4),
        ("teapot", "mug blue"): (4, 4),
        ("mug red", "teapot"): (4, 4),
        ("mug blue", "teapot"): (4, 4),
    }  # never the lamp, which everybody has, nor one mug with the other


def test_two_people_or_clicks_are_not_enough(tmp_path: Path) -> None:
    few = [step for step in STEPS if step[0] not in ("u0", "u1")]
    assert _relations(tmp_path / "few", ITEMS, few) == []
    assert _relations(tmp_path / "clicks", ITEMS, STEPS, "click") == []


def test_the_sources_links_tell_what_goes_with_what_was_taken(tmp_path: Path) -> None:
    items = [
        Item("teapot", links={"goes with": ["mug red"], "alternative": ["kettle"]}),
        Item("mug red", group="mug", links={"related": ["mug blue"]}),
        Item("mug blue", group="mug", links={"related": ["lamp"]}),
        Item("kettle"),
        Item("lamp"),
    ]
    found = {(f.item_id, f.name, f.value) for f in _relations(tmp_path, items, [("u", "mug red")], "click")}
    assert found == {
        ("mug red", "goes with", "teapot"),
        ("mug blue", "goes with", "teapot"),
        ("kettle", "alternative", "teapot"),
        ("lamp", "related", "mug red"),  # what somebody took
        ("lamp", "related", "mug blue"),  # and the product's first variant
    }


def test_what_is_shown_beside_everything_keeps_the_products_that_most_took(tmp_path: Path) -> None:
    items = [Item(f"i{n:03}", links={"goes with": ["box"]}) for n in range(60)]
    found = _relations(tmp_path, [*items, Item("box")], [("u", "i059"), ("v", "i059"), ("u", "i058")])
    assert len(found) == 50 and [f.value for f in found][:3] == ["i059", "i058", "i000"]
