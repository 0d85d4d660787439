"""Saving and loading tensors: safetensors and JSON only, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmreason.data.files import remove, remove_leftovers, whole_file, whole_folder
from mmreason.schema import DataError


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


def load_into(module: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Copy tensors into the parameters and buffers of the same names.

    Raises:
        DataError: If a name is unknown or missing, or a shape differs; it names the file and the first tensor.
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
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def trainable_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def save_training_state(
    folder: Path, step: int, module: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Save what a resumed training needs as ``folder/checkpoint-<step>``, then drop older ones.

    Args:
        folder: Where the checkpoints of this training are kept.
        step: Steps done.
        module: Its trained parameters are saved.
        optimizer: Its moments are saved.
        state: JSON values: loader state, logs and the like.
    """
    tensors = {f"model.{name}": p for name, p in trainable_tensors(module).items()}
    names = {id(p): name for name, p in module.named_parameters()}
    for parameter, moments in optimizer.state.items():
        for key, value in moments.items():
            tensors[f"optimizer.{key}.{names[id(parameter)]}"] = torch.as_tensor(value)
    tensors["rng"] = torch.get_rng_state()
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
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """Load the newest checkpoint that :func:`save_training_state` wrote; None if there is nothing to resume.

    Raises:
        DataError: If the checkpoint is of another model; nothing was changed then.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    state = read_json(found[-1] / "state.json")
    tensors = load_tensors(found[-1] / "state.safetensors")
    torch.set_rng_state(tensors.pop("rng"))
    parameters = dict(module.named_parameters())
    load_into(
        module, {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}, found[-1]
    )
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, key, parameter_name = name.split(".", 2)
            parameter = parameters[parameter_name]
            moment = tensor.to(parameter.device) if tensor.shape == parameter.shape else tensor
            optimizer.state[parameter][key] = moment
    return state


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"))
