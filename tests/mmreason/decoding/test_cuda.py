"""The engine on a GPU: it writes what Hugging Face writes, records its passes, and halves what does not fit."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from test_equality import prompts, reference
from tiny_lms import ARCHITECTURES, ENDS, GROUPED, tiny_lm
from tiny_models import byte_tokenizer

from mmreason.decoding.engine import Engine
from mmreason.decoding.graphs import StepGraphs
from mmreason.decoding.requests import Decoded, DecodeRequest, Sampling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def on_gpu(name: str, dtype: torch.dtype = torch.float32) -> Any:
    return deepcopy(tiny_lm(name)).to("cuda", dtype)


def many(**more: Any) -> list[DecodeRequest]:
    asked = prompts() + prompts(seed=1)
    return [DecodeRequest(prompt, max_new_tokens=4 + n % 9, **more) for n, prompt in enumerate(asked)]


def told(texts: list[Decoded]) -> list[tuple[list[int], str]]:
    return [(text.ids, text.finish) for text in texts]


def tie(lm: Any, prompt: list[int], ours: list[int], theirs: list[int]) -> bool:
    """Whether two texts part where the LM finds both tokens alike, and rounding decides."""
    ended = [*ours, ENDS[0]], [*theirs, ENDS[0]]
    place = next(n for n, (a, b) in enumerate(zip(*ended, strict=False)) if a != b)
    logits = lm(torch.tensor([prompt + ours[:place]], device=lm.device)).logits[0, -1]
    best = [logits[ENDS].max() if ids[place] in ENDS else logits[ids[place]] for ids in ended]
    return bool((best[0] - best[1]).abs() < 1e-5 * logits.std())


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[StepGraphs]:
    """All that record passes while a test runs."""
    made: list[StepGraphs] = []
    init = StepGraphs.__init__

    def noted(self: StepGraphs, *arguments: Any) -> None:
        made.append(self)
        init(self, *arguments)

    monkeypatch.setattr(StepGraphs, "__init__", noted)
    return made


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_generate_one_at_a_time_on_a_gpu(name: str, recorded: list[StepGraphs]) -> None:
    lm = on_gpu(name)
    engine = Engine(lm, byte_tokenizer(), slots=8, max_length=64, prefill_tokens=64)
    asked = many()
    for request, text in zip(asked, engine.decode_all(asked), strict=True):
        expected = reference(lm, request.prompt, 0, request.max_new_tokens)
        assert text.ids == expected or tie(lm, request.prompt, text.ids, expected)
    assert engine.slotted == (name not in GROUPED)
    if engine.slotted:
        assert recorded[0].works and len(recorded[0].recorded) > 2
        engine.decode_all(asked)
        assert len(recorded) == 1, "what was recorded serves the next stream"


@pytest.mark.parametrize("name", ["llama", "gemma3, window 6"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_exact_texts_are_the_same_alone_on_a_gpu(name: str, dtype: torch.dtype) -> None:
    lm, requests = on_gpu(name, dtype), many(sampling=Sampling(0.9, 0.9, seed=3))
    engine = Engine(lm, byte_tokenizer(), slots=8, max_length=64, exact=True)
    alone = [text for request in requests for text in engine.decode([request])]
    assert told(engine.decode_all(requests)) == told(alone)
    assert [text.log_prob for text in engine.decode_all(requests)] == [text.log_prob for text in alone]


def test_candidates_prefixes_and_draws_on_a_gpu_are_those_of_the_cpu() -> None:
    more = {"candidates": 3, "sampling": Sampling(0.9, 0.8, seed=4), "include": ("ok",), "min_new_tokens": 3}
    asked = [DecodeRequest([*range(2, 40), *request.prompt], max_new_tokens=12, **more) for request in many()]
    both = [
        Engine(lm, byte_tokenizer(), slots=16, max_length=96).decode_all(asked)
        for lm in (tiny_lm("llama"), on_gpu("llama"))
    ]
    assert told(both[0]) == told(both[1])


def test_memory_that_is_short_on_a_gpu_is_halved() -> None:
    lm, requests = on_gpu("llama"), many()
    expected = told(Engine(lm, byte_tokenizer(), slots=8, max_length=64).decode_all(requests))
    engine = Engine(lm, byte_tokenizer(), slots=1 << 18, max_length=64)
    assert engine.slotted
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (256 << 20)) / whole)
    try:
        assert engine.memory.cache > 1 << 30
        assert told(engine.decode_all(requests)) == expected
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
