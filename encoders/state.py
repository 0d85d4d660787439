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

_FILES = ("model.safetensors", "open_clip_model.safetensors")


def read_state(weights: str) -> State:
    """Read named tensors.

    Args:
        weights: Anything :func:`encoders.weights.resolve_weights` takes: a ``.safetensors``, ``.pth``,
            ``.pt`` or ``.bin`` file, or a folder with ``model.safetensors`` or
            ``open_clip_model.safetensors``.

    Raises:
        WeightsError: If there is no such file, or it holds more than named tensors.
    """
    path = resolve_weights(weights)
    if path.is_dir():
        found = [path / name for name in _FILES if (path / name).is_file()]
        if not found:
            raise WeightsError(f"{path}: folder holds none of {', '.join(_FILES)}")
        path = found[0]
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own errors for a broken file
        raise WeightsError(f"{path}: not a readable weights file: {str(error).splitlines()[0]}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds no plain dictionary of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}


def read_config(weights: str, name: str) -> dict[str, Any]:
    """A JSON file beside the weights, or an empty dict if there is none."""
    folder = resolve_weights(weights) if weights else Path()
    if not weights or not (folder / name).is_file():
        return {}
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{folder / name}: not JSON: {error}") from None


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
