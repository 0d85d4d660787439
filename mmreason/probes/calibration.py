"""What readings are worth: how exactly an attribute is read, how surely, and whether it is seen or guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmreason.language import is_chinese
from mmreason.probes.colors import basic_color, color_name
from mmreason.probes.regression import held_out

PRECISION = 0.95
"""Share of the readings that must be right, on items that the probe has not learned from."""

MIN_COVERAGE = 0.1
"""Share of the items, of which some value is known, that must be read with that precision."""

GUESSED = 0.5
"""Of the errors that guessing from an item's other attributes makes, a picture may make this share at most."""

_COLORS = 0.8  # of an attribute's items: their values are names of colours


@dataclass(frozen=True)
class Level:
    """How exactly an attribute is read: by its values, or by what several of them have in common.

    Attributes:
        names: What is said: values as the catalogue writes them, or basic colour terms.
        keys: The same as they are compared.
        of: (V,) for each of the attribute's values the number of its name; -1 if it has none.
        thresholds: Domain → probability from which a name is read; a domain that is not there is not read.
        precision: Share of the held-out readings that were right.
        coverage: Share of the held-out items that were read.
    """

    names: list[str]
    keys: list[str]
    of: np.ndarray
    thresholds: Mapping[str, float] = field(default_factory=dict)
    precision: float = 0.0
    coverage: float = 0.0

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """(N, V) probabilities of values to (N, names)."""
        summed = np.zeros((len(values), len(self.names)))
        for value, name in enumerate(self.of):
            if name >= 0:
                summed[:, name] += values[:, value]
        return summed

    def read(self, values: np.ndarray, domains: Sequence[str]) -> list[tuple[int, float]]:
        """(N, V) probabilities of values to the number of the name that each item shows; -1 if that is not certain."""
        said = self.probabilities(values)
        thresholds = np.array([self.thresholds.get(domain, np.inf) for domain in domains])
        best = np.where(said.max(1) >= thresholds, said.argmax(1), -1)
        return list(zip(best.tolist(), said.max(1).tolist(), strict=True))


@dataclass(frozen=True)
class Known:
    """What is known of an attribute: the items to learn from.

    Attributes:
        values: n values, as :func:`mmreason.language.phrase` writes them.
        groups: (n,) int, variants of one product share a number and stay on one side of a fold.
        domains: n domains.
        others: n mappings, the items' other attributes.
        spelling: Value → how most items write it.
    """

    values: Sequence[str]
    groups: np.ndarray
    domains: Sequence[str]
    others: Sequence[Mapping[str, str]]
    spelling: Mapping[str, str]


@dataclass(frozen=True)
class Calibration:
    """What scores of held-out items are worth.

    Attributes:
        temperature: What scores are divided by.
        levels: That are read with enough precision, the most exact one first.
        held_out: What is read of each item.
        guessed: Share of the items read whose other attributes tell the same.
    """

    temperature: float
    levels: list[Level]
    held_out: list[tuple[str, float]]
    guessed: float

    @classmethod
    def of(cls, scores: np.ndarray, learned: Sequence[str], known: Known) -> Calibration | None:
        """Of (n, V) scores of the learned values, or of those that were prompted; None if they do not tell them."""
        temperature = _temperature(scores, np.array(known.values), learned)
        values = softmax_rows(scores / temperature)
        levels = [_judged(level, values, known) for level in _levels(learned, known.spelling)]
        levels = [level for level in levels if level.coverage >= MIN_COVERAGE]
        if not levels:
            return None
        guessed = _guessed(known, learned, levels[0], values)
        if (1 - levels[0].precision) >= GUESSED * (1 - guessed):
            return None
        return cls(temperature, levels, read_levels(levels, values, known.domains), guessed)


def _levels(learned: Sequence[str], spelling: Mapping[str, str]) -> Iterator[Level]:
    """The values themselves; of colours also their basic terms, where several values share one."""
    yield Level([spelling[value] for value in learned], list(learned), np.arange(len(learned)))
    basic = {value: basic_color(value) for value in spelling}
    known = [term for term in basic.values() if term]
    if len(known) >= _COLORS * len(basic) and len(set(known)) < len(known):
        terms = sorted({basic[value] for value in learned} - {""})
        chinese = sum(map(is_chinese, spelling)) * 2 > len(spelling)
        of = [terms.index(basic[value]) if basic[value] else -1 for value in learned]
        yield Level([color_name(term, chinese) for term in terms], terms, np.array(of))


