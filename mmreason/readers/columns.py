"""What a mapping may say of a field beyond a plain column, applied to rows of items and to frames of a log.

Values can be translated, flags read as events, units and formats of times named, decimal commas read, columns joined,
fields of nested objects taken (``a.b``), and paths of pictures made of an id. Ids of a column with gaps (``123.0``),
decimal commas, flags and a unit that the column's name ends in are also found by look at names and first rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from mmreason.flags import TRUE
from mmreason.readers.quantities import (
    SCALES,
    STEP,
    UNITS,
    has_decimal_commas,
    in_seconds,
    in_shares,
    in_stars,
    in_unit,
    of_five,
    scale_of,
    unit_of,
)
from mmreason.schema import DataError
from mmreason.values import NO_USER, NULL_WORDS, identifier, is_nothing, literal

_NUMBER, _TIME = frozenset({"column", "decimal"}), frozenset({"column", "format", "unit"})
KEYS: dict[str, frozenset[str]] = {
    "event": frozenset({"column", "values", "flags"}),
    **dict.fromkeys(("timestamp", "first"), _TIME),
    **dict.fromkeys(("seconds", "length"), _NUMBER | {"unit"}),
    **dict.fromkeys(("count", "share", "helpful"), _NUMBER),
    "rating": _NUMBER | {"scale"},
    **dict.fromkeys(("images", "video", "title"), frozenset({"column", "pattern"})),
}
"""Field → the keys that its entry in a mapping may have; beside these any may be ``{value: …}``."""

FLAGS = {
    **dict.fromkeys(("is_view", "is_viewed", "viewed"), "view"),
    **dict.fromkeys(("is_click", "is_clicked", "clicked", "click"), "click"),
    **dict.fromkeys(("is_cart", "is_add_to_cart", "add_to_cart", "added_to_cart", "cart"), "cart"),
    **dict.fromkeys(
        ("is_purchase", "is_purchased", "purchased", "is_buy", "is_bought", "bought", "is_order", "ordered"),
        "purchase",
    ),
}
"""Names of columns of 0 and 1 that say by themselves which event it was, the stronger later."""

_JOINED = ("images", "title", "text", "timestamp", "first")
_FIRST_OF = ("user_id", "cancelled")  # of several columns the first that says something counts
_IDS = ("id", "group", "user_id", "item_id")
_CANCELLED = re.compile(
    "cancell?ed|cancell?ation|refunded|voided|void|failed|declined|returned|chargeback|charged back|expired|"
    "storniert|erstattet|abgebrochen|fehlgeschlagen|annulée?|remboursée?|échouée?|annullato|rimborsato|"
    "cancelad[oa]|reembolsad[oa]|geannuleerd|terugbetaald|已取消|已退款"
)
"""States of an order that is no purchase."""

_TRUE = list(TRUE)
_GAP = re.compile(r"-?\d+\.0+")
_PLACE = re.compile(r"\{([^{}:]+)(?::(?:0(\d{1,2}))?(?:\.(\d{1,2}))?)?\}")


def columns_of(name: str, source: Any) -> list[str]:
    """The columns that an entry of a mapping names.

    Raises:
        DataError: If it is no such entry.

    Example:
        >>> columns_of("event", {"flags": {"is_click": "click", "is_like": "rating"}})
        ['is_click', 'is_like']
    """
    if isinstance(source, list):
        if name not in (*_JOINED, *_FIRST_OF):
            raise DataError(f"mapping: {name} takes one column, not {source}")
        return [str(column) for column in source]
    if not isinstance(source, Mapping):
        return [str(source)]
    if set(source) == {"value"}:
        return []
    allowed = KEYS.get(name, frozenset())
    if not source or set(source) - allowed or not set(source) & {"column", "flags", "pattern"}:
        keys = ", ".join(sorted(allowed))
        raise DataError(
            f"mapping: {name} is {dict(source)}; write a column or {{value: …}}"
            + (f", or of {keys}" if keys else "")
        )
    _check(name, source)
    if "flags" in source:
        return [str(column) for column in source["flags"]]
    if "pattern" in source:
        return [found[1] for found in _PLACE.finditer(str(source["pattern"]))]
    return columns_of(name, source["column"])


def _check(name: str, source: Mapping[str, Any]) -> None:
    unit = source.get("unit", "s")
    units = [*UNITS, *([STEP] if KEYS[name] == _TIME else [])]
    if unit not in units:
        raise DataError(f"mapping: {name} has the unit {unit!r}; there are {', '.join(units)}")
    if source.get("decimal", ".") not in (",", "."):
        raise DataError(f"mapping: {name} has the decimal sign {source['decimal']!r}; there are , and .")
    if source.get("scale", SCALES[0]) not in SCALES:
        raise DataError(
            f"mapping: {name} has the scale {source['scale']!r}; there are {', '.join(map(str, SCALES))}"
        )
    for key in ("values", "flags"):
        if not isinstance(source.get(key, {}), Mapping):
            raise DataError(f"mapping: {key} of {name} are {source[key]}; write {key}: {{theirs: ours}}")
    if "pattern" in source and not _PLACE.search(str(source["pattern"])):
        raise DataError(f"mapping: {name} has the pattern {source['pattern']!r}; write images/{{id}}.jpg")


def is_there(column: str, columns: Sequence[str]) -> bool:
    """Whether a table has a column, or one whose objects may have the field (``a.b``)."""
    parts = column.split(".")
    return any(".".join(parts[:end]) in columns for end in range(len(parts), 0, -1))


def cell(record: Mapping[str, Any], column: str) -> Any:
    """A row's value in a column, or in a field of its object.

    Example:
        >>> cell({"a": '{"b": {"c": 1}}'}, "a.b.c"), cell({"a.b": 2}, "a.b"), cell({"a": None}, "a.b")
        (1, 2, None)
    """
    if column in record or "." not in column:
        return record.get(column)
    outer, _, inner = column.rpartition(".")
    value = cell(record, outer)
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            value = literal(value.strip())
        except ValueError:
            return None
    return value.get(inner) if isinstance(value, Mapping) else None


def path_of(pattern: str, record: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    """A path (or a title) made of a row's values; None if one of them is missing.

    Args:
        pattern: ``{name}`` stands for a field of the mapping or a column, ``{name:.3}`` for its first three characters,
            ``{name:010}`` for the value with zeros before it, ten characters long.
        record: The row, by the table's own columns.
        fields: Field → column.

    Example:
        >>> path_of("images/{id:010.3}/{id:010}.jpg", {"article": 108775015}, {"id": "article"})
        'images/010/0108775015.jpg'
    """
    missing = False

    def value(place: re.Match[str]) -> str:
        nonlocal missing
        column = fields.get(place[1], place[1])
        text = identifier(cell(record, column if isinstance(column, str) else place[1]))
        missing = missing or not text
        text = text.zfill(int(place[2])) if place[2] else text
        return text[: int(place[3])] if place[3] else text

    path = _PLACE.sub(value, pattern)
    return None if missing else path


def has_gaps(values: Sequence[Any]) -> bool:
    """Whether the texts of an id's column are whole numbers written with ``.0``, as of a column with gaps."""
    given = [value for value in values if not is_nothing(value)]
    return bool(given) and all(isinstance(value, str) and _GAP.fullmatch(value.strip()) for value in given)


