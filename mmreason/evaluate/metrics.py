"""The standard metrics of explainable recommendation, and those that ask whether a reason is true.

Everything is keyword-only, so that predictions and references cannot be swapped. Text metrics read words as
:func:`words` splits them and are scaled to 0–100; proportions are 0–1. A mean over nothing is ``nan``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import sacrebleu

from mmreason.evidence.claims import Mention
from mmreason.language import CJK, phrase
from mmreason.schema import Item

WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+(?:['’\-][^\W_{CJK}]+)*")


def words(text: str) -> list[str]:
    """The words of a text as every metric here counts them.

    Lower case; letters and digits with inner apostrophes and hyphens; punctuation is dropped; an ideograph or
    kana is a word of its own. Figures from systems that keep punctuation as tokens differ slightly.

    Example:
        >>> words("It's a dark-red coat, isn't it?")
        ["it's", 'a', 'dark-red', 'coat', "isn't", 'it']
    """
    return WORD.findall(unicodedata.normalize("NFC", text).lower().replace("’", "'"))


RESAMPLES = 1000  # of the users, for an interval
Z = 1.959963984540054  # 95 % of a normal distribution lie within so many deviations


@dataclass(frozen=True, slots=True)
class Proportion:
    """A proportion with its counts and a 95 % interval.

    Attributes:
        hits: How many of ``total`` are so.
        total: How many were asked.
        ends: The interval, where the rows are not independent (:meth:`over_users`).
    """

    hits: int
    total: int
    ends: tuple[float, float] | None = None

    @classmethod
    def over_users(cls, verdicts: Sequence[bool], users: Sequence[str], seed: int = 0) -> Proportion:
        """The proportion of rows that are so, with an interval by bootstrap over users.

        A user's rows share a history and resemble each other, so users are drawn again and not rows (the cluster
        bootstrap of Field & Welsh, JRSS B 2007). Where all rows agree nothing can be drawn: then it is Wilson's
        interval with the number of users as the number of trials.

        Args:
            verdicts: Whether each row is so.
            users: Whose row it is.
            seed: Of the draws.

        Example:
            >>> Proportion.over_users([True, True, False, False], ["u", "u", "v", "v"])  # two users, not four rows
            Proportion(hits=2, total=4, ends=(0.0, 1.0))
        """
        _check(verdicts, users)
        hits, total = sum(verdicts), len(verdicts)
        names, rows = np.unique(np.array(users, dtype=str), return_inverse=True)
        if hits in (0, total):
            return cls(hits, total, wilson(hits / total, len(names)) if total else None)
        counts = np.stack([np.bincount(rows, weights=np.array(verdicts)), np.bincount(rows)], axis=1)
        rng = np.random.default_rng(seed)
        drawn = np.array([counts[rng.integers(0, len(names), len(names))].sum(0) for _ in range(RESAMPLES)])
        low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
        return cls(hits, total, (float(low), float(high)))

    @property
    def value(self) -> float:
        """``hits / total``."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end: ``ends``, or Wilson's interval of independent rows; (0, 1) when nothing was asked."""
        if not self.total:
            return 0.0, 1.0
        return self.ends or wilson(self.value, self.total)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} ({self.hits}/{self.total}, 95 % {low:.1%} to {high:.1%})"


def wilson(proportion: float, trials: int) -> tuple[float, float]:
    """The 95 % interval of a proportion of independent trials (Wilson, JASA 1927).

    Example:
        >>> low, high = wilson(0.8, 10)
        >>> round(low, 4), round(high, 4)
        (0.4902, 0.9433)
    """
    shrink = 1 + Z * Z / trials
    centre = (proportion + Z * Z / (2 * trials)) / shrink
    variance = proportion * (1 - proportion) / trials + Z * Z / (4 * trials * trials)
    half = Z / shrink * math.sqrt(variance)
    return max(0.0, centre - half), min(1.0, centre + half)


def usr(*, predictions: Sequence[str], first: int | None = None) -> float:
    """Unique sentence ratio: distinct word sequences per reason (NETE, Li et al., CIKM 2020).

    Args:
        predictions: N reasons.
        first: Compare the first words only; USR-12 is ``first=12``. Long texts all differ somewhere.
    """
    return _ratio(len({tuple(words(text)[:first]) for text in predictions}), len(predictions))


def fmr(*, predictions: Sequence[Collection[str]], references: Sequence[str | Collection[str]]) -> float:
    """Feature matching ratio: reasons that name their gold feature (NETE, Li et al., CIKM 2020).

    Args:
        predictions: The features that each of the N reasons names (:func:`features`).
        references: The gold feature of each row. Given a set, any of them counts: with the training features
            of the row's item this is MAPLE's iFMR.
    """
    _check(predictions, references)
    hits = 0
    for found, gold in zip(predictions, references, strict=True):
        hits += not {phrase(g) for g in ([gold] if isinstance(gold, str) else gold)}.isdisjoint(found)
    return _ratio(hits, len(predictions))


def fcr(*, predictions: Sequence[Collection[str]], references: Collection[str]) -> float:
    """Feature coverage ratio: how many of all gold features occur in any reason (NETE, Li et al., CIKM 2020).

    Args:
        predictions: The features that each reason names (:func:`features`).
        references: The gold features of all splits.
    """
    gold = {phrase(feature) for feature in references}
    return _ratio(len(gold.intersection(*[set().union(*predictions)])), len(gold))


