"""What the benchmarks share: printing a figure beside its bar, and failing below it."""

from __future__ import annotations

import sys


class Bars:
    """Collects figures; the last line sums up and the exit status tells whether every bar was met."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.met: list[bool] = []

    def check(self, name: str, value: float, bar: float, *, at_most: bool = False, form: str = ".1%") -> None:
        """Print one figure; ``value`` must be at least (or at most) ``bar``."""
        good = value <= bar if at_most else value >= bar
        self.met.append(good)
        print(
            f"{name}: {value:{form}} (bar {'≤' if at_most else '≥'} {bar:{form}}) {'ok' if good else 'BELOW'}"
        )

    def finish(self) -> None:
        """Print the last line and leave."""
        print(f"{self.name}: {sum(self.met)} of {len(self.met)} bars met (bar {len(self.met)})")
        sys.exit(not all(self.met))
