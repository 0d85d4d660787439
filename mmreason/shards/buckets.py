"""Which shard a sample belongs to, and a catalogue's rows shard by shard, in memory that does not grow with it.

Samples are placed by *linear hashing* (Litwin, 1980): from the hash of its id a sample gets one of
``ceil(samples / shard_size)`` shards. Changing a sample touches its shard alone; adding or removing one touches its
shard and, each time the number of shards changes, the one that is split or joined. No shard's contents depend on the
order of the catalogue or on what was packed before. Shards hold ``shard_size`` samples on average and rarely twice as
many; a user's reasons stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import pyarrow as pa

from mmreason.catalogue.index import read_index
from mmreason.database import Database
from mmreason.schema import DataError

MEMORY = "400MB"
"""What sorting may hold in memory; it spills to disk beyond."""
BATCH_ROWS = 8192
REASON_ORDER = " ORDER BY bucket, md5(user_id), user_id, item_id, file_row_number"


def shard_of(text: str, shards: int) -> int:
    """The number of the shard, of ``shards``, that an item id or a reason's user id belongs to.

    Example:
        >>> {n: shard_of("sku-1", n) for n in (1, 2, 3, 4, 5)}
        {1: 0, 2: 1, 3: 1, 4: 1, 5: 1}
    """
    hashed = int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "little")
    low = 1 << (shards.bit_length() - 1)
    number = hashed % (2 * low)
    return number if number < shards else number % low


def _bucket(column: str, shards: int) -> str:
    """:func:`shard_of` in SQL."""
    low, hashed = 1 << (shards.bit_length() - 1), f"md5_number_upper({column})"
    return f"IF({hashed} % {2 * low} < {shards}, {hashed} % {2 * low}, {hashed} % {low})::INTEGER"


@dataclass(frozen=True, slots=True)
class Group:
    """The catalogue's rows of one shard.

    Attributes:
        kind: ``items`` or ``reasons-<split>``.
        number: Of the shard.
        rows: Rows of the items or reasons, sorted.
        history: All interactions of the reasons' users; for items None.
    """

    kind: str
    number: int
    rows: pa.Table
    history: pa.Table | None


class CatalogueRows:
    """A catalogue folder, read group by group.

    Args:
        catalogue: Folder of ``items.parquet``, ``interactions.parquet``, ``reasons.parquet``, ``catalogue.json``.
        shard_size: Mean number of samples a shard.
        scratch: A folder for what does not fit into memory; removed in the end.

    Attributes:
        folder: Of the catalogue.
        media_root: Folder that media names are relative to.
        empty_ids: Items without an id; they are in no group.

    Raises:
        DataError: If the folder holds no whole catalogue.
    """

    def __init__(self, catalogue: Path, shard_size: int, scratch: Path) -> None:
        self.folder, self._size = catalogue, shard_size
        self._database = Database(catalogue, scratch, MEMORY)
        try:
            self.media_root = self._open()
            self._database.execute("CREATE VIEW known AS SELECT id FROM items WHERE id <> ''")
            self._database.execute("CREATE VIEW targets AS FROM reasons SEMI JOIN known ON item_id = id")
            self.empty_ids = self._count("SELECT count(*) FROM items WHERE id = '' OR id IS NULL")
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def orphans(self) -> Iterator[tuple[str, str]]:
        """(user id, item id) of the reasons whose item is not in the catalogue, in its order."""
        query = (
            "SELECT user_id, item_id FROM reasons ANTI JOIN known ON item_id = id ORDER BY file_row_number"
        )
        for batch in self._database.stream(query, BATCH_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def shards(self, kind: str) -> int:
        """How many shards the samples of a kind are spread over; few samples may leave some empty."""
        source = "known" if kind == "items" else f"targets WHERE split = '{kind.removeprefix('reasons-')}'"
        return -(-self._count(f"SELECT count(*) FROM {source}") // self._size)

    def groups(self, kind: str) -> Iterator[Group]:
        """The groups of a kind, by number; empty ones are left out."""
        shards = self.shards(kind)
        if not shards:
            return
        if kind == "items":
            query = f"SELECT {_bucket('id', shards)} AS bucket, * EXCLUDE file_row_number FROM items WHERE id <> ''"
            for number, rows in _by_bucket(
                self._database.stream(query + " ORDER BY bucket, md5(id), id", BATCH_ROWS)
            ):
                yield Group(kind, number, rows, None)
            return
        split = kind.removeprefix("reasons-")
        bucket = _bucket("user_id", shards)
        targets = f"SELECT {bucket} AS bucket, * FROM targets WHERE split = '{split}'"
        users = f"SELECT DISTINCT user_id FROM targets WHERE split = '{split}'"
        histories = f"SELECT {bucket} AS bucket, * FROM interactions SEMI JOIN ({users}) USING (user_id)"
        if split == "train":  # else training would show what testing asks for
            histories += " ANTI JOIN (FROM targets WHERE split <> 'train') USING (user_id, item_id)"
        histories += " ORDER BY bucket, user_id, file_row_number"
        history = _by_bucket(self._database.stream(histories, BATCH_ROWS))
        number, events = next(history, (-1, None))
        for target, rows in _by_bucket(self._database.stream(targets + REASON_ORDER, BATCH_ROWS)):
            mine = events if number == target else None
            yield Group(kind, target, rows.drop_columns("file_row_number"), mine)
            if number == target:
                number, events = next(history, (-1, None))

    def training_reasons(self, columns: str) -> Iterator[pa.RecordBatch]:
        """user_id, item_id and some columns of the training reasons in packed order.

        Args:
            columns: In SQL, of ``item_group``, ``domain`` and ``activity``, the user's number of interactions.
        """
        shards = self.shards("reasons-train")
        if not shards:
            return
        query = f"""
            WITH done AS (SELECT user_id, count(*) AS activity FROM interactions GROUP BY user_id),
            facts AS (
                SELECT {_bucket("user_id", shards)} AS bucket, user_id, item_id, targets.file_row_number,
                    items."group" AS item_group, items.domain, coalesce(activity, 0) AS activity
                FROM targets JOIN items ON item_id = items.id LEFT JOIN done USING (user_id)
                WHERE targets.split = 'train'
            ),
            chosen AS (SELECT bucket, user_id, item_id, file_row_number, {columns} FROM facts)
            SELECT * EXCLUDE (bucket, file_row_number) FROM chosen {REASON_ORDER}
        """
        yield from self._database.stream(query, BATCH_ROWS)

    def _open(self) -> Path:
        """Make the three tables known to the database, checked against ``catalogue.json``."""
        index = read_index(self.folder)
        for name, path in index.paths.items():
            self._database.view(name, path, numbered=True)
            found = self._count(f"SELECT count(*) FROM {name}")
            if found != index.counts[name]:
                raise DataError(
                    f"{path} holds {found} rows, catalogue.json says {index.counts[name]}; run `mmreason ingest` again"
                )
        return index.media_root

    def _count(self, query: str) -> int:
        return int(self._database.value(query))


def _by_bucket(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    """Rows sorted by their column ``bucket`` → one table for each of its values, without that column."""
    parts: list[pa.RecordBatch] = []
    current = -1
    for batch in batches:
        values = batch.column("bucket").to_numpy()
        edges = [0, *((values[1:] != values[:-1]).nonzero()[0] + 1).tolist(), len(values)]
        for low, high in pairwise(edges):
            if parts and values[low] != current:
                yield current, pa.Table.from_batches(parts).drop_columns("bucket")
                parts = []
            current = int(values[low])
            parts.append(batch.slice(low, high - low))
    if parts:
        yield current, pa.Table.from_batches(parts).drop_columns("bucket")
