"""Writers that other packages add by entry points, with their versions."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

WRITERS = "mmreason.writers"
"""Group of the entry points."""


def added_writers() -> dict[str, EntryPoint]:
    """Name → entry point."""
    return {point.name: point for point in entry_points(group=WRITERS)}


def versions_of_writers(names: Iterable[str]) -> dict[str, str]:
    """Name → package and version, of those among the names that other packages add.

    Example:
        >>> versions_of_writers(["lm", "template"])
        {}
    """
    packages = {name: point.dist for name, point in added_writers().items() if name in names}
    return {
        name: f"{package.name} {package.version}" if package else "" for name, package in packages.items()
    }
