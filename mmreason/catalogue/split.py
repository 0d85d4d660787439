"""Deterministic splits: by item group, by user, by time, or by two of these at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmreason.config import Config
from mmreason.files import whole_file
from mmreason.schema import DataError, Interaction, Item, Reason, Split

KINDS = ("item", "user", "time")
Shares = tuple[float, float]
"""Of testing and of validation."""


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How a catalogue was split; ``split.json`` in its folder, so that reasons mined later are split alike.

    Attributes:
        by: Some of :data:`KINDS`; empty for no split.
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
    if unknown := set(by) - set(KINDS):
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
    with whole_file(folder / "split.json") as file:
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


def split_reasons(
    items: Mapping[str, Item], interactions: Iterable[Interaction], reasons: Iterable[Reason], rule: SplitRule
) -> tuple[list[Reason], int]:
    """Set some reasons' ``split`` by the rule, as ``resplit`` does all of a folder; the items have theirs.

    Returns:
        The reasons that are on one side, and how many are not (or have no time to split by).
    """
    interactions, reasons = list(interactions), list(reasons)
    sides: list[Callable[[Reason], Split | None]] = []
    if "item" in rule.by:
        sides.append(lambda reason: items[reason.item_id].split)
    if "user" in rule.by:
        users = {interaction.user_id for interaction in interactions} | {reason.user_id for reason in reasons}
        of_user = assign_splits(users, *rule.users, rule.seed)
        sides.append(lambda reason: of_user[reason.user_id])
    if "time" in rule.by:
        times = pair_times(interactions)
        side = _time_sides(times.values(), rule.times)
        sides.append(lambda reason: side(times.get((reason.user_id, reason.item_id))))
    kept = []
    for reason in reasons:
        found = {of(reason) for of in sides} or {"train"}
        split = found.pop()
        if split is not None and not found:
            reason.split = split
            kept.append(reason)
    return kept, len(reasons) - len(kept)


def pair_times(interactions: Iterable[Interaction]) -> dict[tuple[str, str], float]:
    """When each user first met each item, where a time is known."""
    times: dict[tuple[str, str], float] = {}
    for i in interactions:
        if i.timestamp > 0:
            pair = (i.user_id, i.item_id)
            times[pair] = min(times.get(pair, i.timestamp), i.timestamp)
    return times


def _time_sides(times: Iterable[float], shares: Shares) -> Callable[[float | None], Split | None]:
    """The side of a time: the cuts leave the latest shares for testing and validation, equal times together."""
    test, valid = shares
    check_shares(test, valid)
    ordered = sorted(times)
    if not ordered:
        raise DataError(
            "split.by=time, but no interaction has a timestamp; give them one or split by item or user"
        )
    cuts = [len(ordered) - round(share * len(ordered)) for share in (test, test + valid)]
    test_from, valid_from = (ordered[cut] if cut < len(ordered) else float("inf") for cut in cuts)

    def side(time: float | None) -> Split | None:
        if time is None:
            return None
        return "test" if time >= test_from else "valid" if time >= valid_from else "train"

    return side


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
