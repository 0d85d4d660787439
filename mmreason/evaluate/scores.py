"""What one system's reasons are worth, on the rows that it answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mmreason.evaluate import metrics
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.reasons import EvaluatedReason
from mmreason.evidence.claims import Mention, Vocabulary
from mmreason.language import phrase
from mmreason.schema import Item, Reason


def system_scores(
    texts: Sequence[str | None],
    rows: Sequence[EvaluatedReason],
    vocabulary: Vocabulary,
    hidden: Iterable[str],
) -> dict[str, Any]:
    """The standard metrics of one system; those that need references only where there are some.

    Args:
        texts: What the system wrote for each row; None where it was not asked.
        rows: The rows.
        vocabulary: What counts as a claim.
        hidden: Attributes that only the pictures tell.

    Returns:
        Metric → value, and ``rows``, the number answered; empty if it answered none.
    """
    answered = [(text, row) for text, row in zip(texts, rows, strict=True) if text is not None]
    if not answered:
        return {}
    predictions = [text for text, _ in answered]
    mentions = [vocabulary.find(text) for text in predictions]
    items, users = [row.item for _, row in answered], [row.user.id for _, row in answered]
    scores: dict[str, Any] = {"rows": len(answered)}
    for name in hidden:
        scores[f"{name} right"] = metrics.attribute_accuracy(
            mentions=mentions, items=items, attribute=name, users=users
        )
    scores["claims true of the item"] = _claims_true(mentions, items, users)
    scores["USR"] = metrics.usr(predictions=predictions)
    scores["USR-12"] = metrics.usr(predictions=predictions, first=12)
    scores["DIV"] = metrics.div(predictions=metrics.features(mentions))
    known = [
        (text, found, user, row.reference)
        for (text, row), found, user in zip(answered, mentions, users, strict=True)
        if row.reference is not None
    ]
    return scores | (_reference_scores(known) if known else {})


def _reference_scores(known: Sequence[tuple[str, list[Mention], str, Reason]]) -> dict[str, Any]:
    """Metrics against what was wanted, over (text, its claims, user, reference)."""
    predictions, references = [text for text, *_ in known], [reference.text for *_, reference in known]
    gold = [{phrase(e.value) for e in reference.evidence} for *_, reference in known]
    named = metrics.features(found for _, found, _, _ in known)
    hits = [bool(wanted & said) for wanted, said in zip(gold, named, strict=True)]
    scores: dict[str, Any] = {
        "taste named": Proportion.over_users(hits, [user for _, _, user, _ in known]),
        "FMR": metrics.fmr(predictions=named, references=gold),
        "FCR": metrics.fcr(predictions=named, references=set().union(*gold)),
    }
    for n in (1, 4):
        scores[f"BLEU-{n}"] = metrics.bleu(predictions=predictions, references=references, n=n)
    for n in (1, 2):
        scores[f"ROUGE-{n}"] = metrics.rouge(predictions=predictions, references=references, n=n)
        scores[f"ROUGE-{n} standard"] = metrics.rouge_standard(
            predictions=predictions, references=references, n=n
        )
    return scores


def _claims_true(
    mentions: Sequence[Sequence[Mention]], items: Sequence[Item], users: Sequence[str]
) -> Proportion:
    """Of all claims, those true of the item, hidden facts included; a word with two readings counts once."""
    verdicts, whose = [], []
    for found, item, user in zip(mentions, items, users, strict=True):
        for span in {m.span for m in found}:
            verdicts.append(any(m.true_of(item) for m in found if m.span == span))
            whose.append(user)
    return Proportion.over_users(verdicts, whose)


def probe_scores(rows: Sequence[EvaluatedReason], hidden: Iterable[str]) -> dict[str, Proportion]:
    """How good the verifier is: of the claims that it calls seen in the picture, those that are true."""
    scores = {}
    for name in hidden:
        verdicts, users = [], []
        for row in rows:
            truth = {phrase(value) for value in row.item.hidden.get(name, [])}
            for claim in row.reason.evidence:
                if claim.attribute == name and claim.source == "picture":
                    verdicts.append(claim.value in truth)
                    users.append(row.user.id)
        scores[f"{name}: accepted claims that are true"] = Proportion.over_users(verdicts, users)
    return scores
