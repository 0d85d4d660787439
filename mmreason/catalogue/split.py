"""The rule of a split: by item group, by user, by time, or by two of these at once.

The rule is carried out on disk, in :mod:`mmreason.catalogue.staging` (items) and :mod:`mmreason.catalogue.resplit`
(everything else). Groups are cut by :func:`assign_splits`, or by the same cut in SQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmreason.config import Config
from mmreason.files import atomic_write
from mmreason.schema import DataError, Split

SPLIT_BY = ("item", "user", "time")
Shares = tuple[float, float]
"""Of testing and of validation."""


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How a catalogue was split; ``split.json`` in its folder, so that reasons mined later are split alike.

    Attributes:
        by: Some of :data:`SPLIT_BY`; empty for no split.
        items: Shares of item groups.
        users: Shares of users.
        times: Shares of user-item pairs, the latest.
        seed: Another seed gives another cut.
    """

    by: tuple[str, ...] = ("item",)
    items: Shares = (0.2, 0.1)
    users: Shares = (0.2, 0.1)
    times: Shares = (0.2, 0.1)
    seed: int = 0


def split_rule(config: Config) -> SplitRule:
    """The rule that a configuration states.

    Raises:
        DataError: If ``split.by`` is unknown, or shoppers are simulated, who are split by item and user.
    """
    by = () if config.split.by == "none" else tuple(config.split.by.split("+"))
    if unknown := set(by) - set(SPLIT_BY):
        raise DataError(f"split.by {config.split.by!r}: {min(unknown)!r} is not item, user, time or none")
    if config.simulate.users and by != ("item",):
        raise DataError(
            "simulated shoppers are split by item and by shopper; set split.by=item or simulate.users=0"
        )
    c, s = config.catalogue, config.split
    users, times = (s.test_users, s.valid_users), (s.test_times, s.valid_times)
    return SplitRule(by, (c.test_items, c.valid_items), users, times, config.seed)


def write_split_rule(rule: SplitRule, folder: Path) -> None:
    """Write ``split.json`` into a catalogue's folder."""
    with atomic_write(folder / "split.json") as file:
        file.write(json.dumps(asdict(rule)).encode() + b"\n")


def read_split_rule(folder: Path) -> SplitRule:
    """The rule of a catalogue; where it names none, its items' own sides count.

    Raises:
        DataError: If the file is damaged.
    """
    path = folder / "split.json"
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in record.items()}
        return SplitRule(**values)
    except FileNotFoundError:
        return SplitRule()
    except (ValueError, TypeError, AttributeError):
        raise DataError(f"{path} is damaged; run `mmreason ingest` again") from None


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
    check_shares(test, valid)
    order = sorted(set(groups), key=lambda group: (sha256(f"{seed}/{group}".encode()).digest(), group))
    n_test, n_valid = round(test * len(order)), round(valid * len(order))
    splits: dict[str, Split] = {}
    for place, group in enumerate(order):
        splits[group] = "test" if place < n_test else "valid" if place < n_test + n_valid else "train"
    return splits


def check_shares(test: float, valid: float) -> None:
    """Raise DataError if shares are negative or leave nothing to train on."""
    if test < 0 or valid < 0 or test + valid >= 1:
        raise DataError(
            f"test share {test} and valid share {valid} must not be negative and must sum to less than 1"
        )


def side_by_place(place: str, test: Any, valid: Any) -> str:
    """The cut of :func:`assign_splits` in SQL, for groups that are numbered in its order.

    Args:
        place: Expression for a group's number from 0.
        test: How many groups are for testing, a number or an expression.
        valid: How many are for validation.
    """
    return f"CASE WHEN {place} < {test} THEN 'test' WHEN {place} < {test} + {valid} THEN 'valid' ELSE 'train' END"
