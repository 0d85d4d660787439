"""How many plans of a job will share their words: what a dry run tells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from mmreason.bulk.attempts import Pair
from mmreason.bulk.parts import read_progress
from mmreason.bulk.windows import Spent
from mmreason.generate.asks import Asks
from mmreason.generate.requests import read_requests
from mmreason.generate.writers.planned import PlanWriter

_SAMPLE = 2000  # requests that are planned for the estimate


def expected_share(asks: Asks, requests: int, to_write: int) -> float:
    """Share of a job's plans that somebody else's words, or those of an earlier night, will serve.

    Args:
        asks: Of a run whose model reads plans.
        requests: All of the job.
        to_write: Those without a row.
    """
    reasoner, words, sampled = asks.reasoner, [], 0
    assert isinstance(reasoner.lm, PlanWriter)
    for user, item in _sample(asks, requests):
        [case] = reasoner.cases([(user, item)])
        words += [brief.words for _, brief in reasoner.lm.briefs_of(reasoner.plans_of(case), case)]
        sampled += 1
    if not words:
        return 0.0
    total = len(words) * max(to_write / sampled, 1.0)
    known = len(asks.worded().find(set(words))) / len(set(words))
    return 1 - expected_distinct(words, total) * (1 - known) / total


def expected_distinct(sample: Sequence[str], total: float) -> float:
    """How many different ones there are among ``total`` that are like the sample, by Heaps' law.

    The number of different ones grows as a power of how many there are; the power is read off the sample and its half.

    Example:
        >>> expected_distinct(["a", "b", "a", "b"], 1000), expected_distinct(["a", "b", "c", "d"], 1000)
        (2.0, 1000.0)
    """
    whole, half = len(set(sample)), len(set(sample[: len(sample) // 2]))
    power = min(max(math.log2(whole / half), 0.0), 1.0) if half else 1.0
    return whole * (max(total, len(sample)) / len(sample)) ** power


def seconds_when_shared(first: float, again: float, spent: Spent, share: float) -> float:
    """Seconds of a sample at a job's rate of sharing.

    Args:
        first: Seconds of the sample.
        again: Seconds of the same sample when all its plans have words.
        spent: What the model was asked for the first time.
        share: Of the job's plans, those that will have words already.
    """
    new = spent.worded / spent.plans if spent.plans else 0.0
    return again + max(first - again, 0.0) * min((1 - share) / new, 1.0) if new else first


def told_of_sharing(folder: Path) -> str:
    """How many of the plans of a job's latest run were said in words that were there; empty where no model read plans.

    Args:
        folder: Of the job.
    """
    noted = read_progress(folder)
    plans, worded = noted.get("plans", 0), noted.get("worded", 0)
    return (
        f"{1 - worded / plans:.0%} of {plans:,} plans were said in words that were there already"
        if plans
        else ""
    )


def _sample(asks: Asks, requests: int) -> Iterator[Pair]:
    """Requests from all over the job."""
    read = read_requests(asks.config, asks.catalogue, asks.behaviours)
    for asked in islice(read, 0, None, max(requests // _SAMPLE, 1)):
        if not asked.error:
            yield asks.behaviours.pair(asked)
