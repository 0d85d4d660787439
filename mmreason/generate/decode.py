"""Batched greedy decoding from input embeddings."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Decoded:
    """What the LM wrote for B rows.

    Attributes:
        ids: Token ids per row, without the end token.
        scores: Mean log-probability of each row's tokens, the end token included; NaN where the LM computed no number.
    """

    ids: list[list[int]]
    scores: list[float]


@torch.inference_mode()
def greedy(
    lm: Any, embeds: Tensor, attention_mask: Tensor, max_new_tokens: int, eos_token_id: int
) -> Decoded:
    """Decode greedily; rows that have ended leave the batch, so that they cost nothing more.

    Args:
        lm: A Hugging Face causal LM.
        embeds: (B, L, hidden_size), padded on the left.
        attention_mask: (B, L) long; 0 where padded.
        max_new_tokens: Longest output.
        eos_token_id: Ends a row.

    Returns:
        The same for a row alone as for the row in any batch, up to rounding.
    """
    from transformers import DynamicCache

    # Newer transformers call the argument "cache".
    cache_name = "cache" if "cache" in inspect.signature(lm.forward).parameters else "past_key_values"
    rows = torch.arange(len(embeds), device=embeds.device)
    ids: list[list[int]] = [[] for _ in rows]
    totals = torch.zeros(len(rows), device=embeds.device)
    cache = DynamicCache(config=lm.config)
    mask = attention_mask
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    inputs: dict[str, Tensor] = {"inputs_embeds": embeds}
    for _ in range(max_new_tokens):
        logits = lm(
            **inputs,
            **{cache_name: cache},
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        log_p, token = logits.float().log_softmax(-1).max(-1)
        totals[rows] += log_p
        going = token != eos_token_id
        for row, value in zip(rows[going].tolist(), token[going].tolist(), strict=True):
            ids[row].append(value)
        if not going.any():
            break
        if not going.all():
            keep = going.nonzero().flatten()
            cache.batch_select_indices(keep)
            rows, token, mask, positions = rows[keep], token[keep], mask[keep], positions[keep]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        positions = positions[:, -1:] + 1
        inputs = {"input_ids": token[:, None]}
    ended = torch.ones(len(ids))
    ended[rows.cpu()] = 0.0 if len(rows) and bool((token != eos_token_id).all()) else 1.0
    lengths = torch.tensor([len(i) for i in ids]) + ended
    return Decoded(ids, (totals.cpu() / lengths.clamp_min(1)).tolist())
