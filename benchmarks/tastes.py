"""Does the taste that a history shows tell what its person takes next? On MovieLens, beside simpler choices.

    python benchmarks/tastes.py --data ../shared/data
    python benchmarks/tastes.py --data ../shared/data --users 100        # a quick look

Each user's last five ratings by time are left out. From the ones before, one taste is named; then it is counted how
many of the five have it, over how many popularity-drawn films would (1 is no better than popularity), as a mean over
users. The free-text tags are left out, since most were written after the ratings tested here. Beside it, on the
genres alone: a taste drawn at random, the most frequent genre, and the genre with the largest z-score.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bars import Bars
from jsonargparse import auto_cli

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config
from mmreason.evidence.facts import facts_of
from mmreason.evidence.tastes import find_tastes, strongest
from mmreason.schema import Interaction

LEFT_OUT = 5
Shown = Mapping[str, Sequence[str]]
Chooser = Callable[[Sequence[Interaction]], str | None]


@dataclass
class Data:
    """Histories without their ends, the ends, what every film shows, and how much of all steps each concept has."""

    past: list[list[Interaction]]
    future: list[list[str]]
    shown: Shown
    popularity: dict[str, float]


def main(
    data: str = "../shared/data", users: int = 0, lift: float = 1.75, share: float = 0.3, seed: int = 0
) -> None:
    """Run and check.

    Args:
        data: Folder that holds ``movielens_small``.
        users: Only the first users; 0 for all.
        lift: Bar for how much likelier the next films have the taste than popular ones.
        share: Bar for the share of the next films that have it.
        seed: Of the random choice.
    """
    past, future, every = read(Path(data), users)
    genres = measured(past, future, {i: [c for c in cs if c.startswith("genre=")] for i, cs in every.items()})
    rng = np.random.default_rng(seed)
    for name, chooser in (
        ("random taste", lambda history: by_random(history, genres, rng)),
        ("most frequent genre", lambda history: by_count(history, genres)),
        ("genre with the largest z-score", lambda history: by_z(history, genres)),
        ("named taste, genres alone", lambda history: named(history, genres)),
    ):
        of_next, found = likelihood(genres, chooser)
        print(f"{name}: {of_next:.2f} times as likely, share {found:.2f}")
    whole = measured(past, future, every)
    of_next, found = likelihood(whole, lambda history: named(history, whole))
    bars = Bars("tastes")
    bars.check("next films have the named taste, over popularity", of_next, lift, form=".2f")
    bars.check("share of the next films that have it", found, share, form=".2f")
    bars.finish()


def read(data: Path, users: int) -> tuple[list[list[Interaction]], list[list[str]], Shown]:
    """MovieLens through ``ingest``: histories, their last items, film → concepts."""
    with tempfile.TemporaryDirectory() as folder:
        root = str(data / "movielens_small/ml-latest-small")
        config = Config(run_dir=folder, catalogue=CatalogueConfig(source="movielens", root=root))
        print(ingest(config))
        catalogue = read_catalogue(config.path("catalogue"))
        histories: dict[str, list[Interaction]] = {}
        for step in catalogue.interactions:
            histories.setdefault(step.user_id, []).append(step)
        shown = {
            item.id: [
                *dict.fromkeys(fact.concept for fact in facts_of(item) if fact.name in ("genre", "decade"))
            ]
            for item in catalogue.items.values()
        }
    some = [sorted(h, key=lambda step: step.timestamp) for h in [*histories.values()][: users or None]]
    past = [history[:-LEFT_OUT] for history in some]
    return past, [[step.item_id for step in history[-LEFT_OUT:]] for history in some], shown


def measured(past: list[list[Interaction]], future: list[list[str]], shown: Shown) -> Data:
    """The data with the popularity of these concepts in the histories."""
    counts = Counter(concept for history in past for step in history for concept in shown[step.item_id])
    steps = sum(map(len, past))
    return Data(past, future, shown, {concept: count / steps for concept, count in counts.items()})


def likelihood(data: Data, chooser: Chooser) -> tuple[float, float]:
    """Mean over users: share of the next items with the chosen concept over its popularity, and the share itself."""
    ratios, shares = [], []
    for past, future in zip(data.past, data.future, strict=True):
        concept = chooser(past)
        if concept is not None:
            shares.append(np.mean([concept in data.shown[item] for item in future]))
            ratios.append(shares[-1] / data.popularity[concept])
    print(f"  ({len(shares)} of {len(data.past)} users)", end=" ")
    return float(np.mean(ratios)), float(np.mean(shares))


def named(history: Sequence[Interaction], data: Data) -> str | None:
    """The product's choice."""
    taste = strongest(find_tastes(history, data.shown, data.popularity))
    return taste.concept if taste else None


def by_random(history: Sequence[Interaction], data: Data, rng: np.random.Generator) -> str | None:
    """Any concept of the history."""
    held = sorted(set(_concepts(history, data)))
    return str(rng.choice(held)) if held else None


def by_count(history: Sequence[Interaction], data: Data) -> str | None:
    """The concept of most items."""
    return max(Counter(_concepts(history, data)).items(), key=lambda each: each[1], default=(None, 0))[0]


def by_z(history: Sequence[Interaction], data: Data) -> str | None:
    """The concept that stands out most, by the normal approximation."""
    counts, n = Counter(_concepts(history, data)), len(history)
    p = data.popularity

    def z(concept: str) -> float:
        expected = p[concept]
        return float((counts[concept] / n - expected) / np.sqrt(expected * (1 - expected) / n))

    return max(counts, key=z, default=None)


def _concepts(history: Sequence[Interaction], data: Data) -> Iterable[str]:
    return (concept for step in history for concept in data.shown[step.item_id])


if __name__ == "__main__":
    auto_cli(main)
