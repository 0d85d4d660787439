"""Numbers of a log as programs and people write them: units, decimal commas, clocks, per cent, scales of ratings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from mmreason.times import EARLIEST

UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
"""Units of times and lengths, in seconds."""

STEP = "step"
"""Unit of a timestamp that only says the order: counted in seconds from 1990 on."""

SCALES = (5, 10, 100)
"""What the best rating may be; a catalogue has ratings up to 5."""

_UNIT_NAMES = (
    (re.compile(r"(?:^|[_\W])(?:ms|msecs?|millis(?:econds)?)$|(?<=[a-z])Ms$"), "ms"),
    (re.compile(r"(?:^|[_\W])(?:mins?|minutes)$"), "min"),
    (re.compile(r"(?:^|[_\W])(?:hrs?|hours)$"), "h"),
)
_PERCENT_NAME = re.compile(r"(?i)(?:^|[_\W])(?:percent(?:age)?|pct|perc)(?:$|[_\W])|%")
_DECIMAL_COMMA = re.compile(r"-?(\d+,(\d{1,2}|\d{4,})|\d{1,3}(\.\d{3})+,\d+)")
_DECIMAL_POINT = re.compile(r"-?[\d,]*\.(\d{1,2}|\d{4,})|-?\d{1,3}(,\d{3})+\.\d+")
_CLOCK = re.compile(
    r"(?:(?:(?P<d>\d+)\s*(?:d|days?)[ ,]+)?(?P<h>\d+):)?(?P<m>\d{1,2}):(?P<s>\d{1,2}(?:[.,]\d+)?)"
)
_SPELLED = re.compile(  # 1h 2m 3s, 2 min 30 sec, PT1H2M3S
    r"(?i)(?:P(?:(?P<d>\d+)D)?T)?\s*(?:(?P<h>\d+(?:\.\d+)?)\s*h(?:rs?|ours?)?\s*)?"
    r"(?:(?P<m>\d+(?:\.\d+)?)\s*m(?:ins?|inutes?)?\s*)?(?:(?P<s>\d+(?:\.\d+)?)\s*s(?:ecs?|econds?)?)?"
)

_OUT_OF = re.compile(
    r"(?i)(\d+(?:[.,]\d+)?)\s*(?:(?:/|out of|of|von|sur|de|su|van)\s*(\d+)\s*)?"
    r"(?:stars?|sterne?n?|étoiles?|estrellas?|★|⭐)?"
)
_STARS = re.compile("[★⭐]+[☆\ufe0f]*")


def unit_of(column: Any) -> str:
    """The unit that a column's name ends in: ``play_time_ms``."""
    names = (unit for form, unit in _UNIT_NAMES if form.search(column)) if isinstance(column, str) else ()
    return next(iter(names), "s")


def has_decimal_commas(values: Sequence[Any]) -> bool:
    """Whether texts are numbers with a comma for the point."""
    texts = [value.strip() for value in values if isinstance(value, str)]
    return any(map(_DECIMAL_COMMA.fullmatch, texts)) and not any(map(_DECIMAL_POINT.fullmatch, texts))


def scale_of(values: Sequence[Any]) -> int:
    """What the best rating is, by look at some: one of :data:`SCALES`.

    A larger scale needs a fifth of the ratings above the smaller one, so that a few wrong ones make none.

    Example:
        >>> scale_of(["8", "6,5", "10", None]), scale_of([85, 40, 100]), scale_of([4.5, 3, 9, 5, 5, 4])
        (10, 100, 5)
    """
    numbers = [number for value in values if (number := _number(value)) is not None]
    for best, less in ((100, 10), (10, 5)):
        if sum(less < number <= best for number in numbers) >= max(1, len(numbers) / 5):
            return best
    return SCALES[0]


def _number(value: Any) -> float | None:
    try:
        found = float(str(value).strip().replace(",", "."))
    except ValueError:
        return None
    return found if 0 <= found <= SCALES[-1] else None


