"""Embeddings of the items at hand: never an edited item's old vector, never gone while they are needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config import Config
from mmreason.embed.embedder import Embedder
from mmreason.generate.embeddings import Embeddings
from mmreason.schema import Item
from mmreason.store.store import EmbeddingStore


@pytest.fixture(scope="module")
def embedder(tiny_run: Config) -> Embedder:
    return Embedder.from_pretrained(tiny_run.path("align"), "cpu", "fp32")


def _items(count: int, word: str = "coat") -> list[Item]:
    return [Item(f"i{n}", title=f"{word} number {n}") for n in range(count)]


def _vector(embeddings: Embeddings, item_id: str) -> np.ndarray:
    return embeddings.get("fused", [item_id])[0]


def test_an_edited_item_has_its_new_vector(embedder: Embedder) -> None:
    embeddings = Embeddings(None, lambda: embedder)
    first, edited = Item("a", title="red coat"), Item("a", title="blue shoes")
    embeddings.add([first])
    before = _vector(embeddings, "a")
    embeddings.add([edited])

    assert np.allclose(_vector(embeddings, "a"), embedder.encode(edited), atol=1e-6)
    assert not np.allclose(_vector(embeddings, "a"), before, atol=1e-3)


def test_what_the_current_call_needs_is_never_dropped(embedder: Embedder) -> None:
    embeddings = Embeddings(None, lambda: embedder, limit=3)
    for word in ("coat", "hat", "coat"):
        items = _items(6, word)
        embeddings.add(items)
        found = embeddings.get("fused", [item.id for item in items])
        assert np.allclose(found, embedder.encode(items), atol=1e-6)
        assert len(embeddings._kept) <= 6


def test_what_is_kept_is_not_embedded_again(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = Embeddings(None, lambda: embedder)
    embeddings.add(_items(3))
    monkeypatch.setattr(embedder, "embed", lambda items: pytest.fail(f"embedded again: {items}"))
    embeddings.add([Item("another id", title="coat number 1"), *_items(2)])
    assert embeddings.mask("text", ["another id", "i0"]).all()


def test_the_stores_vector_is_taken_for_the_item_as_it_was(tiny_run: Config, embedder: Embedder) -> None:
    store = EmbeddingStore.open(tiny_run.path("embed"))
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    item = next(item for item in catalogue.items.values() if item.images)
    real = replace(item, images=[str(catalogue.media(name)) for name in item.images])
    edited = replace(real, title="something else")

    def never() -> Embedder:
        raise AssertionError("the store has it")

    known = Embeddings(store, never, stored=catalogue.items)
    known.add([item])  # the catalogue's own item: its media are not even read
    by_content = Embeddings(store, never)
    by_content.add([real])
    for embeddings in (known, by_content):
        assert np.array_equal(_vector(embeddings, item.id), store.get("fused", [item.id])[0])

    changed = Embeddings(store, lambda: embedder, stored=catalogue.items)
    changed.add([edited])
    assert np.allclose(_vector(changed, item.id), embedder.encode(edited), atol=1e-6)
    changed.add([item])
    assert np.array_equal(_vector(changed, item.id), store.get("fused", [item.id])[0])
    assert changed.get("image_features", [item.id]).shape == (1, store.dims["image_features"])


def test_a_chimera_has_one_items_text_and_anothers_picture(tiny_run: Config) -> None:
    store = EmbeddingStore.open(tiny_run.path("embed"))
    items = read_catalogue(tiny_run.path("catalogue")).items
    text, picture = [item for item in items.values() if item.images][:2]

    def never() -> Embedder:
        raise AssertionError("a chimera has no media of its own to embed")

    embeddings = Embeddings(store, never, stored=items)
    embeddings.add_chimera("both", text.id, picture.id)
    embeddings.add([replace(text, id="both")])
    assert np.array_equal(embeddings.get("text", ["both"]), store.get("text", [text.id]))
    assert np.array_equal(embeddings.get("image", ["both"]), store.get("image", [picture.id]))
