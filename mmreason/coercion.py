"""Fields of what a caller gives, brought to their types where a value has one reading."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mmreason.arguments import FIRST_DATE
from mmreason.times import EARLIEST, LATEST


class DataError(ValueError):
    """Something a user can mend: the message names the file, row or key, and what to do, in one line."""


def coerce(owner: Any, name: str, convert: Callable[[Any], Any]) -> None:
    """Bring a field to its type where the value has one reading.

    Raises:
        DataError: Naming the owner, the field and the value that has none.
    """
    value = getattr(owner, name)
    try:
        setattr(owner, name, convert(value))
    except DataError:
        raise  # of a step of a history, which names itself
    except (ValueError, TypeError, OverflowError) as error:
        named = {"id": getattr(owner, "id", ""), "user_id": getattr(owner, "user_id", "")}
        who = " ".join(
            [type(owner).__name__, *(repr(v)[:80] for v in named.values() if v and v is not value)]
        )
        raise DataError(f"{who}: {name} is {repr(value)[:80]} ({error})") from None


def is_time(value: Any) -> bool:
    """Whether a number is Unix seconds; of small ones only the order counts, and 20240101 is a date."""
    return type(value) is float and (0.0 <= value < FIRST_DATE or EARLIEST <= value < LATEST)


def is_amount(value: Any) -> bool:
    return type(value) is float and 0.0 <= value < math.inf
