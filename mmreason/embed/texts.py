"""Features of texts that are no items', phrases or prompts, by a run's text encoder; each is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from encoders import Encoder, create_encoder
from encoders.text import TextEncoder
from mmreason.config import Config
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.cache import cache_folder, kind_of, tower_identity
from mmreason.embed.features import FeatureReader
from mmreason.embed.model import AlignModel
from mmreason.store.features import FeatureCache, input_key

CHUNK = 2048
"""Texts encoded between two writes."""


class TextFeatures:
    """Unit vectors of texts, out of the feature cache that the items' texts are in; what it lacks is encoded.

    Args:
        config: The run, whose shared space was made.

    Attributes:
        model: The run's alignment model.

    Example:
        >>> TextFeatures(config)(["hidden pocket", "secret pocket"]).shape       # doctest: +SKIP
        (2, 384)
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.model = AlignModel.from_pretrained(config.path("align"))
        self._device = pick_device(config.device)
        self._dtype = pick_dtype(config.dtype, self._device)
        identity = tower_identity(self.model.config, "text", self._dtype)
        folder = cache_folder(config) / kind_of("text", identity)
        self._cache = FeatureCache(folder, self.model.dims["text"], identity)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(N, F) float32 of unit length; zeros where the encoder gave nothing."""
        keys = [input_key(text) for text in texts]
        missing = dict.fromkeys(
            text for text, row in zip(texts, self._cache.rows(keys), strict=True) if row < 0
        )
        new = list(missing)
        for start in range(0, len(new), CHUNK):
            self._encode(new[start : start + CHUNK])
        features = self._cache.get(self._cache.rows(keys))
        return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)

    def _encode(self, texts: list[str]) -> None:
        with FeatureReader({"text": self.encoder}, self._config.embed.batch_size) as reader:
            found = reader.start({"text": texts}).result()["text"]
        good = [place for place in range(len(texts)) if place not in found.errors]
        self._cache.write([input_key(texts[place]) for place in good], found.values.numpy()[good])

    def is_word(self, text: str) -> bool:
        """Whether the encoder knows a text as one word; a language that it does not know falls into pieces."""
        return isinstance(self.encoder, TextEncoder) and self.encoder.is_word(text)

    @cached_property
    def encoder(self) -> Encoder:
        """The text encoder, loaded when it is first needed."""
        settings = self.model.config
        return create_encoder(settings.text, settings.text_weights).to(self._device, dtype=self._dtype)
