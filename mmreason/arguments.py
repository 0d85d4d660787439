"""Arguments of the Python API brought to their type, where a value has one reading; else a ValueError says why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from numbers import Real
from pathlib import PurePath
from typing import Any

from mmreason.times import moment
from mmreason.values import LONGEST_NULL, NO_VALUE, NULL_WORDS, identifier, is_nothing, paths

FIRST_DATE = 19_900_101
"""Numbers from this on may be dates in digits."""

_UNIX_SECONDS = 1e11
"""Numbers below this are Unix seconds already, if they are no date."""

_DECIMAL_COMMA = re.compile(r"-?\d+,\d{1,2}")


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
        >>> number("5"), number("4,5"), number(float("nan"))
        (5.0, 4.5, None)
    """
    if is_nothing(value):
        return None
    if not isinstance(value, str | Real | Decimal):
        raise ValueError("give a number")
    if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value.strip()):
        value = value.replace(",", ".")
    try:
        found = float(value)
    except ValueError:
        raise ValueError("give a number") from None
    if found - found != 0:
        raise ValueError("give a finite number")
    return found


def amount(value: Any) -> float | None:
    """A number that is not negative, or None."""
    found = number(value)
    if found is not None and found < 0:
        raise ValueError("give a number that is not negative")
    return found


def whole(value: Any) -> int | None:
    """A whole number that is not negative, or None."""
    found = amount(value)
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
    if isinstance(value, bool):
        raise ValueError("give Unix seconds or a date-time from 1990 to 2100")
    if isinstance(value, Real | Decimal):
        value = amount(value)
        if value < FIRST_DATE or (value < _UNIX_SECONDS and moment(value) is None):
            return float(value)
    found = moment(value) if isinstance(value, str | Real | date) else None
    if found is None:
        raise ValueError("give Unix seconds or a date-time from 1990 to 2100")
    return found


def is_text(value: Any) -> bool:
    """Whether a text is one already, and stands for something."""
    return type(value) is str and (len(value) > LONGEST_NULL or not value or value not in NULL_WORDS)


def are_paths(value: Any) -> bool:
    """Whether pictures are a list of paths already."""
    if type(value) is not list:
        return False
    for path in value:  # noqa: SIM110  (faster than a generator; items come by the million)
        if not (type(path) is str and path):
            return False
    return True


def are_facts(value: Any) -> bool:
    """Whether attributes are what they should be already: texts in lists, by name."""
    if type(value) is not dict:
        return False
    for name, values in value.items():
        if type(name) is not str or type(values) is not list or not values:
            return False
        for each in values:
            if type(each) is not str or each.lower() in NO_VALUE:
                return False
    return True


def needed_id(value: Any) -> str:
    """An id, which must be there."""
    found = "" if isinstance(value, bool) else identifier(value)
    if not found:
        raise ValueError("give it an id")
    return found