def flags_of(sample: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """The columns of a log that are flags of events (:data:`FLAGS`), with their events, the weaker first.

    Example:
        >>> flags_of({"is_click": ["0", "1"], "cart": ["yes please"]})
        {'is_click': 'click'}
    """
    plain = {re.sub(r"\W+", "_", column.lower()): column for column in sample}
    flags = {"0", "1", "true", "false", "0.0", "1.0"}
    return {
        column: event
        for name, event in FLAGS.items()
        if (column := plain.get(name)) is not None
        and {str(value).strip().lower() for value in sample[column] if not is_nothing(value)} <= flags
        and any(not is_nothing(value) for value in sample[column])
    }


class LogColumns:
    """Makes the fields of a log of a frame's own columns.

    Args:
        fields: Field → what the mapping says of it.
        sample: Column → its values in the first rows.

    Example:
        >>> made = LogColumns({"seconds": {"column": "ms", "unit": "ms"}}, {"ms": ["1500"]})
        >>> made(pl.DataFrame({"ms": ["1500", "2"]}))["seconds"].to_list()
        ['1.5', '0.002']
    """

    def __init__(self, fields: Mapping[str, Any], sample: Mapping[str, Sequence[Any]]) -> None:
        named = fields.get("event")
        known = named is not None and not (isinstance(named, str) and not is_there(named, [*sample]))
        flags = {} if known else flags_of(sample)
        self.fields = fields = {**fields, **({"event": {"flags": flags}} if flags else {})}
        looked = {name: [*sample.get(c, ())] for name, s in fields.items() if isinstance(c := _plain(s), str)}
        self._gaps = {name for name, seen in looked.items() if name.split(".")[0] in _IDS and has_gaps(seen)}
        self._commas = {name for name, seen in looked.items() if name in KEYS and has_decimal_commas(seen)}
        self._scale = scale_of(looked.get("rating", ()))
        self._no_user = _no_user(fields.get("user_id"), sample)
        self._minutes = {
            name
            for name in ("timestamp", "first")
            if isinstance(several := _plain(fields.get(name)), list) and len(several) == 2
            if "min" in several[1].lower() or any(len(str(v)) > 2 for v in sample.get(several[1], ()))
        }

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The fields, one column each, of the frame's height."""
        made = [self._field(name, source, frame).alias(name) for name, source in self.fields.items()]
        return pl.DataFrame(made)

    def _field(self, name: str, source: Any, frame: pl.DataFrame) -> pl.Series:
        options = source if isinstance(source, Mapping) else {}
        if "value" in options:
            return pl.Series([str(options["value"])], dtype=pl.String).new_from_index(0, frame.height)
        if "flags" in options:
            return _flagged(options["flags"], frame)
        plain = _plain(source)
        if name == "cancelled":
            return _cancelled(plain if isinstance(plain, list) else [plain], frame)
        if name == "user_id" and isinstance(plain, list):
            return _first_said([_column(column, frame) for column in plain], self._no_user)
        column = self._joined(name, plain, frame) if isinstance(plain, list) else _column(str(plain), frame)
        if name in self._gaps and column.dtype == pl.String:
            column = column.str.replace(r"\.0+$", "")
        if options.get("values"):
            column = _translated(column, options["values"])
        if options.get("format"):
            return _in_format(column, str(options["format"]))
        decimal = options.get("decimal", "," if name in self._commas else ".")
        unit = options.get("unit") or (unit_of(plain) if name in ("seconds", "length") else "s")
        if name in ("seconds", "length"):
            column = in_seconds(column)
        elif name == "rating":
            column = in_stars(column)
        elif name == "share":
            column = in_shares(column, plain)
        column = column if unit == "s" and decimal == "." else in_unit(column, unit, decimal)
        scale = options.get("scale", self._scale) if name == "rating" else SCALES[0]
        return column if scale == SCALES[0] else of_five(column, scale)

    def _joined(self, name: str, columns: Sequence[str], frame: pl.DataFrame) -> pl.Series:
        """A day and a clock time as one text."""
        texts = [_text(_column(column, frame)) for column in columns]
        if len(texts) == 2:
            texts[1] = _clock(texts[1], with_minutes=name in self._minutes)
        return (
            pl.DataFrame({str(n): text for n, text in enumerate(texts)})
            .select(pl.concat_str(pl.all(), separator=" ", ignore_nulls=True))
            .to_series()
        )


def _plain(source: Any) -> Any:
    return source.get("column") if isinstance(source, Mapping) else source


def _column(name: str, frame: pl.DataFrame) -> pl.Series:
    """A column, or a field of its objects; null where there is none."""
    if name in frame.columns:
        return frame[name]
    outer, dot, inner = name.rpartition(".")
    if not dot:
        return _nulls(frame.height)
    column = _column(outer, frame)
    if isinstance(column.dtype, pl.Struct):
        named = {field.name for field in column.dtype.fields}
        return column.struct.field(inner) if inner in named else _nulls(len(column))
    return _text(column).str.json_path_match(f"$['{inner}']")


def _nulls(height: int) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, height)


