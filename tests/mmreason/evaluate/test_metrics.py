import itertools
import math
import random

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from mmreason.evaluate import metrics
from mmreason.evidence.claims import Vocabulary
from mmreason.schema import Item

RNG = random.Random(0)
TEXTS = [
    " ".join(RNG.choices(["the", "a", "red", "blue", "coat", "warm"], k=RNG.randint(3, 14)))
    for _ in range(60)
]
PREDICTIONS, REFERENCES = TEXTS[:30], TEXTS[30:]


def test_words():
    assert metrics.words("It’s dark-red, 50% wool!") == ["it's", "dark-red", "50", "wool"]
    assert metrics.words("红色 coat。") == ["红", "色", "coat"]
    assert metrics.words("cafe\u0301") == metrics.words("CAFÉ")


def test_predictions_and_references_are_keyword_only():
    for metric in (metrics.bleu, metrics.rouge, metrics.rouge_standard, metrics.fmr, metrics.usr):
        with pytest.raises(TypeError):
            metric(["a"], ["a"])


def test_rows_must_match():
    with pytest.raises(ValueError, match="1 and 2 rows"):
        metrics.rouge(predictions=["a"], references=["a", "b"])


def test_usr():
    texts = ["A red hat.", "a red hat", "a blue hat", "a red coat"]
    assert metrics.usr(predictions=texts) == 3 / 4
    assert metrics.usr(predictions=texts, first=2) == 2 / 4
    assert math.isnan(metrics.usr(predictions=[]))


def test_feature_metrics_by_hand():
    found = [{"red", "wool"}, {"red"}, set(), {"red", "wool", "hat"}]
    assert metrics.fmr(predictions=found, references=["Wool", "blue", "red", "hat"]) == 2 / 4
    assert metrics.fmr(predictions=found, references=[{"wool"}, {"blue", "red"}, {"red"}, ["x"]]) == 2 / 4
    assert metrics.fcr(predictions=found, references=["red", "wool", "blue", "cap"]) == 2 / 4
    # pairs: 01 1, 02 0, 03 2, 12 0, 13 1, 23 0
    assert metrics.div(predictions=found) == pytest.approx(4 / 6)


@given(st.lists(st.sets(st.sampled_from("abcdef")), min_size=2, max_size=12))
def test_div_equals_the_mean_over_pairs(found):
    pairs = [len(a & b) for a, b in itertools.combinations(found, 2)]
    assert metrics.div(predictions=found) == pytest.approx(sum(pairs) / len(pairs))


def test_features_of_texts():
    vocabulary = Vocabulary({"color": ["red"], "material": ["wool"]})
    assert metrics.features(map(vocabulary.find, ["red wool, red", "none"])) == [{"red", "wool"}, set()]


def test_bleu_by_hand():
    # unigrams 3/4 and bigrams 1/3 are shared; 4 words against 5
    predictions, references = ["a red warm hat"], ["a red and nice hat"]
    penalty = math.exp(1 - 5 / 4)
    assert metrics.bleu(predictions=predictions, references=references, n=1) == pytest.approx(75 * penalty)
    assert metrics.bleu(predictions=predictions, references=references, n=2) == pytest.approx(
        100 * penalty * math.sqrt(3 / 4 * 1 / 3)
    )
    assert metrics.bleu(predictions=predictions, references=references, n=4) == 0


def test_bleu_equals_sacrebleu():
    expected = sacrebleu.corpus_bleu(
        PREDICTIONS, [REFERENCES], tokenize="none", smooth_method="none", force=True
    )
    assert metrics.bleu(predictions=PREDICTIONS, references=REFERENCES) == pytest.approx(expected.score)
    assert expected.score > 1


def test_bleu_of_empty_texts():
    assert metrics.bleu(predictions=["", "..."], references=["a", "b"]) == 0
    assert metrics.bleu(predictions=["a b c d", ""], references=["a b c d", "e"]) > 0
    assert math.isnan(metrics.bleu(predictions=[], references=[]))


