"""Weights that FSDP keeps in shards, each process a part: in full for saving, in shards again for loading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process holds a part of it only."""
    return hasattr(tensor, "full_tensor")


def full_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor; if it is in shards, every process must ask for it."""
    sharded: DTensor = tensor  # type: ignore[assignment]
    return sharded.full_tensor() if is_sharded(tensor) else tensor


def shard_like(tensor: Tensor, target: Tensor) -> Tensor:
    """A full tensor, the same in every process, on the device and in the shards of another."""
    tensor = tensor.to(target.device)
    if not is_sharded(target):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    sharded: DTensor = target  # type: ignore[assignment]
    return distribute_tensor(tensor, sharded.device_mesh, sharded.placements, src_data_rank=None)


@torch.no_grad()
def overwrite(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Copy tensors into those of the same names; both are in full, or both in the same shards."""
    for name, tensor in source.items():
        target[name].copy_(tensor)


def make_shardable(module: nn.Module) -> None:
    """Lay full weights out row by row, which channels-last ones are not and FSDP asks for."""
    for parameter in module.parameters():
        if not is_sharded(parameter):
            parameter.data = parameter.data.contiguous()


def reshard(module: nn.Module) -> None:
    """Let go of what a forward pass gathered; without a backward pass it would stay, and grow stale."""
    from torch.distributed.fsdp import FSDPModule

    for owner in module.modules():
        if isinstance(owner, FSDPModule):
            owner.reshard()


@torch.no_grad()
def unshard(module: nn.Module) -> None:
    """Give every process the full weights, as they were before sharding; the module trains no more after that."""
    reshard(module)
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            if is_sharded(parameter):
                setattr(owner, name, nn.Parameter(full_tensor(parameter), parameter.requires_grad))
