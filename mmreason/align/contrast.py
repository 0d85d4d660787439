"""What is contrasted: two modalities where items have them, else two views of one, else nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from encoders import Encoder
from encoders.augment import second_view
from mmreason.align.losses.pairs import normalise_pairs
from mmreason.config import AlignConfig
from mmreason.embed.features import inputs_of
from mmreason.schema import Item

VIEWS = {
    "text": ("text:title", "text:description"),
    "image": ("image", "image:mirrored"),
    "video": ("video", "video:others"),
}
"""Modality → the two views of it that are contrasted where an item has nothing else."""


@dataclass(frozen=True)
class Contrast:
    """What a training of the shared space contrasts.

    Attributes:
        pairs: (modality or view, modality or view) → weight; empty if there is nothing to contrast.
        note: What is done where that is not modalities with each other; for the summary.
    """

    pairs: dict[tuple[str, str], float] = field(default_factory=dict)
    note: str = ""

    @property
    def names(self) -> list[str]:
        """The modalities and views that take part."""
        return list(dict.fromkeys(name for pair in self.pairs for name in pair))

    @property
    def of_views(self) -> bool:
        """Whether views of one modality are contrasted, not modalities."""
        return any(a.partition(":")[0] == b.partition(":")[0] for a, b in self.pairs)


NOTHING = Contrast(note="nothing to contrast: the encoders' own spaces, projected")


def of_modalities(present: Mapping[str, np.ndarray], config: AlignConfig) -> Contrast:
    """Modalities with each other.

    Args:
        present: Modality → (N,) bool, which training items have it.
        config: Names the pairs.

    Returns:
        The pairs that at least two items have; without pairs if there is none.
    """
    wanted = normalise_pairs(config.pairs, list(present))
    pairs = {(a, b): w for (a, b), w in wanted.items() if int((present[a] & present[b]).sum()) >= 2}
    return Contrast(wanted) if pairs else NOTHING


def of_one_modality(present: Mapping[str, np.ndarray]) -> Contrast:
    """Two views of each modality that at least two items have, texts only where they have title and description.

    Args:
        present: Modality or view → (N,) bool, which training items have it.
    """
    pairs = {
        (a, b): 1.0 for a, b in VIEWS.values() if a in present and int((present[a] & present[b]).sum()) >= 2
    }
    if not pairs:
        return NOTHING
    what = {"text": "titles with descriptions", "image": "two views a picture", "video": "two views a video"}
    said = ", ".join(what[a.partition(":")[0]] for a, _ in pairs)
    return Contrast(pairs, f"no two modalities to contrast: {said} instead")


def view_encoders(encoders: Mapping[str, Encoder], modalities: Sequence[str]) -> dict[str, Encoder]:
    """View → its encoder, for some modalities; weights are shared."""
    found: dict[str, Encoder] = {}
    for modality in modalities:
        first, second = VIEWS[modality]
        found[first] = encoders[modality]
        found[second] = encoders[modality] if modality == "text" else second_view(encoders[modality])
    return found


def view_inputs(items: Sequence[Item], name: str, encoder: Encoder) -> tuple[list[int], list[Any]]:
    """As :func:`mmreason.embed.features.inputs_of`, for views: titles and descriptions of items that have both."""
    modality, _, view = name.partition(":")
    if modality != "text" or not view:
        return inputs_of(items, modality, encoder)
    chosen = [(row, item) for row, item in enumerate(items) if item.title.strip() and item.text.strip()]
    return [row for row, _ in chosen], [item.title if view == "title" else item.text for _, item in chosen]
