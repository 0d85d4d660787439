"""What the processes of the distributed tests run; importable, so that they can be spawned."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmreason.align.losses import PairLoss, cached_backward
from mmreason.checkpoint import load_tensors
from mmreason.config import Config

ROWS, WORLD = 12, 2
PAIRS = {("x", "y"): 2.0, ("x", "z"): 1.0}


def run_two(target: Callable, *args: Any, timeout: float = 900) -> list[int | None]:
    """Run ``target(rank, *args)`` in two processes of a gloo group; returns their exit codes, −9 past ``timeout`` s."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        return _run_two(context, Path(folder, "meeting"), target, args, timeout)


def _run_two(context: Any, meeting: Path, target: Callable, args: tuple, timeout: float) -> list[int | None]:
    processes = [context.Process(target=_enter, args=(rank, meeting, target, *args)) for rank in range(WORLD)]
    for process in processes:
        process.start()
    ends = time.monotonic() + timeout
    while any(p.is_alive() for p in processes) and time.monotonic() < ends:
        if any(p.exitcode for p in processes):  # the other is to notice by itself, and soon
            ends = min(ends, time.monotonic() + 60)
            processes[0].join(1)
            processes[1].join(1)
        time.sleep(0.05)
    for process in processes:
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def _enter(rank: int, meeting: Path, target: Callable, *args: Any) -> None:
    faulthandler.enable()  # an abort says where
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(WORLD),
        "LOCAL_WORLD_SIZE": str(WORLD),
        "ACCELERATE_USE_CPU": "true",
    }
    torch.set_num_threads(1)
    # They meet at a file: a free port may be taken by somebody else before it is used.
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD)
    target(rank, *args)
    dist.destroy_process_group()


class Net(torch.nn.Module):
    """A small tower with a temperature, as the trainer's are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(5, 8) for _ in range(3))
        self.scale = torch.nn.Parameter(torch.tensor(8.0))
        self.bias = torch.nn.Parameter(torch.tensor(-4.0))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        vectors = {n: F.normalize(layer(x), dim=-1) for n, layer in zip("xyz", self.layers, strict=True)}
        return vectors | {"scale": self.scale * 1, "bias": self.bias * 1}


def contrast(net: Any, loss: PairLoss, rows: slice, parts: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of some of the rows of a fixed batch, cached if in parts."""
    data = torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(1))[rows]
    number = torch.arange(ROWS)
    masks = {"x": (number != 2)[rows], "y": (number != 7)[rows], "z": (number < 5)[rows]}
    codes = torch.where(number == 9, 1, number + 1)[:, None][rows]

    def value(outputs: list) -> Tensor:
        vectors = {m: torch.cat([o[m] for o in outputs]) for m in masks}
        scale, bias = (torch.stack([o[n] for o in outputs]).mean() for n in ("scale", "bias"))
        return loss(vectors, masks, codes, scale, bias) + 0.0 * bias

    if parts == 1:
        found = value([net(data)])
        found.backward()
    else:
        found = cached_backward(data.chunk(parts), net, value, unsynced=net.no_sync)
    inner = net.module if hasattr(net, "module") else net
    return found.detach(), {name: p.grad.clone() for name, p in inner.named_parameters()}


def losses(rank: int, folder: Path) -> None:
    """Every kind and form of loss on this process's half of the batch."""
    half = ROWS // WORLD
    rows = slice(rank * half, (rank + 1) * half)
    found = {}
    for kind in ("infonce", "siglip"):
        for local in (False, True):
            for parts in (1, 2):
                net = DistributedDataParallel(Net())
                loss = PairLoss(PAIRS, kind, dims=(4,), local=local)  # type: ignore[arg-type]
                value, gradients = contrast(net, loss, rows, parts)
                dist.all_reduce(value)
                found[kind, local, parts] = (value / WORLD, gradients)
    if rank == 0:
        torch.save(found, folder / "found.pt")


def train(rank: int, config: Config, die_at: int, sharded: bool = False) -> None:
    """The align stage; rank 1 dies in a step if asked to, and rank 0 says what it was told."""
    from mmreason.align.train import align

    if sharded:
        _shard_on_cpus()
    _run_stage(rank, lambda: align(config), config, die_at)


