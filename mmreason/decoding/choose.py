"""From logits to the next token of each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreason.decoding.requests import Decoded, Sampling
from mmreason.decoding.rows import Row

NOT_A_NUMBER = "what the language model computes is not a number"
NUCLEUS = 64  # tokens that are sorted; a larger nucleus is drawn from without
TRIES = 200  # of drawing from it; one in 10,000 rows of top-p 0.05 takes the likeliest token then
BLOCK = 64  # tokens


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
            _some(scores, drawn),
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
    return _hashed(f"{row.request.sampling.seed}/{row.candidate}/{len(row.ids)}")


def _hashed(counters: str) -> float:
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
    scaled = scores / scores.new_tensor([each.temperature for each in sampling])[:, None]
    whole = [index for index, each in enumerate(sampling) if each.top_p == 1]
    nucleus = [index for index, each in enumerate(sampling) if each.top_p < 1]
    tokens = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    if whole:
        tokens[whole] = _invert(
            _some(scaled, whole).softmax(-1), scores.new_tensor([uniforms[row] for row in whole])
        )
    if nucleus:
        share = scores.new_tensor([sampling[index].top_p for index in nucleus])
        tokens[nucleus] = _draw_nucleus(_some(scaled, nucleus), share, [uniforms[row] for row in nucleus])
    return tokens


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first place at which the running sum of the weights (R, n) passes ``uniform`` of their whole."""
    running = weights.cumsum(-1)
    goal = uniform[:, None] * running[:, -1:]
    return torch.searchsorted(running, goal, right=True)[:, 0].clamp_max(weights.shape[1] - 1)


def _some(scores: Tensor, rows: list[int]) -> Tensor:
    """Some of the rows; a copy only where it is not all."""
    return scores if len(rows) == len(scores) else scores[rows]


def top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest scores of each row, falling, and their places; of (R, n): (R, count) each, or all n.

    They are looked for in the blocks whose own largest are the largest: on a CPU several times as fast as ``topk`` over
    a whole vocabulary.

    Example:
        >>> top(torch.tensor([[0.1, 0.7, 0.2]]), 2)[1]
        tensor([[1, 2]])
    """
    rows, width = scores.shape
    if width <= count * BLOCK:
        return scores.topk(min(count, width), -1)  # type: ignore[return-value]
    blocks = F.pad(scores, (0, -width % BLOCK), value=float("-inf")).view(rows, -1, BLOCK)
    best = blocks.amax(-1).topk(count, -1).indices
    largest, within = blocks.gather(1, best[..., None].expand(-1, -1, BLOCK)).flatten(1).topk(count, -1)
    return largest, best.gather(1, within // BLOCK) * BLOCK + within % BLOCK


def _draw_nucleus(scaled: Tensor, share: Tensor, uniforms: list[float]) -> Tensor:
    """Draw among the likeliest tokens of each row that reach ``share`` together."""
    largest, ids = top(scaled, NUCLEUS)
    probs = (largest - scaled.logsumexp(-1, keepdim=True)).exp()
    running = probs.cumsum(-1)
    drawn = _invert(probs * (running - probs < share[:, None]), scaled.new_tensor(uniforms))
    tokens = ids.gather(1, drawn[:, None])[:, 0]
    larger = [row for row, reached in enumerate((running[:, -1] >= share).tolist()) if not reached]
    if larger and ids.shape[1] < scaled.shape[1]:
        wide = _some(scaled, larger).softmax(-1)
        tokens[larger] = _draw_wide(wide, share[larger], [uniforms[row] for row in larger])
    return tokens


def _draw_wide(probs: Tensor, share: Tensor, uniforms: list[float]) -> Tensor:
    """The same where many tokens are needed: draw among all until one is of the nucleus, which sorts nothing."""
    tokens, rows = probs.argmax(-1), list(range(len(probs)))
    running, place = probs.cumsum(-1), torch.arange(probs.shape[1], device=probs.device)
    for _ in range(TRIES):
        some, uniform = _some(probs, rows), probs.new_tensor([uniforms[row] for row in rows])
        goal = uniform[:, None] * _some(running, rows)[:, -1:]
        drawn = torch.searchsorted(_some(running, rows), goal, right=True).clamp_max(len(place) - 1)
        chance = some.gather(1, drawn)
        likelier = torch.where(some > chance, some, 0).sum(-1)
        alike = ((some == chance) & (place < drawn)).sum(-1) * chance[:, 0]  # of those the first come first
        kept = (likelier + alike < share[rows]).tolist()
        for row, token, of_nucleus in zip(rows, drawn[:, 0].tolist(), kept, strict=True):
            if of_nucleus:
                tokens[row] = token
            else:
                uniforms[row] = _hashed(str(uniforms[row]))
        rows = [row for row, of_nucleus in zip(rows, kept, strict=True) if not of_nucleus]
        if not rows:
            break
    return tokens
