"""What MovieLens users take next: the user tower against item-kNN, and against genres for movies it never saw.

    python benchmarks/align_users.py --data ../shared/data
    python benchmarks/align_users.py --data ../shared/data --users 100 --steps 50     # a quick look

A tenth of the movies, drawn by seed, is taken out of every training history: they are new items. Of what is left,
each user's last rating by time is the test (warm), the one before it chooses settings and the best state. For the new
movies, the test is each user's last rating of one, after the user's other ratings up to then. All items that
the user has not rated are ranked; for the new movies also among the new ones alone, because next to nine thousand
movies with ratings a ranking by popularity never shows a new one. Texts are title, genres and, where the titles
join, a description; the free-text tags are left out, since most were written after the ratings tested here.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from bars import Bars
from jsonargparse import auto_cli

from encoders import create_encoder
from mmreason.config import UserConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.evaluate.alignment import NextItemTest, leave_last_out
from mmreason.evaluate.next_item import Score, item_knn, next_item_metrics, next_item_ranks, popularity
from mmreason.schema import Interaction, Item, item_text
from mmreason.users.model import UserTower
from mmreason.users.train import fit_users

CONFIG = UserConfig(dim=128, adapt_items=True, max_history=30, steps=1200, check_every=200)
KNN = [(k, last) for k in (20, 50, 100, 200) for last in (None, 50, 10, 3)]


@dataclass
class Movies:
    """The data: movies with their genres and features, histories, and which movies are new."""

    items: list[Item]
    content: np.ndarray
    histories: list[list[Interaction]]
    cold: np.ndarray

    @cached_property
    def ids(self) -> list[str]:
        return [item.id for item in self.items]

    @cached_property
    def rows(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.ids)}


def main(
    data: str = "../shared/data", users: int = 0, steps: int = 0, cold: float = 0.1, seed: int = 0
) -> None:
    """Run and check.

    Args:
        data: Folder that holds ``movielens_small`` and ``movie_text_yulan``.
        users: Only the first users; 0 for all.
        steps: Training steps; 0 for the full number.
        cold: Share of the movies that training never sees.
        seed: Of the new movies, the training and the negatives.
    """
    torch.set_num_threads(2)
    movies = read(Path(data), users, cold, seed)
    kept = [[s for s in history if not movies.cold[movies.rows[s.item_id]]] for history in movies.histories]
    test = leave_last_out(kept, movies.rows)
    known = sorted({step.item_id for past in test.past for step in past})
    torch.manual_seed(seed)
    tower = UserTower(movies.content.shape[1], replace(CONFIG, steps=steps or CONFIG.steps), known)
    fit_users(tower, movies.content, movies.ids, test.past, seed)
    bars = Bars("users")
    warm(bars, tower, movies, test)
    new_items(bars, tower, movies)
    bars.finish()


def read(data: Path, users: int, cold: float, seed: int) -> Movies:
    """MovieLens with descriptions where the titles join."""
    folder = data / "movielens_small/ml-latest-small"
    described = {
        plain_title(row["title"]): row["description"]
        for row in rows_of(data / "movie_text_yulan/data/item.csv")
    }
    items = [
        Item(
            row["movieId"],
            title=row["title"],
            text=described.get(plain_title(row["title"]), ""),
            attributes={"genre": row["genres"].split("|")},
        )
        for row in rows_of(folder / "movies.csv")
    ]
    histories: dict[str, list[Interaction]] = {}
    for row in rows_of(folder / "ratings.csv"):
        step = Interaction(
            row["userId"],
            row["movieId"],
            "rating",
            rating=float(row["rating"]),
            timestamp=float(row["timestamp"]),
        )
        histories.setdefault(step.user_id, []).append(step)
    encoder = create_encoder("hf-text:minilm", "wheel:minilm")
    encoder.to(dtype=pick_dtype("auto", pick_device("cpu")))
    features = encoder.encode([item_text(item) for item in items], 64).numpy()
    content = np.clip((features - features.mean(0)) / features.std(0).clip(1e-6), -8, 8)
    chosen = np.random.default_rng(seed).permutation(len(items))[: int(cold * len(items))]
    new = np.zeros(len(items), bool)
    new[chosen] = True
    joined = sum(bool(item.text) for item in items)
    print(f"{len(items):,} movies, {joined:,} with a description, {new.sum():,} taken out as new")
    return Movies(items, content, [*histories.values()][: users or None], new)


def rows_of(path: Path) -> list[dict[str, str]]:
    """A CSV file's rows."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def plain_title(title: str) -> str:
    """A title without year, brackets, case and a moved article: what both catalogues agree on."""
    title = re.sub(r"\s*\(.*?\)", "", title).strip()
    moved = re.fullmatch(r"(.*), (The|A|An|Les|La|Le|Il|Der|Das|Die|El)", title)
    return re.sub(r"[^a-z0-9]+", " ", (f"{moved[2]} {moved[1]}" if moved else title).lower()).strip()


