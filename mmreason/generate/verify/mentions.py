"""Verification: each claim of a reason is bound to evidence, or marked as having none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmreason.evidence.claims import Mention, Vocabulary
from mmreason.language import phrase
from mmreason.schema import Evidence, Item

Shown = Mapping[str, str]
"""What an item's picture shows: hidden attribute → value, as the probe reads it."""


def verify(
    text: str,
    item: Item,
    history: Sequence[Item],
    vocabulary: Vocabulary,
    shown: Mapping[str, Shown],
) -> tuple[list[Evidence], bool]:
    """Find the claims of a reason and what makes each true.

    The item's ``hidden`` facts are never looked at: for these, the probe's reading of the picture is the evidence.

    Args:
        text: The reason.
        item: The recommended item.
        history: The user's items.
        vocabulary: Attribute values that count as claims.
        shown: Item id → what its picture shows.

    Returns:
        One evidence per claim, in the order of the text, and whether there is at least one and all hold.
    """
    spans: dict[tuple[int, int], list[Mention]] = {}
    for mention in vocabulary.find(text):
        spans.setdefault(mention.span, []).append(mention)
    evidence = []
    for span, mentions in sorted(spans.items()):
        # A word may be a value of several attributes: the reading that the item supports counts.
        readings = [_evidence(m, item, history, shown) for m in mentions]
        best = min(readings, key=lambda e: (e.source == "none", -len(e.item_ids)))
        best.span = span
        evidence.append(best)
    return evidence, bool(evidence) and all(e.source != "none" for e in evidence)


def _evidence(mention: Mention, item: Item, history: Sequence[Item], shown: Mapping[str, Shown]) -> Evidence:
    source = _source(mention, item, shown)
    shared = [i.id for i in history if _source(mention, i, shown) != "none"]
    return Evidence(mention.attribute, mention.value, source, shared)


def _source(mention: Mention, item: Item, shown: Mapping[str, Shown]) -> str:
    if mention.value in (phrase(value) for value in item.attributes.get(mention.attribute, [])):
        return "attribute"
    seen = shown.get(item.id, {}).get(mention.attribute)
    return "picture" if seen is not None and phrase(seen) == mention.value else "none"
