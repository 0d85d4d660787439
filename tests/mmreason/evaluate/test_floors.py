import pytest

from mmreason.evaluate.floors import constant_sentence, shuffled
from mmreason.evaluate.metrics import rouge
from mmreason.schema import DataError

TRAIN = ["a warm red coat", "a warm blue coat for you", "tea", "a warm coat", "green shoes fit you well"]


def test_constant_sentence_is_the_training_reference_with_the_best_rouge():
    scores = {s: rouge(predictions=[s] * len(TRAIN), references=TRAIN) for s in TRAIN}
    assert constant_sentence(TRAIN) == max(scores, key=scores.__getitem__) == "a warm coat"
    assert constant_sentence(TRAIN[::-1]) == "a warm coat"


def test_constant_sentence_is_seeded_when_sampled():
    train = [f"w{i % 7} w{i % 11} w{i}" for i in range(200)]
    first, again, other = (constant_sentence(train, seed, sample=20) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_constant_sentence_needs_a_training_reference():
    with pytest.raises(DataError, match="training"):
        constant_sentence(["", "..."])


@pytest.mark.parametrize("n", [2, 3, 50])
def test_shuffled_moves_every_row(n):
    rows = [f"row {i}" for i in range(n)]
    moved = shuffled(rows, seed=3)
    assert sorted(moved) == sorted(rows)
    assert all(a != b for a, b in zip(rows, moved, strict=True))
    assert moved == shuffled(rows, seed=3)
    assert rows == [f"row {i}" for i in range(n)]


def test_shuffled_depends_on_the_seed_and_needs_two():
    rows = [str(i) for i in range(20)]
    assert shuffled(rows, 0) != shuffled(rows, 1)
    with pytest.raises(DataError):
        shuffled(["a"])