def div(*, predictions: Sequence[Collection[str]]) -> float:
    """Feature diversity: features that two reasons share, mean over all pairs, lower is better (NETE, 2020).

    Computed as Σ_f C(n_f, 2) / C(N, 2) with n_f the reasons that name f, in linear time.

    Args:
        predictions: The features that each reason names (:func:`features`).
    """
    named = Counter(feature for found in predictions for feature in set(found))
    return _ratio(sum(math.comb(n, 2) for n in named.values()), math.comb(len(predictions), 2))


def features(mentions: Iterable[Sequence[Mention]]) -> list[set[str]]:
    """The distinct values that each reason names, as :func:`fmr`, :func:`fcr` and :func:`div` take them."""
    return [{mention.value for mention in found} for found in mentions]


def bleu(*, predictions: Sequence[str], references: Sequence[str], n: int = 4) -> float:
    """BLEU-n: corpus level, unsmoothed, brevity penalty, × 100 (Papineni et al., ACL 2002; by sacrebleu).

    Args:
        predictions: N reasons.
        references: One reference each.
        n: Longest n-gram.
    """
    _check(predictions, references)
    if not predictions:
        return math.nan
    metric = sacrebleu.BLEU(
        tokenize="none", smooth_method="none", max_ngram_order=n, effective_order=False, force=True
    )
    said = [" ".join(words(text)) for text in predictions]
    wanted = [" ".join(words(text)) for text in references]
    return metric.corpus_score(said, [wanted]).score if any(said) and any(wanted) else 0.0


def rouge(*, predictions: Sequence[str], references: Sequence[str], n: int = 1) -> float:
    """ROUGE-n as PETER counts it: F1 over *sets* of n-grams, mean over rows, × 100 (Li et al., ACL 2021).

    Args:
        predictions: N reasons.
        references: One reference each.
        n: Length of the n-grams.
    """
    _check(predictions, references)
    scores = []
    for said, wanted in zip(predictions, references, strict=True):
        a, b = set(_ngrams(said, n)), set(_ngrams(wanted, n))
        scores.append(_ratio(2 * len(a & b), len(a) + len(b)) if a or b else 0.0)
    return 100 * _ratio(sum(scores), len(scores))


def rouge_standard(*, predictions: Sequence[str], references: Sequence[str], n: int = 1) -> float:
    """ROUGE-n F1 over counted n-grams, mean over rows, × 100 (Lin, 2004; as rouge_score, on :func:`words`).

    Args:
        predictions: N reasons.
        references: One reference each.
        n: Length of the n-grams.
    """
    _check(predictions, references)
    scores = []
    for said, wanted in zip(predictions, references, strict=True):
        a, b = Counter(_ngrams(said, n)), Counter(_ngrams(wanted, n))
        both = a.total() + b.total()
        scores.append(2 * (a & b).total() / both if both else 0.0)
    return 100 * _ratio(sum(scores), len(scores))


def attribute_accuracy(
    *,
    mentions: Sequence[Sequence[Mention]],
    items: Sequence[Item],
    attribute: str,
    users: Sequence[str] | None = None,
) -> Proportion:
    """Of the reasons that name a value of an attribute, the share whose named values are all true.

    Words with several readings are judged by the kindest: "orange" is no claim about colour if it is the
    item's flavour and not its colour. An item without the attribute makes any named value false.

    Args:
        mentions: ``Vocabulary.find`` of each reason.
        items: The item of each reason.
        attribute: Such as ``color``.
        users: The user of each reason, for the interval; None takes the reasons as independent.

    Returns:
        ``hits`` reasons without a false value among ``total`` that name one.
    """
    _check(mentions, items)
    verdicts, whose = [], []
    for found, item, user in zip(mentions, items, users or [""] * len(items), strict=True):
        claims = []
        for span in {m.span for m in found}:
            readings = [m for m in found if m.span == span]
            here = [m.true_of(item) for m in readings if m.attribute == attribute]
            if here and (any(here) or not any(m.true_of(item) for m in readings)):
                claims.append(any(here))
        if claims:
            verdicts.append(all(claims))
            whose.append(user)
    return _proportion(verdicts, None if users is None else whose)


def most_frequent_floor(*, items: Iterable[Item], attribute: str) -> tuple[str, Proportion]:
    """The best that naming one value for every item can do: the floor under :func:`attribute_accuracy`.

    Args:
        items: The items of the reasons, one per reason; those without the attribute are left out.
        attribute: Such as ``color``.

    Returns:
        The value (ties: first in the alphabet; empty if no item has the attribute) and how often it is true.
    """
    values = [{phrase(v) for v in item.facts().get(attribute, [])} - {""} for item in items]
    values = [v for v in values if v]
    counts = Counter(value for found in values for value in found)
    best = min(counts, key=lambda value: (-counts[value], value), default="")
    return best, Proportion(counts[best], len(values))


def changed_rate(a: Sequence[str], b: Sequence[str], users: Sequence[str] | None = None) -> Proportion:
    """The rows whose words differ between two lists of texts, say before and after a user swap.

    Args:
        a: N texts.
        b: N texts.
        users: The user of each row, for the interval; None takes the rows as independent.
    """
    _check(a, b)
    return _proportion([words(x) != words(y) for x, y in zip(a, b, strict=True)], users)


def _proportion(verdicts: Sequence[bool], users: Sequence[str] | None) -> Proportion:
    if users is None:
        return Proportion(sum(verdicts), len(verdicts))
    return Proportion.over_users(verdicts, users)


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    tokens = words(text)
    return (
        list(pairwise(tokens)) if n == 2 else [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    )


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else math.nan


def _check(a: Sequence, b: Sequence) -> None:
    if len(a) != len(b):
        raise ValueError(f"lists of {len(a)} and {len(b)} rows: each prediction needs its own reference")
