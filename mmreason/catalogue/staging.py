"""Between reading and writing: checked rows on disk, joined, split and sorted there in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmreason.catalogue.quarantine import UNKNOWN_ITEM, Quarantine
from mmreason.catalogue.split import check_shares, side_by_place
from mmreason.catalogue.tables import ROW_GROUPS, SCHEMAS
from mmreason.database import Database
from mmreason.files import TEMPORARY, remove
from mmreason.readers.source import SourceRow
from mmreason.schema import Attributes, Interaction

_MANY = ROW_GROUPS[Interaction]
_ONCE = ("rating", "review")
_VALUES = SCHEMAS[Interaction].names


class Staging:
    """Tables of checked rows, each row with its ``file``, ``row`` and place in the order read.

    Args:
        folder: The catalogue's folder; a temporary folder in it holds the rows until the block ends.
        schemas: Kind → columns, for ``items``, ``interactions`` and ``reasons``.
    """

    def __init__(self, folder: Path, schemas: dict[str, pa.Schema]) -> None:
        self.folder = folder / (TEMPORARY + "staging")
        remove(self.folder)
        self.folder.mkdir(parents=True)
        source = pa.schema([("place", pa.int64()), ("file", pa.string()), ("row", pa.int64())])
        self.schemas = {kind: pa.unify_schemas([source, schema]) for kind, schema in schemas.items()}
        self.rows = dict.fromkeys(schemas, 0)
        self._database = Database(folder, self.folder / "sort")
        self._writers = {
            kind: pq.ParquetWriter(self.path(kind), schema, compression="lz4")
            for kind, schema in self.schemas.items()
        }

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *error: Any) -> None:
        for writer in self._writers.values():
            writer.close()
        self._database.close()
        remove(self.folder)

    def path(self, kind: str) -> Path:
        """The file that holds a kind's rows."""
        return self.folder / f"{kind}.parquet"

    def add(self, kind: str, columns: dict[str, Any] | pa.Table) -> None:
        """Add rows, in the order read.

        Args:
            kind: ``items``, ``interactions`` or ``reasons``.
            columns: All columns but ``place``, each of one length.
        """
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        first = self.rows[kind]
        self.rows[kind] = first + table.num_rows
        places = pa.array(np.arange(first, self.rows[kind]))
        table = table.add_column(0, "place", places).select(self.schemas[kind].names)
        self._writers[kind].write_table(table.cast(self.schemas[kind]))

    def seal(self, test: float, valid: float, seed: int) -> None:
        """End adding; find duplicate items and, unless an item names its split, split them by group.

        Raises:
            DataError: If the shares are negative or leave nothing to train on.
        """
        for writer in self._writers.values():
            writer.close()
        for kind in self.schemas:
            self._database.view(kind, self.path(kind))
        self._database.execute(_MARKS)
        self.split_given = bool(self._database.value("SELECT count(*) FROM marks WHERE kept AND split <> ''"))
        if self.split_given:
            self._database.execute("UPDATE marks SET split = 'train' WHERE split = ''")
        else:
            self._split(test, valid, seed)

    def _split(self, test: float, valid: float, seed: int) -> None:
        """Split the groups of each domain as :func:`mmreason.catalogue.split.assign_splits` does."""
        check_shares(test, valid)
        self._database.execute(_SPLITS, {"seed": f"{seed}/", "test": test, "valid": valid})
        self._database.execute(
            'UPDATE marks SET split = splits.split FROM splits WHERE marks."group" = splits."group"'
        )

    def items(self, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The items, without duplicates, each with its split, in the order read."""
        marks = self._database.stream("SELECT kept, split FROM marks ORDER BY place", 8192)
        buffered = pa.table({"kept": pa.array([], pa.bool_()), "split": pa.array([], pa.string())})
        with pq.ParquetFile(self.path("items")) as file:
            for batch in file.iter_batches(8192):
                while buffered.num_rows < batch.num_rows:
                    buffered = pa.concat_tables([buffered, pa.Table.from_batches([next(marks)])])
                mine, buffered = buffered.slice(0, batch.num_rows), buffered.slice(batch.num_rows)
                table = pa.Table.from_batches([batch])
                kept = mine["kept"].combine_chunks()
                for row in table.filter(pc.invert(kept)).to_pylist():
                    quarantine.read["media"] -= row["media"]  # they are the first one's to show
                    _set_aside("items", row, quarantine, "duplicate id")
                column = table.schema.get_field_index("split")
                yield table.set_column(column, "split", mine["split"]).filter(kept)

    def linked(self, tables: Iterable[pa.Table], quarantine: Quarantine) -> Iterator[pa.Table]:
        """Items whose links hold ids of items that are kept; a group's id stands for its first item.

        Args:
            tables: Of :meth:`items`.
            quarantine: Gets a row for each item with links to what is not there.
        """
        for table in tables:
            given = {n: json.loads(text) for n, text in enumerate(table["links"].to_pylist()) if text != "{}"}
            if not given:
                yield table
                continue
            known = self._ids_of(
                dict.fromkeys(i for some in given.values() for ids in some.values() for i in ids)
            )
            texts = ["{}"] * table.num_rows
            for n, some in given.items():
                found = {
                    kind: list(dict.fromkeys(known[i] for i in ids if i in known))
                    for kind, ids in some.items()
                }
                texts[n] = json.dumps({kind: ids for kind, ids in found.items() if ids}, ensure_ascii=False)
                if unknown := [i for ids in some.values() for i in ids if i not in known]:
                    row = table.select(["file", "row", "place", "id"]).slice(n, 1).to_pylist()[0]
                    _set_aside("links", {**row, "links": unknown}, quarantine, "unknown linked item")
            yield table.set_column(table.schema.get_field_index("links"), "links", pa.array(texts))

    def _ids_of(self, names: Iterable[str]) -> dict[str, str]:
        """Names that are an item's id or a group's → the item's id."""
        self._database.execute(
            "CREATE OR REPLACE TABLE named AS SELECT unnest($names) AS name", {"names": list(names)}
        )
        return {
            row["name"]: row["id"]
            for batch in self._database.stream(_NAMED, 8192)
            for row in batch.to_pylist()
        }

    def facts(self) -> Iterator[Attributes]:
        """The attributes of each item that is kept, hidden ones included."""
        query = "SELECT attributes, hidden FROM items SEMI JOIN (FROM marks WHERE kept) k ON items.place = k.place"
        for batch in self._database.stream(query, 8192):
            for attributes, hidden in zip(
                batch["attributes"].to_pylist(), batch["hidden"].to_pylist(), strict=True
            ):
                yield {**json.loads(attributes), **json.loads(hidden)}

    def interactions(self, quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        """The interactions with an item that is kept, by user and time, ratings and reviews once each."""
        self._unknown("interactions", quarantine)
        order = "SELECT * FROM interactions SEMI JOIN (FROM marks WHERE kept) k ON item_id = k.id"
        held = pl.DataFrame(schema=pl.Schema(self.schemas["interactions"]))
        for batch in self._database.stream(f"{order} ORDER BY user_id, timestamp, place", _MANY):
            frame = pl.concat([held, pl.DataFrame(pl.from_arrow(batch))])
            last = frame.select("user_id", "timestamp").row(-1)
            same = (frame["user_id"] == last[0]) & (frame["timestamp"] == last[1])
            whole = frame.filter(~same) if frame.height < 4 * _MANY else frame
            held = frame[len(whole) :]
            yield self._once(whole, quarantine)
        yield self._once(held, quarantine)

    def _once(self, frame: pl.DataFrame, quarantine: Quarantine) -> pl.DataFrame:
        """Nobody rates one thing twice at one moment: a repeated rating or review with a time is set aside."""
        moment = pl.struct("user_id", "timestamp")
        near = (moment == moment.shift()) | (moment == moment.shift(-1))  # rows come by user and time
        once = pl.col("event").is_in(_ONCE) & (pl.col("timestamp") > 0)
        rows = frame.select("place", *_VALUES).filter(near & once)
        repeated = rows.filter(~pl.struct(_VALUES).is_first_distinct())["place"]
        if not len(repeated):
            return frame
        repeats = pl.col("place").is_in(repeated.implode())
        for row in frame.filter(repeats).iter_rows(named=True):
            _set_aside("interactions", row, quarantine, "duplicate row")
        return frame.filter(~repeats)

    def reasons(self, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The reasons for an item that is kept, in the order read; without a split of their own, the item's."""
        self._unknown("reasons", quarantine)
        query = (
            "SELECT r.* REPLACE (CASE r.split WHEN '' THEN m.split ELSE r.split END AS split) "
            "FROM reasons r JOIN marks m ON r.item_id = m.id AND m.kept ORDER BY r.place"
        )
        for batch in self._database.stream(query, _MANY):
            yield pa.Table.from_batches([batch])

    def media(self) -> int:
        """How many pictures and videos the kept items have."""
        return int(self._database.value("SELECT coalesce(sum(media), 0) FROM marks WHERE kept"))

    def _unknown(self, kind: str, quarantine: Quarantine) -> None:
        query = f"SELECT * FROM {kind} ANTI JOIN (FROM marks WHERE kept) k ON item_id = k.id ORDER BY place"
        for batch in self._database.stream(query, _MANY):
            for row in batch.to_pylist():
                _set_aside(kind, row, quarantine, UNKNOWN_ITEM)


def _set_aside(kind: str, row: dict[str, Any], quarantine: Quarantine, reason: str) -> None:
    source = {name: row.pop(name) for name in ("file", "row", "place")}
    row.pop("media", None)
    record = {name: value for name, value in row.items() if value not in (None, "")}
    quarantine.add(kind, SourceRow(source["file"], source["row"], record), reason)


_MARKS = """
CREATE TABLE marks AS SELECT
    place, id, "group", domain, split, media, row_number() OVER (PARTITION BY id ORDER BY place) = 1 AS kept
FROM items
"""

_NAMED = """
SELECT name, coalesce(any_value(id) FILTER (id = name), arg_min(id, place)) AS id
FROM named JOIN marks ON kept AND (id = name OR "group" = name) GROUP BY name
"""

_SPLITS = f"""
CREATE TABLE splits AS
WITH groups AS (SELECT "group", min(domain) AS domain FROM marks WHERE kept GROUP BY "group"),
ranked AS (
    SELECT "group",
        row_number() OVER (PARTITION BY domain ORDER BY sha256($seed || "group"), "group") - 1 AS place,
        count(*) OVER (PARTITION BY domain) AS size
    FROM groups
),
cut AS (SELECT *, round_even($test * size, 0) AS test, round_even($valid * size, 0) AS valid FROM ranked)
SELECT "group",
    {side_by_place("place", "test", "valid")} AS split
FROM cut
"""
