"""From logits to the next token of each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from mmreason.decoding.requests import Decoded, Sampling
from mmreason.decoding.rows import Row

NOT_A_NUMBER = "what the language model computes is not a number"
NUCLEUS = 64  # tokens sorted at first; rows whose nucleus is larger are sorted whole


def choose(logits: Tensor, rows: Sequence[Row]) -> list[tuple[int, float]]:
    """The next token of each row and its log-probability under the LM itself.

    Args:
        logits: (R, vocabulary), any float type; computed with in float32.
        rows: R rows.

    Returns:
        A log-probability that is not finite says that the logits were not numbers, or every token barred.
    """
    scores = logits.float()
    total = scores.logsumexp(-1)
    barred = [(index, token) for index, row in enumerate(rows) for token in row.barred]
    if barred:
        at = torch.tensor(barred, device=scores.device).T
        scores = scores.index_put((at[0], at[1]), scores.new_tensor(float("-inf")))
    tokens = scores.argmax(-1)
    drawn = [index for index, row in enumerate(rows) if row.request.sampling.temperature]
    if drawn:
        tokens[drawn] = draw(
            scores[drawn],
            [rows[index].request.sampling for index in drawn],
            [_uniform(rows[index]) for index in drawn],
        )
    for index, row in enumerate(rows):
        if row.watch.include:
            tokens[index] = row.pick(int(tokens[index]), scores[index])
    log_probs = scores.gather(1, tokens[:, None])[:, 0] - total
    return list(zip(tokens.tolist(), log_probs.tolist(), strict=True))


def settle(chosen: Sequence[tuple[int, float]], rows: Sequence[Row]) -> list[Decoded | None]:
    """Give each row the token that :func:`choose` took; the texts that are done, None for rows that go on."""
    return [
        row.take(token, log_prob)
        if math.isfinite(log_prob)
        else row.fail("no token may come next" if log_prob < 0 else NOT_A_NUMBER)
        for row, (token, log_prob) in zip(rows, chosen, strict=True)
    ]


def _uniform(row: Row) -> float:
    """Between 0 and 1, from (seed, candidate, place in the text) alone."""
    counters = f"{row.request.sampling.seed}/{row.candidate}/{len(row.ids)}"
    return int.from_bytes(blake2b(counters.encode(), digest_size=6).digest(), "little") / 2**48


def draw(scores: Tensor, sampling: Sequence[Sampling], uniforms: Sequence[float]) -> Tensor:
    """Draw a token a row, by inverting the cumulative distribution.

    Args:
        scores: (R, vocabulary) float32 logits.
        sampling: Temperature and top-p of each row.
        uniforms: A number in [0, 1) for each row.

    Returns:
        (R,) long.
    """
    temperature = scores.new_tensor([each.temperature for each in sampling])
    probs = (scores / temperature[:, None]).softmax(-1)
    uniform = scores.new_tensor(uniforms)
    whole = [index for index, each in enumerate(sampling) if each.top_p == 1]
    nucleus = [index for index, each in enumerate(sampling) if each.top_p < 1]
    tokens = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    if whole:
        tokens[whole] = _invert(probs[whole], uniform[whole])
    if nucleus:
        share = scores.new_tensor([sampling[index].top_p for index in nucleus])
        tokens[nucleus] = _draw_nucleus(probs[nucleus], share, uniform[nucleus])
    return tokens


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first place at which the running sum of the weights (R, n) passes ``uniform`` of their whole."""
    running = weights.cumsum(-1)
    goal = uniform[:, None] * running[:, -1:]
    return torch.searchsorted(running, goal, right=True)[:, 0].clamp_max(weights.shape[1] - 1)


def _draw_nucleus(probs: Tensor, share: Tensor, uniform: Tensor) -> Tensor:
    """Draw among the likeliest tokens of each row that reach ``share`` together."""
    top, ids = probs.topk(min(NUCLEUS, probs.shape[1]), -1)
    larger = (top.sum(-1) < share).nonzero().flatten()
    before = top.cumsum(-1) - top
    tokens = ids.gather(1, _invert(top * (before < share[:, None]), uniform)[:, None])[:, 0]
    if len(larger) and top.shape[1] < probs.shape[1]:
        top, ids = probs[larger].sort(-1, descending=True)
        before = top.cumsum(-1) - top
        places = _invert(top * (before < share[larger, None]), uniform[larger])
        tokens[larger] = ids.gather(1, places[:, None])[:, 0]
    return tokens
