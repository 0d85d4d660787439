"""Encoder features of items, each input encoded once: out of the feature cache, or computed and put there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from encoders import Encoder
from encoders.digest import weights_digest
from encoders.media.errors import name_of
from encoders.media.guarded import GuardedPool
from encoders.pooling import SequenceEncoder
from mmreason.config import AlignConfig, Config, EmbedConfig
from mmreason.embed.embedder import Embedder
from mmreason.embed.features import Encoded, FeatureReader, Features, Pending, features_of, inputs_of
from mmreason.schema import Item
from mmreason.store.features import FeatureCache, input_key
from mmreason.store.standardised import InputKeys, StandardisedFeatures

VERSION = 5  # of what the encoders compute: raised when the same settings give other features


def cache_folder(config: Config) -> Path:
    """Where features are kept: ``features/`` of the run, or a folder that runs share."""
    return Path(config.align.features) if config.align.features else config.path("features")


def identity_of(embedder: Embedder, name: str, encoder: Encoder, int8: bool = False) -> dict[str, Any]:
    """What features depend on beside their input, as JSON values: two encoders that agree in it give the same.

    Args:
        embedder: Whose encoder it is; its configuration names the weights.
        name: ``image``, ``text`` or ``video``; a view of them is ``image:mirrored``, say.
        encoder: The encoder, for how it preprocesses.
        int8: Whether it multiplies in 8-bit integers.
    """
    modality = name.partition(":")[0]
    config = embedder.model.config
    identity = tower_identity(config, modality, embedder.dtype, int8)
    if modality != "text":
        identity |= {"feature": config.image_feature, "preprocessing": repr(encoder.preprocessing)}
    if isinstance(encoder, SequenceEncoder):
        identity["pooling"] = type(encoder.pool).__name__
        digest = hashlib.sha256()
        for tensor in encoder.pool.state_dict().values():
            digest.update(tensor.float().cpu().numpy().tobytes())
        identity["pooling_weights"] = digest.hexdigest()
    return identity


def tower_identity(
    config: AlignConfig, modality: str, dtype: torch.dtype, int8: bool = False
) -> dict[str, Any]:
    """What features depend on of a tower, whatever its preprocessing; of a text tower that is all."""
    tower = "text" if modality == "text" else "image"
    return {
        "version": VERSION,
        "modality": modality,
        "encoder": getattr(config, tower),
        "weights": weights_digest(getattr(config, f"{tower}_weights")),
        "dtype": "int8" if int8 else str(dtype).removeprefix("torch."),
    }


def kind_of(name: str, identity: Mapping[str, Any]) -> str:
    """The folder of a kind of features, such as ``image-3f2a90c1d2e4b5a6``."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{name.replace(':', '-')}-{digest[:16]}"


def open_caches(
    config: Config, embedder: Embedder, encoders: Mapping[str, Encoder] | None = None
) -> dict[str, FeatureCache]:
    """Name of an encoder → the cache of its features.

    Args:
        config: The run, for the folder.
        embedder: The encoders' owner.
        encoders: Views of them as well; default: the embedder's own.
    """
    caches = {}
    for name, encoder in (encoders or embedder.encoders).items():
        identity = identity_of(embedder, name, encoder, config.embed.int8)
        caches[name] = FeatureCache(cache_folder(config) / kind_of(name, identity), encoder.dim, identity)
    return caches


def standardised(caches: Mapping[str, FeatureCache], embedder: Embedder) -> dict[str, StandardisedFeatures]:
    """Modality → its features as the heads take them, for the embedding store."""
    heads = {name: embedder.model.head(name) for name in embedder.model.dims}
    return {
        name: StandardisedFeatures(
            caches[name].folder, head.mean.float().cpu().numpy(), head.std.float().cpu().numpy()
        )
        for name, head in heads.items()
    }


def guarded_decoding(
    encoders: Mapping[str, Encoder], settings: EmbedConfig, stack: ExitStack
) -> dict[str, GuardedDecode]:
    """Decoding of pictures and videos in processes that may crash or hang, each started with its first input."""
    return {
        name: GuardedDecode(encoder.preprocessing, settings.decode_workers, settings.decode_seconds, stack)
        for name, encoder in encoders.items()
        if encoder.modality != "text"
    }


class GuardedDecode:
    """A pool that starts with the first input, and stops with the job."""

    def __init__(self, function: Any, workers: int, seconds: float, stack: ExitStack) -> None:
        self._make = lambda: GuardedPool(function, workers=workers or None, timeout=seconds)
        self._stack = stack
        self._pool: GuardedPool | None = None

    @property
    def flaws(self) -> int:
        """How many inputs were read although something is wrong with their files."""
        return self._pool.flaws if self._pool else 0

    def __call__(self, raws: Any) -> Iterator[Any]:
        self._pool = self._pool or self._stack.enter_context(self._make())
        return self._pool.map(raws)


