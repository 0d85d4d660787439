"""The report: one HTML file that shows each reason with its evidence, and the figures with their floors.

It needs no network and runs no script; every text of the catalogue is escaped.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.plots import Curve, draw_curve
from mmreason.evaluate.rungs import LadderRecord
from mmreason.evaluate.thumbnails import Thumbnails, make_thumbnails
from mmreason.files import atomic_write
from mmreason.schema import Attributes, Evidence, Interaction, Item, Reason

SOURCES = {
    "attribute": "the catalogue says so",
    "picture": "only the picture shows it",
    "people": "other people say or do so",
    "none": "no evidence",
}
"""What the marks of claims mean to a reader."""

MARKS = {
    **dict.fromkeys(("attribute", "title", "text"), "attribute"),
    **dict.fromkeys(("review", "relation"), "people"),
    "picture": "picture",
}
"""``Evidence.source`` → its mark; an unknown source is shown as ``none``."""

EXPLANATIONS = {
    "usr-12": "Unique sentence ratio over the first 12 words: how many openings are not repeats.",
    "usr": "Unique sentence ratio: distinct reasons / reasons. Says little about long texts.",
    "fmr": "Feature matching ratio: the share of reasons that name the gold feature of their row.",
    "fcr": "Feature coverage ratio: how many of all gold features occur in any reason.",
    "div": "Features that two reasons share, mean over all pairs. Lower is more varied.",
    "bleu": "Word n-grams shared with the reference: corpus level, unsmoothed, brevity penalty, 0 to 100.",
    "rouge": "F1 of word n-grams against the reference, counted as sets (PETER's definition), 0 to 100.",
    "rouge-1 standard": "F1 of words against the reference, repeats counted (rouge_score), 0 to 100.",
    "rouge-2 standard": "F1 of word pairs against the reference, repeats counted (rouge_score), 0 to 100.",
    "statement precision": "Share of a reason's claims that have evidence, mean over reasons.",
    "changed": "Share of reasons that become another text when the named input is swapped.",
    "recall": "Share of queries with a true item among the first k.",
}
"""Hover texts of the metrics, found by the longest key that a row's name starts with."""

PICTURE, PICTURE_IN_HISTORY = 220, 128  # longest side of thumbnails in pixels
HISTORY = 9  # history items shown a row
SHOWN_CAUSES = 8


@dataclass(frozen=True)
class Badge:
    """A small label on a row, such as ``Badge("colour right", "good")``."""

    text: str
    tone: Literal["good", "bad", "neutral"] = "neutral"


@dataclass
class ReportRow:
    """One reason and what it rests on.

    Attributes:
        item: What is recommended, its media readable (absolute paths, bytes, PIL images).
        history: What the user did, oldest first, with the items.
        reason: The generated reason; its evidence is marked by ``Evidence.span``.
        reference: What a person or the simulation wrote for this row; empty if nobody did.
        facts: Labels shown beside the reason; a plain text is neutral.
        swapped: (label, text) of what the reason becomes when an input is exchanged.
    """

    item: Item
    history: list[tuple[Interaction, Item]]
    reason: Reason
    reference: str = ""
    facts: list[Badge | str] = field(default_factory=list)
    swapped: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class MetricTable:
    """The model beside its floors.

    Attributes:
        columns: The model first, then what it is compared with.
        rows: (metric, ``higher`` or ``lower`` is better or ``""``, one value per column). A :class:`Proportion` is
            shown in percent with its interval on hover; ``None`` as a dash.
        notes: Lines under the table.
        explain: Hover texts by metric name, before :data:`EXPLANATIONS`.
    """

    columns: list[str]
    rows: Sequence[tuple[str, str, Sequence[float | Proportion | None]]]
    notes: list[str] = field(default_factory=list)
    explain: Mapping[str, str] = field(default_factory=dict)


