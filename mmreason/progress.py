"""Progress with the time left: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOG_SECONDS = 10.0  # between two lines of a log


class Progress:
    """Counts what is done, from any thread; shows how much, how fast and the time left.

    Args:
        total: How much there is to do; None if nobody knows.
        name: What is being done.
        unit: What is counted.
        initial: How much was done before, by a run that is gone on with.
        shown: Whether to show anything; of several processes one is enough.

    Example:
        >>> with Progress(10, "embed") as progress:
        ...     progress.add(10)
    """

    def __init__(
        self, total: int | None, name: str, unit: str = "item", *, initial: int = 0, shown: bool = True
    ) -> None:
        terminal = sys.stderr.isatty()
        file: Any = sys.stderr if terminal else _LogLines()
        seconds = 0.5 if terminal else LOG_SECONDS
        self._lock = threading.Lock()
        self._bar = tqdm(
            total=total,
            desc=name,
            unit=unit,
            initial=initial,
            file=file,
            mininterval=seconds,
            maxinterval=seconds,
            delay=1,  # what takes less needs no bar
            disable=not shown,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def add(self, count: int = 1) -> None:
        """So many more are done."""
        with self._lock:
            self._bar.update(count)

    def note(self, **values: object) -> None:
        """Show values behind the bar, such as a loss or a count of errors."""
        with self._lock:
            self._bar.set_postfix(values, refresh=False)

    def write(self, line: str) -> None:
        """Print a line without breaking the bar."""
        with self._lock:
            tqdm.write(line, file=sys.stderr)

    def part(self, items: int, inputs: int) -> PartProgress:
        """Progress of items that are done an input at a time."""
        return PartProgress(self, items, inputs)


class PartProgress:
    """Turns inputs done (pictures, texts, videos) into items done."""

    def __init__(self, progress: Progress, items: int, inputs: int) -> None:
        self._progress, self._items, self._inputs = progress, items, inputs
        self._done = self._shown = 0
        self._lock = threading.Lock()

    def __call__(self, inputs: int) -> None:
        with self._lock:
            self._done += inputs
            self._show(self._items * self._done // max(1, self._inputs))

    def finish(self) -> None:
        """All are done, those without any input too."""
        with self._lock:
            self._show(self._items)

    def _show(self, items: int) -> None:
        self._progress.add(items - self._shown)
        self._shown = items


def track(values: Iterable[T], name: str, unit: str = "item", total: int | None = None) -> Iterator[T]:
    """Go through values and show how far it is.

    Args:
        values: What to go through.
        name: What is being done.
        unit: What is counted.
        total: How many there are, where ``values`` has no length.

    Example:
        >>> [2 * n for n in track(range(3), "double")]
        [0, 2, 4]
    """
    if total is None and isinstance(values, Sized):
        total = len(values)
    with Progress(total, name, unit) as progress:
        for value in values:
            yield value
            progress.add()


class _LogLines:
    """A log instead of a terminal: each state of the bar on a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
