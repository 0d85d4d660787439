"""The requests of a job on disk, in order, each with the key of what its row depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.files import atomic_write
from mmreason.schema import DataError

GROUP = 8192
"""Requests of a row group: what is in memory at a time."""

_SCHEMA = pa.schema(dict.fromkeys(("user_id", "item_id", "error", "key", "content"), pa.string()))

_FILE = {"compression": "zstd", "write_page_checksum": True}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        user_id: May be empty.
        item_id: Of the item that the reason is for.
        error: Why no reason can be written, if so.
        key: Digest of all that the reason depends on.
        content: Digest of what the item says and shows.
    """

    user_id: str
    item_id: str
    error: str = ""
    key: str = ""
    content: str = ""


def write_asked(path: Path, requests: Iterable[Asked], made_of: str = "") -> None:
    """Write requests as they come, whole or not at all.

    Args:
        path: The file.
        requests: In the order of the rows.
        made_of: Digest of what they were made of, for :func:`is_made_of`.

    Raises:
        DataError: If it cannot be written.
    """
    stream, schema = iter(requests), _SCHEMA.with_metadata({"made_of": made_of})
    with atomic_write(path) as file, pq.ParquetWriter(file, schema, **_FILE) as writer:
        while some := list(islice(stream, GROUP)):
            columns = zip(*map(astuple, some), strict=True)
            arrays = [pa.array(column, pa.string()) for column in columns]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=GROUP)


def is_made_of(path: Path, made_of: str) -> bool:
    """Whether the requests that are there need not be made again."""
    try:
        noted = (pq.read_schema(path).metadata or {}).get(b"made_of", b"").decode()
    except (OSError, pa.ArrowException):
        return False
    return bool(made_of) and noted == made_of


class AskedTable:
    """Requests of :func:`write_asked`, read a few at a time.

    Args:
        path: The file.

    Raises:
        DataError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from None
        self._read = lru_cache(maxsize=2)(self._read_group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def rows(self, start: int, stop: int) -> Iterator[Asked]:
        """The requests of some numbers, as far as there are so many."""
        for number in range(start, min(stop, len(self))):
            yield self._read(number // GROUP)[number % GROUP]

    def keys(self, start: int, stop: int) -> list[str]:
        """Their keys."""
        return [asked.key for asked in self.rows(start, stop)]

    def _read_group(self, group: int) -> list[Asked]:
        try:
            columns = self._file.read_row_group(group).columns
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from None
        return [Asked(*row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"{self._path} cannot be read ({error}); delete it and run generate again")
