"""Models of Hugging Face transformers out of their folders: no code is run, and no tensor is missing in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from encoders.errors import WeightsError
from encoders.state import check_finite, check_shards
from encoders.weights import quiet_transformers, resolve_weights


def load_hf_model(weights: str, what: str, spare: tuple[str, ...]) -> tuple[Any, Path]:
    """A model in float32.

    Args:
        weights: A folder with ``config.json`` and safetensors, see :func:`encoders.weights.resolve_weights`.
        what: For messages, such as ``text encoder``.
        spare: Beginnings of names of tensors that may be missing, as they are not used.

    Returns:
        The model and its folder.

    Raises:
        WeightsError: If the folder lacks something or a tensor does not fit.
    """
    from transformers import AutoModel

    folder = resolve_weights(weights)
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder}: a {what} is a folder with config.json and model.safetensors")
    check_shards(folder)
    try:
        with quiet_transformers():
            model, info = AutoModel.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # reported below, by name
                output_loading_info=True,
                local_files_only=True,
                trust_remote_code=False,
            )
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and its own
        raise WeightsError(f"{folder}: cannot load {what}: {str(error).splitlines()[0]}") from error
    for name, found, needed in sorted(info["mismatched_keys"]):
        raise WeightsError(
            f"{folder}: tensor {name} has shape {tuple(found)}, the model needs {tuple(needed)}"
        )
    for name in sorted(name for name in info["missing_keys"] if not name.startswith(spare)):
        raise WeightsError(f"{folder}: tensor {name} is missing; the weights are of another model")
    check_finite(model, str(folder))
    return model, folder
