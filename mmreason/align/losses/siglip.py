"""Pairwise sigmoid loss (SigLIP, arXiv 2303.15343)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmreason.align.losses.gather import Gathered
from mmreason.align.losses.negatives import same_rows


def siglip(
    a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, *, valid: Tensor, gathered: Gathered, chunk: int = 0
) -> Tensor:
    """Every pair of rows is judged by itself: belongs together, or does not.

    | input | shape | what |
    | --- | --- | --- |
    | ``a``, ``b`` | (W·B, D) float, unit length | rows of all processes; row i of ``a`` belongs to row i of ``b`` |
    | ``scale``, ``bias`` | scalars | inverse temperature and offset of the logits; the paper starts at 10 and −10 |
    | ``valid`` | (W·B,) bool | rows where both modalities are there; the others count nowhere |
    | ``gathered`` | | this process's share of the rows, and who is no negative of whom |
    | ``chunk`` | int | rows of logits in memory at a time, recomputed in the backward pass; 0 for all |

    Returns:
        Scalar, the sum over pairs divided by the valid rows; 0, with zero gradients, if fewer than two are valid.

    Example:
        >>> x, batch = F.normalize(torch.eye(4), dim=-1), Gathered.of(torch.arange(4)[:, None] + 1, local=False)
        >>> kept = torch.ones(4).bool()
        >>> siglip(x, x, torch.tensor(40.0), torch.tensor(-20.0), valid=kept, gathered=batch) < 1e-6
        tensor(True)
    """
    count = valid.sum()
    if int(count) < 2:
        return (a.sum() + b.sum() + scale + bias) * 0.0
    start, stop = gathered.rows.start, gathered.rows.stop
    total = a.new_zeros(())
    for low in range(start, stop, chunk or max(1, stop - start)):
        rows = torch.arange(low, min(low + (chunk or stop), stop), device=a.device)
        total = total + (
            checkpoint(_rows_loss, a, b, scale, bias, valid, gathered.codes, rows, use_reentrant=False)
            if chunk
            else _rows_loss(a, b, scale, bias, valid, gathered.codes, rows)
        )
    return total * gathered.world / count


def _rows_loss(
    a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, valid: Tensor, codes: Tensor, rows: Tensor
) -> Tensor:
    own = torch.arange(len(a), device=a.device) == rows[:, None]
    counted = valid[rows][:, None] & valid & (own | ~same_rows(codes[rows], codes))
    logits = scale * a[rows].float() @ b.float().T + bias
    return -torch.where(counted, F.logsigmoid(torch.where(own, logits, -logits)), 0.0).sum()
