"""Rows of all processes as one batch, with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Processes that train together; 1 outside of ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of every process in rank order: (B, …) to (W·B, …); every process has B rows.

    The gradient of a row is the sum of what all processes want of it. Averaged over the processes, as
    DistributedDataParallel and FSDP do, the gradient is that of one process with all rows: for the whole loss
    computed everywhere as well as for each process computing the share of its own rows (the local form).

    Args:
        rows: (B, …), any dtype; with one process it is returned as it is.

    Example:
        >>> gather_rows(torch.eye(2)).shape
        torch.Size([2, 2])
    """
    return _Gather.apply(rows) if world_size() > 1 else rows


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


@dataclass(frozen=True)
class Gathered:
    """What the losses of a batch share: which rows there are, and which are no negatives of each other.

    Attributes:
        codes: (W·B, K) int64 over all processes, see :func:`mmreason.align.losses.negatives.item_codes`.
        rows: This process's rows among them.
        world: W; a local loss is scaled by it, since processes average their gradients.
    """

    codes: Tensor
    rows: slice
    world: int

    @classmethod
    def of(cls, codes: Tensor, local: bool) -> Gathered:
        """Gather the (B, K) codes of a batch.

        Args:
            codes: This process's.
            local: Compute the loss of this process's rows alone, else of all rows; the gradients agree.
        """
        everywhere, size = gather_rows(codes), len(codes)
        if not local or world_size() == 1:
            return cls(everywhere, slice(0, len(everywhere)), 1)
        return cls(everywhere, slice(rank() * size, (rank() + 1) * size), world_size())
