"""The ``evaluate`` stage: what the reasons are worth, beside their floors, and the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from encoders.errors import MediaError
from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.config import Config
from mmreason.evaluate import metrics
from mmreason.evaluate.floors import constant_sentence, shuffled
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.reasons import EvaluatedReason, draw_over_users, read_reasons
from mmreason.evaluate.retrieval import COLD, retrieval_by_pair
from mmreason.evaluate.rungs import ladder_record
from mmreason.evaluate.scores import probe_scores, system_scores
from mmreason.evaluate.showcase import training_logs, write_showcase
from mmreason.evaluate.swaps import ask_again, swap_scores
from mmreason.evidence.claims import Vocabulary
from mmreason.files import write_json
from mmreason.generate.sharing import told_of_sharing
from mmreason.schema import DataError
from mmreason.shards.loader import reason_samples
from mmreason.store.store import EmbeddingStore


def evaluate(config: Config) -> str:
    """Measure the generated reasons; write ``evaluate/metrics.json`` and ``report.html``.

    What cannot be measured for want of reasons, references, a model or embeddings is left out and said in a
    line of the report.

    Returns:
        The figures that matter, in one line.

    Raises:
        DataError: If the generate job is not finished, or not there though it is asked for by name.
    """
    catalogue = read_catalogue(config.path("catalogue"))
    reasons = read_reasons(config, catalogue)
    rows = reasons.rows
    vocabulary = Vocabulary.of(catalogue.items.values())
    hidden = sorted({name for item in catalogue.items.values() for name in item.hidden})
    left_out = [*_swap(rows, config, catalogue)]
    systems = _systems(config, rows) if rows else {}
    if rows and not any(row.reference for row in rows):
        left_out.append("no reason has a reference, so nothing is compared with one")
    retrieval = _retrieval(config, catalogue)
    if not retrieval:
        left_out.append("no two unseen items share two embedded modalities, so nothing is retrieved")
    job = config.evaluate.job or config.generate.job
    shared = told_of_sharing(config.path("generate", job))
    result: dict[str, Any] = {
        "job": job,
        "rows": len(rows),
        "requests": reasons.requests,
        "failed": dict(reasons.failures.most_common()),
        "ladder": ladder_record((row.reason for row in rows), shared).to_record(),
        "gone": reasons.gone,
        "left_out": left_out,
        "systems": {name: system_scores(texts, rows, vocabulary, hidden) for name, texts in systems.items()},
        "swaps": swap_scores(rows, vocabulary, hidden),
        "most_frequent": {name: _most_frequent(rows, name) for name in hidden},
        "verified": Proportion.over_users([bool(r.reason.verified) for r in rows], [r.user.id for r in rows]),
        "probe": probe_scores(rows, hidden),
        "retrieval": retrieval,
        "training": _training(config),
    }
    write_json(config.path("evaluate", "metrics.json"), _plain(result))
    unreadable = write_showcase(config, catalogue, rows, result, vocabulary)
    lost = f"; {len(unreadable)} media could not be shown" if unreadable else ""
    return summary(result) + lost


def _swap(rows: Sequence[EvaluatedReason], config: Config, catalogue: Catalogue) -> list[str]:
    """Ask again for rows drawn over the users; returns why not, where that cannot be done."""
    if not rows:
        return ["there are no reasons to measure: run generate, or look at its errors"]
    try:
        ask_again(draw_over_users(rows, config.evaluate.rows, config.seed), rows, config, catalogue)
    except (DataError, MediaError) as error:
        return [f"reasons could not be asked for again: {error}"]
    return []


def _systems(config: Config, rows: Sequence[EvaluatedReason]) -> dict[str, list[str | None]]:
    """System → its text for each row: the model, and what it must be better than."""
    systems: dict[str, list[str | None]] = {
        "MMReason": [row.reason.text for row in rows],
        "text-only LM": [row.text_only for row in rows],
    }
    known = [row.reference.text for row in rows if row.reference is not None]
    training = _training_texts(config)
    if known and any(training):
        systems["constant sentence"] = [constant_sentence(training, config.seed)] * len(rows)
    if len(known) > 1:
        moved = iter(shuffled(known, config.seed))
        systems["shuffled references"] = [next(moved) if row.reference is not None else None for row in rows]
    return systems


def _training_texts(config: Config) -> list[str]:
    shards = config.path("shards")
    if not (shards / "manifest.json").exists():
        return []
    return [sample.reason.text for sample in reason_samples(shards, "train")]


def _retrieval(config: Config, catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Pair of modalities → recall over unseen items; variants of one product count as right."""
    if not config.path("embed", "index.json").exists():
        return {}
    store = EmbeddingStore.open(config.path("embed"))
    items = [item for item in catalogue.items.values() if item.split == "test" and item.id in store]
    found = retrieval_by_pair(items, store)
    return {row["pair"]: row for row in found if row["items"] == COLD and row["domain"] == "all"}


def _most_frequent(rows: Sequence[EvaluatedReason], attribute: str) -> dict[str, Any]:
    value, proportion = metrics.most_frequent_floor(items=[row.item for row in rows], attribute=attribute)
    return {"value": value, "share": proportion}


def _training(config: Config) -> dict[str, list[float]]:
    """First and last loss of each part of both trainings."""
    ends = {}
    for name, log in training_logs(config).items():
        losses = [row["loss"] for row in log]
        ends[name] = [losses[0], losses[-1]]
    return ends


def summary(result: dict[str, Any]) -> str:
    """The figures that matter, in one line."""
    scores, swaps = result["systems"].get("MMReason", {}), result["swaps"]
    rungs = {rung: count for rung, count in result["ladder"]["rungs"].items() if count}
    parts = [f"{', '.join(f'{count:,} {rung}' for rung, count in rungs.items())}"] if rungs else []
    parts += [
        f"{name} right {scores[f'{name} right']} (floor {floor['share'].value:.0%})"
        for name, floor in result["most_frequent"].items()
        if scores and scores[f"{name} right"].total
    ]
    if scores and not rungs:
        parts.append(f"claims true {scores['claims true of the item']}")
    if (changed := swaps["user: personal text changed"]).total:
        parts.append(f"another user changes {changed.value:.0%} of the personal ones")
    if "BLEU-4" in scores:
        parts.append(f"BLEU-4 {scores['BLEU-4']:.1f}")
    if failed := sum(result["failed"].values()):
        parts.append(f"{failed:,} of {result['requests']:,} requests failed")
    return "; ".join(parts + result["left_out"])


def _plain(value: Any) -> Any:
    """Proportions as numbers with their counts and interval, for JSON."""
    if isinstance(value, Proportion):
        return {
            "value": value.value if value.total else None,
            "hits": value.hits,
            "total": value.total,
            "ci95": list(value.interval),
        }
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return json.loads(json.dumps(value)) if not isinstance(value, float) else value
