"""Rows of earlier runs that a job takes over: joined by key on disk, so that no table of keys is in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmreason.bulk.parts import SCHEMA, Row, parts, read_part
from mmreason.database import Database
from mmreason.files import TEMPORARY, atomic_write, remove
from mmreason.schema import DataError

MEMORY = "256MB"
"""What a join holds in memory; the rest is in a scratch folder beside the parts."""

_BATCH = 2048
_SORTED = 250_000  # rows at a time: what sorting them takes grows with them


def aside(folder: Path) -> Path:
    """Where parts wait that are not just what is wanted, until all rows are there."""
    return folder / "before"


def set_aside(folder: Path, those: Sequence[Path]) -> None:
    """Move parts out of the way."""
    if those:
        aside(folder).mkdir(exist_ok=True)
    numbers = [int(path.name[:6]) for path in aside(folder).glob("*-part-*.parquet")]
    for place, path in enumerate(those, max(numbers, default=-1) + 1):
        path.replace(aside(folder) / f"{place:06d}-{path.name}")


def count_known(folder: Path, asked: Path, missing: Sequence[int], size: int) -> int:
    """How many requests of the missing parts have a row already, of whatever part.

    Args:
        folder: Of the job.
        asked: Of :func:`mmreason.bulk.asked.write_asked`.
        missing: Numbers of the parts.
        size: Requests a part.
    """
    with _joined(folder, asked, missing) as database:
        if database is None:
            return 0
        return database.value(f"SELECT count(*) {_with_known(missing, size)}")


def take_over(folder: Path, asked: Path, missing: Sequence[int], size: int) -> int:
    """Write the rows that the requests of the missing parts have already, in their order; returns how many.

    Args:
        folder: Of the job.
        asked: Of :func:`mmreason.bulk.asked.write_asked`.
        missing: Numbers of the parts.
        size: Requests a part.
    """
    path, taken, last = _taken(folder), 0, -1
    remove(path)
    with _joined(folder, asked, missing) as database:
        if database is None:
            return 0
        with atomic_write(path) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            count = max(1, _SORTED // size)
            for start in range(0, len(missing), count):
                some = _with_known(missing[start : start + count], size)
                query = f"""
                    SELECT a.request, k.* EXCLUDE (request)
                    FROM (SELECT a.file_row_number AS request, one.* {some}) a
                    JOIN known k ON k.key = a.key AND k.request = a.first ORDER BY a.request, k.text
                """
                for batch in database.stream(query, _BATCH):
                    batch = _first_of_each(batch, last)
                    if batch.num_rows:
                        last, taken = batch["request"][-1].as_py(), taken + batch.num_rows
                        writer.write_table(pa.Table.from_batches([batch]).cast(SCHEMA))
    return taken


class TakenRows:
    """Rows of :func:`take_over` by request, read in groups; none where there are none.

    Args:
        folder: Of the job.
    """

    def __init__(self, folder: Path) -> None:
        path = _taken(folder)
        self._file = pq.ParquetFile(path) if path.is_file() else None
        groups = range(self._file.num_row_groups) if self._file else ()
        statistics = (
            [self._file.metadata.row_group(g).column(0).statistics for g in groups] if self._file else []
        )
        self._firsts = [each.min for each in statistics]
        self._lasts = [each.max for each in statistics]
        self._read = lru_cache(maxsize=2)(self._read_group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def rows(self, start: int, stop: int) -> dict[int, Row]:
        """Request → its row, of the requests from ``start`` to before ``stop``."""
        groups = range(bisect_left(self._lasts, start), bisect_right(self._firsts, stop - 1))
        return {n: row for g in groups for n, row in self._read(g).items() if start <= n < stop}

    def _read_group(self, group: int) -> dict[int, Row]:
        assert self._file is not None
        return {row["request"]: row for row in self._file.read_row_group(group).to_pylist()}


def _taken(folder: Path) -> Path:
    return aside(folder) / "taken.parquet"


def _with_known(missing: Sequence[int], size: int) -> str:
    """Each request of the missing parts whose key is known, once, and which request is the first that has the key.

    Requests may share a key, and lines that are none share that of their error: n of them must not meet n rows each.
    """
    asked = f"""
    SELECT key, file_row_number FROM asked
    WHERE file_row_number // {size} IN (SELECT unnest({list(missing)}::BIGINT[]))
    """
    return f"""
    FROM ({asked}) a JOIN (
        SELECT key, min(request) AS first FROM known
        WHERE key <> '' AND key IN (SELECT key FROM ({asked})) GROUP BY key
    ) one USING (key)
    """


def _first_of_each(batch: pa.RecordBatch, last: int) -> pa.RecordBatch:
    """Of the rows of each request the first; a request that ``last`` is has had one."""
    numbers = batch["request"]
    before = pa.concat_arrays(
        [pa.array([last], pa.int64()), numbers.slice(0, len(numbers) - 1).cast(pa.int64())]
    )
    return batch.filter(pc.not_equal(numbers, before))


@contextmanager
def _joined(folder: Path, asked: Path, missing: Sequence[int]) -> Iterator[Database | None]:
    """A database of the views ``asked`` and ``known``; None where nothing is missing or known."""
    earlier = [*sorted(aside(folder).glob("*-part-*.parquet")), *parts(folder)] if missing else []
    known = [path for path in earlier if read_part(path) is not None]
    if not known:
        yield None
        return
    scratch = folder / f"{TEMPORARY}join"
    with Database(
        folder, scratch, MEMORY, "free space if the disk is full, and run generate again"
    ) as database:
        known = [path for path in known if _reads(database, path)]
        if not known:
            yield None
            return
        database.view("asked", asked, numbered=True)
        database.view("known", *known)
        yield database


def _reads(database: Database, path: Path) -> bool:
    """Whether DuckDB takes a part, too; a damaged footer may be good enough for Arrow alone."""
    try:
        database.view("one", path)
    except DataError:
        return False
    return True
