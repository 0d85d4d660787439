"""Nearest neighbours: who takes part, what is asked, and an index file that was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmreason.schema import DataError
from mmreason.store.nearest import Nearest
from mmreason.store.store import EmbeddingStore, StoreWriter


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """300 items with a text, of which 40 have a video."""
    rng = np.random.default_rng(0)
    has_video = np.arange(300) % 7 == 3
    text = rng.normal(size=(300, 8)).astype(np.float32)
    video = rng.normal(size=(300, 8)).astype(np.float32) * has_video[:, None]
    ids = [f"i{row}" for row in range(300)]
    masks = {"text": np.ones(300, bool), "video": has_video}
    writer = StoreWriter(tmp_path, {"model": "x"})
    for half in (slice(0, 150), slice(150, 300)):
        arrays = {"text": text[half], "video": video[half]}
        writer.write_part(ids[half], ids[half], arrays, {name: mask[half] for name, mask in masks.items()})
    return EmbeddingStore.open(tmp_path)


@pytest.mark.parametrize("exact", [1000, 0])
def test_items_without_the_modality_take_no_part(store: EmbeddingStore, exact: int) -> None:
    if not exact:
        pytest.importorskip("faiss")
    away = -np.mean(store.get("video"), axis=0, keepdims=True)
    for top_k in (5, 300):
        found = Nearest(store, "video", exact).search(away, top_k)[0]
        assert found and len(found) <= 43
        assert all(store.mask("video", [item_id])[0] for item_id, _ in found)
    row = int(np.flatnonzero(store.mask("video"))[4])
    assert Nearest(store, "video", exact).search(store.get("video", [row]), 1)[0][0][0] == store.id(row)


def test_a_store_without_the_modality_has_nothing_near(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, {})
    arrays = {"video": np.zeros((2, 4), np.float32)}
    writer.write_part(["a", "b"], ["1", "2"], arrays, {"video": np.zeros(2, bool)})
    assert Nearest(EmbeddingStore.open(tmp_path), "video").search(np.ones((1, 4), np.float32)) == [[]]


def test_arguments_are_checked(store: EmbeddingStore) -> None:
    query = np.ones((1, 8), np.float32)
    for top_k in (0, -3, 2.5, "ten"):
        wrong: Any = top_k
        with pytest.raises(DataError, match="top_k"):
            Nearest(store, "text").search(query, wrong)
    for shape in ((1, 7), (8,)):
        with pytest.raises(DataError, match="array text holds vectors of 8"):
            Nearest(store, "text").search(np.ones(shape, np.float32))


def test_a_cut_index_file_is_built_anew(store: EmbeddingStore) -> None:
    pytest.importorskip("faiss")
    query = store.get("text", [5])
    before = Nearest(store, "text", exact=0).search(query, 3)
    path = store.folder / "nearest-text.faiss"
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-1], b"", b"something else"):
        path.write_bytes(data)
        assert Nearest(store, "text", exact=0).search(query, 3) == before
        assert path.read_bytes() == whole


def test_a_damaged_part_is_noticed(store: EmbeddingStore) -> None:
    for name in ("part-000001/text.npy", "part-000000/rows.parquet"):
        path = store.folder / name
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{path.name}: cannot be read \(damaged"):
            EmbeddingStore.open(store.folder).get("text")
        path.write_bytes(whole)
    assert EmbeddingStore.open(store.folder).get("text").shape == (300, 8)
