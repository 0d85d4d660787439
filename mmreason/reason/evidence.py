"""Which words are true of an item, and which it shares with a history: the prior that soft tokens start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmreason.probes.picture import PictureProbe, has_picture, picture_features
from mmreason.schema import Item

FLOOR = 0.02  # of a word's probability: the prior leans, the learned fusion may overrule it


class EvidenceWords:
    """Reads off items how far each candidate word is true of them; picklable, for loader workers.

    A visible attribute tells its words for certain. What only the picture tells comes from the probe, with its
    probability; an item's ``hidden`` facts are never looked at.

    Args:
        tokenizer: The LM's.
        candidates: Token ids of the words, in order.
        probe: Reads pictures; None if nothing is hidden.
    """

    def __init__(self, tokenizer: Any, candidates: Sequence[int], probe: PictureProbe | None) -> None:
        self.tokenizer = tokenizer
        self.probe = probe
        self._column = {token: index for index, token in enumerate(candidates)}
        self._tokens: dict[str, list[int]] = {}

    def columns(self, value: str) -> list[int]:
        """Columns of the candidates that spell an attribute value."""
        if value not in self._tokens:
            tokens = self.tokenizer.encode(" " + value.lower(), add_special_tokens=False)
            self._tokens[value] = [self._column[t] for t in tokens if t in self._column]
        return self._tokens[value]

    def of(self, items: Sequence[Item], store: Any) -> Tensor:
        """(N, C) in 0..1: how far each word is true of each item.

        Args:
            items: In ``store``.
            store: An embedding store, or anything with its ``dims``, ``get`` and ``mask``.
        """
        words = torch.zeros(len(items), len(self._column))
        for row, item in enumerate(items):
            for values in item.attributes.values():
                for value in values:
                    words[row, self.columns(value)] = 1.0
        if self.probe is None or not self.probe.values or not items:
            return words
        ids = [item.id for item in items]
        shown = has_picture(store, ids)
        for name, probabilities in self.probe.predict(picture_features(store, ids)).items():
            untold = shown & torch.tensor([name not in item.attributes for item in items])
            for index, value in enumerate(self.probe.values[name]):
                for column in self.columns(value):
                    seen = torch.where(untold, probabilities[:, index], 0.0)
                    words[:, column] = torch.maximum(words[:, column], seen)
        return words


def shared_prior(item: Tensor, history: Tensor) -> Tensor:
    """Log-probability, up to a constant, that a word is what an item and a history share.

    Args:
        item: (C,) in 0..1, how far each word is true of the item.
        history: (H, C), the same of each history item; H may be 0, then the item alone decides.

    Returns:
        (C,) float32.

    Example:
        >>> red_or_blue = shared_prior(torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> bool(red_or_blue[0] > red_or_blue[1])
        True
    """
    prior = (item + FLOOR).log()
    return prior + (history.mean(0) + FLOOR).log() if len(history) else prior
