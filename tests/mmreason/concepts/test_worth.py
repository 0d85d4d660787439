"""What only the whole catalogue tells: plumbing, boilerplate, and texts that are another variant's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.concepts.stage import find_evidence
from mmreason.config import Config
from mmreason.evidence.schema import Fact
from mmreason.evidence.store import EvidenceStore
from mmreason.schema import Item


@pytest.fixture
def find(tmp_path: Path):  # type: ignore[no-untyped-def]
    """``find(items)``: their evidence, and the stage's line."""

    def run(items: list[Item]) -> tuple[EvidenceStore, str]:
        write_catalogue(Catalogue({i.id: i for i in items}, [], [], tmp_path), tmp_path / "catalogue")
        summary = find_evidence(Config(run_dir=str(tmp_path)))
        return EvidenceStore.open(tmp_path / "evidence"), summary

    return run


def _values(store: EvidenceStore, item: str) -> set[str]:
    return {fact.value for fact in store.facts(item)}


def test_plumbing_and_promotion_are_no_facts(find) -> None:  # type: ignore[no-untyped-def]
    items = [
        Item(
            str(i),
            attributes={
                "sku": [f"AB-{i}"], "price": [f"{i}.99"], "stock status": ["in stock"], "warehouse": ["Leeds"],
                "material": [["oak", "ash", "elm"][i % 3]], "tags": ["sale", "New in", "kitchen" if i % 2 else "hall"],
                "year": [str(1990 + i % 5)], "ref code": [f"x{i}"], "maker note": ["n/a"],
            },
        )
        for i in range(24)
    ]  # fmt: skip
    store, summary = find(items)
    assert _values(store, "1") == {"ash", "kitchen", "1991", "1990s"}
    assert "plumbing" in summary and "promotion" in summary


def test_a_sentence_that_a_tenth_of_the_products_share_is_boilerplate(find) -> None:  # type: ignore[no-untyped-def]
    said = "- Soft felt pouch for safe storage"
    items = [
        Item(str(i), text=f"{said if i % 5 == 0 else ''}\n{'- Snug fit' if i % 4 == 0 else ''}\n- Oak lid")
        for i in range(200)
    ]
    store, summary = find(items)
    assert _values(store, "0") == {"Snug fit"}  # the sentence in a fifth, "Oak lid" in all
    assert "boilerplate" in summary


def test_variants_of_one_product_make_no_boilerplate(find) -> None:  # type: ignore[no-untyped-def]
    items = [Item(str(i), text="- Soft felt pouch for safe storage", group="one") for i in range(50)]
    store, _ = find([*items, *(Item(f"o{i}", attributes={"material": ["oak"]}) for i in range(50))])
    assert _values(store, "0") == {"Soft felt pouch for safe storage"}


def test_the_text_of_another_variant_is_no_fact(find) -> None:  # type: ignore[no-untyped-def]
    text = "- Black zip hoodie\n- Navy blue lining\n- Two side pockets\n- Fit for women"
    items = [
        Item("blue", text=text, attributes={"Color": ["Blue"], "gender": ["Men"]}),
        Item("grey", text="- Gray ribbed cuffs", attributes={"color": ["grey"]}),
        Item("none", text=text),
    ]
    store, summary = find(items)
    assert {"Black zip hoodie", "Fit for women"}.isdisjoint(_values(store, "blue"))
    assert {"Navy blue lining", "Two side pockets"} <= _values(store, "blue")
    assert "Gray ribbed cuffs" in _values(store, "grey") and "Black zip hoodie" in _values(store, "none")
    assert "against an attribute" in summary


def test_praise_that_most_products_get_tells_nothing(find, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    def praise(config: Config) -> Iterator[Fact]:
        for i in range(12):
            for value in ["taste", *(["terrace"] if i < 3 else [])]:
                yield Fact(str(i), "praise", value, "review", supporters=4, asked=4)

    monkeypatch.setattr("mmreason.concepts.stage.MORE", (praise,))
    store, _ = find([Item(str(i), title=f"Place {i}") for i in range(12)])
    assert (_values(store, "0"), _values(store, "9")) == ({"terrace"}, set())
