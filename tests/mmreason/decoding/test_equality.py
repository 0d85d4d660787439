"""Greedy in float32: token by token what Hugging Face's ``generate`` gives, one request at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_lms import ARCHITECTURES, GROUPED, tiny_lm
from tiny_models import byte_tokenizer

from mmreason.decoding.engine import Engine
from mmreason.decoding.requests import DecodeRequest

LENGTHS = (9, 3, 14, 1, 9, 5, 11, 9, 2, 20)


def prompts(seed: int = 0) -> list[list[int]]:
    """Of many lengths, some alike; longer than the windows, too."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(2, 200, (length,), generator=draw).tolist() for length in LENGTHS]


def reference(lm: Any, prompt: list[int], low: int, high: int) -> list[int]:
    """The new tokens, without the end token."""
    ids = torch.tensor([prompt], device=lm.device)
    out = lm.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        min_new_tokens=low,
        max_new_tokens=high,
    )[0]
    ends = set(lm.generation_config.eos_token_id)
    new = out[len(prompt) :].tolist()
    return new[:-1] if new[-1] in ends else new


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("embedded", [False, True], ids=["ids", "embeddings"])
def test_equals_generate_one_at_a_time(name: str, embedded: bool) -> None:
    lm = tiny_lm(name)
    engine = Engine(lm, byte_tokenizer(), slots=4, max_length=64, prefill_tokens=16)
    assert engine.slotted == (name not in GROUPED)
    limits = [(8 + n if n == 3 else n % 3, 8 + n) for n in range(len(LENGTHS))]
    asked = [
        DecodeRequest(
            lm.get_input_embeddings()(torch.tensor(prompt)) if embedded else prompt,
            min_new_tokens=low,
            max_new_tokens=high,
        )
        for prompt, (low, high) in zip(prompts(), limits, strict=True)
    ]
    texts = engine.decode_all(asked)
    expected = [reference(lm, prompt, *limit) for prompt, limit in zip(prompts(), limits, strict=True)]
    assert [text.ids for text in texts] == expected
    assert {text.finish for text in texts} == {"end", "length"}, "both ways to end should be tried"
