"""The ``evaluate`` stage: what the reasons are worth, beside their floors, and the report."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.checkpoint import read_json, write_json
from mmreason.config import Config
from mmreason.evaluate import metrics
from mmreason.evaluate.floors import constant_sentence, shuffled
from mmreason.evaluate.metrics import Share
from mmreason.evaluate.retrieval import recall_at_k
from mmreason.evaluate.showcase import write_showcase
from mmreason.evidence.claims import Mention, Vocabulary, phrase
from mmreason.generate.job import load_reasoner, read_parts
from mmreason.generate.reasoner import Reasoner
from mmreason.schema import DataError, Item, Reason, User, from_record
from mmreason.shards.loader import ReasonSample, reason_samples
from mmreason.store.store import EmbeddingStore


@dataclass
class Row:
    """One generated reason with what it is measured against.

    Attributes:
        user: The user with the history that the reason saw.
        item: The item.
        reason: What the model wrote.
        reference: What the simulation or a person wrote.
        text_only: What the text-only LM wrote, if it was asked.
        other_user: The reason for the same item and another user, if asked.
        other_picture: The reason with another item's picture in place of its own, if asked.
        other_item: The item whose picture was shown.
    """

    user: User
    item: Item
    reason: Reason
    reference: Reason
    text_only: str | None = None
    other_user: str | None = None
    other_picture: str | None = None
    other_item: Item | None = None


def evaluate(config: Config) -> str:
    """Measure the generated reasons; write ``evaluate/metrics.json`` and ``report.html``."""
    catalogue = read_catalogue(config.path("catalogue"))
    store = EmbeddingStore.open(config.path("embed"))
    rows = read_rows(config, catalogue)
    vocabulary = Vocabulary.of(catalogue.items.values())
    swap(rows, config, catalogue)
    train = [s.reason.text for s in reason_samples(config.path("shards"), "train")]
    hidden = sorted({name for item in catalogue.items.values() for name in item.hidden})
    references = [row.reference.text for row in rows]
    systems: dict[str, Sequence[str | None]] = {
        "MMReason": [row.reason.text for row in rows],
        "text-only LM": [row.text_only for row in rows],
        "constant sentence": constant_sentence(
            references_train=train, references=references, seed=config.seed
        ),
        "shuffled references": shuffled(references, config.seed),
    }
    table = {name: _scores(texts, rows, vocabulary, hidden) for name, texts in systems.items()}
    result: dict[str, Any] = {
        "rows": len(rows),
        "systems": table,
        "swaps": _swap_scores(rows, vocabulary, hidden),
        "most_frequent": {name: _most_frequent(rows, name) for name in hidden},
        "verified": Share(sum(bool(r.reason.verified) for r in rows), len(rows)),
        "probe": _probe_scores(rows, vocabulary, hidden),
        "retrieval": retrieval(catalogue, store),
        "training": _training(config),
    }
    write_json(config.path("evaluate", "metrics.json"), _plain(result))
    unreadable = write_showcase(config, catalogue, rows, result, vocabulary)
    lost = f"; {len(unreadable)} media could not be shown" if unreadable else ""
    return summary(result) + lost


def read_rows(config: Config, catalogue: Catalogue) -> list[Row]:
    """The generated rows joined with the test split's references.

    Raises:
        DataError: If there is no test row with a reason.
    """
    references: dict[tuple[str, str], ReasonSample] = {
        (s.reason.user_id, s.reason.item_id): s for s in reason_samples(config.path("shards"), "test")
    }
    rows = []
    for record in read_parts(config.path("generate")).to_pylist():
        sample = references.get((record["user_id"], record["item_id"]))
        if sample is not None and record["error"] is None:
            reason = from_record(Reason, record)
            rows.append(Row(sample.user, catalogue.items[reason.item_id], reason, sample.reason))
    if not rows:
        raise DataError(
            f"{config.path('generate')}: no generated row is of the test split; nothing to measure"
        )
    return rows


def swap(rows: list[Row], config: Config, catalogue: Catalogue) -> None:
    """Ask the model again with another user or another picture, and the text-only LM, on the first rows."""
    chosen = rows[: config.evaluate.rows or None]
    rng = random.Random(config.seed)
    reasoner = load_reasoner(config, catalogue, config.path("reason"))
    size = config.generate.batch_size
    others = [_other_user(row, rows, rng) for row in chosen]
    asked = [(row, user) for row, user in zip(chosen, others, strict=True) if user is not None]
    for (row, _), reason in zip(
        asked, reasoner.explain_many([(u, r.item) for r, u in asked], size), strict=True
    ):
        row.other_user = reason.text
    _swap_pictures(chosen, reasoner, rng, size)
    if config.path("baseline", "config.json").exists():
        baseline = load_reasoner(config, catalogue, config.path("baseline"))
        for row, reason in zip(
            chosen, baseline.explain_many([(r.user, r.item) for r in chosen], size), strict=True
        ):
            row.text_only = reason.text


def _other_user(row: Row, rows: Sequence[Row], rng: random.Random) -> User | None:
    """Another user of the same domain."""
    pool = [r.user for r in rows if r.user.id != row.user.id and r.item.domain == row.item.domain]
    return rng.choice(pool) if pool else None


def _swap_pictures(rows: list[Row], reasoner: Reasoner, rng: random.Random, batch_size: int) -> None:
    """Show each item with the picture of another of its domain that differs in a hidden fact."""
    asked = []
    for row in rows:
        pool = [r.item for r in rows if r.item.domain == row.item.domain and r.item.hidden != row.item.hidden]
        if row.item.hidden and pool:
            row.other_item = rng.choice(pool)
            impostor = replace(row.item, id=f"{row.item.id}|{row.other_item.id}")
            reasoner.embeddings.add_chimera(impostor.id, row.item.id, row.other_item.id)
            asked.append((row, impostor))
    reasons = reasoner.explain_many([(row.user, impostor) for row, impostor in asked], batch_size)
    for (row, _), reason in zip(asked, reasons, strict=True):
        row.other_picture = reason.text


def _scores(
    texts: Sequence[str | None], rows: Sequence[Row], vocabulary: Vocabulary, hidden: Iterable[str]
) -> dict[str, Any]:
    """The standard metrics of one system, on the rows that it answered."""
    pairs = [(text, row) for text, row in zip(texts, rows, strict=True) if text is not None]
    if not pairs:
        return {}
    predictions, kept = [text for text, _ in pairs], [row for _, row in pairs]
    references = [row.reference.text for row in kept]
    mentions = [vocabulary.find(text) for text in predictions]
    items = [row.item for row in kept]
    named = metrics.features(mentions)
    gold = [{phrase(e.value) for e in row.reference.evidence} for row in kept]
    scores: dict[str, Any] = {"rows": len(kept)}
    scores |= {
        f"{name} right": metrics.attribute_accuracy(mentions=mentions, items=items, attribute=name)
        for name in hidden
    }
    scores["claims true of the item"] = _claims_true(mentions, items)
    scores["taste named"] = Share(sum(bool(g & n) for g, n in zip(gold, named, strict=True)), len(kept))
    scores["USR"] = metrics.usr(predictions=predictions)
    scores["USR-12"] = metrics.usr(predictions=predictions, first=12)
    scores["FMR"] = metrics.fmr(predictions=named, references=gold)
    scores["FCR"] = metrics.fcr(predictions=named, references=set().union(*gold))
    scores["DIV"] = metrics.div(predictions=named)
    for n in (1, 4):
        scores[f"BLEU-{n}"] = metrics.bleu(predictions=predictions, references=references, n=n)
    for n in (1, 2):
        scores[f"ROUGE-{n}"] = metrics.rouge(predictions=predictions, references=references, n=n)
        scores[f"ROUGE-{n} standard"] = metrics.rouge_standard(
            predictions=predictions, references=references, n=n
        )
    return scores


def _claims_true(mentions: Sequence[Sequence[Mention]], items: Sequence[Item]) -> Share:
    """Of all claims, those true of the item, hidden facts included; a word with two readings counts once."""
    hits = total = 0
    for found, item in zip(mentions, items, strict=True):
        for span in {m.span for m in found}:
            total += 1
            hits += any(m.true_of(item) for m in found if m.span == span)
    return Share(hits, total)


def _swap_scores(rows: Sequence[Row], vocabulary: Vocabulary, hidden: Iterable[str]) -> dict[str, Share]:
    """How often a swap changes the text, its claims, and whether the named colour follows the picture."""
    users = [r for r in rows if r.other_user is not None]
    scores = {
        "user: text changed": metrics.changed_rate(
            [r.reason.text for r in users], [r.other_user or "" for r in users]
        ),
        "user: claims changed": Share(
            sum(_values(vocabulary, r.reason.text) != _values(vocabulary, r.other_user or "") for r in users),
            len(users),
        ),
    }
    for name in hidden:
        shown = [r for r in rows if r.other_picture is not None and r.other_item is not None]
        items = [r.other_item for r in shown if r.other_item is not None]
        mentions = [vocabulary.find(r.other_picture or "") for r in shown]
        scores[f"picture: {name} named is the new picture's"] = metrics.attribute_accuracy(
            mentions=mentions, items=items, attribute=name
        )
    return scores


def _values(vocabulary: Vocabulary, text: str) -> set[tuple[str, str]]:
    return {(m.attribute, m.value) for m in vocabulary.find(text)}


def _most_frequent(rows: Sequence[Row], attribute: str) -> dict[str, Any]:
    value, share = metrics.most_frequent_floor(items=[row.item for row in rows], attribute=attribute)
    return {"value": value, "share": share}


def _probe_scores(rows: Sequence[Row], vocabulary: Vocabulary, hidden: Sequence[str]) -> dict[str, Share]:
    """How good the verifier is: of the claims it calls seen in the picture, those that are true."""
    scores = {}
    for name in hidden:
        seen = [(e, row.item) for row in rows for e in row.reason.evidence if e.attribute == name]
        accepted = [(e, item) for e, item in seen if e.source == "picture"]
        right = sum(e.value in {phrase(v) for v in item.hidden.get(name, [])} for e, item in accepted)
        scores[f"{name}: accepted claims that are true"] = Share(right, len(accepted))
    return scores


def retrieval(catalogue: Catalogue, store: EmbeddingStore) -> dict[str, dict[str, float]]:
    """Picture ↔ text (and video ↔ text) recall over unseen items; variants of one product count as right."""
    result = {}
    for a, b in (("image", "text"), ("text", "image"), ("video", "text")):
        ids = [i.id for i in catalogue.items.values() if i.split == "test" and i.id in store]
        mask = store.mask(a, ids) & store.mask(b, ids)
        ids = [i for i, m in zip(ids, mask, strict=True) if m]
        if len(ids) < 2:
            continue
        groups: dict[str, set[int]] = {}
        for row, item_id in enumerate(ids):
            groups.setdefault(catalogue.items[item_id].group, set()).add(row)
        truth = [groups[catalogue.items[i].group] for i in ids]
        queries, gallery = np.asarray(store.get(a, ids)), np.asarray(store.get(b, ids))
        result[f"{a} → {b}"] = recall_at_k(queries, gallery, truth, ks=(1, 5, 10))
    return result


def _training(config: Config) -> dict[str, Any]:
    """First and last losses of both trainings."""
    align, reason = read_json(config.path("align", "log.json")), read_json(config.path("reason", "log.json"))
    ends = {"align": [align[0]["loss"], align[-1]["loss"]]}
    for name in dict.fromkeys(row["stage"] for row in reason):
        losses = [row["loss"] for row in reason if row["stage"] == name]
        ends[name] = [losses[0], losses[-1]]
    return ends


def summary(result: dict[str, Any]) -> str:
    """The figures that matter, in one line."""
    scores, swaps = result["systems"]["MMReason"], result["swaps"]
    parts = [
        f"{name} right {scores[f'{name} right']} (floor {result['most_frequent'][name]['share'].value:.0%})"
        for name in result["most_frequent"]
    ]
    parts.append(f"claims true {scores['claims true of the item']}")
    parts.append(f"another user changes {swaps['user: text changed'].value:.0%}")
    parts.append(f"BLEU-4 {scores['BLEU-4']:.1f}")
    return "; ".join(parts)


def _plain(value: Any) -> Any:
    """Shares as numbers with their counts and interval, for JSON."""
    if isinstance(value, Share):
        low, high = value.interval
        return {
            "value": None if not value.total else value.value,
            "hits": value.hits,
            "total": value.total,
            "ci95": [low, high],
        }
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return json.loads(json.dumps(value)) if not isinstance(value, float) else value
