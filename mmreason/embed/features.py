"""Items through the encoders: decoding, batching and the models at the same time."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor

from encoders import Encoder, MediaError
from mmreason.schema import Item, item_text

BatchSize = int | Literal["auto"]
Errors = list[tuple[str, str, str]]
Decode = Callable[[Iterable[Any]], Iterator[Any]]
"""Raw inputs to one preprocessed sample or one MediaError each, in order, as GuardedPool.map gives them."""

# Measured: from here on a core's arithmetic is busy, and the activations still fit into its cache.
AUTO = {"cpu": {"inputs": 4, "tokens": 512}, "cuda": {"inputs": 128, "tokens": 32_768}}
READERS: dict[str, Callable[[Item], list[Any]]] = {
    "image": lambda item: item.images,
    "text": lambda item: [text] if (text := item_text(item)) else [],
    "video": lambda item: [] if item.video is None else [item.video],
}


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


class FeatureReader:
    """Encodes items; several pictures of an item are averaged.

    On the CPU one thread a core runs whole batches on its own: no core waits for another inside a batch, and
    a core that decodes slows nobody down. At most a few batches wait for a model at any time, so memory does
    not grow with the number of items.

    Args:
        encoders: Modality → encoder, in evaluation mode.
        batch_size: Inputs per forward pass; ``auto`` goes by the device. Texts also keep to a budget of tokens.
        decode: Modality → how to preprocess its inputs; default: in threads of this process.
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

    def start(self, items: Sequence[Item], progress: Callable[[int], Any] = lambda inputs: None) -> Pending:
        """Decode all inputs of items and hand them to the models; returns when the last one is decoded.

        Args:
            items: Items.
            progress: Called with the number of inputs that were encoded or given up.
        """
        pending = Pending(items, self.encoders)
        for modality in self.encoders:
            inputs = [(row, raw) for row, item in enumerate(items) for raw in READERS[modality](item)]
            if inputs:
                batches = self._texts(inputs) if modality == "text" else self._media(modality, inputs)
                for rows, samples in batches:
                    self._submit(pending, modality, rows, samples, progress)
        return pending

    def _texts(self, inputs: list[tuple[int, str]]) -> Iterator[tuple[list[int], list[Any]]]:
        """Batches of like length, shortest first, each within the budget of tokens with its padding."""
        encoder = self.encoders["text"]
        started = time.thread_time()
        rows = [row for row, _ in inputs]
        samples = encoder.preprocess_many([text for _, text in inputs])
        self.seconds["decode"] += time.thread_time() - started
        order = sorted(range(len(samples)), key=lambda i: _length(samples[i]))
        batch: list[int] = []
        for index in order:
            full = (len(batch) + 1) * _length(samples[index]) > self.tokens
            if batch and (full or len(batch) == 32 * self.inputs):
                yield [rows[i] for i in batch], [samples[i] for i in batch]
                batch = []
            batch.append(index)
        if batch:
            yield [rows[i] for i in batch], [samples[i] for i in batch]

    def _media(self, modality: str, inputs: list[tuple[int, Any]]) -> Iterator[tuple[list[int], list[Any]]]:
        """Batches in the order of the input; an unreadable input stands as its error."""
        decode = self.decode.get(modality) or self._threads(self.encoders[modality])
        rows: list[int] = []
        samples: list[Any] = []
        started = time.perf_counter()
        for (row, _), sample in zip(inputs, decode(raw for _, raw in inputs), strict=True):
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
        modality: str,
        rows: list[int],
        samples: list[Any],
        progress: Callable[[int], Any],
    ) -> None:
        good = [(r, s) for r, s in zip(rows, samples, strict=True) if not isinstance(s, MediaError)]
        for row, sample in zip(rows, samples, strict=True):
            if isinstance(sample, MediaError):
                pending.fail(modality, row, str(sample))
        if not good:
            progress(len(rows))
            return
        self._room.acquire()
        future = self._models.submit(self._run, self.encoders[modality], [s for _, s in good])
        pending.batches.append((modality, [r for r, _ in good], future))

        def done(_: Future) -> None:
            self._room.release()
            progress(len(rows))

        future.add_done_callback(done)

    @torch.no_grad()
    def _run(self, encoder: Encoder, samples: list[Any]) -> Tensor:
        started = time.thread_time() if self.device.type == "cpu" else time.perf_counter()
        encoded = encoder(encoder.collate(samples)).float().cpu()
        ended = time.thread_time() if self.device.type == "cpu" else time.perf_counter()
        self.seconds["model"] += ended - started
        return encoded


class Pending:
    """Items of which everything is decoded and on its way through the models."""

    def __init__(self, items: Sequence[Item], encoders: Mapping[str, Encoder]) -> None:
        self.ids = [item.id for item in items]
        self.dims = {name: encoder.dim for name, encoder in encoders.items()}
        self.errors: Errors = []
        self.batches: list[tuple[str, list[int], Future]] = []

    def fail(self, modality: str, row: int, message: str) -> None:
        """Note that an input gave no features."""
        self.errors.append((self.ids[row], modality, message))

    def result(self) -> Features:
        """Wait for the models.

        Raises:
            Exception: What a model raised.
        """
        size = len(self.ids)
        sums = {name: torch.zeros(size, dim) for name, dim in self.dims.items()}
        counts = {name: torch.zeros(size) for name in self.dims}
        for modality, rows, future in self.batches:
            encoded = future.result()
            finite = encoded.isfinite().all(dim=1)
            for position in (~finite).nonzero().flatten().tolist():
                self.fail(modality, rows[position], "the encoder gave no finite features")
            index = torch.tensor(rows)[finite]
            sums[modality].index_add_(0, index, encoded[finite])
            counts[modality].index_add_(0, index, torch.ones(len(index)))
        self.batches.clear()
        means = {name: total / counts[name].clamp_min(1)[:, None] for name, total in sums.items()}
        return Features(means, {name: count > 0 for name, count in counts.items()}, self.errors)


def _length(sample: Any) -> int:
    """Tokens of a preprocessed text."""
    return len(sample["input_ids"] if isinstance(sample, dict) else sample)
