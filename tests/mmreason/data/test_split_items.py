"""Splits are exact, by group, and independent of order."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.data.split import assign_splits, split_items
from mmreason.schema import DataError, Item

groups = st.lists(st.text(max_size=4), max_size=60)


@given(groups, st.floats(0, 0.5), st.floats(0, 0.49), st.integers(0, 9), st.randoms())
def test_exact_and_independent_of_order(
    names: list[str], test: float, valid: float, seed: int, random
) -> None:
    splits = assign_splits(names, test, valid, seed)
    counts = Counter(splits.values())
    assert set(splits) == set(names)
    assert abs(counts["test"] - test * len(splits)) <= 0.5
    assert abs(counts["valid"] - valid * len(splits)) <= 0.5 or counts["train"] == 0
    random.shuffle(names)
    assert assign_splits(names, test, valid, seed) == splits


def test_another_seed_gives_another_cut() -> None:
    names = [str(n) for n in range(50)]
    assert assign_splits(names, 0.2, 0.1, 0) != assign_splits(names, 0.2, 0.1, 1)


@pytest.mark.parametrize(("test", "valid"), [(-0.1, 0.1), (0.6, 0.4)])
def test_shares_that_leave_nothing(test: float, valid: float) -> None:
    with pytest.raises(DataError, match="less than 1"):
        assign_splits(["a"], test, valid, 0)


def test_groups_stay_together_and_domains_share_alike() -> None:
    items = [Item(f"{d}{n}", domain=d, group=f"{d}{n // 2}") for d in ("shop", "news") for n in range(40)]
    split_items(items, 0.2, 0.1, seed=3)
    by_group = {item.group: {i.split for i in items if i.group == item.group} for item in items}
    assert all(len(splits) == 1 for splits in by_group.values())
    for domain in ("shop", "news"):
        counts = Counter(item.split for item in items if item.domain == domain)
        assert counts == {"train": 28, "valid": 4, "test": 8}