def read_levels(
    levels: Sequence[Level], values: np.ndarray, domains: Sequence[str]
) -> list[tuple[str, float]]:
    """The most exact name that is certain, of (N, V) probabilities of values."""
    found = [("", 0.0)] * len(values)
    for level in reversed(levels):
        for row, (name, probability) in enumerate(level.read(values, domains)):
            if name >= 0:
                found[row] = (level.names[name], probability)
    return found


def _judged(level: Level, values: np.ndarray, known: Known) -> Level:
    """The level with its thresholds: the lowest above which enough of the held-out readings are right."""
    said = level.probabilities(values)
    certainty = said.max(1)
    keys = [level.keys[name] for name in said.argmax(1)]
    right = np.array([_is_true(key, true) for key, true in zip(keys, known.values, strict=True)])
    domains = np.array(known.domains)
    thresholds = {}
    for domain in sorted(set(known.domains)):  # what is certain in one may be a guess in another
        rows = domains == domain
        thresholds[domain] = _threshold(certainty[rows], right[rows], np.divide)
    read = np.array([thresholds[domain] for domain in known.domains]) <= certainty
    overall = _threshold(certainty[read], right[read], at_least)
    thresholds = {domain: max(least, overall) for domain, least in thresholds.items()}
    thresholds = {domain: least for domain, least in thresholds.items() if least < np.inf}
    read = np.array([thresholds.get(domain, np.inf) for domain in known.domains]) <= certainty
    precision = float(right[read].mean()) if read.any() else 0.0
    return replace(level, thresholds=thresholds, precision=precision, coverage=float(read.mean()))


def _threshold(
    certainty: np.ndarray, right: np.ndarray, precision: Callable[[Any, Any], np.ndarray]
) -> float:
    """The lowest certainty from which the precision is enough; infinite if there is none."""
    order = np.argsort(-certainty, kind="stable")
    enough = np.flatnonzero(precision(np.cumsum(right[order]), np.arange(len(order)) + 1) >= PRECISION)
    return float(certainty[order[enough[-1]]]) if len(enough) else float("inf")


def at_least(right: np.ndarray, of: np.ndarray) -> np.ndarray:
    """What a share is at least, in five of six cases: the lower end of Wilson's interval at one standard error.

    Example:
        >>> round(float(at_least(np.array([19]), np.array([19]))[0]), 3)
        0.95
    """
    share = right / of
    middle, half = share + 0.5 / of, np.sqrt(share * (1 - share) / of + 0.25 / of**2)
    return (middle - half) / (1 + 1 / of)


def _is_true(said: str, value: str) -> bool:
    """Whether what is said is true of an item with this value: navy is blue, but blue is not navy."""
    return said in (value, basic_color(value))


def _temperature(scores: np.ndarray, truth: np.ndarray, learned: Sequence[str]) -> float:
    """What scores are divided by so that probabilities are right on average (Guo et al., ICML 2017)."""
    from scipy.optimize import minimize_scalar

    rows = np.flatnonzero(np.isin(truth, learned))
    columns = [learned.index(value) for value in truth[rows]]

    def loss(log_temperature: float) -> float:
        said = softmax_rows(scores[rows] / np.exp(log_temperature))[np.arange(len(rows)), columns]
        return float(-np.log(np.maximum(said, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def _guessed(known: Known, learned: Sequence[str], level: Level, values: np.ndarray) -> float:
    """How often the other attributes of the items that are read tell the same value, on held-out items."""
    from sklearn.feature_extraction import DictVectorizer

    table = (
        DictVectorizer(dtype=np.float32).fit_transform([{"": 1.0, **other} for other in known.others]).tocsr()
    )
    scores = held_out(table, np.array(known.values), known.groups, learned)
    assert scores is not None
    said = level.probabilities(scores == scores.max(1, keepdims=True)).argmax(1)
    read = [row for row, (name, _) in enumerate(level.read(values, known.domains)) if name >= 0]
    return float(np.mean([_is_true(level.keys[said[row]], known.values[row]) for row in read]))


def softmax_rows(scores: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return softmax(scores, axis=1)
