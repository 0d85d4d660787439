"""A catalogue's tables split by item, user or time, on disk: memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from mmreason.catalogue.split import Shares, SplitRule, check_shares, side_by_place
from mmreason.catalogue.tables import ROW_GROUPS, write_batches
from mmreason.database import Database
from mmreason.files import TEMPORARY
from mmreason.schema import DataError, Item, Reason

_PAIRS = """
CREATE TABLE pairs AS
SELECT user_id, item_id, min(timestamp) AS time FROM interactions WHERE timestamp > 0 GROUP BY ALL
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
    SELECT targets.*, [{sides}] AS sides FROM {targets} AS targets
    JOIN items ON targets.item_id = items.id
    LEFT JOIN pairs ON targets.user_id = pairs.user_id AND targets.item_id = pairs.item_id
    LEFT JOIN users ON targets.user_id = users.user_id
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
    tables = {name: folder / f"{name}.parquet" for name in ("items", "interactions", "reasons")}
    with Database(folder, folder / (TEMPORARY + "resplit")) as database:
        sides = Sides(database, tables, rule)
        if "item" not in rule.by:
            write_batches(tables["items"], Item, sides.items())
        before = database.value("SELECT count(*) FROM reasons")
        return int(before) - write_batches(tables["reasons"], Reason, sides.reasons("reasons"))


class Sides:
    """The side of the split of each item and reason, by a rule.

    Args:
        database: Gets views of the tables.
        tables: ``items``, ``interactions`` and ``reasons`` → their files.
        rule: What to split by.

    Raises:
        DataError: If the shares leave nothing to train on, or the split is by time and no time is known.
    """

    def __init__(self, database: Database, tables: Mapping[str, Path], rule: SplitRule) -> None:
        self._database, self._by = database, rule.by
        for name, path in tables.items():
            database.view(name, path, numbered=True)
        database.execute(_PAIRS if "time" in rule.by else f"{_PAIRS} LIMIT 0")
        database.execute(_USERS if "user" in rule.by else f"{_USERS} LIMIT 0", {"seed": f"{rule.seed}/"})
        self._sides = {"item": "items.split"}
        if "user" in rule.by:
            self._sides["user"] = self._side_of_user(rule.users)
        if "time" in rule.by:
            self._sides["time"] = self._side_of_time(rule.times)

    def items(self) -> Iterator[pa.Table]:
        """The items in their order, each with the side of its group's first interaction."""
        time = self._sides.get("time")
        side = f"coalesce({time.format(time='first.time')}, 'train')" if time else "'train'"
        yield from self._stream(_ITEMS.format(side=side), ROW_GROUPS[Item])

    def reasons(self, view: str) -> Iterator[pa.Table]:
        """The reasons of a view in their order, without those that are on two sides or have no time.

        Args:
            view: Name of a view of the database with the columns of the reasons.
        """
        chosen = [self._sides[kind].format(time="pairs.time") for kind in self._by] or ["'train'"]
        yield from self._stream(_REASONS.format(sides=", ".join(chosen), targets=view), ROW_GROUPS[Reason])

    def _side_of_user(self, shares: Shares) -> str:
        check_shares(*shares)
        users = self._database.value("SELECT count(*) FROM users")
        test, valid = (round(share * users) for share in shares)
        return side_by_place("users.place", test, valid)

    def _side_of_time(self, shares: Shares) -> str:
        """The cuts leave the latest shares for testing and validation, equal times together."""
        check_shares(*shares)
        pairs = self._database.value("SELECT count(*) FROM pairs")
        if not pairs:
            raise DataError(
                "split.by=time, but no interaction has a timestamp; give them one or split by item or user"
            )
        cuts = [pairs - round(share * pairs) for share in (shares[0], sum(shares))]
        test, valid = (
            self._database.value(f"SELECT time FROM pairs ORDER BY time OFFSET {cut} LIMIT 1")
            if cut < pairs
            else "'inf'"
            for cut in cuts
        )
        return (
            f"CASE WHEN {{time}} IS NULL THEN NULL WHEN {{time}} >= {test!r}::DOUBLE THEN 'test' "
            f"WHEN {{time}} >= {valid!r}::DOUBLE THEN 'valid' ELSE 'train' END"
        )

    def _stream(self, query: str, rows: int) -> Iterator[pa.Table]:
        yield from (pa.Table.from_batches([batch]) for batch in self._database.stream(query, rows))
