"""The job: one row a request, whatever kills it; what is there already is not written again.

The requests are on disk, in order, each with a key of all that its row depends on. A part that holds just the keys that
its place wants stays. All others are set aside, and their rows are taken over where a key fits, by one join on disk
(:mod:`mmreason.bulk.known`). What no row fits is written, a window at a time, and each part is renamed into its place
when it is whole. So a kill loses a window at most, and in memory are a window and two groups of requests, however many
there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from mmreason.bulk.asked import Asked, AskedTable, is_made_of, write_asked
from mmreason.bulk.attempts import Pair, Write
from mmreason.bulk.known import TakenRows, aside, count_known, set_aside, take_over
from mmreason.bulk.parts import keys_of, note_progress, part, part_size, parts
from mmreason.bulk.windows import Done, Spent, Windows, side_by_side
from mmreason.files import TEMPORARY, remove, remove_leftovers
from mmreason.processes import on_main_process, share_of, wait_for_others
from mmreason.progress import Progress

REQUESTS = "requests.parquet"
"""The requests of a job, in its folder."""


@dataclass(frozen=True)
class Outlook:
    """What a job has to do.

    Attributes:
        requests: All of them.
        there: Those whose row is there already.
        size: Requests a part.
        missing: Numbers of the parts to write.
    """

    requests: int
    there: int
    size: int
    missing: list[int] = field(default_factory=list)

    @property
    def to_write(self) -> int:
        """Requests whose row is not there."""
        return self.requests - self.there


class Job:
    """One row a request in a folder.

    Args:
        folder: Where the parts go.
        size: Requests a part; 0 goes by their number.

    Example:
        >>> job = Job(Path("run/generate/spring"))                                       # doctest: +SKIP
        >>> job.run(job.prepare(lambda: requests), pair_of, lambda: write)               # doctest: +SKIP
        0
    """

    def __init__(self, folder: Path, size: int = 0) -> None:
        self.folder, self._size = folder, size

    def look(self, requests: Callable[[], Iterable[Asked]], made_of: str = "") -> Outlook:
        """What there is to do; changes nothing. The arguments are those of :meth:`prepare`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, own = self.folder / REQUESTS, self.folder / f"{TEMPORARY}look.parquet"
        try:
            if not is_made_of(path, made_of):
                path = own
                write_asked(own, requests())
            outlook, _ = self._compare(path)
            known = count_known(self.folder, path, outlook.missing, outlook.size)
        finally:
            remove(own)
        return Outlook(outlook.requests, outlook.there + known, outlook.size, outlook.missing)

    def prepare(self, requests: Callable[[], Iterable[Asked]], made_of: str = "") -> Outlook:
        """Note the requests, and have the rows at hand that are there already; none of them is lost by it.

        Args:
            requests: Gives them in order.
            made_of: Digest of what they follow from; requests of the same one are not asked for again.

        Raises:
            DataError: If the disk is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        path = self.folder / REQUESTS
        if not is_made_of(path, made_of):
            write_asked(path, requests(), made_of)
        outlook, stale = self._compare(path)
        note_progress(self.folder, requests=outlook.requests, done=False)
        set_aside(self.folder, stale)
        taken = take_over(self.folder, path, outlook.missing, outlook.size)
        return Outlook(outlook.requests, outlook.there + taken, outlook.size, outlook.missing)

    def run(
        self,
        outlook: Outlook,
        pair_of: Callable[[Asked], Pair],
        writer: Callable[[], Write],
        ends: float = inf,
        max_failures: float = 1.0,
        spent: Callable[[], Spent] = Spent,
        window: int = 0,
    ) -> int:
        """Write what is missing; of several processes each writes its share of the parts.

        Args:
            outlook: Of :meth:`prepare`, the same in every process.
            pair_of: User and item of a request.
            writer: Makes the writer; called when there is something to write.
            ends: By ``time.monotonic()``, when to stop; the window at work is written first, and one in any case.
            max_failures: Share of the requests that may fail, from :data:`~mmreason.bulk.attempts.MIN_TRIED` on.
            spent: What a language model was asked for so far.
            window: Requests that are written together; 0 for :data:`~mmreason.bulk.windows.WINDOW`.

        Returns:
            How many requests are left, as the time was up.

        Raises:
            DataError: If the disk is full or too many requests fail; what is written stays, and the next run goes on.
        """
        number, of = share_of()
        shown = number == 1 and outlook.to_write > 0
        with (
            Progress(outlook.requests, "generate", "reason", initial=outlook.there, shown=shown) as bar,
            self.windows(outlook.size, pair_of, writer, max_failures, spent, window) as windows,
        ):
            for some in windows.of(outlook.missing[number - 1 :: of]):
                done = windows.write(some)
                bar.add(done.written * of)  # the others are about as far
                bar.note(**windows.done.told(of_latest=done))
                if time.monotonic() >= ends:
                    break
        done = side_by_side(wait_for_others(windows.done))
        return on_main_process(lambda: self.finish(outlook, done))

    @contextmanager
    def windows(
        self,
        size: int,
        pair_of: Callable[[Asked], Pair],
        writer: Callable[[], Write],
        max_failures: float = 1.0,
        spent: Callable[[], Spent] = Spent,
        window: int = 0,
    ) -> Iterator[Windows]:
        """What writes parts of a prepared job, in this process or in one that another machine runs.

        Args:
            size: Requests a part, of the outlook; the others are those of :meth:`run`.
        """
        with AskedTable(self.folder / REQUESTS) as table, TakenRows(self.folder) as taken:
            yield Windows(self.folder, table, taken, size, pair_of, writer, max_failures, spent, window)

    def finish(self, outlook: Outlook, done: Done) -> int:
        """How many requests are left; if none is, what was set aside goes.

        Args:
            outlook: Of :meth:`prepare`.
            done: What was written by all processes, of which the speed and what was shared are noted.
        """
        left = [n for n in outlook.missing if not part(self.folder, n).exists()]
        if done.written:
            spent = {"plans": done.plans, "worded": done.worded}
            note_progress(self.folder, reasons_per_second=round(done.speed, 3), **spent)
        if not left:
            note_progress(self.folder, done=True)
            remove(aside(self.folder))
        return sum(min(outlook.size, outlook.requests - n * outlook.size) for n in left)

    def _compare(self, asked: Path) -> tuple[Outlook, list[Path]]:
        """What the parts that are there answer, and those of them that are not just what is wanted."""
        with AskedTable(asked) as table:
            size = self._size or part_size(len(table))
            wanted = range(-(-len(table) // size))
            there, valid, stale = 0, set(), []
            by_path = {part(self.folder, index): index for index in wanted}
            for path in parts(self.folder):
                index = by_path.get(path, -1)
                keys = table.keys(index * size, (index + 1) * size) if index >= 0 else []
                if keys and keys == keys_of(path):
                    valid.add(index)
                    there += len(keys)
                else:
                    stale.append(path)
            return Outlook(len(table), there, size, [n for n in wanted if n not in valid]), stale
