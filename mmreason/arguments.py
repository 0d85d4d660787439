"""Arguments of the Python API brought to their type, where a value has one reading; else a ValueError says why not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from numbers import Real
from pathlib import PurePath
from typing import Any

from mmreason.times import moment
from mmreason.values import is_nothing, paths

_UNIX_SECONDS = 1e11
"""Numbers below this are Unix seconds already."""


def pictures(value: Any) -> list[Any]:
    """Pictures as a list: paths in any spelling; PIL images, bytes, arrays and tensors as they are.

    Example:
        >>> pictures("a.jpg") == pictures(["a.jpg", None, ""]) == ["a.jpg"]
        True
    """
    if is_nothing(value):
        return []
    if isinstance(value, tuple | set) or type(value).__name__ == "Series" or _holds_objects(value):
        value = list(value)
    found: list[Any] = []
    for each in value if isinstance(value, list) else [value]:
        if is_nothing(each):
            continue
        if isinstance(each, Real | date):
            raise ValueError("give paths, bytes, images, arrays or tensors")
        found += paths(each) if isinstance(each, str | Mapping | PurePath) else [each]
    return [each["bytes"] if isinstance(each, Mapping) else each for each in found]


def _holds_objects(value: Any) -> bool:
    """Whether an array is one of texts or objects, and not a picture."""
    return getattr(getattr(value, "dtype", None), "kind", "") in ("O", "U")


def video(value: Any) -> Any:
    """One video, or None."""
    found = pictures(value)
    if len(found) > 1:
        raise ValueError("give one video")
    return found[0] if found else None


def number(value: Any) -> float | None:
    """A number, or None.

    Example:
        >>> number("5"), number(float("nan"))
        (5.0, None)
    """
    if is_nothing(value):
        return None
    if not isinstance(value, str | Real):
        raise ValueError("give a number")
    try:
        found = float(value)
    except ValueError:
        raise ValueError("give a number") from None
    if found - found != 0:
        raise ValueError("give a finite number")
    return found


def whole(value: Any) -> int | None:
    """A whole number, or None."""
    found = number(value)
    if found is not None and not found.is_integer():
        raise ValueError("give a whole number")
    return None if found is None else int(found)


def unix_seconds(value: Any) -> float | None:
    """Unix seconds of a number, a text or a date-time, or None.

    Example:
        >>> unix_seconds("2023-11-14T22:13:20Z"), unix_seconds(5)
        (1700000000.0, 5.0)
    """
    if is_nothing(value):
        return None
    if getattr(getattr(value, "dtype", None), "kind", "") == "M":  # NumPy's date-time
        value = value.astype("datetime64[us]").item()
    if isinstance(value, Real) and float(value) < _UNIX_SECONDS:
        return number(value)
    found = moment(value) if isinstance(value, str | Real | date) else None
    if found is None:
        raise ValueError("give Unix seconds or a date-time from 1990 to 2100")
    return found
