"""Symmetric InfoNCE (CLIP, arXiv 2103.00020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmreason.align.losses.gather import Gathered
from mmreason.align.losses.negatives import same_rows


def info_nce(
    a: Tensor, b: Tensor, scale: Tensor, *, valid: Tensor, gathered: Gathered, chunk: int = 0
) -> Tensor:
    """Each row finds its partner among all rows, both ways; rows of one product are not negatives.

    | input | shape | what |
    | --- | --- | --- |
    | ``a``, ``b`` | (W·B, D) float, unit length | rows of all processes; row i of ``a`` belongs to row i of ``b`` |
    | ``scale`` | scalar | inverse temperature |
    | ``valid`` | (W·B,) bool | rows where both modalities are there; the others count nowhere |
    | ``gathered`` | | this process's share of the rows, and who is no negative of whom |
    | ``chunk`` | int | rows of logits in memory at a time, recomputed in the backward pass; 0 for all |

    Returns:
        Scalar; 0, with zero gradients, if fewer than two rows are valid.

    Example:
        >>> x = F.normalize(torch.eye(4), dim=-1)
        >>> batch = Gathered.of(torch.arange(4)[:, None] + 1, local=False)
        >>> info_nce(x, x, torch.tensor(100.0), valid=torch.ones(4).bool(), gathered=batch) < 1e-6
        tensor(True)
    """
    count = valid.sum()
    if int(count) < 2:
        return (a.sum() + b.sum() + scale) * 0.0
    start, stop = gathered.rows.start, gathered.rows.stop
    total = a.new_zeros(())
    for low in range(start, stop, chunk or max(1, stop - start)):
        rows = torch.arange(low, min(low + (chunk or stop), stop), device=a.device)
        total = total + (
            checkpoint(_rows_loss, a, b, scale, valid, gathered.codes, rows, use_reentrant=False)
            if chunk
            else _rows_loss(a, b, scale, valid, gathered.codes, rows)
        )
    return total * gathered.world / count


def _rows_loss(a: Tensor, b: Tensor, scale: Tensor, valid: Tensor, codes: Tensor, rows: Tensor) -> Tensor:
    """Summed loss of some rows, as queries of either modality."""
    own = torch.arange(len(a), device=a.device) == rows[:, None]
    hidden = (same_rows(codes[rows], codes) | ~valid) & ~own
    loss = a.new_zeros(())
    for queries, keys in ((a, b), (b, a)):
        logits = (scale * queries[rows].float() @ keys.float().T).masked_fill(hidden, float("-inf"))
        each = F.cross_entropy(logits, rows, reduction="none")
        loss = loss + torch.where(valid[rows], each, 0.0).sum() / 2
    return loss
