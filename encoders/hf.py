"""Models of Hugging Face transformers out of their folders: no code is run, and no tensor is missing in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from encoders.errors import WeightsError
from encoders.state import check_finite, check_shards
from encoders.weights import quiet_transformers, resolve_weights

WORD_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "vocab-src.json")
"""Of which a tokenizer needs one."""

_WITHOUT_WORDS = ("ByT5", "Canine", "Perceiver")  # tokenizers that read bytes or characters


def load_hf_model(
    weights: str, what: str, spare: tuple[str, ...], kind: str = "AutoModel"
) -> tuple[Any, Path]:
    """A model in float32.

    Args:
        weights: A folder with ``config.json`` and safetensors, see :func:`encoders.weights.resolve_weights`.
        what: For messages, such as ``text encoder``.
        spare: Beginnings of names of tensors that may be missing, as they are not used.
        kind: The class of transformers that reads it.

    Returns:
        The model and its folder.

    Raises:
        WeightsError: If the folder lacks something or a tensor does not fit.
    """
    import transformers

    folder = resolve_weights(weights)
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder}: a {what} is a folder with config.json and model.safetensors")
    check_shards(folder)
    try:
        with quiet_transformers():
            model, info = getattr(transformers, kind).from_pretrained(
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


def load_hf_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder.

    Raises:
        WeightsError: If it is missing or cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise WeightsError(f"{folder}: cannot load tokenizer: {str(error).splitlines()[0]}") from error
    _check_words(folder, tokenizer)
    return tokenizer


def _check_words(folder: Path, tokenizer: Any) -> None:
    """Without its files a tokenizer is made that knows a few special words and no other."""
    has_file = any(next(folder.glob(name), None) for name in WORD_FILES)
    if type(tokenizer).__name__.startswith(_WITHOUT_WORDS):
        return
    if not has_file or len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise WeightsError(
            f"{folder}: the tokenizer is missing; copy tokenizer.json (or its vocabulary) beside the weights"
        )


def positions(model: nn.Module, name: str, tokenizer: Any) -> int:
    """How many tokens a text may have: RoBERTa's positions, for one, begin behind the padding's.

    Raises:
        WeightsError: If the tokenizer has words that the model has not.
    """
    words: Any = model.get_input_embeddings() if not hasattr(model, "get_text_features") else None  # type: ignore[operator]
    largest = max(tokenizer.get_vocab().values(), default=0)
    known = getattr(words, "num_embeddings", largest + 1)
    if largest >= known:
        raise WeightsError(
            f"{name}: the tokenizer has {largest + 1} words, the model {known}; they are of two models"
        )
    for module_name, module in model.named_modules():
        if module_name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            behind = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - behind
    told = getattr(model.config.get_text_config(), "max_position_embeddings", None)  # type: ignore[operator, union-attr]
    return told if isinstance(told, int) and told > 0 else 1 << 30
