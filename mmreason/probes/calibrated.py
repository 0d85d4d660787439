"""Which attributes a picture or video tells, and what it tells: found out on items whose value is known.

Nothing says beforehand that a colour can be seen and a material cannot. So every attribute is tried: a multinomial
logistic regression over the frozen tower's features, which reads items that it has not learned from; where the towers
were trained together, prompts of the values besides, which need no learning. An attribute is kept if what is read with
enough certainty is right in 95 %, and if this is seen rather than guessed: the rest of what is known of the items must
not tell it nearly as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmreason.probes.calibration import Calibration, Known, Level, read_levels, softmax_rows
from mmreason.probes.regression import FOLDS, held_out, logistic

MIN_VALUE = 5
"""Items that must have a value before it is learned."""

COMPONENTS = 512
_SCALE = 100.0  # of cosines, about that of a trained pair's own temperature
_ALIKE = (
    0.95  # share of the items learned from that are as near to another product as an item must be to be read
)


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
    """Reads one attribute off features.

    Attributes:
        name: The attribute.
        prompted: Whether it reads by prompts, off the pictures' own vectors; else off projected features.
        weight: (k, V).
        bias: (V,).
        levels: The most exact one first.
        learned: (n, k) float32 unit vectors of the items learned from, or calibrated on.
        reach: Cosine to the nearest of these below which an item is of another kind, and is not read.
        held_out: For each of these what a probe that had not learned from it reads: a name, or nothing.
        guessed: Share of the items read whose other attributes tell the same.
    """

    name: str
    prompted: bool
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
        scores = held_out(projected, y, known.groups, learned) if len(learned) > 1 else None
        found = None if scores is None else Calibration.of(scores, learned, known)
        if found is None:
            return None
        weight, bias = logistic(projected, y, learned)
        return cls._of(name, False, weight, bias, found, projected, known)

    @classmethod
    def by_prompts(
        cls, name: str, known: Known, pictures: np.ndarray, values: Sequence[str], prompts: np.ndarray
    ) -> Probe | None:
        """Read by the nearest prompt; calibrated and judged, but nothing is learned, so that few items are enough.

        Args:
            name: The attribute.
            known: n items whose value is known.
            pictures: (n, D) unit vectors of theirs.
            values: V values that an item may have.
            prompts: (V, D) unit vectors of these.
        """
        if len(np.unique(known.groups)) < FOLDS:
            return None
        weight = _SCALE * prompts.T
        found = Calibration.of(pictures @ weight, values, known)
        if found is None:
            return None
        return cls._of(name, True, weight, np.zeros(len(values)), found, pictures, known)

    @classmethod
    def _of(
        cls,
        name: str,
        prompted: bool,
        weight: np.ndarray,
        bias: np.ndarray,
        found: Calibration,
        vectors: np.ndarray,
        known: Known,
    ) -> Probe:
        units = _units(vectors)
        reach = np.quantile(_nearest_of_others(units, known.groups), 1 - _ALIKE)
        weight, bias = weight / found.temperature, bias / found.temperature
        return cls(
            name, prompted, weight, bias, found.levels, units, float(reach), found.held_out, found.guessed
        )

    @property
    def coverage(self) -> float:
        """Share of the items learned from, or calibrated on, that are read."""
        return float(np.mean([bool(name) for name, _ in self.held_out]))

    def read(self, vectors: np.ndarray, domains: Sequence[str]) -> list[tuple[str, float]]:
        """What items show, with its probability; an empty name where that is not certain or the item of another kind.

        Args:
            vectors: (N, k) projected features, or unit vectors of pictures if it reads by prompts.
            domains: N domains.
        """
        said = read_levels(self.levels, softmax_rows(vectors @ self.weight + self.bias), domains)
        alike = (_units(vectors) @ self.learned.T).max(1) >= self.reach
        return [found if same else ("", 0.0) for found, same in zip(said, alike.tolist(), strict=True)]

    def report(self) -> dict[str, Any]:
        """What a person wants to know of it, as JSON values."""
        return {
            "read_by": "prompts" if self.prompted else "regression",
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
