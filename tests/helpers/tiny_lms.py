"""Tiny random LMs of many architectures, to decode with."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

ENDS = [1, *range(200, 220)]  # a random LM hardly ever finds one end token among 258
_SIZE = {"vocab_size": 258, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_LLAMA = {**_SIZE, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 128}
_GEMMA = {**_LLAMA, "head_dim": 8, "num_hidden_layers": 3, "tie_word_embeddings": False}
_GEMMA_2 = {**_GEMMA, "sliding_window": 6, "query_pre_attn_scalar": 8}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _LLAMA),
    "qwen2": ("Qwen2", _LLAMA),
    "qwen3": ("Qwen3", {**_LLAMA, "head_dim": 8}),
    "qwen3.5": (
        "Qwen3_5",
        {
            **_LLAMA,
            "head_dim": 8,
            "num_hidden_layers": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
        },
    ),
    "mistral, window 6": ("Mistral", {**_LLAMA, "head_dim": 8, "sliding_window": 6}),
    "phi": ("Phi", {**_LLAMA, "num_key_value_heads": 4}),
    "gemma": ("Gemma", _GEMMA),
    "gemma2, window 6": (
        "Gemma2",
        _GEMMA_2,
    ),
    "gemma3, window 6": (
        "Gemma3",
        _GEMMA_2,
    ),
    "gpt2": ("GPT2", {**_SIZE, "n_positions": 128, "tie_word_embeddings": False}),
    "gpt_neox": ("GPTNeoX", {**_SIZE, "intermediate_size": 48, "max_position_embeddings": 128}),
    "opt": ("OPT", {**_SIZE, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 128}),
    "bloom": ("Bloom", {"vocab_size": 258, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "lfm2": ("Lfm2", {**_LLAMA, "num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]}),
    "mamba": ("Mamba", {"vocab_size": 258, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
}
GROUPED = {"qwen3.5", "bloom", "lfm2", "mamba"}
"""Decoded in groups of one length; the others over slots."""


@cache
def tiny_lm(name: str) -> Any:
    """An LM of :data:`ARCHITECTURES` in float32; the same object each time."""
    import transformers

    kind, size = ARCHITECTURES[name]
    config_name = f"{kind}TextConfig" if kind in ("Gemma3", "Qwen3_5") else f"{kind}Config"
    ends = {"eos_token_id": ENDS, "bos_token_id": 0, "pad_token_id": 0}
    config = getattr(transformers, config_name)(**size, **ends, initializer_range=0.4)
    torch.manual_seed(0)
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    return getattr(transformers, f"{kind}{head}")(config).eval().requires_grad_(False)
