"""Items by id from the disk are the items of the catalogue."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from packing import make_catalogue

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.store import items as module
from mmreason.store.items import ItemLookup


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    monkeypatch.setattr(module, "BATCH", 7)  # several batches, the last one short
    made = make_catalogue(tmp_path / "raw", items=40)
    write_catalogue(made, tmp_path / "catalogue")
    return made


def test_each_item_is_found_as_it_is(catalogue: Catalogue, tmp_path: Path) -> None:
    items = ItemLookup(tmp_path / "catalogue")

    assert {item_id: items[item_id] for item_id in items} == catalogue.items
    assert list(items.values()) == list(catalogue.items.values()) == list(items.values())
    assert len(items) == len(items.values()) == 40
    assert "nothing" not in items and items.get("nothing") is None


def test_a_changed_catalogue_is_read_anew(catalogue: Catalogue, tmp_path: Path) -> None:
    item_id = next(iter(catalogue.items))
    assert ItemLookup(tmp_path / "catalogue")[item_id].title == "Coat 0"
    catalogue.items[item_id].title = "Another thing"
    write_catalogue(catalogue, tmp_path / "catalogue")

    assert ItemLookup(tmp_path / "catalogue")[item_id].title == "Another thing"


def test_ids_of_one_hash_are_told_apart(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_hash", lambda item_id: module.np.uint64(len(item_id)))
    items = ItemLookup(tmp_path / "catalogue")

    assert {item_id: items[item_id] for item_id in items} == catalogue.items


def test_it_travels_to_workers(catalogue: Catalogue, tmp_path: Path) -> None:
    items = pickle.loads(pickle.dumps(ItemLookup(tmp_path / "catalogue")))

    assert items["sku.3/é"] == catalogue.items["sku.3/é"]
