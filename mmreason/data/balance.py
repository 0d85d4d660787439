"""Sampling weights: rare items, light users and small domains are seen more often than they occur."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.config import BalanceConfig
from mmreason.data.files import whole_file
from mmreason.schema import Interaction, Item, Reason

ACTIVITY = ((1, "one"), (4, "few"), (16, "some"), (64, "many"))
"""A user's group: the first of these whose number of interactions is not exceeded, else "most"."""


def balance_weights(
    reasons: Sequence[Reason],
    items: Mapping[str, Item],
    interactions: Iterable[Interaction],
    balance: BalanceConfig,
) -> list[float]:
    """A sampling weight for each reason, 1 on average.

    A reason's weight is the product, over its item's group, its user's activity group and its item's domain, of
    (how many of the reasons share it) to the power of minus the configured one, scaled to a mean of 1. A power of
    0.5 is the inverse square root (Mikolov et al., 2013, for frequent words; Mahajan et al., 2018, for classes).

    Args:
        reasons: The training reasons.
        items: By id.
        interactions: All users' interactions, for their activity.
        balance: The powers.

    Example:
        >>> items = {"a": Item("a"), "b": Item("b")}
        >>> reasons = [Reason("u", "a", ""), Reason("v", "a", ""), Reason("w", "b", "")]
        >>> weights = balance_weights(reasons, items, [], BalanceConfig(items=1.0, users=0.0))
        >>> [round(weight, 2) for weight in weights]
        [0.75, 0.75, 1.5]
    """
    activity = Counter(i.user_id for i in interactions)
    return _weights(
        [items[r.item_id].group for r in reasons],
        [activity[r.user_id] for r in reasons],
        [items[r.item_id].domain for r in reasons],
        balance,
    )


def _weights(
    groups: Sequence[str], activity: Sequence[int], domains: Sequence[str], balance: BalanceConfig
) -> list[float]:
    """Of each reason: its item's group, how much its user did and its item's domain to its weight."""
    keys: list[tuple[float, Sequence[Hashable]]] = [
        (balance.items, groups),
        (balance.users, [activity_group(n) for n in activity]),
        (balance.domains, domains),
    ]
    weights = [1.0] * len(groups)
    for power, names in keys:
        counts = Counter(names)
        weights = [w * counts[name] ** -power for w, name in zip(weights, names, strict=True)]
    total = sum(weights)
    return [weight * len(weights) / total for weight in weights]


def activity_group(interactions: int) -> str:
    """The name of a user's group by how much they did."""
    return next((name for most, name in ACTIVITY if interactions <= most), "most")


def write_weights(catalogue: Path, folder: Path, balance: BalanceConfig) -> str:
    """Write ``weights.parquet`` beside the shards' manifest: user_id, item_id, weight of every training reason.

    The file's own metadata states the powers; the same catalogue gives the same bytes. Memory holds the training
    reasons' keys, not the catalogue.

    Args:
        catalogue: Folder that :func:`mmreason.data.catalogue.ingest` wrote.
        folder: The shards'.
        balance: The powers.

    Returns:
        What was weighted, and the effective share of the sample, (sum w)² / (n sum w²).
    """
    reasons = _training_reasons(catalogue)
    groups, activity, domains = (reasons[name].to_list() for name in ("group", "activity", "domain"))
    weights = _weights(groups, activity, domains, balance)
    table = pa.table(
        {
            "user_id": pa.array(reasons["user_id"], pa.string()),
            "item_id": pa.array(reasons["item_id"], pa.string()),
            "weight": pa.array(weights, pa.float64()),
        }
    ).replace_schema_metadata({"balance": json.dumps(asdict(balance), sort_keys=True)})
    with whole_file(folder / "weights.parquet") as file:
        pq.write_table(table, file, compression="zstd")
    if not weights:
        return "weights of no training reasons"
    effective = sum(weights) ** 2 / (len(weights) * sum(w * w for w in weights))
    return f"weights {min(weights):.2f} to {max(weights):.2f}, effective sample {effective:.0%}"


def _training_reasons(catalogue: Path) -> pl.DataFrame:
    """user_id, item_id, the item's group and domain, and the user's number of interactions, in the table's order."""
    items = pl.scan_parquet(catalogue / "items.parquet").select("id", "group", "domain")
    interactions = pl.scan_parquet(catalogue / "interactions.parquet")
    reasons = pl.scan_parquet(catalogue / "reasons.parquet", row_index_name="place")
    return (
        reasons.filter(pl.col("split") == "train")
        .select("place", "user_id", "item_id")
        .join(items, left_on="item_id", right_on="id")
        .join(interactions.group_by("user_id").agg(pl.len().alias("activity")), on="user_id", how="left")
        .with_columns(pl.col("activity").fill_null(0))
        .sort("place")
        .collect(engine="streaming")
    )


def read_weights(folder: Path) -> dict[tuple[str, str], float]:
    """(user, item) → weight, as :func:`write_weights` wrote them."""
    table = pq.read_table(folder / "weights.parquet").to_pydict()
    pairs = zip(table["user_id"], table["item_id"], strict=True)
    return dict(zip(pairs, table["weight"], strict=True))
