"""Zero-shot classification: attribute values written as prompts, and the picture that is nearest to one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmreason.embed.embedder import Embedder
from mmreason.evaluate.metrics import Proportion
from mmreason.schema import DataError, Item

TEMPLATES = ("{name}: {value}", "{title}. {name}: {value}", "{value}", "{value} {title}")
"""Prompts of a value, averaged (CLIP's prompt ensembling); ``{title}`` is the item's own title, when asked for."""

MIN_ITEMS = 10  # fewer pictures than this say nothing of an attribute


def prompts(name: str, value: str, titles: Sequence[str] = ()) -> list[str]:
    """The texts that stand for an attribute's value.

    Args:
        name: The attribute.
        value: The value.
        titles: Words for the kind of thing that has it, one prompt each; none are needed.

    Example:
        >>> prompts("color", "Red", ["Hoodie"])
        ['color: Red', 'Red', 'Hoodie. color: Red', 'Red Hoodie']
    """
    plain = [t for t in TEMPLATES if "{title}" not in t]
    titled = [t for t in TEMPLATES if "{title}" in t]
    return [t.format(name=name, value=value) for t in plain] + [
        t.format(name=name, value=value, title=title) for title in titles for t in titled
    ]


def prompt_vectors(
    embedder: Embedder, name: str, values: Sequence[str], titles: Sequence[str] = ()
) -> np.ndarray:
    """(C, D) float32 unit vectors, one a value: the normalised mean over its prompts."""
    texts = [prompts(name, value, titles) for value in values]
    items = [Item(f"{c}/{p}", text=text) for c, row in enumerate(texts) for p, text in enumerate(row)]
    vectors = embedder.encode(items).reshape(len(values), -1, embedder.model.config.dim).mean(1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def classify(pictures: np.ndarray, classes: np.ndarray, truth: Sequence[int]) -> dict[str, Any]:
    """How often the nearest class is the true one.

    Args:
        pictures: (N, D) float32 unit vectors.
        classes: (C, D) float32 unit vectors.
        truth: N class numbers.

    Returns:
        ``accuracy`` as a :class:`Proportion`, ``balanced`` (mean over the classes that occur) and ``most frequent``,
        what always naming the commonest true class would get.

    Raises:
        DataError: If there are no pictures, or numbers of pictures and labels differ.
    """
    if not len(pictures) or len(pictures) != len(truth):
        raise DataError(f"cannot classify {len(pictures)} pictures with {len(truth)} labels")
    labels = np.asarray(truth)
    right = (pictures @ classes.T).argmax(1) == labels
    per_class = [float(right[labels == c].mean()) for c in np.unique(labels)]
    return {
        "accuracy": Proportion(int(right.sum()), len(right)),
        "balanced": float(np.mean(per_class)),
        "most frequent": Counter(labels.tolist()).most_common(1)[0][1] / len(labels),
    }


def zero_shot(
    embedder: Embedder, items: Sequence[Item], pictures: np.ndarray, known: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Classify pictures by every attribute, hidden ones included, among the values that ``known`` lists.

    Args:
        embedder: Gives the prompts' vectors.
        items: N items; those with exactly one value of an attribute count for it.
        pictures: (N, D) their pictures' vectors.
        known: Attribute → its values in the whole catalogue, so that the task does not shrink to what is tested.

    Returns:
        Attribute → what :func:`classify` gives, with ``classes``; attributes with fewer than 10 items are left out.
    """
    results = {}
    for name, values in known.items():
        rows = [r for r, item in enumerate(items) if len(item.facts().get(name, ())) == 1]
        if len(rows) < MIN_ITEMS or len(values) < 2:
            continue
        number = {value: c for c, value in enumerate(values)}
        truth = [number[items[r].facts()[name][0]] for r in rows]
        results[name] = classify(pictures[rows], prompt_vectors(embedder, name, values), truth)
        results[name]["classes"] = len(values)
    return results


def attribute_values(items: Sequence[Item]) -> dict[str, list[str]]:
    """Attribute → its values in the items, sorted; hidden attributes included."""
    values: dict[str, set[str]] = {}
    for item in items:
        for name, found in item.facts().items():
            values.setdefault(name, set()).update(found)
    return {name: sorted(found) for name, found in sorted(values.items())}
