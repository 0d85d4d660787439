import itertools

import numpy as np
import pytest

from mmreason.evaluate.retrieval import recall_at_k
from mmreason.schema import DataError


def test_by_hand():
    gallery = np.eye(4, dtype=np.float32)
    queries = np.array([[4, 3, 2, 1], [4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    result = recall_at_k(queries, gallery, [{0}, {1, 3}, {0}], ks=(1, 2, 4))
    assert [result[f"recall@{k}"] for k in (1, 2, 4)] == pytest.approx([1 / 3, 2 / 3, 1])
    # one of 4 at k = 2: 1/2; two of 4: 1 - C(2,2)/C(4,2) = 5/6
    assert result["chance@2"] == pytest.approx((1 / 2 + 5 / 6 + 1 / 2) / 3)
    assert result["chance@4"] == 1
    assert (result["queries"], result["gallery"]) == (3, 4)


@pytest.mark.parametrize(("m", "t", "k"), [(5, 2, 2), (6, 3, 1), (6, 4, 3), (4, 1, 9)])
def test_chance_equals_enumeration(m, t, k):
    draws = list(itertools.combinations(range(m), min(k, m)))
    expected = sum(any(i < t for i in draw) for draw in draws) / len(draws)
    result = recall_at_k(np.ones((1, 2)), np.ones((m, 2)), [set(range(t))], ks=(k,))
    assert result[f"chance@{k}"] == pytest.approx(expected)


def test_random_vectors_score_chance():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(3000, 8)), rng.normal(size=(40, 8))
    truth = [set(rng.choice(40, size=rng.integers(1, 5), replace=False).tolist()) for _ in queries]
    result = recall_at_k(queries.astype(np.float32), gallery.astype(np.float32), truth)
    for k in (1, 5, 10):
        assert result[f"recall@{k}"] == pytest.approx(result[f"chance@{k}"], abs=0.03)


def test_a_collapsed_space_scores_nothing():
    same = np.ones((20, 4), np.float32)
    assert recall_at_k(same, same, [{i} for i in range(20)])["recall@10"] == 0


def test_more_queries_than_a_block():
    eye = np.eye(1500, dtype=np.float32)
    result = recall_at_k(eye, eye, [{i} for i in range(1499)] + [{0}], ks=(1,))
    assert result["recall@1"] == pytest.approx(1499 / 1500)


@pytest.mark.parametrize("truth", [[set()], [{3}], [{-1}], [{0}, {0}]])
def test_wrong_truth_is_a_data_error(truth):
    with pytest.raises(DataError):
        recall_at_k(np.ones((1, 2)), np.ones((3, 2)), truth)


def test_a_vector_that_is_not_finite_is_named():
    gallery = np.ones((3, 2), np.float32)
    gallery[2, 0] = np.nan
    with pytest.raises(DataError, match="row 2"):
        recall_at_k(np.ones((1, 2)), gallery, [{0}])
