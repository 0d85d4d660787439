"""Reading weights files and loading them into towers, without pickles and without silent misfits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.errors import WeightsError
from encoders.weights import resolve_weights

State = dict[str, Tensor]

# OpenCLIP's own order of preference; a sharded file stands behind its index.
OPEN_CLIP_FILES = ("open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model")
FILES = ("model", "pytorch_model", "open_clip_model", "open_clip_pytorch_model")
_ENDINGS = (".safetensors", ".safetensors.index.json", ".bin", ".pth")


def read_state(weights: str, files: tuple[str, ...] = FILES) -> State:
    """Read named tensors.

    Args:
        weights: Anything :func:`encoders.weights.resolve_weights` takes: a ``.safetensors``, ``.pth``, ``.pt`` or
            ``.bin`` file, or a folder with one; pickles are read without running code, safetensors before them.
        files: Names to look for in a folder, without their endings, the preferred one first.

    Raises:
        WeightsError: If there is no such file, or it holds more than named tensors.
    """
    path = resolve_weights(weights)
    if path.is_dir():
        path = _file_in(path, files)
    if path.name.endswith(".index.json"):
        state: Any = {name: tensor for file in _shards(path) for name, tensor in _read(file).items()}
    else:
        state = _read(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds no plain dictionary of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _file_in(folder: Path, files: tuple[str, ...]) -> Path:
    """The preferred weights file: safetensors in the order of the names, then what is left of others."""
    safe, pickled = _ENDINGS[:2], _ENDINGS[2:]
    names = [name + ending for endings in (safe, pickled) for name in files for ending in endings]
    found = [folder / name for name in names if (folder / name).is_file()]
    found += [path for ending in (".safetensors", *pickled) for path in sorted(folder.glob(f"*{ending}"))]
    if not found:
        raise WeightsError(
            f"{folder}: folder holds none of {', '.join(name + '.safetensors' for name in files)}"
        )
    return found[0]


def check_shards(folder: Path) -> None:
    """That the index of a sharded model, if there is one, names files beside it that are there.

    Raises:
        WeightsError: If not.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file() or (folder / "model.safetensors").is_file():
        return
    for shard in _shards(index):
        if not shard.is_file():
            raise WeightsError(f"{index}: names {shard.name}, which is not beside it; download it, too")


def check_finite(model: nn.Module, source: str) -> None:
    """That no weight is NaN or infinite, as after a failed training or copy; such a model's vectors mean nothing.

    Raises:
        WeightsError: Naming the first tensor that holds one.
    """
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor.detach().sum()) and not torch.isfinite(tensor).all():
            raise WeightsError(
                f"{source}: tensor {name} holds values that are no numbers; fetch the weights again"
            )


def _shards(index: Path) -> list[Path]:
    """The files of a sharded checkpoint, all beside its index."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index}: no index of shards ({error})") from None
    if not all(isinstance(name, str) and Path(name).name == name != ".." for name in names):
        raise WeightsError(f"{index}: names files outside its folder")
    return [index.parent / name for name in names]


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own errors for a broken file
        raise WeightsError(f"{path}: not a readable weights file: {str(error).splitlines()[0]}") from error


def read_json(weights: str, name: str) -> Any:
    """A JSON file in the weights' folder, or beside their file; None if there is none."""
    path = resolve_weights(weights) if weights else Path()
    file = (path if path.is_dir() else path.parent) / name
    if not weights or not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{file}: not JSON: {error}") from None


def read_config(weights: str, name: str) -> dict[str, Any]:
    """As :func:`read_json`, of a file that holds an object; an empty dict if there is none."""
    told = read_json(weights, name)
    if not isinstance(told, dict | None):
        raise WeightsError(f"{weights}: {name} is not a JSON object")
    return told or {}


def load_state(tower: nn.Module, state: State, source: str) -> None:
    """Load every tensor of a tower; tensors that the tower lacks (a classifier, another tower) are left out.

    Raises:
        WeightsError: Naming the first tensor that is missing or of another shape.
    """
    wanted = tower.state_dict()
    if not wanted.keys() & state.keys():
        state = _by_order(wanted, state)
    for name, tensor in wanted.items():
        if name not in state:
            raise WeightsError(f"{source}: tensor {name} is missing; the weights are of another model")
        if state[name].shape != tensor.shape:
            found, needed = tuple(state[name].shape), tuple(tensor.shape)
            raise WeightsError(f"{source}: tensor {name} has shape {found}, the model needs {needed}")
    tower.load_state_dict({name: state[name] for name in wanted})
    check_finite(tower, source)


def _by_order(wanted: State, state: State) -> State:
    """Rename tensors of another library's spelling of the same architecture.

    Accepted only if every tensor of the tower, in order, has the shape and the last name part (``weight``,
    ``running_mean``) of its counterpart; what follows is the classifier.
    """
    pairs = list(zip(wanted, state, strict=False))
    same = len(pairs) == len(wanted) and all(
        wanted[new].shape == state[old].shape and new.split(".")[-1] == old.split(".")[-1]
        for new, old in pairs
    )
    return {new: state[old] for new, old in pairs} if same else state
