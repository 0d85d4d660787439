"""Inputs through the encoders: decoding, batching and the models at the same time."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from encoders import Encoder, MediaError, ViewsEncoder
from encoders.text import padded_length
from mmreason.schema import Item, item_text
from mmreason.store.features import mean_of_inputs

BatchSize = int | Literal["auto"]
Errors = list[tuple[str, str, str]]
Decode = Callable[[Iterable[Any]], Iterator[Any]]
"""Raw inputs to one preprocessed sample or one MediaError each, in order, as GuardedPool.map gives them."""

# Measured: from here on a core's arithmetic is busy, and the activations still fit into its cache.
AUTO = {"cpu": {"inputs": 4, "tokens": 512}, "cuda": {"inputs": 128, "tokens": 32_768}}
INPUTS: dict[str, Callable[[Item], list[Any]]] = {
    "image": lambda item: item.images,
    "text": lambda item: [text] if (text := item_text(item)) else [],
    "video": lambda item: [] if item.video is None else [item.video],
}
"""Modality → what of an item its encoder reads: each picture, the text, the video."""


@dataclass
class Features:
    """Encoder features of N items.

    Attributes:
        values: Modality → (N, F) float32, zeros where it is missing.
        masks: Modality → (N,) bool.
        errors: (item id, modality, message) of media that could not be read.
    """

    values: dict[str, Tensor]
    masks: dict[str, Tensor]
    errors: Errors = field(default_factory=list)


@dataclass
class Encoded:
    """Features of n inputs of one kind.

    Attributes:
        values: (n, F) float32, zeros where there is an error.
        errors: Position → why that input gave no features.
    """

    values: Tensor
    errors: dict[int, str] = field(default_factory=dict)


class FeatureReader:
    """Encodes inputs: texts, pictures and videos.

    On the CPU one thread a core runs whole batches on its own: no core waits for another inside a batch, and
    a core that decodes slows nobody down. At most a few batches wait for a model at any time, so memory does
    not grow with the number of items.

    Args:
        encoders: Name → encoder, in evaluation mode. One encoder may go by several names.
        batch_size: Inputs per forward pass; ``auto`` goes by the device. Texts also keep to a budget of tokens.
        decode: Name → how to preprocess its inputs; default: in threads of this process.
        threads: Batches computed at the same time; default: one a core on the CPU, one on an accelerator. With 1
            a batch has all cores: for a single input, which so is ready sooner.

    Attributes:
        seconds: ``decode`` (waiting for samples) and ``model`` (sum over its threads), as spent so far.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        batch_size: BatchSize = "auto",
        decode: Mapping[str, Decode] | None = None,
        threads: int | None = None,
    ) -> None:
        self.encoders = encoders
        self.decode = decode or {}
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.device = next(next(iter(encoders.values())).parameters()).device
        auto = AUTO["cpu" if self.device.type == "cpu" else "cuda"]
        self.inputs = auto["inputs"] if batch_size == "auto" else batch_size
        self.tokens = auto["tokens"]
        self._intra = torch.get_num_threads()
        threads = threads or (self._intra if self.device.type == "cpu" else 1)
        single = (torch.set_num_threads, (1,)) if threads > 1 else (None, ())
        self._models = ThreadPoolExecutor(threads, "model", *single)
        self._decoders = ThreadPoolExecutor(max(2, threads), "decode")
        self._room = threading.BoundedSemaphore(2 * threads + 2)

    def __enter__(self) -> FeatureReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._models.shutdown(cancel_futures=True)
        self._decoders.shutdown(cancel_futures=True)
        torch.set_num_threads(self._intra)  # a thread's own setting reaches the others through MKL

    def start(
        self, inputs: Mapping[str, Sequence[Any]], progress: Callable[[int], Any] = lambda inputs: None
    ) -> Pending:
        """Decode inputs and hand them to the models; returns when the last one is decoded.

        Args:
            inputs: Name of an encoder → what it is to read; encoders without inputs do not run.
            progress: Called with the number of inputs that were encoded or given up.
        """
        pending = Pending({name: (len(raws), self.encoders[name].dim) for name, raws in inputs.items()})
        for name, raws in inputs.items():
            if raws:
                text = self.encoders[name].modality == "text"
                batches = self._texts(name, raws) if text else self._media(name, raws)
                for places, samples in batches:
                    self._submit(pending, name, places, samples, progress)
        return pending

    def _texts(self, name: str, texts: Sequence[str]) -> Iterator[tuple[list[int], list[Any]]]:
        """Batches of like length, longest first, each within the budget of tokens with its padding.

        A length always has the same number of texts, and what is left at the end goes by powers of two: so shapes
        of batches are few, see :func:`encoders.text.padded_length`.
        """
        started = time.thread_time()
        samples = self.encoders[name].preprocess_many(texts)
        self.seconds["decode"] += time.thread_time() - started
        order = sorted(range(len(samples)), key=lambda i: -_length(samples[i]))
        start = 0
        while start < len(order):
            room = self.tokens // padded_length(_length(samples[order[start]]))
            count, left = max(1, min(room, 32 * self.inputs)), len(order) - start
            if left < count:
                count = 1 << left.bit_length() - 1
            batch = order[start : start + count]
            yield batch, [samples[i] for i in batch]
            start += count

    def _media(self, name: str, media: Sequence[Any]) -> Iterator[tuple[list[int], list[Any]]]:
        """Batches in the order of the input; an unreadable input stands as its error."""
        decode = self.decode.get(name) or self._threads(self.encoders[name])
        rows: list[int] = []
        samples: list[Any] = []
        started = time.perf_counter()
        for row, sample in enumerate(decode(media)):
            rows.append(row)
            samples.append(sample)
            frames = sample.shape[0] if isinstance(sample, Tensor) and sample.ndim == 4 else 1
            if len(samples) * frames >= self.inputs:
                self.seconds["decode"] += time.perf_counter() - started
                yield rows, samples
                rows, samples, started = [], [], time.perf_counter()
        self.seconds["decode"] += time.perf_counter() - started
        if samples:
            yield rows, samples

    def _threads(self, encoder: Encoder) -> Decode:
        def one(raw: Any) -> Any:
            try:
                return encoder.preprocess(raw)
            except MediaError as error:
                return error

        def decode(raws: Iterable[Any]) -> Iterator[Any]:
            waiting: list[Future] = []
            for raw in raws:
                waiting.append(self._decoders.submit(one, raw))
                if len(waiting) >= 2 * self.inputs:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()

        return decode

    def _submit(
        self,
        pending: Pending,
        name: str,
        places: list[int],
        samples: list[Any],
        progress: Callable[[int], Any],
    ) -> None:
        good = [(p, s) for p, s in zip(places, samples, strict=True) if not isinstance(s, MediaError)]
        for place, sample in zip(places, samples, strict=True):
            if isinstance(sample, MediaError):
                pending.encoded[name].errors[place] = str(sample)
        if not good:
            progress(len(places))
            return
        self._room.acquire()
        future = self._models.submit(self._run, self.encoders[name], [s for _, s in good])
        pending.batches.append((name, [p for p, _ in good], future))

        def done(_: Future) -> None:
            self._room.release()
            progress(len(places))

        future.add_done_callback(done)

    @torch.no_grad()
    def _run(self, encoder: Encoder, samples: list[Any]) -> Tensor:
        started = time.thread_time() if self.device.type == "cpu" else time.perf_counter()
        encoded = encoder(encoder.collate(samples)).float().cpu()
        ended = time.thread_time() if self.device.type == "cpu" else time.perf_counter()
        self.seconds["model"] += ended - started
        return encoded


