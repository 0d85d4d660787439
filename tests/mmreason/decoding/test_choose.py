"""Drawing tokens from logits."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from mmreason.decoding.choose import draw
from mmreason.decoding.requests import Sampling


def test_top_p_draws_from_the_nucleus_in_proportion() -> None:
    probs = torch.tensor([0.05, 0.4, 0.1, 0.3, 0.15])
    wide = torch.cat([probs, torch.full((300,), 1e-9)]).log()
    count = 2000
    for scores, top_p, kept in ((wide, 0.8, {1: 0.4, 3: 0.3, 4: 0.15}), (wide, 0.3, {1: 1.0})):
        uniforms = [(number + 0.5) / count for number in range(count)]
        drawn = draw(scores.expand(count, -1), [Sampling(1.0, top_p)] * count, uniforms)
        shares = {token: n / count for token, n in Counter(drawn.tolist()).items()}
        assert shares == pytest.approx({k: v / sum(kept.values()) for k, v in kept.items()}, abs=0.02)
    assert int(draw(torch.zeros(1, 70), [Sampling(1.0)], [1 - 1e-9])) == 69
    flat = torch.zeros(1, 1000)  # of tokens alike the first are the nucleus
    tokens = {int(draw(flat, [Sampling(1.0, 0.5)], [u / 1000])) for u in range(1000)}
    assert tokens <= set(range(500)) and len(tokens) > 400
    slope = torch.linspace(0, -4, 1000).expand(count, -1)
    drawn = draw(slope, [Sampling(1.0, 0.6)] * count, uniforms)
    p = slope[0].softmax(-1)
    nucleus = int((p.cumsum(-1) - p < 0.6).sum())
    assert int(drawn.max()) < nucleus
    halves = float((drawn < nucleus // 2).float().mean()), float(p[: nucleus // 2].sum() / p[:nucleus].sum())
    assert halves[0] == pytest.approx(halves[1], abs=0.02)


def test_temperature_draws_in_proportion_over_the_whole_vocabulary() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, float("-inf")])
    count = 3000
    uniforms = [(number + 0.5) / count for number in range(count)]
    drawn = draw(logits.expand(count, -1), [Sampling(2.0)] * count, uniforms)
    shares = torch.bincount(drawn, minlength=4) / count
    assert torch.allclose(shares, (logits / 2).softmax(-1), atol=1e-3)
