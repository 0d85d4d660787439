"""Multinomial logistic regression on items that are held out, variants of a product together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FOLDS, INVERSE_PENALTY = 5, 0.3


def held_out(x: np.ndarray, y: np.ndarray, groups: np.ndarray, learned: Sequence[str]) -> np.ndarray | None:
    """(n, V) scores of items by probes that have not seen their group; None with too few groups."""
    from sklearn.model_selection import GroupKFold

    if len(np.unique(groups)) < FOLDS:
        return None
    scores = np.zeros((len(y), len(learned)))
    for train, test in GroupKFold(FOLDS).split(x, groups=groups):
        weight, bias = logistic(x[train], y[train], learned)
        scores[test] = x[test] @ weight + bias
    return scores


def logistic(x: np.ndarray, y: np.ndarray, learned: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Weight (k, V) and bias (V,) of the learned values; a value that these rows lack is never read."""
    from sklearn.linear_model import LogisticRegression

    weight, bias = np.zeros((x.shape[1], len(learned))), np.full(len(learned), -1e9)
    rows = np.isin(y, learned)
    present = sorted(set(y[rows]))
    places = [learned.index(value) for value in present]
    if len(present) <= 1:
        bias[places] = 0.0
        return weight, bias
    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=300).fit(x[rows], y[rows])
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if len(present) == 2:  # one row, the second value's against the first's
        coefficients, intercept = (
            np.vstack([-coefficients, coefficients]) / 2,
            np.r_[-intercept, intercept] / 2,
        )
    weight[:, places], bias[places] = coefficients.T, intercept
    return weight, bias