class Pending:
    """Inputs of which everything is decoded and on its way through the models."""

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        self.encoded = {name: Encoded(torch.zeros(size)) for name, size in sizes.items()}
        self.batches: list[tuple[str, list[int], Future]] = []

    def result(self) -> dict[str, Encoded]:
        """Wait for the models.

        Raises:
            Exception: What a model raised.
        """
        for name, places, future in self.batches:
            values = future.result()
            finite = values.isfinite().all(dim=1)
            encoded = self.encoded[name]
            for position in (~finite).nonzero().flatten().tolist():
                encoded.errors[places[position]] = "the encoder gave no finite features"
            encoded.values[torch.tensor(places)[finite]] = values[finite]
        self.batches.clear()
        return self.encoded


def inputs_of(items: Sequence[Item], modality: str, encoder: Encoder) -> tuple[list[int], list[Any]]:
    """Everything of items that one modality's encoder reads, and the row of the item that each belongs to."""
    if isinstance(encoder, ViewsEncoder):  # all pictures of an item are one input
        found: list[tuple[int, Any]] = [(row, item.images) for row, item in enumerate(items) if item.images]
    else:
        found = [(row, raw) for row, item in enumerate(items) for raw in INPUTS[modality](item)]
    return [row for row, _ in found], [raw for _, raw in found]


def features_of(
    items: Sequence[Item], rows: Mapping[str, list[int]], encoded: Mapping[str, Encoded]
) -> Features:
    """Features of inputs to features of items: several pictures of an item are averaged.

    Args:
        items: N items.
        rows: Modality → the row of the item that each input belongs to.
        encoded: Modality → the features of those inputs.
    """
    features = Features({}, {})
    for modality, one in encoded.items():
        good = [place for place in range(len(rows[modality])) if place not in one.errors]
        owners = np.array([rows[modality][place] for place in good], np.int64)
        means = mean_of_inputs(one.values.numpy()[good], owners, len(items))
        features.values[modality] = torch.from_numpy(means)
        features.masks[modality] = torch.from_numpy(np.bincount(owners, minlength=len(items)) > 0)
        features.errors += [
            (items[rows[modality][place]].id, modality, why) for place, why in sorted(one.errors.items())
        ]
    return features


def _length(sample: Any) -> int:
    """Tokens of a preprocessed text."""
    return max(1, len(next(iter(sample.values())) if isinstance(sample, dict) else sample))