def write_report(
    path: str | Path,
    *,
    title: str,
    subtitle: str,
    rows: Sequence[ReportRow],
    metrics: MetricTable,
    curves: Sequence[Curve],
    facts: Sequence[tuple[str, str]],
    ladder: LadderRecord | None = None,
) -> list[str]:
    """Write the report as one self-contained HTML file.

    Args:
        path: The file; written to a temporary name and renamed.
        title: Heading.
        subtitle: One or two lines under it.
        rows: Reasons to show.
        metrics: The table of metrics.
        curves: Training curves.
        facts: Header tiles as (label, value): ``("colour right", "91 % (floor 14 %)")``; what is in brackets
            at the end of a value is shown smaller.
        ladder: Rungs, causes and writers.

    Returns:
        One line for each picture or video that could not be read; the report shows a placeholder for it.
    """
    pictures = make_thumbnails((row.item for row in rows), PICTURE, frames=5)
    small = make_thumbnails((item for row in rows for _, item in row.history), PICTURE_IN_HISTORY)
    unreadable = [*dict.fromkeys(pictures.unreadable + small.unreadable)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("report.html.jinja").render(
        title=title,
        subtitle=subtitle,
        tiles=[_tile(label, value) for label, value in facts],
        cards=[_row_view(row, pictures, small) for row in rows],
        sources=SOURCES,
        columns=metrics.columns,
        table=_table_view(metrics),
        notes=metrics.notes,
        plots=[(curve.name, draw_curve(curve)) for curve in curves],
        unreadable=len(unreadable),
        ladder=_ladder_view(ladder),
    )
    with atomic_write(Path(path)) as file:
        file.write(html.encode("utf-8", "replace"))
    return unreadable


def mark_evidence(text: str, evidence: Sequence[Evidence]) -> list[tuple[str, str, str]]:
    """Cut a reason where its evidence starts and ends.

    Where spans overlap, the weakest evidence gives the colour, so that a good claim never hides a bad one.
    Spans outside the text are cut to it.

    Returns:
        (text, source or ``""``, explanation) pieces that join to the text.

    Example:
        >>> mark_evidence("A red coat", [Evidence("color", "red", "picture", span=(2, 5))])[1]
        ('red', 'picture', 'color: red (only the picture shows it)')
    """
    spans = []
    for claim in evidence:
        if claim.span is not None:
            start, end = (min(max(0, edge), len(text)) for edge in claim.span)
            spans.append((start, end, claim))
    edges = sorted({0, len(text), *(edge for start, end, _ in spans if start < end for edge in (start, end))})
    pieces = []
    for start, end in pairwise(edges):
        here = [claim for first, last, claim in spans if first <= start and end <= last]
        source = max((_source(claim) for claim in here), key=list(SOURCES).index, default="")
        pieces.append((text[start:end], source, "; ".join(_explain(claim) for claim in here)))
    return pieces


def event_words(interaction: Interaction, film: bool = False) -> str:
    """What the user did, in words: "bought", "viewed 34 s" (a film: "watched"), "rated 5", "clicked 3×"."""
    verbs = {
        "impression": "was shown",
        "click": "clicked",
        "view": "watched" if film and interaction.seconds is not None else "viewed",
        "watch": "watched",
        "read": "read",
        "cart": "in the cart",
        "purchase": "bought",
        "rating": "rated",
        "review": "reviewed",
    }
    said = verbs.get(interaction.event, interaction.event)
    if interaction.rating is not None:
        said += (
            f" {interaction.rating:g}" if interaction.event == "rating" else f", rated {interaction.rating:g}"
        )
    if interaction.seconds is not None:
        said += f" {_duration(interaction.seconds)}"
    return said + (f" {interaction.count}×" if interaction.count > 1 else "")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _ladder_view(record: LadderRecord | None) -> dict | None:
    """Rungs as (name, count, share in percent), and lines for causes and writers."""
    if record is None or not record.rungs:
        return None
    total = sum(record.rungs.values())
    return {
        "rungs": [(rung, count, 100 * count / total) for rung, count in record.rungs.items()],
        "causes": record.causes.most_common(SHOWN_CAUSES),
        "writers": [(w.name, w.chosen, w.stopped.total(), _counts(w.stopped)) for w in record.writers],
        "shared": record.shared,
    }


def _counts(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()) or "–"


def _row_view(row: ReportRow, pictures: Thumbnails, small: Thumbnails) -> dict:
    """What the template shows of one row: texts, ``data:`` addresses and class names only."""
    reason = row.reason
    return {
        "title": row.item.title or row.item.id,
        "domain": row.item.domain,
        "pictures": pictures.addresses(row.item.id),
        "hole": "cannot be read" if row.item.images or row.item.video is not None else "no picture",
        "told": _fact_lines(row.item.attributes),
        "hidden": _fact_lines(row.item.hidden),
        "pieces": mark_evidence(reason.text, reason.evidence),
        "text": reason.text,
        "level": reason.level,
        "writer": reason.writer,
        "cause": reason.cause,
        "plan": _plan_lines(reason),
        "unplaced": [(_source(e), _explain(e)) for e in reason.evidence if e.span is None],
        "verified": reason.verified,
        "score": None if reason.score is None else f"{reason.score:.2f}",
        "badges": [fact if isinstance(fact, Badge) else Badge(fact) for fact in row.facts],
        "reference": row.reference,
        "history": _history_view(row, small),
        "earlier": max(0, len({item.id for _, item in row.history}) - HISTORY),
        "swapped": [(label, _changes(reason.text, text)) for label, text in row.swapped],
    }


def _history_view(row: ReportRow, small: Thumbnails) -> list[dict]:
    """One entry per history item, oldest first: those that are evidence, and else the latest."""
    items: dict[str, Item] = {}
    events: dict[str, list[str]] = {}
    for interaction, item in row.history:
        items[item.id] = item
        events.setdefault(item.id, []).append(event_words(interaction, item.domain == "video"))
    shared: dict[str, dict[str, str]] = {}
    for claim in row.reason.evidence:
        for item_id in claim.item_ids:
            shared.setdefault(item_id, {})[claim.value] = _source(claim)
    latest = sorted(items, key=lambda i: (i in shared, list(items).index(i)))[-HISTORY:]
    return [
        {
            "title": item.title or item.id,
            "picture": next(iter(small.addresses(item.id)), ""),
            "is_video": item.video is not None,
            "events": events[item_id],
            "shared": shared.get(item_id, {}),
            "source": next(iter(shared.get(item_id, {}).values()), ""),
        }
        for item_id, item in items.items()
        if item_id in latest
    ]


def _fact_lines(attributes: Attributes) -> list[tuple[str, str]]:
    """The first attributes, few enough to read beside a picture."""
    lines = []
    for name, values in list(attributes.items())[:5]:
        more = ", …" if len(values) > 4 else ""
        lines.append((name.replace("_", " "), ", ".join(map(str, values[:4])) + more))
    return lines


def _plan_lines(reason: Reason) -> list[tuple[str, str]]:
    """The facts that a reason used, and what it is tied to, as (name, words)."""
    lines = [(f["name"], _fact_words(f)) for f in reason.plan.get("facts", ())]
    tie = reason.plan.get("tie")
    if tie:
        lift = f", {tie['lift']:.1f} times as much as everybody" if "lift" in tie else ""
        lines.append(("tie", f"{tie['kind']}, {len(tie['items'])} of the history{lift}"))
    return lines


def _fact_words(fact: dict) -> str:
    sure = f", {fact['probability']:.0%} sure" if "probability" in fact else ""
    people = f", {fact['supporters']} of {fact['asked']} people" if "supporters" in fact else ""
    return f"{fact['value']} ({fact['source']}{sure}{people})"


def _source(claim: Evidence) -> str:
    return MARKS.get(claim.source, "none")


def _explain(claim: Evidence) -> str:
    return f"{claim.attribute}: {claim.value} ({SOURCES[_source(claim)]})"


def _changes(before: str, after: str) -> list[tuple[str, bool]]:
    """The second text in pieces, with whether a piece is new against the first."""
    a, b = re.split(r"(\s+)", before), re.split(r"(\s+)", after)
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return [("".join(b[j1:j2]), kind != "equal") for kind, _, _, j1, j2 in blocks if j2 > j1]


def _tile(label: str, value: str) -> tuple[str, str, str]:
    """Label, value, and what stands in brackets at the end of the value."""
    found = re.fullmatch(r"(.+?)\s*\(([^()]*)\)", value)
    return (label, found[1], found[2]) if found else (label, value, "")


def _table_view(metrics: MetricTable) -> list[dict]:
    view = []
    for name, better, values in metrics.rows:
        if len(values) != len(metrics.columns):
            raise ValueError(f"metric {name!r} has {len(values)} values for {len(metrics.columns)} columns")
        numbers = [v.value if isinstance(v, Proportion) else v for v in values]
        finite = [n for n in numbers if n is not None and math.isfinite(n)]
        best = {"higher": max, "lower": min}[better](finite) if finite and better else None
        largest = max(map(abs, finite), default=0)
        decimals = 3 if largest <= 1 else 2 if largest < 10 else 1
        cells = [
            (_cell(value, decimals), number is not None and number == best, _hover(value))
            for value, number in zip(values, numbers, strict=True)
        ]
        view.append({"name": name, "better": better, "explain": _explanation(name, metrics), "cells": cells})
    return view


def _cell(value: float | Proportion | None, decimals: int) -> str:
    number = value.value if isinstance(value, Proportion) else value
    if number is None or not math.isfinite(number):
        return "–"
    return f"{100 * number:.1f} %" if isinstance(value, Proportion) else f"{number:.{decimals}f}"


def _hover(value: float | Proportion | None) -> str:
    return str(value) if isinstance(value, Proportion) and value.total else ""


def _explanation(name: str, metrics: MetricTable) -> str:
    known = {**EXPLANATIONS, **{key.lower(): text for key, text in metrics.explain.items()}}
    keys = [key for key in known if name.lower().startswith(key)]
    return known[max(keys, key=len)] if keys else ""
