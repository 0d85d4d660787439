"""Sampling weights: rare things weigh more, the mean is 1, the same input gives the same bytes in packed order."""

from collections import Counter, defaultdict
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.config import BalanceConfig
from mmreason.schema import DataError, Interaction, Item, Reason
from mmreason.shards.balance import read_weights
from mmreason.shards.loader import ReasonSample, ShardLoader, reason_samples
from mmreason.shards.manifest import read_manifest
from mmreason.shards.pack import write_shards

ITEMS = {name: Item(name, domain="shop" if name < "c" else "news") for name in "abcd"}
POPULAR = [Reason(f"u{n}", "abcd"[min(n % 7, 3)], "") for n in range(40)]


def pack(
    folder: Path, reasons: list[Reason], done: list[Interaction], balance: BalanceConfig
) -> dict[tuple[str, str], float]:
    """(user, item) → weight, of the samples in packed order."""
    write_catalogue(Catalogue(ITEMS, done, reasons, folder), folder / "catalogue")
    write_shards(folder / "catalogue", folder / "shards", 8, balance)
    weights = read_weights(folder / "shards")
    targets = [sample.reason for sample in reason_samples(folder / "shards", "train")]
    return {(r.user_id, r.item_id): w for r, w in zip(targets, weights.tolist(), strict=True)}


def pairs_of(samples: list[ReasonSample]) -> list[tuple[str, str]]:
    return [(sample.reason.user_id, sample.reason.item_id) for sample in samples]


def drawn_by(folder: Path, weights: np.ndarray, **options: int) -> ShardLoader:
    return ShardLoader(
        folder / "shards",
        "reasons-train",
        batch_size=4,
        collate=pairs_of,
        shuffle=16,
        weights=weights,
        **options,
    )


def test_a_full_balance_levels_items(tmp_path: Path) -> None:
    weights = pack(tmp_path, POPULAR, [], BalanceConfig(items=1.0, users=0.0))
    assert sum(weights.values()) == pytest.approx(len(POPULAR)) and len(weights) == len(POPULAR)
    total: dict[str, float] = defaultdict(float)
    for (_, item), weight in weights.items():
        total[item] += weight
    assert list(total.values()) == pytest.approx([10.0] * 4)


def test_no_balance_weighs_all_alike(tmp_path: Path) -> None:
    assert set(pack(tmp_path, POPULAR, [], BalanceConfig(items=0.0, users=0.0)).values()) == {1.0}


def test_domains(tmp_path: Path) -> None:
    weights = pack(tmp_path, POPULAR, [], BalanceConfig(items=0.0, users=0.0, domains=1.0))
    news = sum(weight for (_, item), weight in weights.items() if item in "cd")
    assert news == pytest.approx(len(POPULAR) / 2)


def test_users_are_grouped_by_what_they_did(tmp_path: Path) -> None:
    reasons = [Reason("busy", "a", ""), Reason("busier", "b", ""), Reason("new", "c", "")]
    done = [Interaction("busy", "d")] * 5 + [Interaction("busier", "d")] * 16
    weights = pack(tmp_path, reasons, done, BalanceConfig(items=0.0, users=0.5))
    assert weights["busy", "a"] == weights["busier", "b"]
    assert weights["new", "c"] / weights["busy", "a"] == pytest.approx(2**0.5)


def test_the_manifest_states_them(tmp_path: Path) -> None:
    pack(tmp_path, [*POPULAR, Reason("w", "c", "", split="test")], [], BalanceConfig())
    stated, path = read_manifest(tmp_path / "shards").balance, tmp_path / "shards/weights.parquet"
    assert asdict(BalanceConfig()).items() <= stated.items() and 0 < stated["effective"] < 1
    first = path.read_bytes()
    write_shards(tmp_path / "catalogue", tmp_path / "shards", 8, BalanceConfig())
    assert path.read_bytes() == first
    path.write_bytes(first[:-1] + b"?")
    with pytest.raises(DataError, match="not the weights that the manifest states"):
        read_weights(tmp_path / "shards")


def test_without_training_reasons_there_are_none(tmp_path: Path) -> None:
    assert pack(tmp_path, [], [], BalanceConfig()) == {}


@pytest.mark.parametrize(("workers", "ranks"), [(0, 1), (2, 1), (0, 2)])
def test_training_draws_each_reason_as_often_as_its_weight(tmp_path: Path, workers: int, ranks: int) -> None:
    weights = pack(tmp_path, POPULAR, [], BalanceConfig(items=1.0, users=0.0))
    seen: Counter[tuple[str, str]] = Counter()
    epochs = 1 if workers else 60
    for rank in range(ranks):
        options = {"rank": rank, "world_size": ranks, "workers": workers}
        loader = drawn_by(tmp_path, read_weights(tmp_path / "shards"), **options)
        for _ in range(epochs):
            one = [pair for batch in loader for pair in batch]
            seen.update(one)
            assert len(one) == len(POPULAR) / ranks == loader.kept
            if ranks == 1:
                assert all(abs(Counter(one)[pair] - weight) < 1 for pair, weight in weights.items())
    if epochs > 1:
        drawn = np.array([seen[pair] / epochs for pair in weights])
        assert np.allclose(drawn, list(weights.values()), atol=0.25)


def test_weights_resume_mid_epoch_and_must_fit(tmp_path: Path) -> None:
    pack(tmp_path, POPULAR, [], BalanceConfig(items=1.0))
    weights = read_weights(tmp_path / "shards")

    whole = list(drawn_by(tmp_path, weights))
    stopped = drawn_by(tmp_path, weights)
    assert list(islice(stopped, 3)) == whole[:3]
    resumed = drawn_by(tmp_path, weights)
    resumed.load_state_dict(stopped.state_dict())
    assert list(resumed) == whole[3:]
    assert list(drawn_by(tmp_path, np.ones(len(POPULAR)))) != whole
    with pytest.raises(ValueError, match="39 weights for 40 samples"):
        drawn_by(tmp_path, weights[1:])
