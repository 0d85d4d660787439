"""Rows of a Parquet file that is sorted by its first column, found by key without holding the file."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.files import atomic_write
from mmreason.schema import DataError

GROUP = 4096
"""Rows of a row group: what one look reads."""

_HELD = 512  # row groups in memory


def write_rows(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write rows in groups of :data:`GROUP`, whole or not at all; returns how many.

    For :class:`SortedTable` they come sorted by the first column.
    """
    held, written = schema.empty_table(), 0
    with atomic_write(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            held = pa.concat_tables([held, pa.Table.from_batches([batch]).cast(schema)])
            whole = held.num_rows // GROUP * GROUP
            if whole:
                writer.write_table(held.slice(0, whole), row_group_size=GROUP)
                held, written = held.slice(whole).combine_chunks(), written + whole
        writer.write_table(held, row_group_size=GROUP)
    return written + held.num_rows


class NoRows:
    """A table that holds nothing."""

    def __len__(self) -> int:
        return 0

    def columns(self, key: str) -> dict[str, list[Any]]:
        """None, whatever the key."""
        return {}

    def keys(self) -> Iterator[str]:
        """None."""
        return iter(())


class SortedTable:
    """A Parquet file of :func:`write_rows`; row groups are read when one of their keys is asked for.

    Args:
        path: The file.

    Raises:
        DataError: If it is not there, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            self._names = self._file.schema_arrow.names
            self._firsts = [self._first(group) for group in range(self._file.num_row_groups)]
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; run `mmreason evidence` first") from None
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from None
        self._read = lru_cache(maxsize=_HELD)(self._read_group)

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def columns(self, key: str) -> dict[str, list[Any]]:
        """The rows with a key, in the file's order: name of a column → its values; empty if it is not there."""
        found: dict[str, list[Any]] = {}
        start = max(bisect_left(self._firsts, key) - 1, 0)  # rows of a key may begin in the group before
        for group in range(start, bisect_right(self._firsts, key)):
            columns, places = self._read(group)
            if key in places:
                for name, column in zip(self._names, columns, strict=True):
                    values = column.slice(*places[key]).to_pylist()
                    found[name] = found[name] + values if name in found else values
        return found

    def keys(self) -> Iterator[str]:
        """Every key once, in order."""
        last = None
        for batch in self._file.iter_batches(columns=self._names[:1]):
            for key, _ in groupby(batch.column(0).to_pylist()):
                if key != last:
                    yield key
                last = key

    def _first(self, group: int) -> str:
        statistics = self._file.metadata.row_group(group).column(0).statistics
        if statistics is not None and statistics.has_min_max:
            return statistics.min
        # A key too long for statistics.
        first = self._file.read_row_group(group, columns=self._names[:1]).column(0)
        return first[0].as_py() if len(first) else ""

    def _read_group(self, group: int) -> tuple[list[pa.Array], dict[str, tuple[int, int]]]:
        """The columns of a group, and of each key the first row and how many."""
        try:
            columns = self._file.read_row_group(group, use_threads=False).combine_chunks().columns
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from None
        places: dict[str, tuple[int, int]] = {}
        start = 0
        for key, same in groupby(columns[0].to_pylist()):
            count = sum(1 for _ in same)
            places[key] = (start, count)
            start += count
        return [column.chunk(0) for column in columns if column.num_chunks], places

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"{self._path} cannot be read ({error}); run `mmreason evidence` again")
