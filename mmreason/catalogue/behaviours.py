"""What users did, checked a frame at a time as it comes in.

A catalogue keeps events with their times; :mod:`mmreason.shards.histories` cuts and adds them up for a model.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl

from mmreason.catalogue.check import Quarantine
from mmreason.readers.source import SourceRow
from mmreason.schema import EVENTS, DataError

COLUMNS: dict[str, pl.DataType] = {
    **dict.fromkeys(("user_id", "item_id", "event"), pl.String()),
    "count": pl.Int64(),
    **dict.fromkeys(("seconds", "rating", "timestamp"), pl.Float64()),
    "text": pl.String(),
    "share": pl.Float64(),
    "helpful": pl.Int64(),
    "first": pl.Float64(),
}
"""Columns of the interactions and their types."""

RATINGS = (0.5, 5.0)
_FORMATS = ("%m/%d/%Y %I:%M:%S %p", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d")
"""Times that are not ISO 8601 but can be read one way only (the first is MIND's)."""


def check_interactions(frame: pl.DataFrame, quarantine: Quarantine) -> pl.DataFrame:
    """The good rows of a frame, typed; the bad ones go to the quarantine with the first thing wrong.

    Whether the item exists is not looked at. An event that is not named is a ``review`` if the row has a text,
    a ``rating`` if it has a rating, else a ``click``. Numbers above 10¹¹ are times in milli- or microseconds.

    Args:
        frame: ``file``, ``row``, any of :data:`COLUMNS` in any type, and where the reader has them ``length``
            (of the item, in seconds), ``problem`` (why it could not read the row) and ``record`` (the whole
            row as JSON, for the quarantine).
        quarantine: Counts what is read and what is bad.

    Returns:
        ``file``, ``row`` and all :data:`COLUMNS`.
    """
    quarantine.read["interactions"] += frame.height
    columns = {name: _column(frame, name) for name in (*COLUMNS, "length")}
    texts = {name: _text(columns[name]) for name, kind in COLUMNS.items() if kind == pl.String()}
    times = {name: _times(columns[name]) for name in ("timestamp", "first")}
    names = ("count", "seconds", "rating", "share", "helpful", "length")
    numbers = {name: _numbers(columns[name]) for name in names}
    typed = pl.DataFrame({"file": frame["file"], "row": frame["row"], **texts}).with_columns(
        *(numbers[name][0].alias(name) for name in names), *(times[name][0].alias(name) for name in times)
    )
    typed = typed.with_columns(event=_event(), count=pl.col("count").fill_null(1.0))
    problem = _first_problem(frame, typed, numbers, times)
    bad = problem.is_not_null()
    if bad.any():
        _set_aside(frame.filter(bad), problem.filter(bad), quarantine)
        typed = typed.filter(~bad)
    share = pl.when(pl.col("length") > 0).then(pl.col("seconds") / pl.col("length"))
    typed = typed.with_columns(
        share=pl.coalesce("share", share), timestamp=_seconds("timestamp"), first=_seconds("first")
    )
    return typed.select("file", "row", *(pl.col(name).cast(kind) for name, kind in COLUMNS.items()))


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [None], pl.Null).extend_constant(None, max(frame.height - 1, 0))[
            : frame.height
        ]
    if frame[name].dtype.is_nested():
        raise DataError(f"{frame['file'][0]}: column {name!r} holds lists; map {name!r} to a plain column")
    return frame[name]


def _text(column: pl.Series) -> pl.Series:
    return column.cast(pl.String, strict=False).str.strip_chars().fill_null("")


def _numbers(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The values, and where there is something that is no number."""
    given = column.is_not_null()
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        given &= column != ""
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        return pl.Series(column.name, [None], pl.Float64).new_from_index(0, len(column)), given
    values = column.cast(pl.Float64, strict=False)
    finite = values.is_finite().fill_null(False)
    return values.set(~finite, None), given & ~finite


def _times(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Like :func:`_numbers`, in Unix seconds or what may be milliseconds; dates and ISO texts are read, too."""
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us"), strict=False).dt.epoch("us") / 1e6, column.is_null() & False
    values, odd = _numbers(column)
    if column.dtype != pl.String or not odd.any():
        return values, odd
    read = {text: _moment(text) for text in column.filter(odd).unique()}
    moments = column.replace_strict(read, default=None, return_dtype=pl.Float64)
    return values.zip_with(~odd, moments), odd & moments.is_null()


def _moment(text: str) -> float | None:
    """Unix seconds of a text; UTC where it names no zone."""
    for read in (datetime.fromisoformat, *(_by(form) for form in _FORMATS)):
        try:
            moment = read(text.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None


def _by(form: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, form)


def _seconds(name: str) -> pl.Expr:
    value = pl.col(name).fill_null(0.0)
    return pl.when(value > 1e14).then(value / 1e6).when(value > 1e11).then(value / 1e3).otherwise(value)


def _event() -> pl.Expr:
    rated = pl.when(pl.col("rating").is_not_null()).then(pl.lit("rating")).otherwise(pl.lit("click"))
    guessed = pl.when(pl.col("text") != "").then(pl.lit("review")).otherwise(rated)
    return pl.when(pl.col("event") == "").then(guessed).otherwise(pl.col("event").str.to_lowercase())


def _first_problem(
    frame: pl.DataFrame,
    typed: pl.DataFrame,
    numbers: dict[str, tuple[pl.Series, pl.Series]],
    times: dict[str, tuple[pl.Series, pl.Series]],
) -> pl.Series:
    """Why a row is bad, null if it is not."""
    problem = _column(frame, "problem").cast(pl.String)
    checks: list[tuple[str, pl.Series]] = [
        ("no user id", typed["user_id"] == ""),
        ("no item id", typed["item_id"] == ""),
        (f"unknown event; known are {', '.join(EVENTS)}", ~typed["event"].is_in(EVENTS)),
    ]
    checks += [(f"{name} is not a number", odd) for name, (_, odd) in numbers.items()]
    checks += [(f"negative {name}", typed[name] < 0) for name in numbers if name != "rating"]
    whole = ("count", "helpful")
    checks += [(f"{name} is not a whole number", typed[name] != typed[name].round()) for name in whole]
    low, high = RATINGS
    checks += [
        ("rating out of range", (typed["rating"] < low) | (typed["rating"] > high)),
        ("rating event without a rating", (typed["event"] == "rating") & typed["rating"].is_null()),
    ]
    checks += [(f"{name} is neither unix seconds nor an ISO date", odd) for name, (_, odd) in times.items()]
    for reason, wrong in checks:
        wrong = wrong.fill_null(False) & problem.is_null()
        if wrong.any():
            problem = problem.zip_with(~wrong, pl.Series([reason]).new_from_index(0, len(problem)))
    return problem


def _set_aside(rows: pl.DataFrame, problem: pl.Series, quarantine: Quarantine) -> None:
    for values, reason in zip(rows.iter_rows(named=True), problem, strict=True):
        file, number = values.pop("file"), values.pop("row")
        values.pop("problem", None)
        whole = values.pop("record", None)
        record = json.loads(whole) if whole else {k: v for k, v in values.items() if v is not None}
        quarantine.add("interactions", SourceRow(file, number, record), reason)
