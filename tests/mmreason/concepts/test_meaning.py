"""Which facts share a concept, that concepts stay when items are added, and that a person's word counts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.concepts.corrections import concepts, read_corrections
from mmreason.concepts.meaning import key_of
from mmreason.concepts.stage import find_evidence
from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.pipeline import status
from mmreason.schema import DataError, Item


def _find(folder: Path, items: list[Item]) -> EvidenceStore:
    write_catalogue(Catalogue({item.id: item for item in items}, [], [], folder), folder / "catalogue")
    find_evidence(Config(run_dir=str(folder)))
    return EvidenceStore.open(folder / "evidence")


def _same(store: EvidenceStore, one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two (item, value) show one concept."""
    ids = [next(f.concept for f in store.facts(item) if f.value == value) for item, value in (one, other)]
    return ids[0] == ids[1]


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("material", "Merino-Wool", "merino wool"),
        ("fabric", "CoolTec™ mesh", "cooltec mesh"),
        ("category", "Hoodies & Sweatshirts", "Hoodie and sweatshirt"),
        ("thing", "hood, adjustable", "Adjustable hood"),
        ("thing", "环境 优雅", "环境优雅"),
        ("material", "!!", "!!"),
    ],
)
def test_spellings_of_one_value_have_one_key(name: str, one: str, other: str) -> None:
    assert key_of(name, one) == key_of(name, other)


def test_numbers_and_negations_make_another_value() -> None:
    assert key_of("thing", "2 m cable") != key_of("thing", "3 m cable")
    assert key_of("thing", "without hood") != key_of("thing", "with hood")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sturdy lid and soft grip", "soft grip and a sturdy lid", True),
        ("sturdy lid and soft grip", "Sturdy lids with a soft grip", True),
        ("sturdy lid and soft grip", "soft lid and sturdy grip", False),
        ("strong clips and straps", "strong clip straps", False),
        ("contrast seams and topstitch", "contrast topstitching and seams", False),
        ("contrast seams and topstitch", "contrast seams and topstitching", True),
    ],
)
def test_what_a_word_belongs_to_counts(one: str, other: str, same: bool, tmp_path: Path) -> None:
    store = _find(tmp_path, [Item("a", text=f"- {one}"), Item("b", text=f"- {other}")])
    assert (store.facts("a")[0].concept == store.facts("b")[0].concept) is same


def test_a_value_under_several_attributes_is_one_where_the_items_say_so(tmp_path: Path) -> None:
    mugs = [
        Item(f"m{i}", attributes={"category": ["Mugs"], "type": ["mug"], "color": ["orange"]})
        for i in range(4)
    ]
    teas = [Item(f"t{i}", attributes={"flavor": ["orange"], "category": ["Teas"]}) for i in range(4)]
    store = _find(tmp_path, [*mugs, *teas])
    assert _same(store, ("m0", "Mugs"), ("m1", "mug"))
    assert not _same(store, ("m0", "orange"), ("t0", "orange"))
    concept = store.concepts[store.facts("m0")[0].concept]
    assert concept.items == 4 and concept.spellings == ("category=mugs", "type=mug")


def test_a_phrase_is_the_value_of_the_attribute_that_has_it(tmp_path: Path) -> None:
    store = _find(
        tmp_path,
        [
            Item("a", attributes={"material": ["Waxed cotton"]}),
            Item("b", text="- Waxed cotton"),
            Item("c", text="- Two zip pockets"),
            Item("d", text="- Three zip pockets"),
            Item("e", text="- Contrast topstitch"),
            Item("f", text="- Contrast topstitching"),
            Item("g", text="- Black ribbed cuffs"),
            Item("h", text="- Brown ribbed cuffs"),
        ],
    )
    said = {item: store.facts(item)[0].value for item in "abcdefgh"}
    assert _same(store, ("a", said["a"]), ("b", said["b"])) and _same(
        store, ("e", said["e"]), ("f", said["f"])
    )
    assert not _same(store, ("c", said["c"]), ("d", said["d"]))
    assert not _same(store, ("g", said["g"]), ("h", said["h"]))


def test_concepts_keep_their_ids_when_items_are_added(tmp_path: Path) -> None:
    few = [Item(f"a{i}", attributes={"material": ["linen"]}) for i in range(3)]
    before = _find(tmp_path, few).facts("a0")[0].concept
    many = [Item(f"b{i}", attributes={"Material": ["LINEN!"]}) for i in range(9)]
    store = _find(tmp_path, [*few, *many])
    assert {store.facts(i.id)[0].concept for i in [*few, *many]} == {before}
    assert store.concepts[before].items == 12 and store.concepts[before].value == "LINEN!"


def test_what_a_person_corrects_is_kept(tmp_path: Path) -> None:
    items = [
        Item(f"{name} {i}", attributes={"material": [name]})
        for name in ("flax", "linen", "oak")
        for i in range(3)
    ]
    _find(tmp_path, items)
    config = Config(run_dir=str(tmp_path))
    assert "3 of" not in concepts(config) and "material: linen" in concepts(config)
    rows = list(csv.DictReader((tmp_path / "concepts.csv").open(encoding="utf-8-sig")))
    for row in rows:
        if row["spelling"] == "material=flax":
            row |= {"concept": "material=linen"}
        if row["concept"] == "material=oak":
            row |= {"value": "solid oak", "sensitive": "origin"}
    with (tmp_path / "concepts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert "not done yet" in status(config)
    store = _find(tmp_path, [*items, Item("new", attributes={"material": ["Flax"]})])
    assert _same(store, ("new", "Flax"), ("linen 0", "linen")) and store.concepts["material=linen"].items == 7
    assert (store.concepts["material=oak"].value, store.concepts["material=oak"].sensitive) == (
        "solid oak",
        "origin",
    )
    edited = (tmp_path / "concepts.csv").read_text(encoding="utf-8")
    concepts(config)
    assert all(line in (tmp_path / "concepts.csv").read_text(encoding="utf-8-sig") for line in edited.split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column concept, spelling"),
        ("concept,spelling\nx,\n", "row 2"),
        ("concept,spelling\n\xff\n", "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "concepts.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=said):
        read_corrections(tmp_path / "concepts.csv")
