"""Plans that were put in words, kept across nights: ``generate/worded.sqlite``.

A text is found by what it was made of, the words of its plan and the model that wrote it, so that another model never
serves old words. The table spares work and decides nothing: what cannot be read, or was edited, is written again.
SQLite commits whole transactions, so a kill at any moment loses the latest texts at most.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from mmreason.files import remove

NAME = "worded.sqlite"
"""The table of a run, beside its jobs."""

MOST = 1_000_000
"""Plans on disk; past it the oldest go."""

_IN_MEMORY = 100_000
_AT_ONCE = 500  # keys of a query
_MOVED = 10_000  # texts of a commit that takes in another file
_PATIENCE = 60.0  # seconds that a process waits for another one's commit
_ELSEWHERE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}  # errors that say nothing of what is in the file
_TABLE = """
CREATE TABLE IF NOT EXISTS worded (key BLOB PRIMARY KEY, texts TEXT NOT NULL, seal BLOB NOT NULL)
"""


class Worded(NamedTuple):
    """A text that says a plan, with places for titles, and the mean log-probability of its tokens, if it is known."""

    text: str
    score: float | None


Texts = tuple[Worded, ...]
"""Those of one plan, the first candidate first."""


class WordedPlans:
    """Finds the text of a plan that was put in words before.

    Args:
        path: Of the table; None keeps texts in memory only.
        made_by: Digest of the model and of all that decides its words.
        writes: Whether texts go to disk; else the table is only read.
        own: File that texts go to in place of the table, of one of several processes: SQLite's locks are sure on one
            machine alone. Another one takes it in later (:meth:`take_in`).
        most: Texts on disk.

    Attributes:
        new: What was added to a table that is only read, by plan in words.

    Example:
        >>> worded = WordedPlans(Path("worded.sqlite"), "model a")
        >>> worded.add({"Thing: mug": (Worded("A mug.", -0.1),)})
        >>> sorted(WordedPlans(Path("worded.sqlite"), "model a").find(["Thing: mug", "Thing: hat"]))
        ['Thing: mug']
        >>> WordedPlans(Path("worded.sqlite"), "model b").find(["Thing: mug"])
        {}
    """

    def __init__(
        self,
        path: Path | None = None,
        made_by: str = "",
        writes: bool = True,
        own: Path | None = None,
        most: int = MOST,
    ) -> None:
        self._made_by, self._most = made_by, most
        self._read_from = list(filter(None, (path, own)))
        self._written_to = (own or path) if writes else None
        self._collects = path is not None and not writes
        self._latest: OrderedDict[bytes, Texts] = OrderedDict()
        self._edited, self.new = False, dict[str, Texts]()

    def find(self, plans: Iterable[str]) -> dict[str, Texts]:
        """The texts of those plans, in words, that have one."""
        keys = {self._key(words): words for words in plans}
        found = {key: self._latest[key] for key in keys if key in self._latest}
        for path in list(self._read_from):
            missing = [key for key in keys if key not in found]
            if missing and path.is_file():
                found |= self._read(path, missing)
        self._remember(found)
        return {words: found[key] for key, words in keys.items() if key in found}

    def add(self, texts: Mapping[str, Texts]) -> None:
        """Keep texts, by their plans in words.

        A plan of which every text is blank is known while this lasts, and is not on disk: the next night asks again.
        """
        self._remember({self._key(words): text for words, text in texts.items()})
        texts = {words: some for words, some in texts.items() if any(each.text for each in some)}
        rows = {self._key(words): text for words, text in texts.items()}
        if self._collects:
            self.new |= texts
        packed = ((key, json.dumps(texts, ensure_ascii=False)) for key, texts in rows.items())
        self._write([(key, texts, _seal(key, texts)) for key, texts in packed])

    def take_in(self, others: Iterable[Path]) -> None:
        """Write into the table what other processes, which have ended, kept in files of their own; these go.

        Args:
            others: The files.
        """
        for path in others:
            try:
                with closing(sqlite3.connect(path)) as other:
                    rows = other.execute("SELECT key, texts, seal FROM worded ORDER BY rowid")
                    while some := rows.fetchmany(_MOVED):
                        self._write(some)
            except sqlite3.Error as error:
                print(f"{path}: {error}; what it held is put in words again", file=sys.stderr)
            _remove(path)

    def _remember(self, texts: Mapping[bytes, Texts]) -> None:
        for key, text in texts.items():
            self._latest[key] = text
            self._latest.move_to_end(key)
        while len(self._latest) > _IN_MEMORY:
            self._latest.popitem(last=False)

    def _read(self, path: Path, keys: list[bytes]) -> dict[bytes, Texts]:
        found: dict[bytes, Texts] = {}
        mode = (
            "rw" if path == self._written_to else "ro"
        )  # what a killed writer began is taken back by a writer alone
        try:
            with closing(
                sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE)
            ) as table:
                if mode == "rw":
                    table.execute(_TABLE)
                for start in range(0, len(keys), _AT_ONCE):
                    some = keys[start : start + _AT_ONCE]
                    places = ", ".join("?" * len(some))
                    query = f"SELECT key, texts, seal FROM worded WHERE key IN ({places})"
                    found |= {
                        key: text
                        for row in table.execute(query, some)
                        for key, text in self._sealed(path, *row)
                    }
        except sqlite3.Error as error:
            self._give_up(path, error)
        return found

    def _write(self, rows: Sequence[tuple[bytes, str, bytes]]) -> None:
        path = self._written_to
        if path is None or not rows:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=_PATIENCE)) as table, table:
                table.execute(_TABLE)
                table.executemany("INSERT OR REPLACE INTO worded VALUES (?, ?, ?)", rows)
                table.execute(
                    "DELETE FROM worded WHERE rowid <= (SELECT max(rowid) FROM worded) - ?", (self._most,)
                )
        except (sqlite3.Error, OSError) as error:
            self._give_up(path, error)

    def _sealed(self, path: Path, key: object, texts: object, seal: object) -> list[tuple[bytes, Texts]]:
        """The row, if it is as it was written."""
        if isinstance(key, bytes) and isinstance(texts, str) and seal == _seal(key, texts):
            return [(key, tuple(Worded(*each) for each in json.loads(texts)))]
        if not self._edited:
            print(
                f"{path}: some texts are not as they were written; these are written again",
                file=sys.stderr,
            )
            self._edited = True
        return []

    def _give_up(self, path: Path, error: Exception) -> None:
        """A damaged table is begun anew; one that cannot be read or written otherwise is done without."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        damaged = isinstance(error, sqlite3.Error) and code not in _ELSEWHERE
        if damaged and path == self._written_to:
            _remove(path)
            what = "it is begun anew"
        else:
            self._read_from.remove(path)
            self._written_to = None if path == self._written_to else self._written_to
            what = "plans are put in words without it"
        print(f"{path}: {error}; {what}", file=sys.stderr)

    def _key(self, words: str) -> bytes:
        made_of = json.dumps([self._made_by, words], ensure_ascii=False)
        return blake2b(made_of.encode("utf-8", "replace"), digest_size=16).digest()


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-journal"):
        remove(path.with_name(name))


def _seal(key: bytes, texts: str) -> bytes:
    return blake2b(key + texts.encode("utf-8", "replace"), digest_size=16).digest()
