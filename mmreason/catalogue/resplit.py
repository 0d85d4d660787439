"""A catalogue's tables split by user or time, on disk: memory does not grow with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mmreason.catalogue.split import Shares, SplitRule, check_shares
from mmreason.catalogue.staging import GROUP, MEMORY
from mmreason.catalogue.tables import write_batches
from mmreason.files import TEMPORARY, remove
from mmreason.schema import DataError, Item, Reason

_PAIRS = """
CREATE TABLE pairs AS SELECT user_id, item_id, min(timestamp) AS time FROM interactions WHERE timestamp > 0 GROUP BY ALL
"""

_USERS = """
CREATE TABLE users AS
SELECT user_id, row_number() OVER (ORDER BY sha256($seed || user_id), user_id) - 1 AS place
FROM (SELECT user_id FROM interactions UNION SELECT user_id FROM reasons)
"""

_ITEMS = """
SELECT items.* EXCLUDE file_row_number REPLACE ({side} AS split)
FROM items LEFT JOIN (
    SELECT "group", min(time) AS time FROM pairs JOIN items ON item_id = id GROUP BY ALL
) first USING ("group")
ORDER BY file_row_number
"""

_REASONS = """
WITH sides AS (
    SELECT reasons.*, [{sides}] AS sides FROM reasons
    JOIN items ON reasons.item_id = items.id
    LEFT JOIN pairs ON reasons.user_id = pairs.user_id AND reasons.item_id = pairs.item_id
    LEFT JOIN users ON reasons.user_id = users.user_id
)
SELECT * EXCLUDE (sides, file_row_number) REPLACE (sides[1] AS split) FROM sides
WHERE len(list_distinct(sides)) = 1 AND list_count(sides) = len(sides) -- no NULL
ORDER BY file_row_number
"""


def resplit(folder: Path, rule: SplitRule) -> int:
    """Set the ``split`` of every item and reason by the rule; items split by item are split already.

    An item split by time is on the side of its group's first interaction; one that nobody met may be trained on.

    Args:
        folder: The catalogue's; ``items.parquet`` and ``reasons.parquet`` are written anew.
        rule: What to split by.

    Returns:
        How many reasons were left out: on two sides, or with no time to split by.

    Raises:
        DataError: If the shares leave nothing to train on, or the split is by time and no time is known.
    """
    scratch = folder / (TEMPORARY + "resplit")
    scratch.mkdir(exist_ok=True)
    threads = min(os.cpu_count() or 1, 4)
    try:
        with duckdb.connect(
            str(scratch / "tables"), config={"memory_limit": MEMORY, "threads": threads}
        ) as sql:
            sql.execute("SET enable_progress_bar = false")
            return _Tables(folder, sql).split(rule)
    finally:
        remove(scratch)


class _Tables:
    def __init__(self, folder: Path, sql: duckdb.DuckDBPyConnection) -> None:
        self.folder, self.sql = folder, sql
        for name in ("items", "interactions", "reasons"):
            path = str(folder / f"{name}.parquet").replace("'", "''")
            sql.execute(f"CREATE VIEW {name} AS FROM read_parquet('{path}', file_row_number = true)")

    def split(self, rule: SplitRule) -> int:
        self.sql.execute(_PAIRS if "time" in rule.by else f"{_PAIRS} LIMIT 0")
        self.sql.execute(_USERS if "user" in rule.by else f"{_USERS} LIMIT 0", {"seed": f"{rule.seed}/"})
        sides = {"item": "items.split"}
        if "user" in rule.by:
            sides["user"] = self._side_of_user(rule.users)
        if "time" in rule.by:
            sides["time"] = self._side_of_time(rule.times)
        if "item" not in rule.by:
            first = (
                f"coalesce({sides['time'].format(time='first.time')}, 'train')"
                if "time" in sides
                else "'train'"
            )
            self._write("items", Item, _ITEMS.format(side=first))
        chosen = [sides[kind].format(time="pairs.time") for kind in rule.by] or ["'train'"]
        before = self._one("SELECT count(*) FROM reasons")
        self._write("reasons", Reason, _REASONS.format(sides=", ".join(chosen)))
        return before - self._one("SELECT count(*) FROM reasons")

    def _side_of_user(self, shares: Shares) -> str:
        check_shares(*shares)
        test, valid = (round(share * self._one("SELECT count(*) FROM users")) for share in shares)
        return (
            f"CASE WHEN place < {test} THEN 'test' WHEN place < {test + valid} THEN 'valid' ELSE 'train' END"
        )

    def _side_of_time(self, shares: Shares) -> str:
        """The cuts leave the latest shares for testing and validation, equal times together."""
        check_shares(*shares)
        pairs = self._one("SELECT count(*) FROM pairs")
        if not pairs:
            raise DataError(
                "split.by=time, but no interaction has a timestamp; give them one or split by item or user"
            )
        cuts = [pairs - round(share * pairs) for share in (shares[0], sum(shares))]
        test, valid = (
            self._one(f"SELECT time FROM pairs ORDER BY time OFFSET {cut} LIMIT 1")
            if cut < pairs
            else "'inf'"
            for cut in cuts
        )
        return (
            f"CASE WHEN {{time}} IS NULL THEN NULL WHEN {{time}} >= {test!r}::DOUBLE THEN 'test' "
            f"WHEN {{time}} >= {valid!r}::DOUBLE THEN 'valid' ELSE 'train' END"
        )

    def _write(self, name: str, kind: type, query: str) -> None:
        write_batches(self.folder / f"{name}.parquet", kind, self._stream(query))

    def _stream(self, query: str) -> Iterator[pa.Table]:
        with self.sql.cursor() as cursor:
            yield from (pa.Table.from_batches([batch]) for batch in cursor.sql(query).to_arrow_reader(GROUP))

    def _one(self, query: str) -> Any:
        row = self.sql.execute(query).fetchone()
        assert row is not None
        return row[0]
