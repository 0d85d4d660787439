"""vLLM as a back end: the same prompts, on its GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from mmreason.decoding.requests import Decoded, DecodeRequest, Finish
from mmreason.processes import share_of
from mmreason.schema import DataError

WINDOW = 256
"""Prompts that are handed over at a time: embeddings are large, and vLLM takes all that it is given into memory."""

_FINISH: dict[str, Finish] = {"stop": "end", "length": "length"}


class Vllm:
    """Decodes with vLLM.

    A prompt is all embeddings or all token ids. One of both kinds is never sent: vLLM's prefix cache may take the keys
    of another input for it (vLLM #56655).

    Args:
        folder: The LM in Hugging Face's layout, LoRA added.
        max_length: Tokens of a prompt and its text together.

    Raises:
        DataError: If vLLM is not installed, or the process is one of several that ``torchrun`` started: vLLM would take
            the first GPU in each, and its own processes would take part in their group.
    """

    def __init__(self, folder: Path, max_length: int) -> None:
        if share_of()[1] > 1:
            raise DataError(
                "generate.backend.name=vllm does not run under torchrun; for several GPUs use --engine ray with "
                "--ray.gpus 1"
            )
        try:
            from vllm import LLM, SamplingParams
        except ImportError:
            raise DataError("generate.backend.name=vllm needs vLLM; pip install 'mmreason[vllm]'") from None
        self.max_length, self._params = max_length, SamplingParams
        self._llm = LLM(model=str(folder), max_model_len=max_length, enable_prompt_embeds=True)

    def decode_all(self, requests: Iterable[DecodeRequest]) -> list[Decoded]:
        """As of :class:`~mmreason.decoding.backend.Backend`."""
        return list(self._decode(enumerate(requests)))

    def _decode(self, requests: Iterator[tuple[int, DecodeRequest]]) -> Iterator[Decoded]:
        while window := list(islice(requests, WINDOW)):
            errors = {number: why for number, request in window if (why := self._why_not(request))}
            good = [(number, request) for number, request in window if number not in errors]
            outputs = iter(
                self._llm.generate(
                    [_prompt(request.tokens) for _, request in good],
                    [self._sampling(request) for _, request in good],
                    use_tqdm=False,
                )
                if good
                else []
            )
            for number, request in window:
                if number in errors:
                    why = errors[number]
                    yield from (
                        Decoded(number, n, [], "", None, "error", why) for n in range(request.candidates)
                    )
                else:
                    texts = sorted(next(outputs).outputs, key=lambda text: text.index)
                    yield from (_decoded(number, text) for text in texts)

    def _sampling(self, request: DecodeRequest) -> Any:
        sampling = request.sampling
        return self._params(
            n=request.candidates,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed if sampling.temperature else None,
            min_tokens=request.min_new_tokens,
            max_tokens=request.max_new_tokens,
            stop=list(request.stop) or None,
            logprobs=0,
        )

    def _why_not(self, request: DecodeRequest) -> str:
        """Why a request cannot be decoded; empty if it can."""
        if isinstance(request.prompt, str):
            return "the prompt is words; vLLM reads token ids or embeddings here"
        if request.include or request.banned:
            return "vLLM does not promise include and banned"
        if not len(request.prompt):
            return "the prompt is empty"
        if isinstance(request.prompt, Tensor) and not request.prompt.isfinite().all():
            return "what the prompt is made of is not a number"
        if len(request.prompt) + request.max_new_tokens > self.max_length:
            return (
                f"the prompt's {len(request.prompt)} tokens and max_new_tokens={request.max_new_tokens} "
                f"do not fit max_length={self.max_length}"
            )
        return ""


def _prompt(tokens: Any) -> dict[str, Any]:
    if isinstance(tokens, Tensor) and tokens.ndim == 2:
        return {"prompt_embeds": tokens.cpu()}
    return {"prompt_token_ids": [int(token) for token in tokens]}


def _decoded(number: int, text: Any) -> Decoded:
    finish = _FINISH.get(text.finish_reason, "error")
    if finish == "end" and isinstance(text.stop_reason, str):
        finish = "stop"
    ids = list(text.token_ids)
    log_prob = text.cumulative_logprob / len(ids) if ids and text.cumulative_logprob is not None else None
    error = f"vLLM stopped it ({text.finish_reason})" if finish == "error" else ""
    return Decoded(number, text.index, ids, text.text, log_prob, finish, error)
