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
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from mmreason.bulk.known import MEMORY
from mmreason.bulk.parts import SCHEMA, parts, read_part, read_progress
from mmreason.database import Database
from mmreason.files import remove, remove_leftovers, temporary
from mmreason.schema import DataError

REASONS, ITEMS, LOCK = "reasons.sqlite", "items.sqlite", "index.lock"

COLUMNS = [*(name for name in SCHEMA.names if name not in ("request", "error")), "job", "written"]
"""Of a reason; ``written`` is when a row of its key was first seen, in seconds since 1970."""

_TYPES = {"score": "REAL", "verified": "INTEGER", "written": "REAL"}
_LAYOUT = 1
_TABLES = f"""
PRAGMA user_version = {_LAYOUT};
CREATE TABLE reasons (
    {", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in COLUMNS)}, PRIMARY KEY (user_id, item_id)
);
CREATE TABLE older (
    user_id TEXT, item_id TEXT, job TEXT, key TEXT, written REAL, PRIMARY KEY (user_id, item_id, job, key)
) WITHOUT ROWID;
CREATE TABLE jobs (job TEXT PRIMARY KEY, made_by TEXT);
"""
"""``older`` are the rows that a newer one of another job hides: they keep their age. ``made_by`` is a digest of what a
job was written by."""

_Row = tuple[Any, ...]
_NAMES = ", ".join(COLUMNS)
_EVIDENCE, _CONTENT, _JOB, _KEY, _WRITTEN = (
    COLUMNS.index(name) for name in ("evidence", "content", "job", "key", "written")
)
_OLDER = [COLUMNS.index(name) for name in ("user_id", "item_id", "job", "key", "written")]
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
    if not _to_do(run):
        return
    with _alone(folder):
        remove_leftovers(folder)
        for make in _to_do(run):  # another process may have done it meanwhile
            make()


def _to_do(run: Path) -> list[Callable[[], None]]:
    """What brings the files up to date; nothing where they are."""
    folder, to_do = run / "generate", list[Callable[[], None]]()
    jobs = {path.parent.name: read_progress(path.parent) for path in sorted(folder.glob("*/progress.json"))}
    done = {
        name: _digest([noted.get("settings"), noted.get("sensitive")])
        for name, noted in jobs.items()
        if noted.get("done")
    }
    waiting = [name for name in jobs if name not in done]
    stamp = _digest(
        [
            _TABLES,
            waiting,
            [[name, [_stamp(path) for path in parts(folder / name)]] for name in done],
        ]
    )
    if _noted(folder / REASONS) != stamp:
        to_do.append(partial(_index_reasons, folder, done, waiting, stamp))
    facts = run / "evidence" / "facts.parquet"
    if not facts.is_file():
        if (folder / ITEMS).exists():
            to_do.append(partial(remove, folder / ITEMS))
    elif _noted(folder / ITEMS) != (stamp := _digest([_ITEMS, _stamp(facts)])):
        to_do.append(partial(_index_items, folder, facts, stamp))
    return to_do


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other process or thread makes the files."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire()
    except OSError as error:
        raise DataError(f"{lock.lock_file}: cannot be locked ({error}); {_REMEDY}") from error
    try:
        yield
    finally:
        lock.release()


def _index_reasons(folder: Path, done: Mapping[str, str], waiting: Sequence[str], stamp: str) -> None:
    """Make the index anew; ``done`` has of each finished job a digest of what it was written by."""
    old = folder / REASONS
    with _made(old, stamp) as index, _opened(old) as before:
        index.executescript(_TABLES)
        index.executemany("INSERT INTO jobs VALUES (?, ?)", done.items())
        if before is None:
            for row, failed in _rows(folder, [*done]):
                if not failed:
                    _put(index, row)
            return
        places = ", ".join("?" * len(waiting))
        for table in ("jobs", "older"):
            of_jobs = before.execute(f"SELECT * FROM {table} WHERE job IN ({places})", waiting)
            marks = ", ".join("?" * len(of_jobs.description))
            index.executemany(f"INSERT INTO {table} VALUES ({marks})", of_jobs)
        made_by = dict(before.execute("SELECT job, made_by FROM jobs"))
        same = {job for job in done if made_by.get(job) == done[job]}
        at_work = before.execute(f"SELECT {_NAMES} FROM reasons WHERE job IN ({places})", waiting)
        for row in chain(at_work, _timed(_rows(folder, [*done]), before, same)):
            _put(index, row)


def _put(index: sqlite3.Connection, row: _Row) -> None:
    """Add a row; of two of a user and item the newer stays, of the other its age alone."""
    pair = _pair_of(row)
    there = index.execute(f"SELECT {_NAMES} FROM reasons WHERE user_id = ? AND item_id = ?", pair).fetchone()
    older = None
    if there is not None:  # of another job, or a request that came several times
        older, row = sorted((there, row), key=lambda each: (each[_WRITTEN], each[_JOB]))
        index.execute("INSERT OR IGNORE INTO older VALUES (?, ?, ?, ?, ?)", [older[n] for n in _OLDER])
    if row is not there:
        index.execute(f"INSERT OR REPLACE INTO reasons VALUES ({', '.join('?' * len(COLUMNS))})", row)


def _rows(folder: Path, jobs: Sequence[str]) -> Iterator[tuple[_Row, bool]]:
    """The rows of jobs, and whether they failed; not those of what was no request."""
    for job in jobs:
        written = (folder / job / "progress.json").stat().st_mtime
        for path in parts(folder / job):
            table = read_part(path, [*COLUMNS[:-2], "error"])
            if table is None:
                raise DataError(f"{path}: cannot be read; {_REMEDY}")
            for *row, error in zip(*(column.to_pylist() for column in table.columns), strict=True):
                if error is None or not row[_KEY]:
                    row[_CONTENT] = _content(row[_CONTENT], row[_EVIDENCE])
                    yield (*row, job, written), error is not None


def _content(content: str, evidence: str) -> str:
    """A reason's: with the digest of the item's pictures only if it rests on what these show."""
    return content if '"source": "picture"' in evidence else content.partition("/")[0]


def _timed(
    rows: Iterable[tuple[_Row, bool]], before: sqlite3.Connection, same: Container[str]
) -> Iterator[_Row]:
    """The rows; one that was known keeps its time, and one that failed is the one of before.

    Args:
        rows: Of :func:`_rows`.
        before: The index of before.
        same: Jobs that are made by the same as then: where a rule has changed, what it was made for must not stay.
    """
    known = """
    SELECT min(written) FROM (
        SELECT written FROM reasons WHERE user_id = ?1 AND item_id = ?2 AND key = ?3
        UNION ALL SELECT written FROM older WHERE user_id = ?1 AND item_id = ?2 AND key = ?3
    )
    """
    whole = f"SELECT {_NAMES} FROM reasons WHERE user_id = ? AND item_id = ? AND job = ?"
    for row, failed in rows:
        if failed:
            if row[_JOB] in same:
                yield from before.execute(whole, (*_pair_of(row), row[_JOB]))
        else:
            (written,) = before.execute(known, (*_pair_of(row), row[_KEY])).fetchone()
            yield row if written is None else (*row[:-1], written)


def _pair_of(row: _Row) -> tuple[str, str]:
    return row[0], row[1]


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
            index.executescript("PRAGMA page_size = 8192; PRAGMA cache_size = -32768")  # 32 MB
            index.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
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
    """The index of before; None if there is none that can be read, or of another layout."""
    if not _noted(path):
        yield None
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as index:
        made = index.execute("PRAGMA user_version").fetchone()[0] == _LAYOUT
        yield index if made else None


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
