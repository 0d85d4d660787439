"""What users did, checked a frame at a time as it comes in.

A catalogue keeps events with their times; :mod:`mmreason.shards.histories` cuts and adds them up for a model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

import polars as pl

from mmreason.catalogue.quarantine import CANCELLED, Quarantine
from mmreason.cleaning import MAYBE_UNCLEAN, clean_review, private_user
from mmreason.readers.source import SourceRow
from mmreason.schema import EVENTS, DataError
from mmreason.times import EARLIEST, LATEST, SCALES, moment
from mmreason.values import LONGEST_NULL, NO_USER, NULL_WORDS

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
NO_TIME = "is no time from 1990 to 2100, or can be read two ways"


OWN_EVENT = "say what another counts as in catalogue.events, or in the mapping's values: of event"


def check_interactions(
    frame: pl.DataFrame, quarantine: Quarantine, events: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """The good rows of a frame, typed; the bad ones go to the quarantine with the first thing wrong.

    Whether the item exists is not looked at. An event that is not named is a ``review`` if the row has a text,
    a ``rating`` if it has a rating, else a ``click``. What times may look like says :func:`mmreason.times.moment`.

    Args:
        frame: ``file``, ``row``, any of :data:`COLUMNS` in any type, and where the reader has them ``length``
            (of the item, in seconds), ``cancelled`` (``yes``: no purchase), ``problem`` (why it could not read
            the row) and ``record`` (the whole row as JSON, for the quarantine).
        quarantine: Counts what is read and what is bad.
        events: Event of the source's own → the known one that it counts as.

    Returns:
        ``file``, ``row`` and all :data:`COLUMNS`.
    """
    quarantine.read["interactions"] += frame.height
    columns = {name: _column(frame, name) for name in (*COLUMNS, "length")}
    texts = {name: _text(columns[name]) for name, kind in COLUMNS.items() if kind == pl.String()}
    texts["text"] = _changed(texts["text"], MAYBE_UNCLEAN, clean_review)
    texts["user_id"] = _changed(texts["user_id"], ("@",), private_user)
    times = {name: _times(columns[name]) for name in ("timestamp", "first")}
    names = ("count", "seconds", "rating", "share", "helpful", "length")
    numbers = {name: _numbers(columns[name]) for name in names}
    typed = pl.DataFrame({"file": frame["file"], "row": frame["row"], **texts}).with_columns(
        *(numbers[name][0].alias(name) for name in names), *(times[name][0].alias(name) for name in times)
    )
    typed = typed.with_columns(
        event=_event().replace(own_events(events or {})), count=pl.col("count").fill_null(1.0)
    )
    problem = _first_problem(frame, typed, numbers, times)
    bad = problem.is_not_null()
    if bad.any():
        _set_aside(frame.filter(bad), problem.filter(bad), quarantine)
        typed = typed.filter(~bad)
    share = pl.when(pl.col("length") > 0).then(pl.col("seconds") / pl.col("length"))
    typed = typed.with_columns(share=pl.coalesce("share", share))
    return typed.select("file", "row", *(pl.col(name).cast(kind) for name, kind in COLUMNS.items()))


def own_events(given: Mapping[str, str]) -> dict[str, str]:
    """``catalogue.events``, checked: own event → known one, in small letters.

    Raises:
        DataError: If one counts as an event that is not known.
    """
    for name, known in given.items():
        if known not in EVENTS:
            raise DataError(
                f"catalogue.events: {name!r} counts as {known!r}, which is none of {', '.join(EVENTS)}"
            )
    return {name.lower(): known for name, known in given.items()}


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [None], pl.Null).extend_constant(None, max(frame.height - 1, 0))[
            : frame.height
        ]
    if frame[name].dtype.is_nested():
        raise DataError(f"{frame['file'][0]}: column {name!r} holds lists; map {name!r} to a plain column")
    return frame[name]


def _text(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Null:
        return pl.Series(column.name, [""]).new_from_index(0, len(column))
    if column.dtype.is_float():  # ids of a column with gaps: 123.0 is 123
        whole = column.cast(pl.Int64, strict=False)
        same = (whole.cast(pl.Float64) == column).fill_null(False)
        plain = column.fill_nan(None).cast(pl.String)
        column = whole.cast(pl.String).zip_with(same, plain)
    if column.dtype == pl.Binary:
        column = column.cast(pl.String, strict=False)
    text = column.cast(pl.String, strict=False).str.strip_chars().fill_null("")
    words = {"text": NULL_WORDS, "user_id": NO_USER}.get(column.name)
    if words is None:
        return text
    short = text.str.len_bytes() <= LONGEST_NULL
    return text.set(short & text.is_in(list(words)), "") if short.any() else text


def _changed(column: pl.Series, patterns: Iterable[str], change: Callable[[str], str]) -> pl.Series:
    """A column whose values that hold one of some patterns are changed."""
    name = column.name
    held = pl.any_horizontal(pl.col(name).str.contains(pattern) for pattern in patterns)
    found = column.to_frame().filter(held).to_series().unique()
    if not len(found):
        return column
    return column.replace(found, pl.Series([change(value) for value in found], dtype=pl.String))


def _numbers(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The values, and where there is something that is no number."""
    if column.dtype == pl.Null:
        return column.cast(pl.Float64), pl.Series(column.name, [False]).new_from_index(0, len(column))
    given = column.is_not_null()
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        given &= ~column.is_in(list(NULL_WORDS))
    elif column.dtype.is_float():
        given &= ~column.is_nan()
    elif not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return pl.Series(column.name, [None], pl.Float64).new_from_index(0, len(column)), given
    values = column.cast(pl.Float64, strict=False)
    finite = values.is_finite().fill_null(False)
    return values.set(~finite, None), given & ~finite