def _text(column: pl.Series) -> pl.Series:
    return column.cast(pl.String, strict=False).str.strip_chars().str.replace(r"^(-?\d+)\.0$", "$1")


def _clock(text: pl.Series, with_minutes: bool) -> pl.Series:
    """``9`` → ``09:00``; with minutes ``905`` → ``09:05``; what is no number stays."""
    digits = text.str.contains(r"^\d{1,4}$")
    full = text.str.zfill(4) if with_minutes else text.str.zfill(2) + "00"
    return (full.str.slice(0, 2) + ":" + full.str.slice(2, 2)).zip_with(digits.fill_null(False), text)


def _flagged(flags: Mapping[str, str], frame: pl.DataFrame) -> pl.Series:
    """The event of the last flag that is set; an impression if none is."""
    event = pl.Series(["impression"], dtype=pl.String).new_from_index(0, frame.height)
    for column, name in flags.items():
        text = _text(_column(str(column), frame)).str.to_lowercase()
        positive = text.cast(pl.Float64, strict=False) > 0
        is_set = text.is_in(_TRUE) | positive.fill_null(False)
        event = (
            pl.Series([str(name)]).new_from_index(0, frame.height).zip_with(is_set.fill_null(False), event)
        )
    return event


def _no_user(columns: Any, sample: Mapping[str, Sequence[Any]]) -> frozenset[str]:
    """What stands for no user: also 0, unless it is one user with one e-mail address, time and again."""
    if not isinstance(columns, list):
        return NO_USER
    first, *others = (sample.get(column, ()) for column in columns)
    beside = [other for own, *other in zip(first, *others, strict=False) if identifier(own) == "0"]
    one = len(beside) > 1 and all(other == beside[0] for other in beside)
    return NO_USER if one else NO_USER | {"0"}


