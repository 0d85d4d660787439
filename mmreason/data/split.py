"""Deterministic splits by group."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from mmreason.schema import DataError, Item, Split


def assign_splits(groups: Iterable[str], test: float, valid: float, seed: int) -> dict[str, Split]:
    """Which split each group is in: sorted by hash, then cut, so the shares are exact to one group.

    Args:
        groups: Group names, in any order, repeats allowed.
        test: Share of groups for testing.
        valid: Share of groups for validation.
        seed: Another seed gives another cut.

    Raises:
        DataError: If the shares are negative or leave nothing to train on.

    Example:
        >>> sorted(assign_splits(["a", "b", "c", "d"], test=0.25, valid=0.25, seed=0).values())
        ['test', 'train', 'train', 'valid']
    """
    if test < 0 or valid < 0 or test + valid >= 1:
        raise DataError(
            f"test share {test} and valid share {valid} must not be negative and must sum to less than 1"
        )
    order = sorted(set(groups), key=lambda group: (sha256(f"{seed}/{group}".encode()).digest(), group))
    n_test, n_valid = round(test * len(order)), round(valid * len(order))
    splits: dict[str, Split] = {}
    for place, group in enumerate(order):
        splits[group] = "test" if place < n_test else "valid" if place < n_test + n_valid else "train"
    return splits


def split_items(items: Iterable[Item], test: float, valid: float, seed: int) -> None:
    """Set ``item.split`` by group, domain by domain (a group that spans domains counts in its first)."""
    items = list(items)
    domain_of: dict[str, str] = {}
    for item in items:
        domain_of[item.group] = min(domain_of.get(item.group, item.domain), item.domain)
    splits: dict[str, Split] = {}
    for domain in set(domain_of.values()):
        splits |= assign_splits((g for g, d in domain_of.items() if d == domain), test, valid, seed)
    for item in items:
        item.split = splits[item.group]
