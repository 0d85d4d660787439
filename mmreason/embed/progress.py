"""Progress of a bulk job: a bar on a terminal, else a plain line a second."""

from __future__ import annotations

import sys
import threading
from typing import Any

from tqdm import tqdm


class Progress:
    """Counts items from any thread; shows how many, items per second and the time left, once a second.

    Args:
        total: Items in all.
        name: What is being done.

    Example:
        >>> with Progress(10, "embed") as progress:
        ...     progress.add(10)
    """

    def __init__(self, total: int, name: str) -> None:
        file: Any = sys.stderr if sys.stderr.isatty() else _Lines()
        self._lock = threading.Lock()
        self._bar = tqdm(
            total=total, desc=name, unit="item", file=file, mininterval=1, maxinterval=1, delay=1
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def add(self, items: int) -> None:
        """So many more are done."""
        with self._lock:
            self._bar.update(items)

    def part(self, items: int, inputs: int) -> PartProgress:
        """Progress of items that are done an input at a time."""
        return PartProgress(self, items, inputs)

    def note(self, **values: object) -> None:
        """Show values behind the bar, such as a count of errors."""
        with self._lock:
            self._bar.set_postfix(values, refresh=False)


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


class _Lines:
    """A log instead of a terminal: each state of the bar on a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