def _times(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Unix seconds, 0 where there is no time, and where something stands that is none: see :func:`moment`."""
    if column.dtype == pl.Null:
        values, odd = _numbers(column)
        return values.fill_null(0.0), odd
    if column.dtype.is_temporal():
        column = (column.cast(pl.Datetime("us"), strict=False).dt.epoch("us") / 1e6).alias(column.name)
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        column = text.cast(pl.Float64, strict=False)
        odd = column.is_null() & text.is_not_null() & ~text.is_in(list(NULL_WORDS))
        if odd.any():
            read = {each: moment(each) for each in text.filter(odd).unique()}
            moments = text.replace_strict(read, default=None, return_dtype=pl.Float64)
            column = column.zip_with(~odd, moments)
    else:
        column, odd = _numbers(column)
    seconds = _scaled(column)
    strange = (column.is_not_null() & (column != 0) & seconds.is_null()).fill_null(False)
    if strange.any():
        read = {each: moment(each) for each in column.filter(strange).unique()}
        seconds = seconds.zip_with(
            ~strange, column.replace_strict(read, default=None, return_dtype=pl.Float64)
        )
    wrong = (odd | strange) & seconds.is_null()
    return seconds.fill_null(0.0), wrong


def _scaled(column: pl.Series) -> pl.Series:
    """Unix seconds of numbers that are such, or milli-, micro- or nanoseconds; null of others."""
    name = pl.col(column.name)
    whens = pl.lit(None, pl.Float64)
    for scale in SCALES:
        value = name / scale
        whens = pl.when((value >= EARLIEST) & (value < LATEST)).then(value).otherwise(whens)
    return column.to_frame().select(whens.alias(column.name)).to_series()


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
        (f"unknown event; known are {', '.join(EVENTS)}; {OWN_EVENT}", ~typed["event"].is_in(EVENTS)),
    ]
    if "cancelled" in frame.columns:
        checks.append((CANCELLED, frame["cancelled"] == "yes"))
    checks += [(f"{name} is not a number", odd) for name, (_, odd) in numbers.items()]
    given = [name for name in numbers if name in frame.columns]
    checks += [(f"negative {name}", typed[name] < 0) for name in given if name != "rating"]
    whole = [name for name in given if name in ("count", "helpful")]
    checks += [(f"{name} is not a whole number", typed[name] != typed[name].round()) for name in whole]
    low, high = RATINGS
    checks += [
        ("rating out of range", (typed["rating"] < low) | (typed["rating"] > high)),
        ("rating event without a rating", (typed["event"] == "rating") & typed["rating"].is_null()),
    ]
    checks += [(f"{name} {NO_TIME}", odd) for name, (_, odd) in times.items()]
    for reason, wrong in checks:
        if wrong.any():
            wrong = wrong.fill_null(False) & problem.is_null()
            problem = problem.zip_with(~wrong, pl.Series([reason]).new_from_index(0, len(problem)))
    return problem


def _set_aside(rows: pl.DataFrame, problem: pl.Series, quarantine: Quarantine) -> None:
    for values, reason in zip(rows.iter_rows(named=True), problem, strict=True):
        file, number = values.pop("file"), values.pop("row")
        values.pop("problem", None)
        whole = values.pop("record", None)
        record = json.loads(whole) if whole else {k: v for k, v in values.items() if v is not None}
        quarantine.add("interactions", SourceRow(file, number, record), reason)
