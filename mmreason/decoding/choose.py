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
TRIES = 200  # of drawing from a nucleus; one in 10,000 rows of top-p 0.05 takes the likeliest token then
BLOCK = 64  # tokens
# Rows, on a CPU: what is computed of more falls out of its caches and takes new memory each time.
TOGETHER = 16


def choose(logits: Tensor, rows: Sequence[Row]) -> list[tuple[int, float]]:
    """The next token of each row and its log-probability under the LM itself.

    Args:
        logits: (R, vocabulary), any float type; computed with in float32.
        rows: R rows.

    Returns:
        A log-probability that is not finite says that the logits were not numbers, or every token barred.
    """
    count = TOGETHER if logits.device.type == "cpu" else max(1, len(rows))
    starts = range(0, len(rows), count)
    return [each for at in starts for each in _choose(logits[at : at + count], rows[at : at + count])]


def _choose(logits: Tensor, rows: Sequence[Row]) -> list[tuple[int, float]]:
    scores = logits.float()
    log_probs = scores.log_softmax(-1)
    barred = [(index, token) for index, row in enumerate(rows) for token in row.barred]
    if barred:
        places = torch.tensor(barred, device=scores.device).T
        scores = scores.index_put((places[0], places[1]), scores.new_tensor(float("-inf")))
    tokens = _largest(scores)
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
    at = tokens[:, None]
    taken = log_probs.gather(1, at).masked_fill_(scores.gather(1, at) == float("-inf"), float("-inf"))
    return list(zip(tokens.tolist(), taken[:, 0].tolist(), strict=True))


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
    """Draw a token a row from its nucleus: the likeliest tokens that reach ``top_p`` together.

    A token is drawn among all, by inverting the cumulative distribution, until one is of the nucleus: no likelier ones
    reach ``top_p``. That sorts nothing, and gives the distribution of nucleus sampling
    (https://arxiv.org/abs/1904.09751).

    Args:
        scores: (R, vocabulary) float32 logits.
        sampling: Temperature and top-p of each row.
        uniforms: A number in [0, 1) for each row.

    Returns:
        (R,) long.

    Example:
        >>> draw(torch.tensor([[0.0, 9.0, 8.0]]), [Sampling(1.0, top_p=0.5)], [0.9])
        tensor([1])
    """
    probs = (scores / scores.new_tensor([each.temperature for each in sampling])[:, None]).softmax(-1)
    blocks = _blocks(probs, 0.0)
    running, share = blocks.sum(-1).cumsum(-1), scores.new_tensor([each.top_p for each in sampling])
    tokens, uniforms = _largest(probs), list(uniforms)
    rows = [row for row, whole in enumerate(running[:, -1].tolist()) if whole > 0]  # not those of no numbers
    for _ in range(TRIES):
        if not rows:
            break
        goal = scores.new_tensor([uniforms[row] for row in rows])
        drawn = _invert(_some(blocks, rows), _some(running, rows), goal).clamp_max_(probs.shape[1] - 1)
        kept = _of_nucleus(_some(probs, rows), drawn, _some(share, rows)).tolist()
        for row, token, of_nucleus in zip(rows, drawn.tolist(), kept, strict=True):
            if of_nucleus:
                tokens[row] = token
            else:
                uniforms[row] = _hashed(str(uniforms[row]))
        rows = [row for row, of_nucleus in zip(rows, kept, strict=True) if not of_nucleus]
    return tokens


def _invert(blocks: Tensor, running: Tensor, uniform: Tensor) -> Tensor:
    """The first place at which the running sum of weights passes ``uniform`` of their whole.

    Args:
        blocks: (R, n, BLOCK) weights.
        running: (R, n) sums of all blocks so far.
        uniform: (R,).

    Returns:
        (R,) long.
    """
    goal = uniform[:, None] * running[:, -1:]
    block = torch.searchsorted(running, goal, right=True).clamp_max_(running.shape[1] - 1)
    within = blocks[torch.arange(len(blocks), device=blocks.device), block[:, 0]].cumsum(-1)
    left = goal - (running.gather(1, block) - within[:, -1:])
    place = torch.searchsorted(within, left, right=True).clamp_max_(BLOCK - 1)
    return (block * BLOCK + place)[:, 0]


def _of_nucleus(probs: Tensor, drawn: Tensor, share: Tensor) -> Tensor:
    """(R,) bool: whether the drawn tokens are needed to reach ``share``; of tokens alike the first come first."""
    chance = probs.gather(1, drawn[:, None])
    possible = chance[:, 0] > 0  # else it was met by rounding
    chance.clamp_min_(torch.finfo(probs.dtype).tiny)
    # A threshold is a number, and many times as fast as a comparison with each row's own.
    ratio = probs / chance
    at_least = torch.threshold_(ratio, 1 - 2**-24, 0.0).sum(-1) * chance[:, 0]
    likelier = torch.threshold_(ratio, 1.0, 0.0).sum(-1) * chance[:, 0]
    kept, alone = likelier < share, at_least - likelier < 1.5 * chance[:, 0]
    for row in (kept & ~alone & (at_least > share)).nonzero()[:, 0].tolist():
        alike = (probs[row, : drawn[row]] == chance[row]).sum() * chance[row, 0]
        kept[row] = likelier[row] + alike < share[row]
    return possible & (kept | (share == 1))


def _blocks(scores: Tensor, filler: float) -> Tensor:
    """(R, n) as (R, n / BLOCK, BLOCK), filled up at the end."""
    short = -scores.shape[1] % BLOCK
    return (F.pad(scores, (0, short), value=filler) if short else scores).unflatten(1, (-1, BLOCK))


def _largest(scores: Tensor) -> Tensor:
    """(R,) long: the first of the largest of each row, several times as fast on a CPU as ``argmax`` of all at once."""
    blocks = _blocks(scores, float("-inf"))
    best = blocks.amax(-1).argmax(-1)
    return best * BLOCK + blocks[torch.arange(len(blocks), device=blocks.device), best].argmax(-1)


def _some(scores: Tensor, rows: list[int]) -> Tensor:
    """Some of the rows; a copy only where it is not all."""
    return scores if len(rows) == len(scores) else scores[rows]
