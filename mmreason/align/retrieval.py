"""How well the validation items find themselves across modalities, for early stopping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mmreason.align.losses.negatives import same_rows


@torch.no_grad()
def mean_reciprocal_rank(
    vectors: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    codes: Tensor,
    pairs: Iterable[tuple[str, str]],
) -> float | None:
    """Mean over pairs, both ways, of 1 / the rank of the first right item (finer than recall@1 on few items).

    Right are the item itself and those it shares a code with; ties count against it.

    Args:
        vectors: Modality → (N, D) unit vectors.
        masks: Modality → (N,) bool.
        codes: (N, K) int64, see :func:`mmreason.align.losses.negatives.item_codes`.
        pairs: Pairs of modalities.

    Returns:
        In 0..1; None if no pair has two items.
    """
    found = []
    for a, b in pairs:
        valid = masks[a] & masks[b]
        if int(valid.sum()) < 2:
            continue
        x, y, c = vectors[a][valid].float(), vectors[b][valid].float(), codes[valid]
        right = same_rows(c, c) | torch.eye(len(x), dtype=torch.bool, device=x.device)
        for scores in (x @ y.T, y @ x.T):
            best = scores.masked_fill(~right, float("-inf")).amax(1, keepdim=True)
            rank = 1 + ((scores >= best) & ~right).sum(1)
            found.append((1 / rank.float()).mean().item())
    return sum(found) / len(found) if found else None
