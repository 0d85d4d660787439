"""The standard metrics of explainable recommendation, and those that ask whether a reason is true.

Everything is keyword-only, so that predictions and references cannot be swapped. Text metrics read words as
:func:`words` splits them and are scaled to 0–100; shares are 0–1. A mean over nothing is ``nan``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sacrebleu

from mmreason.evidence.claims import CJK, Mention, phrase
from mmreason.schema import Item, Reason

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


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its counts and the Wilson 95 % interval (Wilson, JASA 1927).

    Attributes:
        hits: How many of ``total`` are so.
        total: How many were asked.
    """

    hits: int
    total: int

    @property
    def value(self) -> float:
        """``hits / total``."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the Wilson 95 % interval; (0, 1) when nothing was asked."""
        if not self.total:
            return 0.0, 1.0
        z, n, p = 1.959963984540054, self.total, self.value
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} ({self.hits}/{self.total}, 95 % {low:.1%} to {high:.1%})"


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


def statement_precision(*, predictions: Sequence[Reason]) -> float:
    """Share of a reason's statements that the evidence supports, mean over reasons (after arXiv 2512.24366).

    A statement is an entry of ``Reason.evidence``; it is supported unless its source is ``none``. Reasons
    that state nothing are left out, so report how many do.

    Args:
        predictions: Verified reasons.
    """
    shares = [
        sum(e.source != "none" for e in reason.evidence) / len(reason.evidence)
        for reason in predictions
        if reason.evidence
    ]
    return _ratio(sum(shares), len(shares))


def attribute_accuracy(
    *, mentions: Sequence[Sequence[Mention]], items: Sequence[Item], attribute: str
) -> Share:
    """Of the reasons that name a value of an attribute, the share whose named values are all true.

    Words with several readings are judged by the kindest: "orange" is no claim about colour if it is the
    item's flavour and not its colour. An item without the attribute makes any named value false.

    Args:
        mentions: ``Vocabulary.find`` of each reason.
        items: The item of each reason.
        attribute: Such as ``color``.

    Returns:
        ``hits`` reasons without a false value among ``total`` that name one.
    """
    _check(mentions, items)
    verdicts = []
    for found, item in zip(mentions, items, strict=True):
        claims = []
        for span in {m.span for m in found}:
            readings = [m for m in found if m.span == span]
            here = [m.true_of(item) for m in readings if m.attribute == attribute]
            if here and (any(here) or not any(m.true_of(item) for m in readings)):
                claims.append(any(here))
        if claims:
            verdicts.append(all(claims))
    return Share(sum(verdicts), len(verdicts))


def most_frequent_floor(*, items: Iterable[Item], attribute: str) -> tuple[str, Share]:
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
    return best, Share(counts[best], len(values))


def changed_rate(a: Sequence[str], b: Sequence[str]) -> Share:
    """Share of rows whose words differ between two lists of texts, say before and after a user swap."""
    _check(a, b)
    return Share(sum(words(x) != words(y) for x, y in zip(a, b, strict=True)), len(a))


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
