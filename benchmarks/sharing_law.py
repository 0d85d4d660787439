"""How much is said once: texts that are left to decode, under a power law of users and items.

    python benchmarks/sharing_law.py                        # seconds
    python benchmarks/sharing_law.py --plot docs/sharing.svg

A text of a plan in words depends on item, plan, style and seed alone, so pairs with the same item and the same plan
share one. Here a pair's item is drawn by a power law of popularity and its user by one of activity. A user's taste says
which plan of an item is theirs: one of ``plans`` personal ones (a taste that the item answers, and how strongly it is
held), again by a power law, or the item's selling point. Pairs of one user are therefore not independent, as they are
in the formula

    texts = Σ over items and plans of 1 - exp(-pairs · p(item) · p(plan))

The table has the formula beside a simulation, up to the size that is simulated. It also tells what is left where
requests are split over machines that know nothing of each other's texts: by chance, and by item.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli


@dataclass(frozen=True)
class Law:
    """Who is asked for.

    Attributes:
        items: How many.
        users: How many.
        skew: Exponent of the items' popularity; 0 is even.
        activity: Exponent of the users' activity.
        plans: Personal ones of an item.
        personal: Share of the pairs that have one of these.
        seeds: Wordings of one plan that are told apart.
    """

    items: int = 1_000_000
    users: int = 10_000_000
    skew: float = 1.0
    activity: float = 0.8
    plans: int = 24
    personal: float = 0.6
    seeds: int = 1


def main(largest: int = 1_000_000, plot: str = "", seed: int = 0) -> None:
    """Print the tables.

    Args:
        largest: Pairs up to which the simulation runs.
        plot: File for a plot.
        seed: Of the simulation.
    """
    pairs = [10**n for n in range(4, 9)]
    laws = [
        ("500 items, 2,000 users", Law(500, 2000)),
        ("100,000 items", Law(100_000, 1_000_000)),
        ("1 million items", Law()),
        ("1 million items, even", Law(skew=0.0)),
        ("10 million items", Law(10_000_000, 100_000_000)),
        ("1 million items, 4 wordings", Law(seeds=4)),
    ]
    print(f"{'texts a pair':30}" + "".join(f"{n:>22,}" for n in pairs))
    for name, law in laws:
        cells = []
        for n in pairs:
            simulated = f" ({simulate(law, n, seed) / n:.3f})" if n <= largest else ""
            cells.append(f"{expected_distinct(law, n) / n:.3f}{simulated}")
        print(f"{name:30}" + "".join(f"{cell:>22}" for cell in cells))
    print("in brackets: simulated")
    law, wanted = Law(), 1e8
    print(
        f"\n{'machines':>10}{'split by chance':>18}{'split by item':>16}   texts a pair, {wanted:,.0f} pairs"
    )
    for machines in (1, 8, 100, 800):
        apart = machines * expected_distinct(law, wanted / machines) / wanted
        print(f"{machines:>10}{apart:>18.3f}{expected_distinct(law, wanted) / wanted:>16.3f}")
    if plot:
        draw(Path(plot), laws, pairs)


def expected_distinct(law: Law, pairs: float) -> float:
    """Texts by the formula; ranks far down the law are taken together, by their geometric means."""
    chances, counts = binned(power_law_sum(law.items, law.skew), law.items, law.skew)
    plans = plan_chances(law)
    lacking = np.exp(-pairs * chances[:, None] * plans[None, :])
    return float((counts[:, None] * (1 - lacking)).sum())


def plan_chances(law: Law) -> np.ndarray:
    """The chance of each plan of an item, the selling point last; sums to 1."""
    personal = np.arange(1, law.plans + 1) ** -1.0
    personal *= law.personal / personal.sum()
    return np.repeat(np.append(personal, 1 - law.personal), law.seeds) / law.seeds


def power_law_sum(count: int, exponent: float) -> float:
    """Sum of rank to the minus exponent, over all ranks."""
    head = np.arange(1, min(count, 10_000) + 1, dtype=float)
    total = (head**-exponent).sum()
    if count > 10_000:
        low, high = 10_000.5, count + 0.5
        power = 1 - exponent
        total += np.log(high / low) if not power else (high**power - low**power) / power
    return float(total)


def binned(total: float, count: int, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Chance of an item and how many have it: the first 10,000 ranks each, then some hundred bins."""
    head = np.arange(1, min(count, 10_000) + 1, dtype=float)
    ranks, counts = head, np.ones(len(head))
    if count > 10_000:
        edges = np.geomspace(10_000.5, count + 0.5, 400)
        ranks = np.concatenate([head, np.sqrt(edges[1:] * edges[:-1])])
        counts = np.concatenate([counts, np.diff(edges)])
    return ranks**-exponent / total, counts


def simulate(law: Law, pairs: int, seed: int = 0) -> int:
    """Texts of pairs that are drawn."""
    rng = np.random.default_rng(seed)
    items = draw_ranks(rng, law.items, law.skew, pairs)
    users = draw_ranks(rng, law.users, law.activity, pairs)
    chances = plan_chances(replace(law, seeds=1))
    tastes = rng.random(law.users)[users]
    plans = np.searchsorted(np.cumsum(chances), tastes, side="right").clip(max=len(chances) - 1)
    wording = rng.integers(0, law.seeds, pairs)
    keys = (items * len(chances) + plans) * law.seeds + wording
    return len(np.unique(keys))


def draw_ranks(rng: np.random.Generator, count: int, exponent: float, size: int) -> np.ndarray:
    """Ranks from 0, by the inverse of the distribution's integral, exact for the first ranks."""
    total, drawn = power_law_sum(count, exponent), rng.random(size)
    head = np.cumsum(np.arange(1, min(count, 10_000) + 1) ** -float(exponent)) / total
    ranks = np.searchsorted(head, drawn)
    far = ranks >= len(head)
    if count > len(head):
        low, power = 10_000.5, 1 - exponent
        rest = (drawn[far] - head[-1]) * total
        value = (low**power + rest * power) ** (1 / power) if power else low * np.exp(rest)
        ranks[far] = np.minimum(np.rint(value) - 1, count - 1)
    return np.minimum(ranks, count - 1)


def draw(path: Path, laws: list[tuple[str, Law]], pairs: list[int]) -> None:
    """Texts a pair by pairs."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "sharing", "svg.fonttype": "none"}
    many = np.geomspace(pairs[0], pairs[-1], 33)
    figure, axes = plt.subplots(figsize=(6.4, 4))
    for name, law in laws:
        axes.loglog(many, [expected_distinct(law, n) / n for n in many], label=name)
    axes.set_xlabel("pairs")
    axes.set_ylabel("texts a pair")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
