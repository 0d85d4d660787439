"""The report of a run: which rows, figures and curves it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mmreason.catalogue.catalogue import Catalogue
from mmreason.config import Config
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.plots import Curve
from mmreason.evaluate.reasons import EvaluatedReason
from mmreason.evaluate.report import Badge, MetricTable, ReportRow, write_report
from mmreason.evaluate.retrieval import KS
from mmreason.evaluate.rungs import ladder_record
from mmreason.evidence.claims import Vocabulary
from mmreason.files import read_json
from mmreason.language import phrase
from mmreason.schema import Item

LOWER_IS_BETTER = ("DIV",)
FAILURES = 5  # errors named in the report
STAGE_NAMES = {
    "align": "alignment: contrastive loss",
    "warmup": "warm-up: evidence words",
    "projector": "reason: projector",
    "lora": "reason: projector + LoRA",
}


def write_showcase(
    config: Config,
    catalogue: Catalogue,
    rows: Sequence[EvaluatedReason],
    result: dict[str, Any],
    vocabulary: Vocabulary,
) -> list[str]:
    """Write ``report.html``; returns a line for each picture that could not be shown."""
    domains = len({row.item.domain for row in rows})
    return write_report(
        config.path("report.html"),
        title="Recommendation reasons",
        subtitle=(
            f"{config.path().name}: {len(rows):,} reasons of job {result['job']}, over {len(catalogue.items):,} items"
            + (f" in {domains} domains." if domains > 1 else ".")
        ),
        rows=[_report_row(row, catalogue, vocabulary) for row in rows_to_show(rows, config.evaluate.sample)],
        metrics=metric_table(result),
        curves=curves(config),
        facts=facts(result),
        ladder=ladder_record((row.reason for row in rows), result["ladder"]["shared"]),
    )


def rows_to_show(rows: Sequence[EvaluatedReason], count: int) -> list[EvaluatedReason]:
    """Rows of every domain in turn, those first that the swap tests also asked; right and wrong as they come."""
    queues: dict[str, list[EvaluatedReason]] = {}
    for row in sorted(rows, key=lambda r: r.other_user is None):
        queues.setdefault(row.item.domain, []).append(row)
    turns = [row for turn in range(count) for queue in queues.values() for row in queue[turn : turn + 1]]
    return turns[:count]


def _report_row(row: EvaluatedReason, catalogue: Catalogue, vocabulary: Vocabulary) -> ReportRow:
    history = [
        (step, with_media(catalogue.items[step.item_id], catalogue))
        for step in row.user.history
        if step.item_id in catalogue.items
    ]
    swapped = []
    if row.other_user is not None:
        swapped.append(("for another user", row.other_user))
    if row.other_picture is not None and row.other_item is not None:
        shown = ", ".join(value for values in row.other_item.hidden.values() for value in values)
        swapped.append((f"with the picture of another item ({shown.lower()})", row.other_picture))
    if row.text_only is not None:
        swapped.append(("by the text-only LM", row.text_only))
    return ReportRow(
        item=with_media(row.item, catalogue),
        history=history,
        reason=row.reason,
        reference=row.reference.text if row.reference else "",
        facts=list(_badges(row, vocabulary)),
        swapped=swapped,
    )


def _badges(row: EvaluatedReason, vocabulary: Vocabulary) -> list[Badge]:
    """Is each named hidden fact right?"""
    badges = []
    for name, values in row.item.hidden.items():
        truth = {phrase(v) for v in values}
        named = {m.value for m in vocabulary.find(row.reason.text) if m.attribute == name}
        if named:
            right = named <= truth
            text = f"{name} right" if right else f"{name} wrong: it is {', '.join(sorted(truth))}"
            badges.append(Badge(text, "good" if right else "bad"))
    return badges


def with_media(item: Item, catalogue: Catalogue) -> Item:
    """The item with its media as absolute paths."""
    return replace(
        item,
        images=[catalogue.media(image) for image in item.images],
        video=catalogue.media(item.video) if item.video else None,
    )


def metric_table(result: dict[str, Any]) -> MetricTable:
    """The model beside its floors, and a note on everything else that was measured or left out."""
    systems = {name: scores for name, scores in result["systems"].items() if scores}
    names = [name for name in systems.get("MMReason", {}) if name != "rows"]
    rows = [
        (
            name,
            "lower" if name in LOWER_IS_BETTER else "higher",
            [scores.get(name) for scores in systems.values()],
        )
        for name in names
    ]
    return MetricTable(list(systems), rows, _notes(result, systems))


def _notes(result: dict[str, Any], systems: dict[str, Any]) -> list[str]:
    failed = result["failed"]
    notes = [f"Left out: {cause}." for cause in result["left_out"]]
    if failed:
        shown = "; ".join(f"{error} ({count:,})" for error, count in [*failed.items()][:FAILURES])
        more = f"; {len(failed) - FAILURES:,} other errors" if len(failed) > FAILURES else ""
        notes.append(f"{sum(failed.values()):,} of {result['requests']:,} requests failed: {shown}{more}.")
    if result["gone"]:
        notes.append(f"{result['gone']:,} reasons are for items that the catalogue no longer has.")
    notes += [
        f"Always naming the most frequent {name} ({floor['value']}) would be right in {floor['share'].value:.1%}."
        for name, floor in result["most_frequent"].items()
        if floor["share"].total
    ]
    measured = result["swaps"] | {f"probe, {name}": found for name, found in result["probe"].items()}
    notes += [f"{name.capitalize()}: {found}." for name, found in measured.items() if found.total]
    notes += [
        f"{name.capitalize()} over unseen items: "
        + ", ".join(f"R@{k} {r[f'recall@{k}']:.0%} (chance {r[f'chance@{k}']:.0%})" for k in KS)
        for name, r in result["retrieval"].items()
    ]
    if "text-only LM" in systems:
        asked = systems["text-only LM"]["rows"]
        notes.append(f"The text-only LM was asked for {asked:,} reasons, drawn over the users.")
    if systems:
        notes.append(
            "Intervals (95 %, on hover) are by bootstrap over users: a user's reasons resemble each other."
        )
    return notes


def training_logs(config: Config) -> dict[str, list[dict[str, Any]]]:
    """Part of a training → its log, of the trainings that there are."""
    logs = {}
    if config.path("align", "log.json").exists():
        logs["align"] = read_json(config.path("align", "log.json"))
    if config.path("reason", "log.json").exists():
        for row in read_json(config.path("reason", "log.json")):
            logs.setdefault(row["stage"], []).append(row)
    return {name: log for name, log in logs.items() if log}


def curves(config: Config) -> list[Curve]:
    """Losses of both trainings."""
    return [_curve(STAGE_NAMES.get(name, name), log) for name, log in training_logs(config).items()]


def _curve(name: str, log: list[dict[str, Any]]) -> Curve:
    held = [row for row in log if row.get("valid_loss") is not None]
    return Curve(
        name,
        [row["step"] for row in log],
        [row["loss"] for row in log],
        valid_steps=[row["step"] for row in held],
        valid_values=[row["valid_loss"] for row in held],
    )


def facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Header tiles."""
    scores, tiles = result["systems"].get("MMReason", {}), []
    for name, floor in result["most_frequent"].items():
        if scores and scores[f"{name} right"].total:
            right = scores[f"{name} right"].value
            tiles.append((f"{name} right", f"{right:.0%} (most frequent: {floor['share'].value:.0%})"))
    rungs = result["ladder"]["rungs"]
    if rungs:
        total, top = sum(rungs.values()), rungs["personal"]
        tiles.append(("personal", f"{top / total:.0%} ({top:,}/{total:,})"))
        tiles.append(
            ("shown at all", f"{1 - rungs['nothing'] / total:.0%} ({rungs['nothing']:,} left silent)")
        )
    if scores and not rungs:  # of a reason with a level the whole text was verified
        tiles.append(("claims true", _percent(scores["claims true of the item"])))
    if scores:
        tiles.append(
            ("another user changes it, if personal", _percent(result["swaps"]["user: personal text changed"]))
        )
        tiles.append(("every claim has evidence", _percent(result["verified"])))
    tiles.append(("reasons", f"{result['rows']:,}"))
    if failed := sum(result["failed"].values()):
        tiles.append(("failed requests", f"{failed:,} (of {result['requests']:,})"))
    return tiles


def _percent(proportion: Proportion) -> str:
    if not proportion.total:
        return "–"
    return f"{proportion.value:.0%} ({proportion.hits}/{proportion.total})"
