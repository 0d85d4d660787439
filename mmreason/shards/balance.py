"""Sampling weights: rare items, light users and small domains are seen more often than they occur."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmreason.config import BalanceConfig
from mmreason.files import atomic_write
from mmreason.schema import DataError
from mmreason.shards.manifest import read_manifest

if TYPE_CHECKING:  # a loader that reads weights does not wait for these
    import pyarrow as pa

    from mmreason.shards.buckets import CatalogueRows

WEIGHTS = "weights.parquet"
ACTIVITY = (1, 4, 16, 64)
"""Users are grouped by their number of interactions: up to 1, up to 4, 16, 64, and more."""


def write_weights(
    rows: CatalogueRows, folder: Path, balance: BalanceConfig, sources: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Write ``weights.parquet``: user_id, item_id and weight of every training reason, in packed order.

    A reason's weight is the product, over its item's group, its user's activity group and its item's domain, of
    (how many of the reasons share it) to the power of minus the configured one, scaled to a mean of 1. A power of
    0.5 is the inverse square root (Mikolov et al., 2013, for frequent words; Mahajan et al., 2018, for classes).
    The same catalogue gives the same bytes; memory holds the weights, not the catalogue.

    Args:
        rows: The catalogue.
        folder: The shards'.
        balance: The powers.
        sources: Name of a source, which stands before its ids → a factor on the weights of its reasons.

    Returns:
        What the manifest states: the powers, ``sha256`` of the file, ``least`` and ``most`` weight and the
        ``effective`` share of the sample, (sum w)² / (n sum w²).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("user_id", pa.string()), ("item_id", pa.string()), ("weight", pa.float64())])
    parts = [batch["weight"].to_numpy() for batch in _weighted(rows, balance, sources or {})]
    weights = np.concatenate(parts) if parts else np.ones(1)
    scale = len(weights) / weights.sum()
    path = folder / WEIGHTS
    with atomic_write(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _weighted(rows, balance, sources or {}):
            values = pa.array(batch["weight"].to_numpy() * scale)
            writer.write_batch(pa.record_batch([batch["user_id"], batch["item_id"], values], schema=schema))
    weights = weights * scale
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return {
        **asdict(balance),
        "sha256": digest,
        "least": float(weights.min()),
        "most": float(weights.max()),
        "effective": float(len(weights) / np.square(weights).sum()),
    }


def _weighted(
    rows: CatalogueRows, balance: BalanceConfig, sources: Mapping[str, float]
) -> Iterator[pa.RecordBatch]:
    """Training reasons with their weights, which are not scaled yet."""
    return rows.training_reasons(
        f"""
        count(*) OVER (PARTITION BY item_group) ** {-float(balance.items)}
        * count(*) OVER (PARTITION BY {_activity_group("activity")}) ** {-float(balance.users)}
        * count(*) OVER (PARTITION BY domain) ** {-float(balance.domains)}
        * {_factor_of_source("item_id", sources)} AS weight
        """
    )


def _activity_group(column: str) -> str:
    cases = " ".join(f"WHEN {column} <= {most} THEN {most}" for most in ACTIVITY)
    return f"CASE {cases} ELSE -1 END"


def _factor_of_source(column: str, sources: Mapping[str, float]) -> str:
    cases = " ".join(f"WHEN {column} ^@ '{name}:' THEN {float(weight)}" for name, weight in sources.items())
    return f"CASE {cases} ELSE 1.0 END" if cases else "1.0"


def read_weights(folder: Path) -> np.ndarray:
    """The weights of the training reasons in packed order, for :class:`ShardLoader`; (samples,) float64.

    Raises:
        DataError: If the file is missing or is not the one that the manifest states.
    """
    import pyarrow.parquet as pq

    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError:
        raise DataError(f"{path}: cannot be read; run pack again") from None
    if hashlib.sha256(data).hexdigest() != read_manifest(folder).balance.get("sha256"):
        raise DataError(f"{path}: not the weights that the manifest states; run pack again")
    weights: np.ndarray = pq.read_table(path, columns=["weight"])["weight"].to_numpy()
    return weights
