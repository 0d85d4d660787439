"""How well the shared space finds the right item."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mmreason.schema import DataError

BLOCK = 1024  # queries scored at a time, so that memory is BLOCK × M


def recall_at_k(
    queries: np.ndarray,
    gallery: np.ndarray,
    truth: Sequence[set[int]],
    ks: Sequence[int] = (1, 5, 10),
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
    above = np.concatenate(
        [_above(queries[i : i + BLOCK], gallery, truth[i : i + BLOCK]) for i in range(0, n, BLOCK)]
    )
    result: dict[str, float] = {"queries": n, "gallery": m}
    for k in ks:
        result[f"recall@{k}"] = float((above < k).mean())
        result[f"chance@{k}"] = math.fsum(_chance(m, len(right), k) for right in truth) / n
    return result


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
