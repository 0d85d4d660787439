"""Contrastive losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(a: Tensor, b: Tensor, logit_scale: Tensor, same: Tensor, valid: Tensor) -> Tensor:
    """Symmetric InfoNCE in which rows of the same product are not each other's negatives (CLIP, arXiv 2103.00020).

    Args:
        a: (B, D) float, unit length.
        b: (B, D) float, unit length; row i belongs to row i of ``a``.
        logit_scale: Scalar, the inverse temperature.
        same: (B, B) bool, rows that show the same product or carry the same text: masked as negatives.
        valid: (B,) bool, rows where both modalities are there.

    Returns:
        Scalar; 0 if fewer than two rows are valid.

    Example:
        >>> x = F.normalize(torch.eye(4), dim=-1)
        >>> loss = contrastive_loss(x, x, torch.tensor(100.0), torch.eye(4).bool(), torch.ones(4).bool())
        >>> bool(loss < 1e-6)
        True
    """
    if int(valid.sum()) < 2:
        return (a.sum() + b.sum()) * 0.0
    a, b, same = a[valid], b[valid], same[valid][:, valid]
    logits = logit_scale * a.float() @ b.float().T
    masked = same & ~torch.eye(len(a), dtype=torch.bool, device=a.device)
    logits = logits.masked_fill(masked, float("-inf"))
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
