"""The job's parts on a Ray cluster: a task is a few of them, and whoever has it writes them as one process would."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any

from mmreason.bulk.job import Outlook
from mmreason.bulk.windows import MOST_ROWS, WINDOW, Done, Spent
from mmreason.bulk.worded import Worded
from mmreason.cluster import on_shared_disk, results
from mmreason.config import Config
from mmreason.generate.asks import Asks
from mmreason.progress import Progress


def write_on_ray(asks: Asks, outlook: Outlook, ends: float) -> int:
    """Write what is missing of a prepared job; what :meth:`mmreason.bulk.job.Job.run` does, by many workers.

    Args:
        asks: Of the run.
        outlook: Of :meth:`mmreason.bulk.job.Job.prepare`.
        ends: By ``time.monotonic()``, when to stop; each worker ends its window, and writes one in any case.

    Returns:
        How many requests are left, as the time was up.

    Raises:
        DataError: If a worker's disk is full, too many requests fail, or Ray is not there; what is written stays, and
            the next run goes on.
    """
    ends_at = time.time() + ends - time.monotonic()  # by the clock that machines share
    make = partial(_PartWriter, on_shared_disk(asks.config), outlook.size, ends_at)
    whole, began = Done(), 0.0
    shown = outlook.to_write > 0
    with Progress(outlook.requests, "generate", "reason", initial=outlook.there, shown=shown) as bar:
        for result in results(asks.config, make, tasks(outlook, asks.window)):
            asks.words.add({plan: tuple(Worded(*each) for each in texts) for plan, texts in result["words"]})
            done = Done(**result["done"] | {"levels": Counter(result["done"]["levels"])})
            began = began or time.monotonic() - done.seconds
            whole.add(done)
            bar.add(done.written)
            bar.note(**whole.told(of_latest=done))
    whole.seconds = time.monotonic() - began  # of all workers side by side
    asks.elsewhere = Spent(whole.tokens, whole.plans, whole.worded, whole.read)
    return asks.job.finish(outlook, whole)


def tasks(outlook: Outlook, window: int = 0) -> list[list[int]]:
    """Numbers of missing parts, a task each: about as many as have a window of requests to write.

    Example:
        >>> tasks(Outlook(requests=1000, there=0, size=256, missing=[0, 1, 2, 3]))
        [[0, 1], [2, 3]]
        >>> tasks(Outlook(requests=1000, there=990, size=256, missing=[0, 1, 2, 3]))
        [[0, 1, 2, 3]]
    """
    rows = min(len(outlook.missing) * outlook.size, outlook.requests)
    wanted = (window or WINDOW) * rows // max(1, outlook.to_write * outlook.size)
    together = max(1, min(wanted, MOST_ROWS // outlook.size))
    return [outlook.missing[n : n + together] for n in range(0, len(outlook.missing), together)]


class _PartWriter:
    """What a worker holds: catalogue, evidence and models; called with the numbers of some parts, it writes them."""

    def __init__(self, config: Config, size: int, ends_at: float) -> None:
        asks, self._ends_at = Asks(config), ends_at
        asks.keeps_words = False  # SQLite wants one machine: new words go to the process that started
        self._words, self._open = asks.words, ExitStack()
        failures = config.generate.max_failures
        windows = asks.job.windows(size, asks.behaviours.pair, asks.writer, failures, asks.spent, asks.window)
        self._windows = self._open.enter_context(windows)

    def __call__(self, indexes: list[int]) -> dict[str, Any]:
        done, windows = Done(), self._windows
        # Another worker may have died when it had written some of them.
        missing = [index for index in indexes if not windows.is_written(index)]
        for window in windows.of(missing):
            if windows.done.written and time.time() >= self._ends_at:
                break
            done.add(windows.write(window))
        words, self._words.new = self._words.new, {}
        return {"done": vars(done), "words": list(words.items())}
