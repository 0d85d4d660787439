"""Pictures and texts in the space of a trained pair of towers, where a value's prompt lies near what shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encoders.pairs import is_pair
from mmreason.config import Config
from mmreason.embed.texts import TextFeatures
from mmreason.language import is_chinese
from mmreason.probes.picture import seen_modalities

PROMPTS = ("{value}", "{name}: {value}", "a photo of {value}", "a product photo, {name} {value}")
PROMPTS_CHINESE = ("{value}", "{name}：{value}", "一张{value}的照片")
"""Texts that stand for a value; the mean of their vectors is compared with a picture's (CLIP's prompt ensembling)."""


class TowerPair:
    """The two towers of a run, if they were trained together.

    Args:
        texts: The text tower.
        store: The run's embedding store, or anything with its ``dims``, ``get`` and ``mask``.
    """

    def __init__(self, texts: TextFeatures, store: Any) -> None:
        self._texts, self._store = texts, store

    @classmethod
    def open(cls, config: Config, store: Any) -> TowerPair | None:
        """The pair of a run; None if its towers are of two models, or it has no shared space."""
        if not config.path("align", "config.json").is_file():
            return None
        texts = TextFeatures(config)
        told = texts.model.config
        trained = is_pair(told.image, told.image_weights, told.text, told.text_weights)
        return cls(texts, store) if trained else None

    def pictures(self, ids: Sequence[str]) -> np.ndarray:
        """(N, D) float32 of unit length: the pictures' own features, or the videos' where there is no picture.

        The store holds them standardised, behind statistics of the tower's depths if it keeps those.
        """
        model = self._texts.model
        found = np.zeros((len(ids), model.dims["text"]), np.float32)
        for modality in reversed(seen_modalities(self._store)):  # the picture's are put over the video's
            head = model.head(modality)
            standard = self._store.get(f"{modality}_features", list(ids)).astype(np.float32)
            raw = standard * head.std.float().cpu().numpy() + head.mean.float().cpu().numpy()
            found = np.where(self._store.mask(modality, list(ids))[:, None], raw[:, -found.shape[1] :], found)
        return _units(found)

    def prompts(self, name: str, values: Sequence[str]) -> np.ndarray:
        """(V, D) float32 of unit length: what stands for each of an attribute's values."""
        texts = [
            [
                prompt.format(name=name, value=value)
                for prompt in (PROMPTS_CHINESE if is_chinese(value) else PROMPTS)
            ]
            for value in values
        ]
        vectors = self._texts([text for some in texts for text in some])
        owners = np.repeat(np.arange(len(values)), [len(some) for some in texts])
        sums = np.zeros((len(values), vectors.shape[1]), np.float32)
        np.add.at(sums, owners, vectors)
        return _units(sums)


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
