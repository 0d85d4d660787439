"""Hard negatives: items that an embedding store takes for another, and that are not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreason.align.losses.negatives import same_rows
from mmreason.progress import track

QUERIES = 1024  # scored at a time, so that memory is QUERIES × N


def mine_hard_negatives(
    queries: Tensor, keys: Tensor, codes: Tensor, count: int, *, margin: float = 0.95
) -> Tensor:
    """The nearest items of each that are neither known positives nor likely ones.

    Known positives share a code (one product, one picture, one text). Likely ones score above ``margin`` times
    what the item's own partner scores: most are right answers that nobody marked (NV-Retriever, arXiv
    2407.15831). The search is exact.

    Args:
        queries: (N, D) vectors of one modality.
        keys: (N, D) vectors of the other; row i belongs to row i of ``queries``.
        codes: (N, K) int64, see :func:`mmreason.align.losses.negatives.item_codes`.
        count: Negatives an item.
        margin: Share of the own partner's score up to which a neighbour is a negative.

    Returns:
        (N, count) int64 rows, the hardest first; −1 where there are fewer.

    Example:
        >>> x = F.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.5], [0.0, 1.0]]), dim=-1)
        >>> mine_hard_negatives(x, x, torch.arange(3)[:, None] + 1, 1).flatten().tolist()
        [1, 0, 1]
    """
    queries, keys = F.normalize(queries.float(), dim=-1), F.normalize(keys.float(), dim=-1)
    found = torch.full((len(queries), count), -1, dtype=torch.long)
    width = min(count, len(keys))
    for low in track(range(0, len(queries), QUERIES), "mine", "queries"):
        rows = torch.arange(low, min(low + QUERIES, len(queries)), device=queries.device)
        scores = queries[rows] @ keys.T
        own = scores.gather(1, rows[:, None])
        # An item whose own partner scores below 0 has not been learnt yet: every neighbour is a negative.
        likely = (scores > margin * own) & (own > 0)
        scores = scores.masked_fill(likely | same_rows(codes[rows], codes), float("-inf"))
        top = scores.topk(width, dim=1)
        found[low : low + QUERIES, :width] = torch.where(top.values.isinf(), -1, top.indices).cpu()
    return found
