"""How well the shared space finds the right item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np

from mmreason.embed.model import MODALITIES
from mmreason.schema import DataError, Item
from mmreason.store.store import EmbeddingStore

KS = (1, 5, 10)  # sizes of the result list
COLD, WARM = "cold", "warm"  # items of the test split and of the training split
QUERIES_AT_ONCE = 1024  # queries scored at a time, so that memory is QUERIES_AT_ONCE × M


def recall_at_k(
    queries: np.ndarray,
    gallery: np.ndarray,
    truth: Sequence[set[int]],
    ks: Sequence[int] = KS,
) -> dict[str, float]:
    """R@k: the share of queries with at least one true item among the k nearest (as CLIP reports it).

    Ties count against the query, so a collapsed space scores 0 and not its luck.

    Args:
        queries: (N, D) float32; unit length for cosine similarity.
        gallery: (M, D) float32.
        truth: The gallery rows that are right for each query; at least one each.
        ks: Sizes of the result list.

    Returns:
        ``recall@k`` and ``chance@k`` for each k, ``queries`` N and ``gallery`` M. Chance is the exact
        expectation of a random order: mean over queries of 1 − C(M − t, k) / C(M, k) with t true items.

    Raises:
        DataError: If shapes do not fit, a vector is not finite, or a query has no true item in the gallery.
    """
    above = _check_and_rank(queries, gallery, truth)
    n, m = len(queries), len(gallery)
    result: dict[str, float] = {"queries": n, "gallery": m}
    for k in ks:
        result[f"recall@{k}"] = float((above < k).mean())
        result[f"chance@{k}"] = math.fsum(_chance(m, len(right), k) for right in truth) / n
    return result


def retrieval_metrics(
    queries: np.ndarray, gallery: np.ndarray, truth: Sequence[set[int]], ks: Sequence[int] = KS
) -> dict[str, float]:
    """What :func:`recall_at_k` gives, and the rank of the best true item and the order of all true ones.

    Args and raises are those of :func:`recall_at_k`.

    Returns:
        Beside recall and chance: ``median rank`` (1 is first) and ``MRR`` of each query's best true item, and
        ``nDCG@k`` of the largest k, with every true item worth 1 (Järvelin & Kekäläinen, TOIS 2002).

    Example:
        >>> eye = np.eye(3, dtype=np.float32)
        >>> retrieval_metrics(eye, eye, [{0}, {1}, {2}], ks=(1,))["MRR"]
        1.0
    """
    result = recall_at_k(queries, gallery, truth, ks)
    k = max(ks)
    ranks, gains = [], []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        scores = queries[start : start + QUERIES_AT_ONCE].astype(np.float32) @ gallery.astype(np.float32).T
        for row, right in enumerate(truth[start : start + QUERIES_AT_ONCE]):
            order = _true_ranks(scores[row], sorted(right))
            ranks.append(order[0])
            ideal = (1 / np.log2(np.arange(2, min(k, len(right)) + 2))).sum()
            gains.append((1 / np.log2(order[order <= k] + 1)).sum() / ideal)
    result["median rank"] = float(np.median(ranks))
    result["MRR"] = float(np.mean(1 / np.array(ranks)))
    result[f"nDCG@{k}"] = float(np.mean(gains))
    return result


def retrieval_by_pair(items: Sequence[Item], store: EmbeddingStore) -> list[dict[str, Any]]:
    """Both directions of every pair of modalities: cold items, each of their domains, and warm items.

    Cold items are those of the test split, of which no training row held a product; variants of one product
    count as right for each other. The gallery is what the row is about: cold queries search cold items.

    Returns:
        Rows of ``pair``, ``items``, ``domain`` and what
        :func:`retrieval_metrics` gives.
    """
    rows = []
    for a, b in permutations(MODALITIES, 2):
        for kind, split in ((COLD, "test"), (WARM, "train")):
            both = [i for i in with_modalities(items, store, a, b) if i.split == split]
            domains = sorted({item.domain for item in both}) if split == "test" else []
            for domain in ["all", *(domains if len(domains) > 1 else [])]:
                chosen = both if domain == "all" else [i for i in both if i.domain == domain]
                if len({item.group for item in chosen}) < 2:
                    continue
                ids = [item.id for item in chosen]
                metrics = retrieval_metrics(store.get(a, ids), store.get(b, ids), _same_group(chosen))
                rows.append({"pair": f"{a} → {b}", "items": kind, "domain": domain} | metrics)
    return rows


def with_modalities(items: Sequence[Item], store: EmbeddingStore, *modalities: str) -> list[Item]:
    """The items that have all of the modalities."""
    ids = [item.id for item in items]
    has = np.all([store.mask(m, ids) for m in modalities], axis=0)
    return [item for item, there in zip(items, has, strict=True) if there]


def _same_group(items: Sequence[Item]) -> list[set[int]]:
    groups: dict[str, set[int]] = {}
    for row, item in enumerate(items):
        groups.setdefault(item.group, set()).add(row)
    return [groups[item.group] for item in items]


def _true_ranks(scores: np.ndarray, right: list[int]) -> np.ndarray:
    """Ranks of the true items, best first; wrong items of equal score come before them."""
    wrong = np.ones(len(scores), bool)
    wrong[right] = False
    best_first = -np.sort(-scores[right])
    above = len(scores) - len(right) - np.searchsorted(np.sort(scores[wrong]), best_first)
    return above + np.arange(1, len(right) + 1)


def _check_and_rank(queries: np.ndarray, gallery: np.ndarray, truth: Sequence[set[int]]) -> np.ndarray:
    """(N,) int64, wrong items at or above each query's best true item; see :func:`recall_at_k` for errors."""
    n, m = len(queries), len(gallery)
    if (
        queries.ndim != 2
        or gallery.ndim != 2
        or queries.shape[1] != gallery.shape[1]
        or len(truth) != n
        or not n
    ):
        raise DataError(
            f"cannot rank {gallery.shape} for {queries.shape} with {len(truth)} sets of true items"
        )
    for name, vectors in (("queries", queries), ("gallery", gallery)):
        if not np.isfinite(vectors).all():
            raise DataError(f"{name} hold a vector that is not finite: row {_first_bad(vectors)}")
    for i, right in enumerate(truth):
        if not right or min(right) < 0 or max(right) >= m:
            raise DataError(
                f"query {i} has true items {sorted(right)[:5]}, not rows of a gallery of {m}: leave it out"
            )
    return np.concatenate(
        [
            _above(queries[i : i + QUERIES_AT_ONCE], gallery, truth[i : i + QUERIES_AT_ONCE])
            for i in range(0, n, QUERIES_AT_ONCE)
        ]
    )


def _above(queries: np.ndarray, gallery: np.ndarray, truth: Sequence[set[int]]) -> np.ndarray:
    """How many wrong items rank at or above each query's best true item, (B,) int64."""
    scores = queries.astype(np.float32) @ gallery.astype(np.float32).T
    above = np.empty(len(queries), np.int64)
    for row, right in enumerate(truth):
        columns = sorted(right)
        best = scores[row, columns].max()
        above[row] = (scores[row] >= best).sum() - (scores[row, columns] >= best).sum()
    return above


def _chance(m: int, t: int, k: int) -> float:
    """The chance that k of m items drawn without replacement hold one of t (hypergeometric)."""
    if k >= m:
        return 1.0
    missed = 1.0
    for i in range(min(t, m)):
        missed *= max(0, m - k - i) / (m - i)
    return 1.0 - missed


def _first_bad(vectors: np.ndarray) -> int:
    return int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
