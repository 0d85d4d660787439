"""evaluate-alignment: the figures by hand, and the whole verb over a tiny run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config import Config, UserConfig
from mmreason.evaluate.alignment import (
    alignment,
    evaluate_alignment,
    leave_last_out,
    uniformity,
)
from mmreason.evaluate.retrieval import recall_at_k, retrieval_by_pair, retrieval_metrics
from mmreason.schema import DataError, Interaction, Item
from mmreason.store.store import EmbeddingStore, StoreWriter
from mmreason.users.train import align_users


def test_retrieval_metrics_by_hand() -> None:
    gallery = np.eye(4, dtype=np.float32)
    queries = np.array([[4, 3, 2, 1], [4, 3, 2, 1], [2, 2, 2, 2]], np.float32)
    found = retrieval_metrics(queries, gallery, [{0}, {1, 3}, {0}], ks=(1, 2))
    assert found["median rank"] == 2
    assert found["MRR"] == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)  # ties count against the query
    # row 1: of two true items one is second among the first two
    assert found["nDCG@2"] == pytest.approx((1 + (1 / np.log2(3)) / (1 + 1 / np.log2(3)) + 0) / 3)
    plain = recall_at_k(queries, gallery, [{0}, {1, 3}, {0}], ks=(1, 2))
    assert {k: found[k] for k in plain} == plain


def test_ndcg_agrees_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    queries, gallery = (
        rng.normal(size=(20, 6)).astype(np.float32),
        rng.normal(size=(30, 6)).astype(np.float32),
    )
    truth = [set(rng.choice(30, size=rng.integers(1, 15), replace=False).tolist()) for _ in range(20)]
    relevant = np.array([[float(c in right) for c in range(30)] for right in truth])
    expected = sklearn.ndcg_score(relevant, queries @ gallery.T, k=10)
    assert retrieval_metrics(queries, gallery, truth)["nDCG@10"] == pytest.approx(expected)


def test_alignment_and_uniformity() -> None:
    circle = np.stack([[np.cos(t), np.sin(t)] for t in np.linspace(0, 2 * np.pi, 40, endpoint=False)])
    assert alignment(circle, circle) == 0 and alignment(circle, -circle) == pytest.approx(4)
    assert uniformity(np.repeat(circle[:1], 5, 0)) == 0
    assert uniformity(circle) < uniformity(circle[:10]) < 0


def test_leave_last_out_leaves_out_the_last_item_and_tells_cold_ones() -> None:
    rows = {"a": 0, "b": 1, "c": 2}

    def walk(*ids: str) -> list[Interaction]:
        return [Interaction("u", item, timestamp=float(t)) for t, item in enumerate(ids, 1)]

    test = leave_last_out([walk("a", "b"), walk("b", "c", "a", "c"), walk("a"), walk("a", "a")], rows)
    assert test.targets == [1, 2] and test.seen == [[0], [1, 0]]
    assert test.warm.tolist() == [True, False]  # c is in no one's past


def _store(folder: Path, vectors: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> EmbeddingStore:
    ids = [f"i{n}" for n in range(len(vectors["image"]))]
    StoreWriter(folder, {}).write_part(ids, ids, vectors, masks)
    return EmbeddingStore.open(folder)


def test_pairs_domains_and_cold_items_are_apart(tmp_path: Path) -> None:
    eye = np.eye(6, dtype=np.float32)
    items = [
        Item(f"i{n}", domain="shop" if n < 4 else "news", split="train" if n in (2, 3) else "test")
        for n in range(6)
    ]
    masks = {
        "image": np.ones(6, bool),
        "text": np.array([1, 1, 1, 1, 1, 0], bool),
        "video": np.zeros(6, bool),
    }
    store = _store(tmp_path, {"image": eye, "text": eye[[1, 0, 2, 3, 4, 5]], "video": 0 * eye}, masks)
    rows = {(r["pair"], r["items"][:4], r["domain"]): r for r in retrieval_by_pair(items, store)}
    assert {pair for pair, _, _ in rows} == {"image → text", "text → image"}  # no video anywhere
    assert rows["image → text", "warm", "all"]["recall@1"] == 1
    assert rows["image → text", "cold", "all"]["gallery"] == 3
    assert rows["image → text", "cold", "shop"]["recall@1"] == 0  # the two were swapped
    assert ("image → text", "cold", "news") not in rows  # one item with both: nothing to rank


@pytest.fixture(scope="module")
def measured(tiny_run: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("measured")
    for name in ("align", "catalogue", "shoppers", "embed", "raw"):
        if tiny_run.path(name).exists():
            shutil.copytree(tiny_run.path(name), folder / name)
    users = UserConfig(layers=1, heads=2, steps=8, batch_size=8, check_every=4)
    config = replace(tiny_run, run_dir=str(folder), users=users)
    align_users(config)
    evaluate_alignment(config)
    return config


def test_the_verb_writes_figures_a_map_and_a_page(measured: Config) -> None:
    result = json.loads(measured.path("evaluate", "alignment.json").read_text())
    assert {"image → text", "text → image"} <= {row["pair"] for row in result["retrieval"]}
    assert all(0 <= row["recall@1"] <= row["recall@5"] <= 1 for row in result["retrieval"])
    assert {"user tower", "item-kNN", "popularity"} <= set(result["users"]["warm"])
    assert result["geometry"]["uniformity"]["image"] <= 0 <= result["geometry"]["alignment"]["image–text"]
    assert measured.path("evaluate", "alignment.png").read_bytes().startswith(b"\x89PNG")
    page = measured.path("alignment.html").read_text()
    assert "data:image/png;base64," in page and "<script" not in page and "http" not in page


def test_measured_again_is_the_same(measured: Config) -> None:
    before = measured.path("evaluate", "alignment.json").read_bytes()
    evaluate_alignment(measured)
    assert measured.path("evaluate", "alignment.json").read_bytes() == before


@pytest.mark.parametrize("count", [12, 1])
def test_texts_alone_and_a_single_item_are_measured(measured: Config, tmp_path: Path, count: int) -> None:
    for name in ("align", "catalogue", "shoppers"):
        shutil.copytree(measured.path(name), tmp_path / name)
    config = replace(measured, run_dir=str(tmp_path))
    ids = [*read_catalogue(config.path("catalogue")).items][:count]
    texts = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    vectors = {"image": 0 * texts, "text": texts, "video": 0 * texts, "fused": texts}
    masks = {name: np.full(count, name == "text") for name in ("image", "text", "video")}
    StoreWriter(config.path("embed"), {}).write_part(ids, ids, vectors, masks)
    said = evaluate_alignment(config)
    assert "nothing is retrieved" in said and "\n" not in said
    assert "nothing to retrieve" in config.path("alignment.html").read_text()
    assert config.path("evaluate", "alignment.png").exists() == (count > 1)


def test_what_does_not_fit_is_named(measured: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no catalogue"):
        evaluate_alignment(replace(measured, run_dir=str(tmp_path / "nowhere")))
    other = tmp_path / "other"
    for name in ("align", "catalogue", "shoppers", "users"):
        shutil.copytree(measured.path(name), other / name)
    eye = np.eye(4, dtype=np.float32)
    masks = {name: np.ones(4, bool) for name in ("image", "text", "video")}
    _store(other / "embed", dict.fromkeys(("image", "text", "video", "fused"), eye), masks)
    with pytest.raises(DataError, match="embed this catalogue"):
        evaluate_alignment(replace(measured, run_dir=str(other)))
