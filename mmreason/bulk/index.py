"""``generate/reasons.sqlite``: the newest row of every user and item out of all jobs of a run.

Parts are in the order of the requests; to find one of millions of rows in less than a millisecond takes an index.
SQLite comes with Python, is one file, holds nothing in memory, and other languages read it. Both files here follow from
others and are made again when those change.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmreason.bulk.known import MEMORY
from mmreason.bulk.parts import SCHEMA, parts, read_progress
from mmreason.database import Database
from mmreason.files import remove, temporary
from mmreason.schema import DataError

REASONS, ITEMS = "reasons.sqlite", "items.sqlite"

COLUMNS = [*(name for name in SCHEMA.names if name not in ("request", "error")), "job", "written"]
"""Of a reason; ``written`` is when a row of its key was first seen, in seconds since 1970."""

_TYPES = {"score": "REAL", "verified": "INTEGER", "written": "REAL"}
_INSERT = f"""
INSERT INTO reasons ({", ".join(COLUMNS)}) VALUES ({", ".join("?" * len(COLUMNS))})
ON CONFLICT (user_id, item_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS)}
WHERE excluded.written >= reasons.written
"""
_CONTENT = """CASE WHEN contains(evidence, '"source": "picture"') THEN content ELSE split_part(content, '/', 1) END"""
"""A reason's: with the digest of the item's pictures only if it rests on what these show."""

_ITEMS = """
SELECT item_id, said, said || coalesce('/' || shown, '') AS content FROM (
    SELECT item_id, coalesce(max(content) FILTER (source <> 'picture'), '') AS said,
           nullif(max(content) FILTER (source = 'picture'), '') AS shown
    FROM facts GROUP BY item_id
) ORDER BY item_id
"""
_BATCH = 8192
_REMEDY = "run `mmreason generate` again"


def update(run: Path) -> None:
    """Have both files say what the run's finished jobs and its evidence say.

    Rows of a job that is at work stay as they were.

    Raises:
        DataError: If a file cannot be read or written.
    """
    folder = run / "generate"
    if not folder.is_dir():
        raise DataError(f"{run}: no job has written reasons here; run `mmreason generate` first")
    jobs = {path.parent.name: read_progress(path.parent) for path in sorted(folder.glob("*/progress.json"))}
    done = [name for name, noted in jobs.items() if noted.get("done")]
    waiting = [name for name in jobs if name not in done]
    stamp = _digest(
        [_CONTENT, waiting, [[name, [_stamp(path) for path in parts(folder / name)]] for name in done]]
    )
    if _noted(folder / REASONS) != stamp:
        _index_reasons(folder, done, waiting, stamp)
    facts = run / "evidence" / "facts.parquet"
    if not facts.is_file():
        remove(folder / ITEMS)
    elif _noted(folder / ITEMS) != (stamp := _digest([_ITEMS, _stamp(facts)])):
        _index_items(folder, facts, stamp)


def _index_reasons(folder: Path, done: Sequence[str], waiting: Sequence[str], stamp: str) -> None:
    old = folder / REASONS
    with _made(old, stamp) as index, _opened(old) as before:
        types = (f"{name} {_TYPES.get(name, 'TEXT')}" for name in COLUMNS)
        index.execute(f"CREATE TABLE reasons ({', '.join(types)}, PRIMARY KEY (user_id, item_id))")
        index.executemany(_INSERT, _timed(_rows(folder, done), before))
        if before is not None:
            index.executemany(_INSERT, _of_jobs(before, waiting))


def _rows(folder: Path, jobs: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of jobs that did not fail, sorted by user and item."""
    parts_of = {job: some for job in jobs if (some := parts(folder / job))}
    if not parts_of:
        return
    with Database(folder, temporary(folder / "sort"), MEMORY, _REMEDY) as database:
        for number, some in enumerate(parts_of.values()):
            database.view(f"job_{number}", *some)
        names = ", ".join(f"{_CONTENT} AS content" if name == "content" else name for name in COLUMNS[:-2])
        selected = [
            f"SELECT {names}, '{job.replace(chr(39), chr(39) * 2)}' AS job, "
            f"{(folder / job / 'progress.json').stat().st_mtime}::DOUBLE AS written "
            f"FROM job_{number} WHERE error IS NULL"
            for number, job in enumerate(parts_of)
        ]
        for batch in database.stream(
            f"{' UNION ALL '.join(selected)} ORDER BY user_id, item_id, written", _BATCH
        ):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _timed(rows: Iterable[tuple[Any, ...]], before: sqlite3.Connection | None) -> Iterator[tuple[Any, ...]]:
    """The rows; one that was known keeps its time."""
    named = [COLUMNS.index(name) for name in ("user_id", "item_id", "key")]
    query = "SELECT written FROM reasons WHERE user_id = ? AND item_id = ? AND key = ?"
    for row in rows:
        found = before.execute(query, [row[n] for n in named]).fetchone() if before else None
        yield (*row[:-1], found[0] if found else row[-1])


def _of_jobs(index: sqlite3.Connection, jobs: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    names, places = ", ".join(COLUMNS), ", ".join("?" * len(jobs))
    yield from index.execute(f"SELECT {names} FROM reasons WHERE job IN ({places})", list(jobs))


def _index_items(folder: Path, facts: Path, stamp: str) -> None:
    """Item → the digest of what its facts were read from, as it is now, without that of its pictures and with it."""
    with (
        _made(folder / ITEMS, stamp) as index,
        Database(folder, temporary(folder / "sort"), MEMORY, _REMEDY) as database,
    ):
        database.view("facts", facts)
        index.execute("CREATE TABLE items (item_id TEXT PRIMARY KEY, said TEXT, content TEXT) WITHOUT ROWID")
        for batch in database.stream(_ITEMS, _BATCH):
            _insert_items(index, batch)


def _insert_items(index: sqlite3.Connection, batch: pa.RecordBatch) -> None:
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    index.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)


@contextmanager
def _made(path: Path, stamp: str) -> Iterator[sqlite3.Connection]:
    """A new database that takes the place of ``path`` when the block ends well."""
    part = temporary(path)
    remove(part)
    try:
        with closing(sqlite3.connect(part)) as index:
            index.executescript(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF"
            )
            yield index
            index.execute("CREATE TABLE about AS SELECT ? AS stamp", (stamp,))
            index.commit()
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (sqlite3.Error, OSError) as error:
        raise DataError(f"{path}: cannot be written ({error}); free space, and {_REMEDY}") from error
    finally:
        remove(part)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A database as it is; None if there is none that can be read."""
    if not _noted(path):
        yield None
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as index:
        yield index


def _noted(path: Path) -> str:
    """The stamp in a database; empty if there is none that can be read."""
    if not path.is_file():
        return ""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as index:
            return index.execute("SELECT stamp FROM about").fetchone()[0]
    except (sqlite3.Error, TypeError):
        return ""


def _stamp(path: Path) -> list[Any]:
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
