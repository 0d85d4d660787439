"""Saving and loading tensors: safetensors and JSON only, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmreason.files import remove, remove_leftovers, whole_file, whole_folder
from mmreason.schema import DataError
from mmreason.training.sharding import like, whole

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps beside a parameter in its shape; beside them it counts steps."""


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all.

    Raises:
        DataError: If it cannot be written (a full disk, say).
    """
    with whole_file(path) as file:
        file.write((json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the stage that writes it, or check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); delete it and run its stage again") from None


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        DataError: If it cannot be written (a full disk, say).
    """
    with whole_file(path) as file:
        file.write(save({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        DataError: If the file is missing or is not safetensors (a pickle, say: those are never loaded).
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the folder of a checkpoint that holds it")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(
            f"{path}: not a safetensors file ({error}); pickled checkpoints are not loaded"
        ) from None


def load_into(
    module: nn.Module, tensors: dict[str, Tensor], source: Path, needed: Iterable[str] | None = None
) -> None:
    """Copy tensors into the parameters and buffers of the same names.

    Args:
        module: What to copy into.
        tensors: Name → tensor.
        source: The file, for messages.
        needed: Names that must be there; None for everything that the module would save.

    Raises:
        DataError: If a name is unknown or missing, or a shape differs; it names the file and the first tensor.
            Nothing was changed then.
    """
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in tensors.items():
        if name not in own:
            raise DataError(
                f"{source}: tensor {name!r} is not in this model; use the config.json saved beside it"
            )
        if own[name].shape != tensor.shape:
            raise DataError(
                f"{source}: tensor {name!r} has shape {tuple(tensor.shape)}, the model wants "
                f"{tuple(own[name].shape)}; use the config.json saved beside it"
            )
    for name in module.state_dict() if needed is None else needed:
        if name not in tensors:
            raise DataError(f"{source}: tensor {name!r} is missing; the file is cut or of another model")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(like(tensor, own[name]))


def trainable_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def random_state() -> dict[str, Tensor]:
    """This process's random state: of the CPU and, if used, of the GPU that it computes on."""
    cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def training_tensors(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    more: Mapping[str, Tensor] | None = None,
    random: Sequence[Mapping[str, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """What a resumed training needs, for :func:`save_training_state`; every process must ask if weights are in shards.

    Args:
        module: Its trained parameters are saved.
        optimizer: Its moments are saved.
        more: Further tensors, such as a moving average or running statistics.
        random: :func:`random_state` of each process; None for this one's.
    """
    tensors = {f"model.{name}": p for name, p in trainable_tensors(module).items()}
    names = {id(p): name for name, p in module.named_parameters()}
    for parameter, moments in optimizer.state.items():
        for key, value in moments.items():
            tensors[f"optimizer.{key}.{names[id(parameter)]}"] = torch.as_tensor(value)
    tensors |= {f"more.{name}": t for name, t in (more or {}).items()}
    for rank, states in enumerate(random or [random_state()]):
        tensors |= {f"random.{rank}.{device}": t for device, t in states.items()}
    return {name: whole(tensor) for name, tensor in tensors.items()}


def save_training_state(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Save ``folder/checkpoint-<step>``, then drop older ones.

    Args:
        folder: Where the checkpoints of this training are kept.
        step: Steps done.
        tensors: As :func:`training_tensors` gives them.
        state: JSON values: loader state, logs and the like. The schedule is a function of the step.
    """
    target = folder / f"checkpoint-{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    remove(target)
    with whole_folder(target) as temporary:
        save_tensors(temporary / "state.safetensors", tensors)
        write_json(temporary / "state.json", {"step": step, **state})
    for old in _checkpoints(folder)[:-1]:
        remove(old)


def load_training_state(
    folder: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    more: Mapping[str, Tensor] | None = None,
    rank: int = 0,
) -> dict[str, Any] | None:
    """Load the newest checkpoint that :func:`save_training_state` wrote; None if there is nothing to resume.

    Args:
        folder: Where the checkpoints are kept.
        module: Its trained parameters are overwritten.
        optimizer: Its moments are overwritten.
        more: Tensors to overwrite with those saved under the same names.
        rank: Process whose random state to take up; one that was not there then keeps its own.

    Raises:
        DataError: If the checkpoint is of another model; nothing was changed then.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    source = found[-1] / "state.safetensors"
    state = read_json(found[-1] / "state.json")
    parts = _by_part(load_tensors(source))
    parameters = trainable_tensors(module)
    for name, tensor in (more or {}).items():
        saved = parts["more"].get(name)
        if saved is None or saved.shape != tensor.shape:
            raise DataError(f"{source}: tensor {name!r} is missing or of another shape; remove {folder}")
    load_into(module, parts["model"], source, needed=parameters)
    for name, tensor in (more or {}).items():
        tensor.copy_(like(parts["more"][name], tensor))
    for name, tensor in parts["optimizer"].items():
        key, parameter_name = name.split(".", 1)
        parameter = parameters[parameter_name]
        if key in MOMENTS:
            tensor = like(tensor, parameter)
        elif optimizer.defaults.get("fused"):
            tensor = tensor.to(parameter.device)
        optimizer.state[parameter][key] = tensor
    random = parts["random"]
    if f"{rank}.cpu" in random:
        torch.set_rng_state(random[f"{rank}.cpu"])
    if f"{rank}.cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random[f"{rank}.cuda"])
    return state


def _by_part(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Split names at their first dot."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "more": {}, "random": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"))
