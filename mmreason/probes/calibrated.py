"""Which attributes a picture or video tells, and what it tells: found out on items whose value is known.

Nothing says beforehand that a colour can be seen and a material cannot. So every attribute is tried: a multinomial
logistic regression over the frozen tower's features, which reads items that it has not learned from. An attribute is
kept if what it reads with enough certainty is right in 95 % of these, and if this is seen rather than guessed: the
rest of what is known of the items must not tell it nearly as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmreason.language import is_chinese
from mmreason.probes.colors import basic_color, color_name

PRECISION = 0.95
"""Share of the readings that must be right, on items that the probe has not learned from."""

MIN_COVERAGE = 0.1
"""Share of the items, of which some value is known, that must be read with that precision."""

MIN_VALUE = 5
"""Items that must have a value before it is learned."""

GUESSED = 0.5
"""Of the errors that guessing from an item's other attributes makes, a picture may make this share at most."""

FOLDS, COMPONENTS, INVERSE_PENALTY = 5, 512, 0.3
_ALIKE = (
    0.95  # share of the items learned from that are as near to another product as an item must be to be read
)
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
class Space:
    """The principal components of the features, in which probes are fitted.

    Attributes:
        mean: (F,) subtracted from features.
        axes: (F, k) onto which they are projected; the mean square length afterwards is ``F``.
    """

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, seed: int) -> Space:
        """Find the components of (n, F) features."""
        from sklearn.decomposition import PCA

        size = min(COMPONENTS, *features.shape)
        found = PCA(size, svd_solver="randomized", random_state=seed).fit(features)
        scale = np.sqrt(features.shape[1] / max(found.explained_variance_.sum(), 1e-12))
        return cls(found.mean_, (found.components_.T * scale).astype(np.float32))

    def project(self, features: np.ndarray) -> np.ndarray:
        """(N, F) to (N, k)."""
        return (features - self.mean) @ self.axes


