"""Swap tests: does a reason change with the user, and does it follow the picture?"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from mmreason.catalogue.catalogue import Catalogue
from mmreason.config import Config
from mmreason.device import pick_device, pick_dtype
from mmreason.evaluate import metrics
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.reasons import EvaluatedReason
from mmreason.evidence.claims import Vocabulary
from mmreason.generate.asks import load_reasoner
from mmreason.generate.ladder import PERSONAL
from mmreason.generate.ladder import Request as Asked
from mmreason.generate.reasoner import Reasoner
from mmreason.generate.writers.lm import LanguageModelWriter
from mmreason.progress import track
from mmreason.schema import Item, User

Request = tuple[User, Item]
T = TypeVar("T", User, Item)


def ask_again(
    chosen: Sequence[EvaluatedReason],
    rows: Sequence[EvaluatedReason],
    config: Config,
    catalogue: Catalogue,
) -> None:
    """Ask again for another user and with another picture, and the text-only LM where there is one.

    The answers are kept in the rows.

    Args:
        chosen: The rows to ask again for.
        rows: All rows; the other users and the other pictures are theirs.
        config: The run.
        catalogue: Its items.

    Raises:
        DataError: If a checkpoint does not fit.
        MediaError: If a picture or video cannot be read.
    """
    rng = random.Random(config.seed)
    size = config.generate.batch_size
    reasoner = load_reasoner(config, catalogue)
    _ask_for_other_users(chosen, rows, reasoner, rng, size)
    _ask_with_other_pictures(chosen, rows, reasoner, rng, size)
    if reasoner.embeddings is not None and config.path("baseline", "config.json").exists():
        place = pick_device(config.device)
        baseline = LanguageModelWriter.from_pretrained(
            config.path("baseline"), place, pick_dtype(config.dtype, place), config.generate.max_new_tokens
        )
        asked = [Asked(case, []) for case in reasoner.cases([(row.user, row.item) for row in chosen])]
        for row, written in zip(chosen, baseline.write_all(asked, reasoner.embeddings, size), strict=True):
            row.text_only = "" if isinstance(written, str) else written[0].text


def _texts(reasoner: Reasoner, requests: Sequence[Request], name: str, batch_size: int) -> list[str]:
    reasons = reasoner.explain_many(requests, batch_size)
    return [reason.text for reason in track(reasons, name, "reason", len(requests))]


def _by_domain(
    rows: Sequence[EvaluatedReason], pick: Callable[[EvaluatedReason], T]
) -> dict[str, dict[str, T]]:
    """Domain → id → the user or item of its rows."""
    found: dict[str, dict[str, T]] = {}
    for row in rows:
        picked = pick(row)
        found.setdefault(row.item.domain, {})[picked.id] = picked
    return found


def _ask_for_other_users(
    chosen: Sequence[EvaluatedReason],
    rows: Sequence[EvaluatedReason],
    reasoner: Reasoner,
    rng: random.Random,
    batch_size: int,
) -> None:
    """Another user is one that has a row of the same domain."""
    users = _by_domain(rows, lambda row: row.user)
    asked, requests = [], []
    for row in chosen:
        others = [user for name, user in users[row.item.domain].items() if name != row.user.id]
        if others:
            asked.append(row)
            requests.append((rng.choice(others), row.item))
    for row, text in zip(asked, _texts(reasoner, requests, "other users", batch_size), strict=True):
        row.other_user = text


def _ask_with_other_pictures(
    chosen: Sequence[EvaluatedReason],
    rows: Sequence[EvaluatedReason],
    reasoner: Reasoner,
    rng: random.Random,
    batch_size: int,
) -> None:
    """Show each item with the picture of another of its domain that differs in a hidden fact."""
    items = _by_domain(rows, lambda row: row.item)
    asked, requests = [], []
    for row in chosen:
        others = [item for item in items[row.item.domain].values() if item.hidden != row.item.hidden]
        if row.item.hidden and others:
            row.other_item = rng.choice(others)
            impostor = replace(row.item, id=f"{row.item.id}|{row.other_item.id}")
            reasoner.show_picture_of(impostor.id, row.item.id, row.other_item.id)
            asked.append(row)
            requests.append((row.user, impostor))
    for row, text in zip(asked, _texts(reasoner, requests, "other pictures", batch_size), strict=True):
        row.other_picture = text


def swap_scores(
    rows: Sequence[EvaluatedReason], vocabulary: Vocabulary, hidden: Iterable[str]
) -> dict[str, Proportion]:
    """How often a swap changes the text and its claims, and how often a named hidden fact follows the picture.

    Texts are also counted among personal reasons alone: a selling point is the same for everyone.
    """
    pairs = [(row, row.other_user) for row in rows if row.other_user is not None]
    users = [row.user.id for row, _ in pairs]
    before, after = [row.reason.text for row, _ in pairs], [text for _, text in pairs]
    claims = [_claims(vocabulary, a) != _claims(vocabulary, b) for a, b in zip(before, after, strict=True)]
    personal = [n for n, (row, _) in enumerate(pairs) if row.reason.level in ("", PERSONAL)]
    scores = {
        "user: text changed": metrics.changed_rate(before, after, users),
        "user: personal text changed": metrics.changed_rate(
            *([texts[n] for n in personal] for texts in (before, after, users))
        ),
        "user: claims changed": Proportion.over_users(claims, users),
    }
    shown = [
        (row.user.id, row.other_picture, row.other_item)
        for row in rows
        if row.other_picture is not None and row.other_item is not None
    ]
    for name in hidden:
        scores[f"picture: {name} named is the new picture's"] = metrics.attribute_accuracy(
            mentions=[vocabulary.find(text) for _, text, _ in shown],
            items=[item for _, _, item in shown],
            attribute=name,
            users=[user for user, _, _ in shown],
        )
    return scores


def _claims(vocabulary: Vocabulary, text: str) -> set[tuple[str, str]]:
    return {(mention.attribute, mention.value) for mention in vocabulary.find(text)}
