"""Times as programs write them, to Unix seconds; what cannot be a time, or can be read two ways, is none."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

EARLIEST, LATEST = 631_152_000.0, 4_133_980_800.0
"""Unix seconds of the beginnings of 1990 and 2101: no log of a shop is older, or that far ahead."""

SCALES = (1.0, 1e3, 1e6, 1e9)
"""Units that Unix times come in, to the second: their ranges do not meet."""

EXCEL = (32_874.0, 73_416.0)
"""Excel's day numbers of the same two moments."""

_EXCEL_EPOCH = 25_569  # Excel's number of 1970-01-01
_DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
# Names of zones that stand for one offset, in hours; CST and IST are each used for several.
_ZONES = {
    **{"WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9},
    **{"EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AEST": 10, "AEDT": 11},
}
_ZONE = re.compile(
    rf"(?P<rest>.*?)\s*(?P<zone>Z|UTC|GMT|(?:UTC|GMT)?[+-]\d\d:?\d\d|(?<=[\d ])(?:{'|'.join(_ZONES)}))",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?P<day>.*?)(?:,?[ T]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<part>\d+))?)?"
    r"\s*(?P<half>[AP]\.?M\.?)?)?",
    re.IGNORECASE,
)
_YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})(?:([-/.])(\d{1,2})\2(\d{4})|([/.])(\d{1,2})\5(\d\d))")
_SIGNED = re.compile(
    r"(\d{1,2})([-/])([A-Za-z]{3,9})\2(\d{4}|\d\d)(?:$|:?(?=[ T\d]))"
)  # 1-Mar-2024, 14/Nov/2023:10:00:00
_CHINESE = re.compile(r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]?")
_NAMED = ("%d %b %y", "%d %B %y", "%b %d %Y", "%B %d %Y", "%d %b %Y", "%d %B %Y", "%a %b %d %Y", "%m %d %Y")


def moment(value: Any) -> float | None:
    """Unix seconds of a number, a text, a date or a date-time; UTC where it names no zone.

    Numbers may be Unix seconds, milli-, micro- or nanoseconds, dates in digits (``20231114``, also with hour and
    minute) or Excel's day numbers. Of dates with the year last, those are read that can be read one way only.

    Returns:
        None for what is no time from 1990 to 2100.

    Example:
        >>> moment("2023-11-14 22:13:20 UTC") == moment(1_700_000_000_000) == moment("11/14/2023 10:13:20 PM")
        True
        >>> moment("11/12/2023") is None and moment(900) is None
        True
    """
    if isinstance(value, date):  # a date-time is one
        return _within(value)
    if isinstance(value, str):
        return _of_text(" ".join(value.split()))
    return _of_number(float(value), f"{value:.0f}")


def _within(day: date) -> float | None:
    full = day if isinstance(day, datetime) else datetime.combine(day, time())
    try:
        seconds = (full if full.tzinfo else full.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None
    return seconds if EARLIEST <= seconds < LATEST else None


def _of_number(number: float, digits: str) -> float | None:
    for scale in SCALES:
        if EARLIEST <= number / scale < LATEST:
            return number / scale
    if EXCEL[0] <= number < EXCEL[1]:
        return round((number - _EXCEL_EPOCH) * 86_400, 3)
    form = _DIGITS.get(len(digits))
    return _by(form, digits) if form and number == int(number) else None


def _by(form: str, text: str) -> float | None:
    try:
        return _within(datetime.strptime(text, form))
    except ValueError:
        return None


def _of_text(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        return _of_number(float(text), text.partition(".")[0])
    text = _CHINESE.sub(r"\1-\2-\3 ", _SIGNED.sub(r"\1 \3 \4 ", text)).strip()
    try:
        return _within(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        pass
    zoned = _ZONE.fullmatch(text)
    clocked = _CLOCK.fullmatch(zoned["rest"] if zoned and _has_clock(zoned) else text)
    day = _day(clocked["day"], american=bool(clocked["half"])) if clocked else None
    if clocked and day:
        return _joined(day, clocked, zoned["zone"] if zoned and _has_clock(zoned) else "")
    try:
        return _within(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):
        return _by("%a %b %d %H:%M:%S %z %Y", text)


def _has_clock(zoned: re.Match[str]) -> bool:
    """Whether the end of a date is a zone: ``-1114`` after a year is none."""
    return ":" in zoned["rest"] or zoned["zone"][0].isalpha()


def _day(text: str, american: bool) -> date | None:
    """The day of a date; ``american`` has the month first, as those do who write AM and PM."""
    if found := _YEAR_FIRST.fullmatch(text):
        return _date(found[1], found[2], found[3])
    if found := _YEAR_LAST.fullmatch(text):
        first, sign, second, year = (part for part in found.groups() if part)
        year = year if len(year) == 4 else f"{19 if year > '68' else 20}{year}"  # as Python's %y
        if sign == "." or (int(first) > 12 and not american):
            return _date(year, second, first)
        one_way = american or int(second) > 12 or int(first) == int(second)
        return _date(year, first, second) if one_way else None
    plain = " ".join(text.replace(",", " ").replace(".", " ").split())
    for form in _NAMED:
        try:
            return datetime.strptime(plain, form).date()
        except ValueError:
            continue
    return None


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _joined(day: date, clock: re.Match[str], zone: str) -> float | None:
    hour, minute, second = (int(clock[name] or 0) for name in ("hour", "minute", "second"))
    if half := (clock["half"] or "").lower():
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    try:
        naive = datetime.combine(day, time(hour, minute, second))
    except ValueError:
        return None
    part = float(f"0.{clock['part'] or 0}")
    seconds = _within(naive.replace(tzinfo=_zone(zone)))
    return None if seconds is None else seconds + part


def _zone(text: str) -> timezone:
    if text.upper() in _ZONES:
        return timezone(timedelta(hours=_ZONES[text.upper()]))
    sign = re.search(r"([+-])(\d\d):?(\d\d)", text)
    if sign is None:
        return UTC
    offset = timedelta(hours=int(sign[2]), minutes=int(sign[3]))
    return timezone(-offset if sign[1] == "-" else offset)
