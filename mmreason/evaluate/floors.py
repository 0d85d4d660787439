"""What a system that reads nothing scores: predictions to measure beside the model's."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from mmreason.evaluate.metrics import words
from mmreason.schema import DataError


def constant_sentence(references_train: Sequence[str], seed: int = 0, sample: int = 1000) -> str:
    """The single training reference with the best mean ROUGE-1, to be said for every row.

    The sentence is chosen among, and scored against, a seeded sample of the *training* references (F1 over
    sets of words, as :func:`mmreason.evaluate.metrics.rouge`).

    Args:
        references_train: References of the training split.
        seed: Seed of the sample.
        sample: Training references compared with one another; the cost is quadratic in it.

    Raises:
        DataError: If there is no training reference.
    """
    pool = sorted(text for text in references_train if words(text))
    if not pool:
        raise DataError("no training reference to choose a constant sentence from: give the training split's")
    pool = random.Random(seed).sample(pool, min(sample, len(pool)))
    bags = [set(words(text)) for text in pool]
    column = {word: i for i, word in enumerate(sorted(set().union(*bags)))}
    present = np.zeros((len(pool), len(column)), np.float32)
    for row, bag in enumerate(bags):
        present[row, [column[word] for word in bag]] = 1
    size = present.sum(1)
    f1 = 2 * (present @ present.T) / (size[:, None] + size[None, :])
    return pool[int(f1.mean(1).argmax())]


def shuffled(references: Sequence[str], seed: int = 0) -> list[str]:
    """Every row gets another row's reference: right style and length, wrong user and item.

    One random cycle through all rows (Sattolo's algorithm), so that no row keeps its own.

    Args:
        references: At least two references.
        seed: Seed of the cycle.
    """
    if len(references) < 2:
        raise DataError(f"cannot shuffle {len(references)} references: give at least two rows")
    rng, order = random.Random(seed), list(references)
    for i in range(len(order) - 1, 0, -1):
        j = rng.randrange(i)
        order[i], order[j] = order[j], order[i]
    return order