def test_rouge_counts_sets_and_standard_counts_repeats():
    predictions, references = ["red red hat"], ["red red red coat"]
    # sets: {red, hat} and {red, coat}; counts: 2 of 3 and 2 of 4
    assert metrics.rouge(predictions=predictions, references=references) == pytest.approx(50)
    assert metrics.rouge_standard(predictions=predictions, references=references) == pytest.approx(
        100 * 4 / 7
    )
    assert metrics.rouge(predictions=predictions, references=references, n=2) == pytest.approx(50)
    assert metrics.rouge_standard(predictions=predictions, references=references, n=2) == pytest.approx(40)
    assert metrics.rouge(predictions=[""], references=["a"]) == 0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_standard_rouge_equals_rouge_score(n):
    scorer = rouge_scorer.RougeScorer([f"rouge{n}"], use_stemmer=False)
    scores = [scorer.score(r, p)[f"rouge{n}"].fmeasure for p, r in zip(PREDICTIONS, REFERENCES, strict=True)]
    assert metrics.rouge_standard(predictions=PREDICTIONS, references=REFERENCES, n=n) == pytest.approx(
        100 * sum(scores) / len(scores)
    )


def test_attribute_accuracy():
    vocabulary = Vocabulary({"color": ["red", "blue", "orange"], "flavour": ["orange"]})
    rows = [
        ("a red hat", Item(id="1", hidden={"color": ["Red"]}), True),
        ("a red and blue hat", Item(id="2", hidden={"color": ["red"]}), False),
        ("a hat", Item(id="3", hidden={"color": ["red"]}), None),
        ("an orange one", Item(id="4", hidden={"color": ["blue"]}), False),
        ("an orange one", Item(id="5", hidden={"color": ["blue"]}, attributes={"flavour": ["orange"]}), None),
        ("a blue one", Item(id="6"), False),
    ]
    mentions, items = [vocabulary.find(text) for text, _, _ in rows], [item for _, item, _ in rows]
    share = metrics.attribute_accuracy(mentions=mentions, items=items, attribute="color")
    assert (share.hits, share.total) == (1, 4)
    for found, item, (_, _, right) in zip(mentions, items, rows, strict=True):
        one = metrics.attribute_accuracy(mentions=[found], items=[item], attribute="color")
        assert (one.hits, one.total) == ((0, 0) if right is None else (int(right), 1))


def test_wilson_interval():
    assert metrics.Proportion(8, 10).interval == pytest.approx(
        (0.4902, 0.9433), abs=1e-4
    )  # published example
    assert metrics.Proportion(0, 10).interval == pytest.approx((0, 0.2775), abs=1e-4)
    assert metrics.Proportion(10, 10).interval == pytest.approx((0.7225, 1), abs=1e-4)
    assert metrics.Proportion(0, 0).interval == (0, 1)
    assert math.isnan(metrics.Proportion(0, 0).value)
    assert str(metrics.Proportion(8, 10)) == "80.0% (8/10, 95 % 49.0% to 94.3%)"


def test_intervals_count_users_and_not_their_rows():
    verdicts, users = [True, False, True, True, False, True, True], list("abcdefg")
    once = metrics.Proportion.over_users(verdicts, users)
    low, high = once.interval
    assert 0 < low < 5 / 7 < high <= 1
    again = metrics.Proportion.over_users(
        verdicts * 50, users * 50
    )  # the same users say the same, 50 times over
    assert (again.hits, again.total) == (250, 350) and again.interval == once.interval
    alone = metrics.Proportion(250, 350).interval
    assert alone[1] - alone[0] < 0.3 * (high - low)
    assert once == metrics.Proportion.over_users(verdicts, users)


def test_intervals_of_users_who_all_agree_are_no_points():
    every = metrics.Proportion.over_users([True] * 20, ["a", "b"] * 10)
    assert every.interval == metrics.wilson(1.0, 2)
    assert metrics.Proportion.over_users([], []).interval == (0, 1)


def test_most_frequent_floor():
    colours = [["red"], ["Red", "blue"], ["blue"], ["red"], []]
    items = [Item(id=str(i), hidden={"color": c}) for i, c in enumerate(colours)]
    assert metrics.most_frequent_floor(items=items, attribute="color") == ("red", metrics.Proportion(3, 4))
    assert metrics.most_frequent_floor(items=items, attribute="size") == ("", metrics.Proportion(0, 0))


def test_changed_rate_compares_words():
    assert metrics.changed_rate(["A hat.", "a red hat"], ["a hat", "a blue hat"]) == metrics.Proportion(1, 2)
