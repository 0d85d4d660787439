"""DuckDB over Parquet tables: joins and sorts in bounded memory, the rest in a folder that goes away."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from mmreason.files import remove
from mmreason.schema import DataError

MEMORY = os.environ.get("MMREASON_INGEST_MEMORY", "700MB")
"""What joins and sorts may hold in memory, unless a caller says otherwise."""


class Database:
    """A DuckDB database that lives as long as its block and reads Parquet files as views.

    Args:
        folder: The catalogue's, for messages.
        scratch: Folder for what does not fit into memory; removed when the block ends.
        memory: Limit of DuckDB's memory, such as ``400MB``.
        remedy: What to do where a file cannot be read, for messages.

    Raises:
        DataError: From every method, if a file cannot be read or the disk is full.

    Example:
        >>> with Database(Path("catalogue"), Path("scratch")) as database:
        ...     database.value("SELECT 6 * 7")
        42
    """

    def __init__(
        self, folder: Path, scratch: Path, memory: str = MEMORY, remedy: str = "run `mmreason ingest` again"
    ) -> None:
        self._folder, self._scratch, self._remedy = folder, scratch, remedy
        self._sql = duckdb.connect(
            config={
                "memory_limit": memory,
                "temp_directory": str(scratch),
                "threads": min(os.cpu_count() or 1, 4),
            }
        )
        self._sql.execute("SET enable_progress_bar = false")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and remove its folder."""
        self._sql.close()
        remove(self._scratch)

    def view(self, name: str, *paths: Path, numbered: bool = False) -> None:
        """Make a Parquet file, or several with the same columns, known under a name.

        Args:
            name: Of the view.
            *paths: The files.
            numbered: Add a column ``file_row_number``, the place of each row in its file.
        """
        quoted = (glob.escape(str(path)).replace("'", "''") for path in paths)  # DuckDB reads patterns
        files = ", ".join(f"'{path}'" for path in quoted)
        source = f"read_parquet([{files}], file_row_number = {numbered})"
        self.execute(f"CREATE OR REPLACE VIEW {name} AS FROM {source}", about=paths[0])

    def execute(self, query: str, values: Mapping[str, Any] | None = None, about: Path | None = None) -> None:
        """Run a statement that returns nothing; ``about`` is the file that an error names."""
        try:
            self._sql.execute(query, values)
        except duckdb.Error as error:
            raise self._unreadable(error, about) from None

    def value(self, query: str) -> Any:
        """The one value that a query returns."""
        try:
            row = self._sql.execute(query).fetchone()
        except duckdb.Error as error:
            raise self._unreadable(error) from None
        assert row is not None
        return row[0]

    def stream(self, query: str, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a query, at most so many at a time; several streams may be read in turn."""
        try:
            with self._sql.cursor() as cursor:
                yield from (batch for batch in cursor.sql(query).to_arrow_reader(rows) if batch.num_rows)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception, file: Path | None = None) -> DataError:
        cause = str(error).partition("\n")[0]
        return DataError(f"{file or self._folder} cannot be read ({cause}); {self._remedy}")
