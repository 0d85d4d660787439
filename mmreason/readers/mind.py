"""MIND news: ``news.tsv`` and ``behaviors.tsv``, in ``catalogue.root`` or in folders under it (train, dev).

An impression stays one, clicked or not: each shown article is an ``impression``, each clicked one a ``click``
beside it. The click history of a row has no times; what is known is that it came before the row, so each of its
clicks gets the second before the earliest row that names it: never earlier than it can be known to have been.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import polars as pl

from mmreason.config import Config
from mmreason.readers.delimited import open_text, readable
from mmreason.readers.frames import row_frames
from mmreason.readers.source import SourceRow, Tables, batches
from mmreason.schema import DataError

NEWS = ("id", "category", "subcategory", "title", "text", "url", "title_entities", "abstract_entities")
BEHAVIORS = ("impression_id", "user_id", "time", "history", "impressions")
_TIME = "%m/%d/%Y %I:%M:%S %p"
Histories = dict[str, dict[str, tuple[float, SourceRow]]]
"""User → history → its earliest row and that row's time."""


def read(config: Config) -> Tables:
    """Read the news and behaviours under ``catalogue.root``.

    Raises:
        DataError: If there is no ``news.tsv`` or ``news.tsv.gz``.
    """
    root = Path(config.catalogue.root)
    news = sorted(root.rglob("news.tsv*"))
    if not config.catalogue.root or not news:
        raise DataError(f"catalogue.root {str(root)!r} holds no news.tsv of MIND")
    behaviors = sorted(root.rglob("behaviors.tsv*"))
    return Tables(root, chain.from_iterable(map(_articles, news)), _interactions(behaviors))


def _lines(path: Path, names: tuple[str, ...]) -> Iterator[SourceRow]:
    """Rows of a file without a header or quotes."""
    with readable(path), open_text(path, newline=None) as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip("\n").split("\t")
            if fields == [""]:
                continue
            label = f"{path.parent.name}/{path.name}"
            if len(fields) == len(names):
                yield SourceRow(label, number, dict(zip(names, fields, strict=True)))
            else:
                yield SourceRow(
                    label, number, {"line": line[:200]}, f"{len(fields)} fields, not {len(names)}"
                )


def _articles(path: Path) -> Iterator[SourceRow]:
    for row in _lines(path, NEWS):
        if not row.problem:
            raw = row.record
            attributes = {name: [raw[name]] for name in ("category", "subcategory") if raw[name].strip()}
            entities = _entities(raw["title_entities"])
            attributes |= {"entity": entities} if entities else {}
            row.record = {name: raw[name] for name in ("id", "title", "text")}
            row.record |= {"attributes": attributes, "domain": "news"}
        yield row


def _entities(text: str) -> list[str]:
    """Labels of what a title names; none if the field is empty or broken, which harms nothing else."""
    try:
        return list(dict.fromkeys(str(entity["Label"]) for entity in json.loads(text or "[]")))
    except (ValueError, TypeError, KeyError):
        return []


def _interactions(paths: Iterable[Path]) -> Iterator[pl.DataFrame]:
    histories: Histories = {}
    rows = chain.from_iterable(_lines(path, BEHAVIORS) for path in paths)
    for some in batches(rows, 2_000):
        moments = [_read_behavior(row, histories) for row in some]
        yield from row_frames(row for row in some if row.problem)
        yield _events([(row, moment) for row, moment in zip(some, moments, strict=True) if not row.problem])
    yield from row_frames(
        click for user, known in sorted(histories.items()) for click in _history_clicks(user, known)
    )


def _read_behavior(row: SourceRow, histories: Histories) -> float:
    """The row's time, after remembering its history; a row whose time cannot be read gets a problem."""
    if row.problem:
        return 0.0
    user, history = row.record["user_id"].strip(), row.record["history"].strip()
    try:
        moment = datetime.strptime(row.record["time"].strip(), _TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        row.problem = "time is not month/day/year hour:minute:second AM or PM"
        return 0.0
    if history:
        known = histories.setdefault(user, {})
        if history not in known or moment < known[history][0]:
            known[history] = (moment, SourceRow(row.file, row.number, {}))
    return moment


def _events(rows: list[tuple[SourceRow, float]]) -> pl.DataFrame:
    """An impression for every article shown, and a click beside it for every one clicked."""
    shown = pl.DataFrame(
        {
            "file": [row.file for row, _ in rows],
            "row": [row.number for row, _ in rows],
            "user_id": [_unicode(row.record["user_id"]) for row, _ in rows],
            "timestamp": [moment for _, moment in rows],
            "shown": [_unicode(row.record["impressions"]).split() for row, _ in rows],
        },
        schema_overrides={"shown": pl.List(pl.String), "row": pl.Int64},
    )
    shown = shown.explode("shown", empty_as_null=False)
    label = pl.col("shown").str.extract(r"-([^-]*)$")
    unmarked = "impression is not marked -0 or -1"
    clicked = pl.when(label == "1").then(pl.lit(["impression", "click"])).otherwise(pl.lit(["impression"]))
    return shown.select(
        *("file", "row", "user_id", "timestamp"),
        item_id=pl.col("shown").str.replace(r"-[^-]*$", ""),
        problem=pl.when(~label.is_in(["0", "1"])).then(pl.lit(unmarked)),
        event=clicked,
    ).explode("event")


def _unicode(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _history_clicks(user: str, known: dict[str, tuple[float, SourceRow]]) -> Iterator[SourceRow]:
    seen: set[str] = set()
    for history, (moment, row) in sorted(known.items(), key=lambda pair: pair[1][0]):
        for item in history.split():
            if item not in seen:
                seen.add(item)
                record = {"user_id": user, "item_id": item, "event": "click", "timestamp": moment - 1}
                yield SourceRow(row.file, row.number, record)