def of_five(ratings: pl.Series, scale: int) -> pl.Series:
    """Ratings of a larger scale as ratings up to 5, half a star at least; what is no such rating stays as it is.

    Example:
        >>> of_five(pl.Series(["8", "0", "?", "11"]), 10).to_list()
        ['4.0', '0.5', '?', '11']
    """
    numbers = ratings.cast(pl.Float64, strict=False)
    inside = numbers.is_between(0, scale).fill_null(False)
    fives = (numbers * (SCALES[0] / scale)).clip(0.5)
    if ratings.dtype.is_numeric():
        return fives.zip_with(inside, numbers)
    return fives.cast(pl.String).zip_with(inside, ratings.cast(pl.String, strict=False))


def in_stars(column: pl.Series) -> pl.Series:
    """Ratings written as words or stars as numbers up to 5; what is none stays as it is.

    Example:
        >>> in_stars(pl.Series(["4.0 out of 5 stars", "9/10", "3 stars", "★★★★☆", "2.5", "fine"])).to_list()
        ['4.0', '4.5', '3.0', '4.0', '2.5', 'fine']
    """
    if column.dtype != pl.String:
        return column
    text = column.str.strip_chars()
    odd = text.str.contains(r"[^\d.,\s-]").fill_null(False)
    if not odd.any():
        return column
    read = {each: _stars(each) for each in text.filter(odd).unique()}
    return text.replace({each: str(found) for each, found in read.items() if found is not None})


def _stars(text: str) -> float | None:
    if found := _OUT_OF.fullmatch(text):
        value, best = float(found[1].replace(",", ".")), float(found[2] or SCALES[0])
        return value * SCALES[0] / best if best and value <= best else None
    return float(text.count("★") + text.count("⭐")) if _STARS.fullmatch(text) else None


def in_seconds(column: pl.Series) -> pl.Series:
    """Lengths of time in texts as seconds; what is none stays as it is.

    Example:
        >>> in_seconds(pl.Series(["00:01:30", "2:05", "1m 30s", "PT1H", "12.5", "soon"])).to_list()
        ['90.0', '125.0', '90.0', '3600.0', '12.5', 'soon']
    """
    if column.dtype == pl.Duration:
        return column.dt.total_milliseconds() / 1000
    if column.dtype == pl.Time:
        return column.cast(pl.Duration("ms")).dt.total_milliseconds() / 1000
    if column.dtype != pl.String:
        return column
    text = column.str.strip_chars()
    odd = text.str.contains(r"[:A-Za-z]").fill_null(False)
    if not odd.any():
        return column
    read = {each: _seconds(each) for each in text.filter(odd).unique()}
    return text.replace({each: str(found) for each, found in read.items() if found is not None})


def _seconds(text: str) -> float | None:
    found = _CLOCK.fullmatch(text) or _SPELLED.fullmatch(text)
    if found is None or not any(found.groupdict().values()):
        return None
    parts = {name: float((value or "0").replace(",", ".")) for name, value in found.groupdict().items()}
    return sum(parts[name] * UNITS[unit] for name, unit in (("d", "d"), ("h", "h"), ("m", "min"), ("s", "s")))


def in_shares(column: pl.Series, name: Any) -> pl.Series:
    """``85%`` as 0.85, and any number so in a column that is called per cent; what is no number stays as it is."""
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        bare = text.str.strip_chars_end("% ")
        percent = (bare != text) if not _PERCENT_NAME.search(str(name)) else bare.is_not_null()
        numbers = bare.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        shares = (numbers / 100).cast(pl.String)
        return shares.zip_with((percent & numbers.is_not_null()).fill_null(False), text)
    return column / 100 if column.dtype.is_numeric() and _PERCENT_NAME.search(str(name)) else column


def in_unit(column: pl.Series, unit: str, decimal: str) -> pl.Series:
    """Numbers in seconds; what is no number stays as it is."""

    def scale(numbers: pl.Series) -> pl.Series:
        return numbers + EARLIEST if unit == STEP else numbers * UNITS[unit]

    if column.dtype.is_numeric():
        return scale(column.cast(pl.Float64))
    if column.dtype != pl.String:
        return column
    text = column.str.strip_chars()
    plain = text.str.replace_all(r"[.'’\s]", "").str.replace(",", ".") if decimal == "," else text
    numbers = scale(plain.cast(pl.Float64, strict=False))
    return pl.select(pl.coalesce(numbers.cast(pl.String), text)).to_series()
