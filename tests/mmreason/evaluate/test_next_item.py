import numpy as np
import pytest

from mmreason.evaluate.next_item import item_knn, next_item_metrics, next_item_ranks, popularity
from mmreason.schema import DataError

SEEN = [[0, 1], [0, 1, 2], [1, 2], [3], [0, 3, 1]]


def test_ranks_by_hand():
    scores = np.array([[0.9, 0.5, 0.7, 0.5], [0.1, 0.2, 0.3, 0.4]])
    # user 0 has had item 0: 0.7 comes first, and the tie with item 3 counts against item 1
    assert next_item_ranks(lambda u: scores[u], [1, 0], [[0], []]).tolist() == [3, 4]
    among = np.array([True, True, False, False])
    assert next_item_ranks(lambda u: scores[u], [1, 0], [[0], []], among).tolist() == [1, 2]


def test_a_target_that_was_had_before_is_still_ranked():
    assert next_item_ranks(lambda u: np.array([[3.0, 2.0, 1.0]]), [1], [[0, 1]]).tolist() == [1]


def test_metrics_by_hand():
    found = next_item_metrics(np.array([1, 3, 40]), ks=(1, 10))
    assert found["recall@1"] == pytest.approx(1 / 3) and found["recall@10"] == pytest.approx(2 / 3)
    assert found["nDCG@10"] == pytest.approx((1 + 1 / np.log2(4)) / 3)
    assert found["MRR"] == pytest.approx((1 + 1 / 3 + 1 / 40) / 3)
    assert next_item_metrics(np.array([], int)) == {"users": 0}


def test_item_knn_is_the_cosine_of_user_columns():
    users = np.zeros((5, 5))
    for row, items in enumerate(SEEN):
        users[row, items] = 1
    norms = np.linalg.norm(users, axis=0).clip(1e-9)
    similar = (users / norms).T @ (users / norms)
    np.fill_diagonal(similar, 0)
    assert np.allclose(item_knn(SEEN, 5)(np.arange(5)), users @ similar, atol=1e-6)
    last = np.stack([similar[items[-1]] for items in SEEN])
    assert np.allclose(item_knn(SEEN, 5, last=1)(np.arange(5)), last, atol=1e-6)
    nearest = np.where(similar >= similar.max(1, keepdims=True), similar, 0)
    assert np.count_nonzero(item_knn(SEEN, 5, neighbours=1, last=1)([0])) == 1
    assert np.allclose(item_knn(SEEN, 5, neighbours=1, last=1)([0])[0].max(), nearest[1].max(), atol=1e-6)


def test_item_knn_agrees_with_implicit():
    implicit = pytest.importorskip("implicit.nearest_neighbours")
    from mmreason.evaluate.next_item import history_matrix

    rng = np.random.default_rng(0)
    seen = [sorted(rng.choice(30, size=rng.integers(2, 12), replace=False).tolist()) for _ in range(60)]
    matrix = history_matrix(seen, 30)
    model = implicit.CosineRecommender(K=31)  # it counts an item among its own neighbours
    model.fit(matrix, show_progress=False)
    ours = item_knn(seen, 30, neighbours=30)(np.arange(60))
    for user in range(60):
        ids, scores = model.recommend(user, matrix[user], N=5, filter_already_liked_items=True)
        # Filtering is ranking only what is new, so an item's similarity to itself plays no part.
        assert np.allclose(ours[user][ids], scores, atol=1e-4)


def test_popularity_counts_histories():
    assert popularity(SEEN, 5)(np.arange(2)).tolist() == [[3, 4, 2, 2, 0]] * 2


def test_mistakes_are_named():
    with pytest.raises(DataError, match="not a number"):
        next_item_ranks(lambda u: np.array([[np.nan, 1.0]]), [0], [[]])
    with pytest.raises(DataError, match="not among"):
        next_item_ranks(lambda u: np.ones((1, 2)), [0], [[]], np.array([False, True]))
    with pytest.raises(DataError, match="2 targets"):
        next_item_ranks(lambda u: np.ones((1, 2)), [0, 1], [[]])