def warm(bars: Bars, tower: UserTower, movies: Movies, test: NextItemTest) -> None:
    """Each user's last rating, of a movie that training knows."""
    size = len(movies.items)
    vectors = tower.encode_items(movies.content, movies.ids)
    people = tower.encode(test.past, movies.content, movies.ids)
    knn = best_knn(test, size)
    systems: dict[str, Score] = {
        "user tower": lambda rows: people[rows] @ vectors.T,
        "item-kNN, best on the ratings before": item_knn(test.seen, size, *knn),
        "item-kNN, whole history, 100 neighbours": item_knn(test.seen, size),
        "popularity": popularity(test.seen, size),
    }
    scores = {}
    for name, score in systems.items():
        ranks = next_item_ranks(score, test.targets, test.seen)
        scores[name] = show(f"warm, {name}", ranks[test.warm])
        if not test.warm.all():
            show(f"  in nobody's history by chance, {name}", ranks[~test.warm])
    peers = [scores[name] for name in systems if name.startswith("item-kNN")]
    for metric in ("recall@10", "nDCG@10"):
        bar = max(peer[metric] for peer in peers)
        bars.check(f"warm {metric} (item-kNN's)", scores["user tower"][metric], bar, form=".4f")


def best_knn(test: NextItemTest, size: int) -> tuple[int, int | None]:
    """Neighbours and window of item-kNN, chosen on each user's last training step as the tower's state is."""
    past, targets = [seen[:-1] for seen in test.seen], [seen[-1] for seen in test.seen]

    def ndcg(setting: tuple[int, int | None]) -> float:
        return next_item_metrics(next_item_ranks(item_knn(past, size, *setting), targets, past))["nDCG@10"]

    found = max(KNN, key=ndcg)
    print(f"item-kNN: best with {found[0]} neighbours and the last {found[1] or 'of all'} ratings")
    return found


def new_items(bars: Bars, tower: UserTower, movies: Movies) -> None:
    """Each user's last rating of a new movie, from the other ratings before it."""
    past, targets = [], []
    for history in movies.histories:
        steps = sorted(history, key=lambda step: step.timestamp)
        new = [place for place, s in enumerate(steps) if movies.cold[movies.rows[s.item_id]]]
        before = [s for s in steps[: new[-1]] if not movies.cold[movies.rows[s.item_id]]] if new else []
        if before:
            past.append(before)
            targets.append(movies.rows[steps[new[-1]].item_id])
    seen = [[movies.rows[step.item_id] for step in steps] for steps in past]
    vectors = tower.encode_items(movies.content, movies.ids)
    people = tower.encode(past, movies.content, movies.ids)
    peers = genre_popularity(movies, seen)
    scores = {}
    for where, among in (("all items", None), ("the new items", movies.cold)):
        for name, score in (("user tower", lambda rows: people[rows] @ vectors.T), *peers.items()):
            ranks = next_item_ranks(score, targets, seen, among)
            scores[where, name] = show(f"new movies among {where}, {name}", ranks)
    ours = scores["the new items", "user tower"]
    for metric in ("recall@10", "nDCG@10"):
        best = max(scores["the new items", name][metric] for name in peers)
        # A peer at nought would set no bar: chance sets the least.
        least = 10 / movies.cold.sum() if metric == "recall@10" else 4.54 / movies.cold.sum()
        bars.check(
            f"new movies {metric} (3 × genre popularity's {best:.4f}, chance {least:.4f})",
            ours[metric],
            3 * max(best, least),
            form=".4f",
        )


def genre_popularity(movies: Movies, seen: Sequence[Sequence[int]]) -> dict[str, Score]:
    """Two ways to rank unrated movies by genre: the user's own genres, and those weighted by their popularity."""
    genres = sorted({g for item in movies.items for g in item.attributes["genre"]})
    has = np.array([[float(g in item.attributes["genre"]) for g in genres] for item in movies.items])
    share = has / has.sum(1, keepdims=True)
    counts = np.zeros(len(movies.items))
    for rows in seen:
        np.add.at(counts, rows, 1)
    popular = counts @ has / has[~movies.cold].sum(0).clip(1)
    profile = np.stack([has[rows].mean(0) for rows in seen])
    return {
        "the user's genres": lambda users: profile[users] @ share.T,
        "popularity in the user's genres": lambda users: (profile[users] * popular) @ share.T,
    }


def show(name: str, ranks: np.ndarray) -> dict[str, float]:
    """Print a system's metrics."""
    metrics = next_item_metrics(ranks, (10, 50))
    figures = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if key != "users")
    print(f"{name} ({metrics['users']} users): {figures}, median rank {np.median(ranks):,.0f}")
    return metrics


if __name__ == "__main__":
    auto_cli(main)
