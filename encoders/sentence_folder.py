"""What a folder of sentence-transformers says of itself: pooling, what follows it, length, prompt.

Source: the modules' own configuration files, https://sbert.net/docs/package_reference/sentence_transformer/models.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.errors import WeightsError
from encoders.state import read_config, read_json, read_state

Pooling = Literal["cls", "max", "mean", "mean_sqrt_len", "weightedmean", "last"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)  # in the order in which several are concatenated

# Names of the switches in Pooling's config.json.
_SWITCHES: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}
_ACTIVATIONS = {
    "Identity": nn.Identity,
    "Tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Sigmoid": nn.Sigmoid,
}
_LONGEST = 8192  # tokens, where only the model and the tokenizer set a limit


@dataclass
class SentenceFolder:
    """How texts become one vector each.

    Attributes:
        poolings: Of the last hidden states, concatenated.
        after: What follows the pooling.
        max_length: Tokens at most; None if the folder does not say.
        lower: Whether texts are lower-cased.
        prompt: Written before every text.
    """

    poolings: tuple[Pooling, ...] = ("mean",)
    after: list[nn.Module] = field(default_factory=list)
    max_length: int | None = None
    lower: bool = False
    prompt: str = ""


def read_sentence_folder(folder: Path) -> SentenceFolder:
    """Read ``modules.json`` and the files that it names, ``sentence_bert_config.json`` and the default prompt.

    Raises:
        WeightsError: If a module does what is not done here.
    """
    found = SentenceFolder()
    modules = _modules(folder)
    for kind, path in modules:
        if kind == "Pooling":
            found.poolings = _poolings(path)
        elif kind == "Dense":
            found.after.append(_dense(path))
        elif kind == "Normalize":
            found.after.append(Normalize())
        elif kind != "Transformer":
            raise WeightsError(f"{folder / 'modules.json'}: module {kind} is not supported")
    inner = transformer_folder(folder)
    said = read_config(str(inner), "sentence_bert_config.json") or read_config(
        str(folder), "sentence_bert_config.json"
    )
    longest = said.get("max_seq_length")
    if longest is not None and (not isinstance(longest, int) or longest < 1):
        raise WeightsError(
            f"{folder / 'sentence_bert_config.json'}: max_seq_length is {longest!r}, not a whole number of at least 1"
        )
    found.max_length = longest or (_LONGEST if modules else None)
    found.lower = bool(said.get("do_lower_case"))
    prompts = read_config(str(folder), "config_sentence_transformers.json")
    default = prompts.get("default_prompt_name")
    found.prompt = (prompts.get("prompts") or {}).get(default, "") if default else ""
    return found


def transformer_folder(folder: Path) -> Path:
    """Where the model itself lies: the folder, or one in it (``0_Transformer``), as older versions wrote it.

    Raises:
        WeightsError: If ``modules.json`` is none.
    """
    if not folder.is_dir() or "model_type" in read_config(str(folder), "config.json"):
        return folder
    listed = [path for kind, path in _modules(folder) if kind == "Transformer"]
    inner = [*listed, folder / "0_Transformer"]
    return next((path for path in inner if (path / "config.json").is_file()), folder)


def pool(hidden: Tensor, mask: Tensor, poolings: tuple[Pooling, ...]) -> Tensor:
    """(B, T, C) float32 hidden states and (B, T) mask, padded on the right, to (B, C × number of poolings)."""
    weight = mask.unsqueeze(-1).float()
    counts = weight.sum(dim=1).clamp(min=1)
    pooled = []
    for pooling in poolings:
        if pooling == "cls":
            pooled.append(hidden[:, 0])
        elif pooling == "last":
            pooled.append(hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1])
        elif pooling == "max":
            pooled.append(hidden.masked_fill(weight == 0, -1e9).amax(dim=1))
        elif pooling == "weightedmean":
            places = weight * torch.arange(1, hidden.shape[1] + 1, device=hidden.device)[None, :, None]
            pooled.append((hidden * places).sum(dim=1) / places.sum(dim=1).clamp(min=1))
        else:
            pooled.append((hidden * weight).sum(dim=1) / (counts if pooling == "mean" else counts.sqrt()))
    return torch.cat(pooled, dim=1)


class Normalize(nn.Module):
    """Vectors to unit length."""

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        return F.normalize(vectors, dim=1)


class Dense(nn.Module):
    """A linear layer that is used as it is and never trained, with an activation."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: nn.Module) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.activation = activation

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, C) float32 to (B, D) float32."""
        bias = None if self.bias is None else self.bias.float()
        return self.activation(F.linear(vectors, self.weight.float(), bias))


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module, in order; of a folder without a list, its pooling if it has one."""
    file = folder / "modules.json"
    listed = read_json(str(folder), file.name)
    if listed is None:
        return [("Pooling", folder / "1_Pooling")] if (folder / "1_Pooling" / "config.json").is_file() else []
    if not isinstance(listed, list) or not listed:
        raise WeightsError(f"{file}: no list of modules")
    try:
        found = [(_kind(str(one["type"])), (folder / one["path"]).resolve()) for one in listed]
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{file}: no list of modules ({error})") from None
    if not all(path.is_relative_to(folder.resolve()) for _, path in found):
        raise WeightsError(f"{file}: names a module outside its folder")
    for kind, path in found:
        if kind in ("Pooling", "Dense") and not (path / "config.json").is_file():
            raise WeightsError(f"{path / 'config.json'}: missing, but named in {file.name}; download it, too")
    return found


def _kind(module: str) -> str:
    """The last part of a module's name, of those that sentence-transformers brings; another's whole name."""
    return module.rpartition(".")[2] if module.startswith("sentence_transformers.") else module


def _poolings(folder: Path) -> tuple[Pooling, ...]:
    said = read_config(str(folder), "config.json")
    if said.get("include_prompt") is False:
        raise WeightsError(f"{folder / 'config.json'}: pooling without the prompt's tokens is not supported")
    mode: Any = said.get(
        "pooling_mode", [name for switch, name in _SWITCHES.items() if said.get(switch)] or "mean"
    )
    named = [mode] if isinstance(mode, str) else list(mode)
    named = ["last" if one == "lasttoken" else one for one in named]
    if unknown := set(named) - set(POOLINGS):
        raise WeightsError(f"{folder / 'config.json'}: pooling {min(unknown)!r} is not supported")
    return tuple(pooling for pooling in POOLINGS if pooling in named)


def _dense(folder: Path) -> Dense:
    said = read_config(str(folder), "config.json")
    name = str(said.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if (
        name not in _ACTIVATIONS
        or said.get("module_input_name", "sentence_embedding") != "sentence_embedding"
    ):
        raise WeightsError(f"{folder / 'config.json'}: a dense layer with {name} is not supported")
    state = read_state(str(folder))
    try:
        return Dense(state["linear.weight"], state.get("linear.bias"), _ACTIVATIONS[name]())
    except KeyError:
        raise WeightsError(f"{folder}: holds no linear.weight") from None
