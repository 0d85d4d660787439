"""What the benchmarks of decoding share: the work, Hugging Face's ``generate`` on it, and the multiplications alone."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from mmreason.config import ReasonConfig
from mmreason.decoding.engine import Engine
from mmreason.decoding.requests import DecodeRequest
from mmreason.device import pick_device, pick_dtype
from mmreason.reason.lm import load_lm, load_tokenizer

PROMPT, TEXT = (20, 200), (10, 80)  # tokens, drawn evenly
HEAD = 16  # tokens of the instruction that every prompt begins with
SLOTS = 128


@dataclass
class Work:
    """A prompt, and after how many tokens its text stops."""

    prompt: list[int]
    length: int

    def request(self, **more: Any) -> DecodeRequest:
        """For the engine: every other end is held back."""
        return DecodeRequest(self.prompt, min_new_tokens=self.length, max_new_tokens=self.length, **more)


def default_lm(name: str = "") -> tuple[Any, Any]:
    """The LM that a run takes by default, in bf16 where this machine multiplies it fast, and its tokenizer."""
    spec, device = name or ReasonConfig().lm, pick_device()
    dtype = pick_dtype("auto", device)
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{spec} in {str(dtype).removeprefix('torch.')} on {gpu}")
    return load_lm(spec, dtype).eval().to(device), load_tokenizer(spec)


def make_work(count: int, vocabulary: int, seed: int = 0) -> list[Work]:
    """Requests whose texts stop naturally.

    The LM has learned no reasons, so where *it* would stop means nothing. Each request stops after a number of tokens
    of its own, which neither side knows beforehand: it is as if the end token came there. Prompts are one instruction
    for all, and random tokens.
    """
    rng = random.Random(seed)

    def tokens(length: int) -> list[int]:
        return [rng.randrange(1000, vocabulary) for _ in range(length)]

    head = tokens(HEAD)
    return [Work(head + tokens(rng.randint(*PROMPT) - HEAD), rng.randint(*TEXT)) for _ in range(count)]


def make_engine(lm: Any, tokenizer: Any, slots: int = SLOTS) -> Engine:
    """The engine with room for the longest request and no end token but the work's own."""
    engine = Engine(lm, tokenizer, slots=slots, max_length=PROMPT[1] + TEXT[1])
    engine.end_ids = frozenset()
    return engine


def hugging_face(lm: Any, rows: Sequence[Work]) -> list[list[int]]:
    """New tokens by ``generate`` in one batch; a row stops at its length, the batch with its last one."""
    longest = max(len(row.prompt) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long, device=lm.device)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, longest - len(row.prompt) :] = torch.tensor(row.prompt)
        mask[index, longest - len(row.prompt) :] = 1
    lengths = torch.tensor([row.length for row in rows], device=lm.device)

    def stop(so_far: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return so_far.shape[1] - longest >= lengths

    out = lm.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=int(lengths.max()),
        eos_token_id=None,
        pad_token_id=0,
        stopping_criteria=[stop],
        do_sample=False,
    )
    return [out[i, longest : longest + row.length].tolist() for i, row in enumerate(rows)]


@torch.inference_mode()
def multiplication_seconds(lm: Any, tokens: int, rounds: int = 3) -> tuple[float, float]:
    """Seconds of the LM's matrix multiplications alone, on ``tokens`` rows: of all layers, and of the output layer."""
    head = lm.get_output_embeddings()
    linear = [module for module in lm.modules() if isinstance(module, nn.Linear) and module is not head]
    inputs = {m.in_features: torch.randn(tokens, m.in_features).to(m.weight) for m in [*linear, head]}

    def seconds(modules: list[nn.Linear]) -> float:
        taken = []
        for _ in range(rounds):
            start = time.perf_counter()
            for module in modules:
                nn.functional.linear(inputs[module.in_features], module.weight, module.bias)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        return median(taken)

    return seconds(linear), seconds([head])
