"""Next-item recall of users, and the two rankings that every recommender must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from mmreason.schema import DataError

USERS_AT_ONCE = 256  # users scored at a time, so that memory is USERS_AT_ONCE × items

Score = Callable[[np.ndarray], np.ndarray]
"""Rows of users (B,) to scores (B, N) of every item; higher is better."""


def next_item_ranks(
    score: Score,
    targets: Sequence[int],
    seen: Sequence[Sequence[int]],
    among: np.ndarray | None = None,
) -> np.ndarray:
    """Where each user's next item comes among all items; ties count against it.

    Args:
        score: See :data:`Score`.
        targets: U item rows, what each user took next.
        seen: Item rows in each user's history: they leave the ranking, the target stays.
        among: (N,) bool, items that are ranked at all; None ranks all. Every target must be one of them.

    Returns:
        (U,) int64, 1 is first.

    Raises:
        DataError: If lengths differ, a score is not a number, or a target is not among the ranked items.

    Example:
        >>> next_item_ranks(lambda users: np.array([[0.9, 0.5, 0.7]]), [1], [[0]]).tolist()
        [2]
    """
    if len(targets) != len(seen):
        raise DataError(f"{len(targets)} targets for {len(seen)} histories")
    ranks = np.empty(len(targets), np.int64)
    for start in range(0, len(targets), USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, len(targets)))
        scores = np.array(score(users), dtype=np.float64)
        if np.isnan(scores).any():
            raise DataError(f"the score of user {users[np.isnan(scores).any(1)][0]} is not a number")
        for row, user in enumerate(users.tolist()):
            target, line = targets[user], scores[row]
            if among is not None and not among[target]:
                raise DataError(f"the target of user {user} is not among the ranked items")
            out = np.zeros(len(line), bool) if among is None else ~among
            out[list(seen[user])] = True
            out[target] = False
            ranks[user] = ((line >= line[target]) & ~out).sum()
    return ranks


def next_item_metrics(ranks: np.ndarray, ks: Sequence[int] = (10,)) -> dict[str, float]:
    """recall@k (with one next item, the hit rate), nDCG@k and MRR.

    Args:
        ranks: (U,) from :func:`next_item_ranks`.
        ks: Sizes of the result list.

    Example:
        >>> next_item_metrics(np.array([1, 3, 40]))["recall@10"]
        0.6666666666666666
    """
    if not len(ranks):
        return {"users": 0}
    result: dict[str, float] = {"users": len(ranks), "MRR": float((1 / ranks).mean())}
    for k in ks:
        result[f"recall@{k}"] = float((ranks <= k).mean())
        result[f"nDCG@{k}"] = float(np.where(ranks <= k, 1 / np.log2(ranks + 1), 0).mean())
    return result


def history_matrix(seen: Sequence[Sequence[int]], items: int) -> sparse.csr_matrix:
    """(U, N) matrix with a one where the item is in the user's history."""
    rows = np.repeat(np.arange(len(seen)), [len(set(row)) for row in seen])
    columns = np.array([item for row in seen for item in sorted(set(row))], dtype=np.int64)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(seen), items))


def popularity(seen: Sequence[Sequence[int]], items: int) -> Score:
    """The same ranking for everyone: items by how many histories hold them."""
    counts = np.asarray(history_matrix(seen, items).sum(0)).ravel()
    return lambda users: np.broadcast_to(counts, (len(users), items))


def item_knn(
    seen: Sequence[Sequence[int]], items: int, neighbours: int = 100, last: int | None = None
) -> Score:
    """Item-based nearest neighbours (Sarwar et al., WWW 2001): cosine of the items' user columns.

    An item's score is the sum of its similarities to the user's history items, of which only each history
    item's ``neighbours`` nearest count.

    Args:
        seen: Item rows in each user's history, oldest first: what similarities are learned from and scored with.
        items: Number N of items.
        neighbours: Neighbours kept per item.
        last: Only this many latest items of the user are scored with; None for all.
    """
    matrix = history_matrix(seen, items)
    norms = np.sqrt(np.asarray(matrix.sum(0)).ravel()).clip(1e-9)
    columns = matrix @ sparse.diags(1 / norms)
    similar = (columns.T @ columns).tocsr()
    similar.setdiag(0)
    similar.eliminate_zeros()
    similar = _nearest(similar, neighbours)
    asked = matrix if last is None else history_matrix([row[-last:] for row in seen], items)
    return lambda users: np.asarray((asked[users] @ similar).todense())


def _nearest(similar: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Keep the ``count`` largest values of each row."""
    for row in range(similar.shape[0]):
        begin, end = similar.indptr[row], similar.indptr[row + 1]
        if end - begin > count:
            values = similar.data[begin:end]
            values[np.argpartition(values, -count)[:-count]] = 0
    similar.eliminate_zeros()
    return similar