def _first_said(columns: Sequence[pl.Series], nothing: frozenset[str]) -> pl.Series:
    """Of each row the first value that is none of some words."""
    texts = [_text(column) for column in columns]
    return pl.select(pl.coalesce(text.set(text.is_in(list(nothing)), None) for text in texts)).to_series()


def _cancelled(columns: Sequence[Any], frame: pl.DataFrame) -> pl.Series:
    """``yes`` where an order came to nothing, null where nothing says anything, else ``no``.

    A column that is called like it (``Cancelled at``) says so by any value but a no; others by a word of a state.
    """
    found = _nulls(frame.height)
    for column in map(str, columns):
        text = _text(_column(column, frame)).str.to_lowercase()
        text = text.set(text.is_in(["", *map(str.lower, NULL_WORDS)]), None)
        if _CANCELLED.search(column.lower()):
            yes = ~text.is_in(["0", "false", "no", "n", "f"])
        else:
            yes = text.str.contains(rf"^(?:wc-)?(?:{_CANCELLED.pattern})$")
        said = yes.cast(pl.Int8).replace_strict({1: "yes", 0: "no"}, default=None, return_dtype=pl.String)
        found = pl.select(pl.max_horizontal(found, said)).to_series()  # "yes" is behind "no"
    return found


def _translated(column: pl.Series, values: Mapping[Any, Any]) -> pl.Series:
    """Values by a table, whatever their case; those that it does not name stay."""
    table = {str(theirs).strip().lower(): str(ours) for theirs, ours in values.items()}
    text = _text(column)
    return pl.select(
        pl.coalesce(text.str.to_lowercase().replace_strict(table, default=None), text)
    ).to_series()


def _in_format(column: pl.Series, form: str) -> pl.Series:
    """Times in a format of :func:`time.strptime` as Unix seconds; what is not in it stays as it is."""
    text = _text(column)
    read = {each: moment for each in text.drop_nulls().unique() if (moment := _strptime(each, form))}
    seconds = text.replace_strict(read, default=None, return_dtype=pl.String)
    return pl.select(pl.coalesce(seconds, text)).to_series()


def _strptime(text: str, form: str) -> str | None:
    try:
        moment = datetime.strptime(text, form)
        return str((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
