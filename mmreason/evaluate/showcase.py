"""The report of a run: which rows, figures and curves it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmreason.catalogue.catalogue import Catalogue
from mmreason.checkpoint import read_json
from mmreason.config import Config
from mmreason.evaluate.metrics import Share
from mmreason.evaluate.plots import Curve
from mmreason.evaluate.report import Badge, MetricTable, ReportRow, write_report
from mmreason.evidence.claims import Vocabulary, phrase
from mmreason.schema import Item

if TYPE_CHECKING:
    from mmreason.evaluate.evaluate import Row

LOWER = ("DIV",)
STAGE_NAMES = {
    "warmup": "warm-up: evidence words",
    "projector": "reason: projector",
    "lora": "reason: projector + LoRA",
}


def write_showcase(
    config: Config, catalogue: Catalogue, rows: Sequence[Row], result: dict[str, Any], vocabulary: Vocabulary
) -> list[str]:
    """Write ``report.html``; returns a line for each picture that could not be shown."""
    domains = len({row.item.domain for row in rows})
    return write_report(
        config.path("report.html"),
        title="Recommendation reasons",
        subtitle=(
            f"{config.path().name}: {len(rows):,} reasons for users and items that no training row holds, "
            f"over {len(catalogue.items):,} items in {domains} domain{'s' if domains > 1 else ''}."
        ),
        rows=[_report_row(row, catalogue, vocabulary) for row in sample_rows(rows, config.evaluate.sample)],
        metrics=metric_table(result),
        curves=curves(config),
        facts=facts(result),
    )


def sample_rows(rows: Sequence[Row], count: int) -> list[Row]:
    """Rows of every domain in turn, those first that the swap tests also asked; right and wrong as they come."""
    queues: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda r: r.other_user is None):
        queues.setdefault(row.item.domain, []).append(row)
    turns = [row for turn in range(count) for queue in queues.values() for row in queue[turn : turn + 1]]
    return turns[:count]


def _report_row(row: Row, catalogue: Catalogue, vocabulary: Vocabulary) -> ReportRow:
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
        reference=row.reference.text,
        facts=list(_badges(row, vocabulary)),
        swapped=swapped,
    )


def _badges(row: Row, vocabulary: Vocabulary) -> list[Badge]:
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
    """The model beside its floors."""
    systems = {name: scores for name, scores in result["systems"].items() if scores}
    names = [name for name in systems["MMReason"] if name != "rows"]
    rows = [
        (name, "lower" if name in LOWER else "higher", [scores.get(name) for scores in systems.values()])
        for name in names
    ]
    notes = [
        f"Always naming the most frequent {name} ({floor['value']}) would be right in {floor['share'].value:.1%}."
        for name, floor in result["most_frequent"].items()
    ]
    notes += [f"{name.capitalize()}: {share}." for name, share in result["swaps"].items()]
    notes += [f"Probe, {name}: {share}." for name, share in result["probe"].items()]
    notes += [
        f"{name.capitalize()} over unseen items: "
        + ", ".join(f"R@{k} {r[f'recall@{k}']:.0%} (chance {r[f'chance@{k}']:.0%})" for k in (1, 5, 10))
        for name, r in result["retrieval"].items()
    ]
    if "text-only LM" in systems:
        notes.append(f"The text-only LM answered the first {systems['text-only LM']['rows']} rows.")
    return MetricTable(list(systems), rows, notes)


def curves(config: Config) -> list[Curve]:
    """Losses of both trainings."""
    align = read_json(config.path("align", "log.json"))
    found = [_curve("alignment: contrastive loss", align, "valid_loss")]
    reason = read_json(config.path("reason", "log.json"))
    for stage in dict.fromkeys(row["stage"] for row in reason):
        found.append(_curve(STAGE_NAMES[stage], [r for r in reason if r["stage"] == stage], "valid_loss"))
    return found


def _curve(name: str, log: list[dict[str, Any]], valid: str) -> Curve:
    held = [row for row in log if row.get(valid) is not None]
    return Curve(
        name,
        [row["step"] for row in log],
        [row["loss"] for row in log],
        valid_steps=[row["step"] for row in held],
        valid_values=[row[valid] for row in held],
    )


def facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Header tiles."""
    scores, swaps = result["systems"]["MMReason"], result["swaps"]
    tiles = []
    for name, floor in result["most_frequent"].items():
        share = scores[f"{name} right"]
        if share.total:
            tiles.append((f"{name} right", f"{share.value:.0%} (most frequent: {floor['share'].value:.0%})"))
    tiles.append(("claims true", _percent(scores["claims true of the item"])))
    tiles.append(("another user changes it", _percent(swaps["user: text changed"])))
    tiles.append(("every claim has evidence", _percent(result["verified"])))
    tiles.append(("reasons", f"{result['rows']:,}"))
    return tiles


def _percent(share: Share) -> str:
    return f"{share.value:.0%} ({share.hits}/{share.total})" if share.total else "–"
