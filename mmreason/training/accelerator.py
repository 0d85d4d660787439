"""Accelerate, set up the same way for every training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs

from mmreason.processes import STEP_TIMEOUT, join_processes
from mmreason.schema import DataError

REPLICATED = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def make_accelerator(
    device: torch.device,
    what: str,
    *,
    shardable: bool = False,
    trackers: Sequence[str] = (),
    logs: Path | None = None,
) -> Accelerator:
    """Accelerate's entry to one or several processes, with what a training needs of it.

    Args:
        device: As :func:`mmreason.device.pick_device` gives it.
        what: The verb, for messages.
        shardable: Whether the training can keep its weights in shards (FSDP 2).
        trackers: ``tensorboard`` and ``wandb`` (offline unless WANDB_MODE says otherwise).
        logs: Where trackers write.

    Raises:
        DataError: If there are more processes than GPUs, the kind of distribution is not supported, or a tracker is
            unknown or not installed.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if device.type == "cuda" and processes > torch.cuda.device_count():
        raise DataError(
            f"{what}: {processes} processes, but {torch.cuda.device_count()} GPUs; start one process a GPU, or set "
            "device=cpu"
        )
    join_processes()
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=STEP_TIMEOUT),
            # A batch without a video, say, gives the video's weights no gradient; nobody must wait for it.
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
        ],
        **_tracking(trackers, what, logs),
    )
    if accelerator.distributed_type in REPLICATED or (shardable and accelerator.is_fsdp2):
        return accelerator
    configurations = "ddp.yaml or fsdp.yaml" if shardable else "ddp.yaml"
    raise DataError(
        f"{what}: {accelerator.distributed_type.value} is not supported"
        f"{' (of FSDP only version 2 is)' if shardable else ''}; use configs/accelerate/{configurations}"
    )


def _tracking(trackers: Sequence[str], what: str, logs: Path | None) -> dict[str, Any]:
    """Arguments that make an ``Accelerator`` log to trackers."""
    from accelerate.tracking import filter_trackers
    from accelerate.utils import is_tensorboard_available, is_wandb_available

    there = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available}
    for name in trackers:
        if name not in there:
            raise DataError(f"{what}.trackers: no {name!r}; there are {', '.join(there)}")
        if not there[name]():
            raise DataError(f"{what}.trackers: {name} is not installed; pip install mmreason[tracking]")
    if not trackers or logs is None:
        return {}
    os.environ.setdefault("WANDB_MODE", "offline")
    logs.mkdir(parents=True, exist_ok=True)
    return {"log_with": filter_trackers(list(trackers), str(logs)), "project_dir": logs}