def train_reasons(rank: int, config: Config, die_at: int) -> None:
    """The train stage; rank 1 dies in a step if asked to, and rank 0 says what it was told."""
    from mmreason.reason.train import train as stage

    _run_stage(rank, lambda: stage(config), config, die_at)


def train_users(rank: int, config: Config, die_at: int) -> None:
    """Like :func:`train_reasons`, of the user tower."""
    from mmreason.users.train import align_users

    _run_stage(rank, lambda: align_users(config), config, die_at)


def refuse_shards(rank: int, config: Config) -> None:
    """The train stage under FSDP, and what it says of it."""
    from mmreason.reason.train import train as stage

    _shard_on_cpus()
    _run_stage(rank, lambda: stage(config), config, -1)


def _run_stage(rank: int, stage: Callable[[], str], config: Config, die_at: int) -> None:
    from mmreason.schema import DataError

    if rank == 1:
        die_in_step(die_at)
    try:
        told = stage()
    except DataError as error:
        config.path(f"told-{rank}").write_text(str(error))
        os._exit(1)
    config.path(f"told-{rank}").write_text(told)


def die_in_step(step: int) -> None:
    """Leave this process without a word in a step, counted from 0 over all stages."""
    from mmreason.training.loop import TrainingLoop

    real = TrainingLoop._step

    def dying(self: TrainingLoop, running: Any, number: int, *rest: Any) -> Tensor:
        if running.offset + number == step:
            os._exit(9)
        return real(self, running, number, *rest)

    TrainingLoop._step = dying  # type: ignore[method-assign]


def _shard_on_cpus() -> None:
    """FSDP as configs/accelerate/fsdp.yaml has it; Accelerate itself turns it on for GPUs only."""
    import accelerate
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    import mmreason.training.accelerator as module

    class Sharding(accelerate.Accelerator):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.state.distributed_type = DistributedType.FSDP
            # As on GPUs; every optimizer that is prepared makes the state take it from there again.
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.state.fsdp_plugin = FullyShardedDataParallelPlugin(
                fsdp_version=2, auto_wrap_policy="transformer_based_wrap", reshard_after_forward=True
            )

    module.Accelerator = Sharding  # type: ignore[misc]


def smaller(config: Config, **changes: Any) -> Config:
    """The same run with other settings of alignment."""
    return replace(config, align=replace(config.align, **changes))


def differing_weights(one: Path, other: Path, atol: float = 1e-5) -> list[str]:
    """Names of the tensors in which two safetensors files differ.

    The keys' bias of an attention is left out: softmax cancels it, so that its gradient is rounding alone, which
    Adam scales up to a step.
    """
    tensors = [load_tensors(path) for path in (one, other)]
    assert tensors[0].keys() == tensors[1].keys()
    for weights in tensors:
        for name, tensor in weights.items():
            if name.endswith("in_proj_bias"):  # of queries, keys and values
                tensor.chunk(3)[1].zero_()
    return [n for n, tensor in tensors[0].items() if not torch.allclose(tensor, tensors[1][n], atol=atol)]


def main_process_works(rank: int, folder: Path) -> None:
    """Each process writes what it was told."""
    from mmreason.processes import on_main_process, wait_for_others

    def work() -> str:
        with (folder / "worked").open("a") as file:
            file.write(str(rank))
        time.sleep(0.2)
        return f"done in {rank}"

    (folder / f"told-{rank}").write_text(on_main_process(work))
    assert wait_for_others(f"from {rank}") == ["from 0", "from 1"]


def main_process_fails(rank: int, folder: Path, dies: bool) -> None:
    """The first process raises, or is gone; the second writes what it was told."""
    from mmreason.processes import on_main_process
    from mmreason.schema import DataError

    def work() -> str:
        if dies:
            os._exit(9)
        raise DataError("no such shop")

    try:
        on_main_process(work)
    except DataError as error:
        (folder / f"told-{rank}").write_text(str(error))
        if rank == 0:
            os._exit(9)


def whole_run(rank: int, config: Config, stages: tuple[str, ...] = ()) -> None:
    """All stages, or some of them alone."""
    from mmreason.pipeline import run, run_verb

    for stage in stages:
        run_verb(stage, config)
    if not stages:
        run(config)
