"""Items of a catalogue by id, read from the disk when they are asked for, whatever their number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from mmreason.catalogue.index import read_index
from mmreason.catalogue.tables import SCHEMAS, stream_table
from mmreason.files import atomic_folder, remove, remove_leftovers
from mmreason.schema import DataError, Item, from_record

BATCH = 1024  # items a batch of the copy on the disk
KEPT = 4096  # items held in memory, those asked for last


class ItemLookup(Mapping[str, Item]):
    """The items of a catalogue as a mapping, of which a few thousand are in memory at any time.

    Beside the Parquet file lies a copy that can be read at any place (``items-by-id``: an Arrow file and the ids'
    hashes in order, both memory-mapped); it is made once, and anew when the items have changed. Going through all
    values reads the Parquet file.

    Args:
        folder: Folder of a catalogue.

    Raises:
        DataError: If there is no whole catalogue, or a file is damaged.

    Example:
        >>> items = ItemLookup("runs/quickstart/catalogue")            # doctest: +SKIP
        >>> items["sku-1"].title                                       # doctest: +SKIP
        'Rain coat'
    """

    def __init__(self, folder: str | Path) -> None:
        self._table = read_index(folder).paths["items"]
        self._open()

    def __getstate__(self) -> Path:
        return self._table

    def __setstate__(self, table: Path) -> None:
        self._table = table
        self._open()

    def __len__(self) -> int:
        return len(self._hashes)

    def __iter__(self) -> Iterator[str]:
        with pq.ParquetFile(self._table) as file:
            for batch in file.iter_batches(columns=["id"]):
                yield from batch["id"].to_pylist()

    def __getitem__(self, item_id: str) -> Item:
        return self._item(item_id)

    def values(self) -> Any:
        """All items, in the catalogue's order, streamed; the view can be gone through several times."""
        return _Values(self._table, len(self))

    def _open(self) -> None:
        folder = self._table.with_name("items-by-id")
        stat = self._table.stat()
        stamp = f"{stat.st_size} {stat.st_mtime_ns}"
        with FileLock(folder.with_name(".items-by-id.lock")):  # several processes may come at once
            if not (folder / "stamp").exists() or (folder / "stamp").read_text() != stamp:
                _copy(self._table, folder, stamp)
        try:
            self._hashes = np.load(folder / "hashes.npy", mmap_mode="r", allow_pickle=False)
            self._rows = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
            self._file = pa.ipc.open_file(pa.memory_map(str(folder / "items.arrow")))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{folder}: cannot be read ({error}); remove it and run again") from None
        self._item = lru_cache(maxsize=KEPT)(self._read)

    def _read(self, item_id: str) -> Item:
        wanted = _hash(item_id)
        place = int(np.searchsorted(self._hashes, wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            batch, row = divmod(int(self._rows[place]), BATCH)
            record = self._file.get_batch(batch).slice(row, 1).to_pylist()[0]
            if record["id"] == item_id:
                return from_record(Item, record)
            place += 1
        raise KeyError(item_id)


class _Values:
    """Every item of a table, again and again."""

    def __init__(self, table: Path, count: int) -> None:
        self._table, self._count = table, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        return stream_table(self._table, Item)


def _copy(table: Path, folder: Path, stamp: str) -> None:
    """The table as an Arrow file in batches of one size, and where each id is."""
    remove(folder)
    remove_leftovers(folder.parent)
    hashes: list[np.ndarray] = []
    try:
        with (
            atomic_folder(folder) as temporary,
            pq.ParquetFile(table) as source,
            pa.ipc.new_file(str(temporary / "items.arrow"), SCHEMAS[Item]) as target,
        ):
            held = SCHEMAS[Item].empty_table()
            for batch in source.iter_batches(8192):
                some = pa.Table.from_batches([batch]).cast(SCHEMAS[Item])
                hashes.append(np.array([_hash(one) for one in some["id"].to_pylist()], np.uint64))
                held = pa.concat_tables([held, some])
                full = held.num_rows - held.num_rows % BATCH
                target.write_table(held.slice(0, full).combine_chunks(), max_chunksize=BATCH)
                held = held.slice(full)
            target.write_table(held.combine_chunks(), max_chunksize=BATCH)
            joined = np.concatenate([*hashes, np.zeros(0, np.uint64)])
            order = np.argsort(joined, kind="stable")
            np.save(temporary / "hashes.npy", joined[order])
            np.save(temporary / "rows.npy", order.astype(np.int64))
            (temporary / "stamp").write_text(stamp)
    except pa.ArrowException as error:
        raise DataError(f"{table} cannot be read ({error}); run `mmreason ingest` again") from None


def _hash(item_id: str) -> np.uint64:
    data = item_id.encode("utf-8", "surrogatepass")
    return np.uint64(int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little"))
