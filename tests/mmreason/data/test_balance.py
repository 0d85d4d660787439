"""Sampling weights: rare things weigh more, the mean is 1, the same input gives the same bytes."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.config import BalanceConfig
from mmreason.data.balance import activity_group, balance_weights, read_weights, write_weights
from mmreason.data.catalogue import Catalogue, write_catalogue
from mmreason.schema import Interaction, Item, Reason

ITEMS = {name: Item(name, domain="shop" if name < "c" else "news") for name in "abcd"}


@given(st.lists(st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_mean_is_one_and_a_full_balance_levels_items(pairs: list[tuple[str, str]]) -> None:
    reasons = [Reason(user, item, "") for user, item in pairs]
    weights = balance_weights(reasons, ITEMS, [], BalanceConfig(items=1.0, users=0.5, domains=0.5))
    assert sum(weights) == pytest.approx(len(weights)) and min(weights) > 0
    total: dict[str, float] = defaultdict(float)
    for reason, weight in zip(
        reasons, balance_weights(reasons, ITEMS, [], BalanceConfig(1.0, 0.0)), strict=True
    ):
        total[reason.item_id] += weight
    assert max(total.values()) == pytest.approx(min(total.values()))
    assert balance_weights(reasons, ITEMS, [], BalanceConfig(0.0, 0.0)) == pytest.approx([1.0] * len(reasons))


def test_users_are_grouped_by_what_they_did() -> None:
    assert [activity_group(n) for n in (0, 1, 2, 4, 16, 17, 65)] == [
        "one",
        "one",
        "few",
        "few",
        "some",
        "many",
        "most",
    ]
    reasons = [Reason("busy", "a", ""), Reason("busy", "b", ""), Reason("new", "c", "")]
    done = [Interaction("busy", "d")] * 5
    busy, _, new = balance_weights(reasons, ITEMS, done, BalanceConfig(items=0.0, users=0.5))
    assert new / busy == pytest.approx(2**0.5)


def test_written_beside_the_manifest(tmp_path: Path) -> None:
    reasons = [
        Reason("u", "a", ""),
        Reason("v", "a", ""),
        Reason("v", "b", ""),
        Reason("w", "c", "", split="test"),
    ]
    catalogue = tmp_path / "catalogue"
    write_catalogue(Catalogue(ITEMS, [], reasons, tmp_path), catalogue)
    summary = write_weights(catalogue, tmp_path, BalanceConfig())
    first = (tmp_path / "weights.parquet").read_bytes()
    assert write_weights(catalogue, tmp_path, BalanceConfig()) == summary and "effective sample" in summary
    assert (tmp_path / "weights.parquet").read_bytes() == first
    weights = read_weights(tmp_path)
    assert set(weights) == {("u", "a"), ("v", "a"), ("v", "b")} and weights["v", "b"] > weights["v", "a"]
