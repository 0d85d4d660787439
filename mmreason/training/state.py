"""Checkpoints of a training that is under way: what it needs to go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmreason.checkpoint import load_tensors, save_tensors
from mmreason.files import atomic_folder, read_json, remove, remove_leftovers, write_json
from mmreason.schema import DataError
from mmreason.training.sharding import full_tensor, shard_like

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps beside a parameter in its shape; beside them it counts steps."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved state of a training.

    Attributes:
        folder: Where it is: ``state.json`` and ``state.safetensors``.
        step: Steps done, over all stages.
        state: JSON values: the stage, the log, the place of each process in its data.
    """

    folder: Path
    step: int
    state: dict[str, Any]

    @property
    def file(self) -> Path:
        """Its tensors."""
        return self.folder / "state.safetensors"

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Tensors by what they are of (``model``, ``optimizer``, ``kept``, ``random``), then by name."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "kept": {}, "random": {}}
        for name, tensor in load_tensors(self.file).items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        return parts


def newest_checkpoint(folder: Path, identity: str | None = None) -> Checkpoint | None:
    """The newest checkpoint of one identity; without one, the newest of any.

    Args:
        folder: Where the checkpoints of a training are kept.
        identity: Fingerprint of all that the training depends on, as it was saved.
    """
    found = [_read(path) for path in sorted(folder.glob("checkpoint-*"))]
    of_identity = [c for c in found if identity is None or c.state["identity"] == identity]
    return of_identity[-1] if of_identity else None


def save_checkpoint(
    folder: Path, identity: str, step: int, tensors: dict[str, Tensor], state: dict[str, Any]
) -> None:
    """Save ``checkpoint-<step>-<identity>`` whole or not at all, then drop all others, of other identities too.

    Args:
        folder: Where the checkpoints of this training are kept.
        identity: Fingerprint of all that the training depends on.
        step: Steps done, over all stages.
        tensors: As :func:`training_tensors` gives them.
        state: JSON values. The schedule is a function of the step and needs none.
    """
    target = folder / f"checkpoint-{step:08d}-{identity[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    remove(target)
    with atomic_folder(target) as temporary:
        save_tensors(temporary / "state.safetensors", tensors)
        write_json(temporary / "state.json", {"identity": identity, "step": step, **state})
    for other in folder.glob("checkpoint-*"):
        if other != target:
            remove(other)


def random_state() -> dict[str, Tensor]:
    """This process's random state: of the CPU and, if used, of the GPU that it computes on."""
    cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def trained_parameters(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained now, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def training_tensors(
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    kept: Mapping[str, Tensor],
    random: Sequence[Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """What a checkpoint saves; every process must ask if weights are in shards.

    Args:
        parameters: All that was trained so far.
        optimizer: Its moments are saved.
        kept: Further tensors, such as a moving average or running statistics.
        random: :func:`random_state` of each process.
    """
    tensors = {f"model.{name}": p for name, p in parameters.items()}
    names = {id(p): name for name, p in parameters.items()}
    for parameter, moments in optimizer.state.items():
        for key, value in moments.items():
            tensors[f"optimizer.{key}.{names[id(parameter)]}"] = torch.as_tensor(value)
    tensors |= {f"kept.{name}": t for name, t in kept.items()}
    for rank, states in enumerate(random):
        tensors |= {f"random.{rank}.{device}": t for device, t in states.items()}
    return {name: full_tensor(tensor) for name, tensor in tensors.items()}


def restore(
    checkpoint: Checkpoint,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    kept: Mapping[str, Tensor],
    rank: int,
) -> None:
    """Take up a checkpoint: weights, moments, further tensors and this process's random state.

    Args:
        checkpoint: What :func:`save_checkpoint` wrote.
        parameters: All that was trained so far; overwritten.
        optimizer: Its moments are overwritten.
        kept: Overwritten.
        rank: This process.

    Raises:
        DataError: If the checkpoint is of another model; nothing was changed then.
    """
    saved = checkpoint.tensors()
    _check(checkpoint, saved["model"], parameters)
    _check(checkpoint, saved["kept"], kept)
    overwrite_with_full(parameters, saved["model"])
    overwrite_with_full(kept, saved["kept"])
    for name, tensor in saved["optimizer"].items():
        key, parameter_name = name.split(".", 1)
        parameter = parameters[parameter_name]
        if key in MOMENTS:
            tensor = shard_like(tensor, parameter)
        elif optimizer.defaults.get("fused"):
            tensor = tensor.to(parameter.device)
        optimizer.state[parameter][key] = tensor
    random = saved["random"]
    torch.set_rng_state(random[f"{rank}.cpu"])
    if f"{rank}.cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random[f"{rank}.cuda"])


@torch.no_grad()
def overwrite_with_full(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Copy full tensors into those of the same names, which may be in shards."""
    for name, tensor in source.items():
        target[name].copy_(shard_like(tensor, target[name]))


def _check(checkpoint: Checkpoint, saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    for name in _differing(saved, own):
        raise DataError(
            f"{checkpoint.file}: tensor {name!r} is missing, new or of another shape; remove {checkpoint.folder}"
        )


def _differing(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterable[str]:
    for name in sorted({*saved, *own}):
        if name not in saved or name not in own or saved[name].shape != own[name].shape:
            yield name


def _read(folder: Path) -> Checkpoint:
    state = read_json(folder / "state.json")
    return Checkpoint(folder, int(state["step"]), state)
