"""The decoding engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mmreason.decoding.groups import Groups
from mmreason.decoding.lm import CausalLM
from mmreason.decoding.memory import Memory
from mmreason.decoding.probe import cache_sizes, fits_slots
from mmreason.decoding.queue import Queue
from mmreason.decoding.requests import Decoded, DecodeRequest
from mmreason.decoding.rows import Row
from mmreason.decoding.slotted import Slotted
from mmreason.decoding.watch import Watch


class Engine:
    """Decodes a stream of prompts with any Hugging Face causal LM.

    In float32, greedy texts are token by token those of Hugging Face's ``generate``, one request at a time.

    An LM whose layers all attend to keys and values runs over *slots*: a row that has ended leaves at once and the
    next prompt takes its place, without padding (continuous batching). Whether an LM's attention can be run that way
    is tried out on a dozen tokens. Others (Mamba, linear attention, convolutions, ALiBi) are decoded in groups of
    prompts of one length, for a padding token would change their state; ended rows leave, none takes their place.

    Whether a request's result depends on what is decoded beside it: its draws never do. Its logits do by rounding: in
    float32 that changes a token only at a tie within a millionth or so, in bfloat16 about every third text. With
    ``exact`` every pass has the same shape whatever else is decoded, so results are the same to the last bit, on the
    same machine and with the same settings; it is slower.

    Args:
        lm: The LM; it keeps its attention, device and number format.
        tokenizer: Its tokenizer.
        slots: Rows decoded together; default: 128, on a GPU 512.
        max_length: Tokens of a prompt and its text together, for which memory is set aside in each slot.
        prefill_tokens: Prompt tokens read in one pass, or one whole prompt if it is longer; default: eight a slot, on
            a GPU 32.
        window: Requests read ahead and sorted by length; default: eight a slot.
        exact: Results are the same to the last bit whatever is decoded beside.

    Raises:
        ValueError: If ``max_length`` is more than the LM has positions for.

    Example:
        engine = Engine(lm, tokenizer)
        print(engine.memory)
        for text in engine.decode(DecodeRequest(tokenizer.encode(line)) for line in open("prompts.txt")):
            print(text.request, text.text)
    """

    def __init__(
        self,
        lm: Any,
        tokenizer: Any,
        slots: int | None = None,
        max_length: int = 1024,
        prefill_tokens: int | None = None,
        window: int | None = None,
        exact: bool = False,
    ) -> None:
        self.lm, self.tokenizer = CausalLM(lm), tokenizer
        positions = self.lm.max_positions
        if positions is not None and max_length > positions:
            raise ValueError(f"max_length={max_length}: the LM has {positions} positions")
        cuda = self.lm.device.type == "cuda"
        self.slots = slots or (512 if cuda else 128)
        self.max_length, self.exact = max_length, exact
        self.prefill_tokens = prefill_tokens or self.slots * (32 if cuda else 8)
        self.window = window or 8 * self.slots
        self.end_ids = end_ids(self.lm.lm, tokenizer)
        self._runner: Slotted | Groups | None = None  # between two streams

    @cached_property
    def slotted(self) -> bool:
        """Whether the LM runs over slots, else in groups."""
        return fits_slots(self.lm)

    @cached_property
    def memory(self) -> Memory:
        """What the engine will hold."""
        token, row = cache_sizes(self.lm, self.slotted)
        return Memory(
            weights=self.lm.weight_bytes,
            cache=self.slots * (row + token * self.max_length),
            logits=self.slots * self.lm.vocabulary * (self.lm.dtype.itemsize + 2 * 4),
        )

    def decode_all(self, requests: Iterable[DecodeRequest]) -> list[Decoded]:
        """The texts of all requests, in order: request by request, candidate by candidate."""
        return sorted(self.decode(requests), key=lambda text: (text.request, text.candidate))

    def decode(self, requests: Iterable[DecodeRequest]) -> Iterator[Decoded]:
        """Decode a stream.

        Args:
            requests: Read at most a window ahead.

        Yields:
            A text for each candidate of each request, as soon as it is done; ``request`` is its number in the stream.
            A request that fails (a prompt that does not fit, logits that are no numbers, words that cannot be
            written) gives texts with ``finish="error"`` and disturbs no other.
        """
        refused: list[Decoded] = []
        queue = Queue(
            iter(requests),
            self.window,
            lambda number, request: self._rows(number, request, refused),
            share=self.slotted and not self.exact,
        )
        runner, self._runner = self._runner, None
        if runner is None or runner.weights != self.lm.place:
            runner = self._new_runner()
        while queue or runner.rows:
            with torch.inference_mode():
                done = runner.step(queue)
            yield from refused
            refused.clear()
            yield from done
        yield from refused
        runner.rest()
        self._runner = runner

    def _new_runner(self) -> Slotted | Groups:
        if self.slotted:
            return Slotted(self.lm, self.slots, self.max_length, self.prefill_tokens, self.exact)
        return Groups(self.lm, self.slots, self.exact)

    def _rows(self, number: int, request: DecodeRequest, refused: list[Decoded]) -> list[Row]:
        """The rows of a request; none if it cannot be decoded, which is noted in ``refused``."""
        watch = Watch(request, self.tokenizer)
        if why := self._why_not(request) or watch.why_not(request.max_new_tokens):
            refused += [
                Decoded(number, candidate, [], "", 0.0, "error", why)
                for candidate in range(request.candidates)
            ]
            return []
        length = len(request.prompt)
        return [
            Row(request, number, candidate, length, watch, self.end_ids)
            for candidate in range(request.candidates)
        ]

    def _why_not(self, request: DecodeRequest) -> str:
        """Why a prompt cannot be decoded; empty if it can."""
        prompt = request.prompt
        if isinstance(prompt, str):
            return "the prompt is words; the engine reads token ids or embeddings"
        if not len(prompt):
            return "the prompt is empty"
        if isinstance(prompt, Tensor) and prompt.ndim == 2:
            if prompt.shape[1] != self.lm.hidden_size:
                return f"embeddings of length {prompt.shape[1]}; the LM's have {self.lm.hidden_size}"
        elif int(min(prompt)) < 0 or int(max(prompt)) >= self.lm.vocabulary:
            return f"a token id is not among the LM's {self.lm.vocabulary}"
        if len(prompt) + request.max_new_tokens > self.max_length:
            return (
                f"the prompt's {len(prompt)} tokens and max_new_tokens={request.max_new_tokens} "
                f"do not fit max_length={self.max_length}"
            )
        return ""


def end_ids(lm: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a text: those of the LM's generation settings and the tokenizer's own."""
    named = getattr(getattr(lm, "generation_config", None), "eos_token_id", None)
    ids = named if isinstance(named, list) else [named]
    return frozenset(token for token in [*ids, tokenizer.eos_token_id] if token is not None)