class CachedReader:
    """Features of items through the cache; decoding is guarded, and every input is encoded once.

    Args:
        config: The run: where the cache lies, the batch size and how decoding is guarded.
        embedder: Whose encoders compute what is missing.
        encoders: Name → encoder, where they are not the embedder's own (views of pictures, say).
        inputs: Name → what of an item that encoder reads; default: what its modality reads.

    Example:
        >>> with CachedReader(config, embedder) as reader:                     # doctest: +SKIP
        ...     features = reader.start(items).result()
    """

    def __init__(
        self,
        config: Config,
        embedder: Embedder,
        encoders: Mapping[str, Encoder] | None = None,
        inputs: Callable[[Sequence[Item], str], tuple[list[int], list[Any]]] | None = None,
    ) -> None:
        self.encoders = dict(encoders or embedder.encoders)
        self.caches = open_caches(config, embedder, self.encoders)
        self._inputs = inputs or (lambda items, name: inputs_of(items, name, self.encoders[name]))
        self._stack = ExitStack()
        self._decode = guarded_decoding(self.encoders, config.embed, self._stack)
        reader = FeatureReader(self.encoders, config.embed.batch_size, self._decode)
        self.reader = self._stack.enter_context(reader)

    def __enter__(self) -> CachedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def flaws(self) -> int:
        """How many media were read so far although something is wrong with their files."""
        return sum(decode.flaws for decode in self._decode.values())

    def start(
        self, items: Sequence[Item], progress: Callable[[int], Any] = lambda inputs: None
    ) -> CachedPending:
        """Decode what the cache lacks of items and hand it to the models.

        Args:
            items: With their media as bytes.
            progress: Called with the number of inputs that were encoded, given up or there already.
        """
        inputs: dict[str, _Inputs] = {}
        encode: dict[str, list[Any]] = {}
        for name, cache in self.caches.items():
            rows, raws = self._inputs(items, name)
            keys = [_key(raw) for raw in raws]
            known = cache.rows(keys) >= 0
            cache.refresh()  # maps the files anew: the pages of known keys would stay resident
            missing = {keys[place]: place for place in np.flatnonzero(~known)[::-1].tolist()}
            todo = sorted(missing.values())
            inputs[name] = _Inputs(rows, keys, todo, raws)
            encode[name] = [raws[place] for place in todo]
            progress(len(raws) - len(todo))
        return CachedPending(self, items, inputs, self.reader.start(encode, progress))


@dataclass
class _Inputs:
    """Inputs of one encoder: the items' rows, the keys, which of them are being encoded, and the inputs themselves."""

    rows: list[int]
    keys: list[bytes]
    todo: list[int]
    raws: list[Any]

    def errors(self, found: Mapping[int, str]) -> dict[int, str]:
        """Place → why it gave no features, by what was found of those encoded; the same file may have other names."""
        failed = {self.keys[self.todo[number]]: (self.todo[number], why) for number, why in found.items()}
        errors = {}
        for place, key in enumerate(self.keys):
            if key in failed:
                first, why = failed[key]
                errors[place] = why.replace(name_of(self.raws[first]), name_of(self.raws[place]), 1)
        return errors


class CachedPending:
    """Items of which everything that the cache lacked is on its way through the models."""

    def __init__(
        self, reader: CachedReader, items: Sequence[Item], inputs: dict[str, _Inputs], pending: Pending
    ) -> None:
        self._reader, self._items, self._inputs, self._pending = reader, items, inputs, pending

    def result(self) -> tuple[Features, dict[str, InputKeys]]:
        """Wait for the models and put into the cache what they gave.

        Returns:
            The items' features, all of them as the cache holds them; and encoder → keys of the readable inputs.
        """
        encoded, keys = {}, {}
        for name, new in self._pending.result().items():
            inputs, cache = self._inputs[name], self._reader.caches[name]
            good = [number for number in range(len(inputs.todo)) if number not in new.errors]
            cache.write([inputs.keys[inputs.todo[number]] for number in good], new.values.numpy()[good])
            rows, errors = cache.rows(inputs.keys), inputs.errors(new.errors)
            encoded[name] = Encoded(torch.from_numpy(cache.get(rows)), errors)
            cache.refresh()  # likewise: pages of the vectors of repeated inputs
            kept = [place for place in range(len(inputs.keys)) if place not in errors]
            keys[name] = InputKeys.of([inputs.rows[p] for p in kept], [inputs.keys[p] for p in kept])
        rows_of = {name: inputs.rows for name, inputs in self._inputs.items()}
        return features_of(self._items, rows_of, encoded), keys


def _key(raw: Any) -> bytes:
    """Of a text, a medium's bytes, or several pictures that are read together."""
    if isinstance(raw, list | tuple):
        return hashlib.sha256(b"".join(input_key(one) for one in raw)).digest()
    return input_key(raw)


def needs_training(config: AlignConfig) -> list[str]:
    """Settings of poolings that have parameters of their own, which features of frozen encoders cannot train."""
    found = []
    if config.video.pooling != "mean":
        found.append(f"align.video.pooling={config.video.pooling}")
    if config.views != "mean":
        found.append(f"align.views={config.views}")
    return found