@dataclass(frozen=True)
class Probe:
    """Reads one attribute off projected features.

    Attributes:
        name: The attribute.
        weight: (k, V).
        bias: (V,).
        levels: The most exact one first.
        learned: (n, k) float32 unit vectors of the items learned from.
        reach: Cosine to the nearest of these below which an item is of another kind, and is not read.
        held_out: For each of the items learned from what probes that had not seen it read: a name, or nothing.
        guessed: Share of the items read whose other attributes tell the same.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    levels: list[Level]
    learned: np.ndarray
    reach: float
    held_out: list[tuple[str, float]]
    guessed: float

    @classmethod
    def fit(cls, name: str, known: Known, projected: np.ndarray) -> Probe | None:
        """Fit, calibrate and judge; None if pictures do not tell the attribute.

        Args:
            name: The attribute.
            known: n items whose value is known.
            projected: (n, k) their features.
        """
        counts = Counter(known.values)
        learned = sorted(value for value, count in counts.items() if count >= MIN_VALUE)
        y = np.array(known.values)
        scores = _held_out(projected, y, known.groups, learned) if len(learned) > 1 else None
        if scores is None:
            return None
        temperature = _temperature(scores, y, learned)
        values = _softmax(scores / temperature)
        levels = [_judged(level, values, known) for level in _levels(learned, known.spelling)]
        levels = [level for level in levels if level.coverage >= MIN_COVERAGE]
        if not levels:
            return None
        guessed = _guessed(known, learned, levels[0], values)
        if (1 - levels[0].precision) >= GUESSED * (1 - guessed):
            return None
        weight, bias = _logistic(projected, y, learned)
        units = _units(projected)
        reach = np.quantile(_nearest_of_others(units, known.groups), 1 - _ALIKE)
        said = _read(levels, values, known.domains)
        return cls(name, weight / temperature, bias / temperature, levels, units, float(reach), said, guessed)

    def read(self, projected: np.ndarray, domains: Sequence[str]) -> list[tuple[str, float]]:
        """What items show, with its probability; an empty name where that is not certain or the item of another kind.

        Args:
            projected: (N, k) features.
            domains: N domains.
        """
        said = _read(self.levels, _softmax(projected @ self.weight + self.bias), domains)
        alike = (_units(projected) @ self.learned.T).max(1) >= self.reach
        return [found if same else ("", 0.0) for found, same in zip(said, alike.tolist(), strict=True)]

    def report(self) -> dict[str, Any]:
        """What a person wants to know of it, as JSON values."""
        return {
            "held_out_items": len(self.learned),
            "guessed_from_other_attributes": round(self.guessed, 4),
            "levels": [
                {
                    "values": level.names,
                    "thresholds": {
                        domain: round(least, 4) for domain, least in sorted(level.thresholds.items())
                    },
                    "precision": round(level.precision, 4),
                    "coverage": round(level.coverage, 4),
                }
                for level in self.levels
            ],
        }


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


def _read(levels: Sequence[Level], values: np.ndarray, domains: Sequence[str]) -> list[tuple[str, float]]:
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


def _held_out(x: np.ndarray, y: np.ndarray, groups: np.ndarray, learned: Sequence[str]) -> np.ndarray | None:
    """(n, V) scores of items by probes that have not seen their group; None with too few groups."""
    from sklearn.model_selection import GroupKFold

    if len(np.unique(groups)) < FOLDS:
        return None
    scores = np.zeros((len(y), len(learned)))
    for train, test in GroupKFold(FOLDS).split(x, groups=groups):
        weight, bias = _logistic(x[train], y[train], learned)
        scores[test] = x[test] @ weight + bias
    return scores


def _logistic(x: np.ndarray, y: np.ndarray, learned: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Weight (k, V) and bias (V,) of the learned values; a value that these rows lack is never read."""
    from sklearn.linear_model import LogisticRegression

    weight, bias = np.zeros((x.shape[1], len(learned))), np.full(len(learned), -1e9)
    rows = np.isin(y, learned)
    present = sorted(set(y[rows]))
    places = [learned.index(value) for value in present]
    if len(present) == 1:
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


def _temperature(scores: np.ndarray, truth: np.ndarray, learned: Sequence[str]) -> float:
    """What scores are divided by so that probabilities are right on average (Guo et al., ICML 2017)."""
    from scipy.optimize import minimize_scalar

    rows = np.flatnonzero(np.isin(truth, learned))
    columns = [learned.index(value) for value in truth[rows]]

    def loss(log_temperature: float) -> float:
        said = _softmax(scores[rows] / np.exp(log_temperature))[np.arange(len(rows)), columns]
        return float(-np.log(np.maximum(said, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def _guessed(known: Known, learned: Sequence[str], level: Level, values: np.ndarray) -> float:
    """How often the other attributes of the items that are read tell the same value, on held-out items."""
    from sklearn.feature_extraction import DictVectorizer

    table = (
        DictVectorizer(dtype=np.float32).fit_transform([{"": 1.0, **other} for other in known.others]).tocsr()
    )
    scores = _held_out(table, np.array(known.values), known.groups, learned)
    assert scores is not None
    said = level.probabilities(scores == scores.max(1, keepdims=True)).argmax(1)
    read = [row for row, (name, _) in enumerate(level.read(values, known.domains)) if name >= 0]
    return float(np.mean([_is_true(level.keys[said[row]], known.values[row]) for row in read]))


def _softmax(scores: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return softmax(scores, axis=1)


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _nearest_of_others(units: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n,) the largest cosine of each row to one of another group."""
    nearest = np.empty(len(units))
    for start in range(0, len(units), 512):
        part = slice(start, start + 512)
        cosines = units[part] @ units.T
        cosines[groups[part, None] == groups[None, :]] = -1
        nearest[part] = cosines.max(1)
    return nearest
