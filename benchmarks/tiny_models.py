"""Tiny random models and a configuration of seconds over the made-up catalogue: for tests, and where only the
machinery is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmreason.config import (
    AlignConfig,
    CatalogueConfig,
    Config,
    EmbedConfig,
    EvaluateConfig,
    GenerateConfig,
    PackConfig,
    ReasonConfig,
    SimulateConfig,
    VideoConfig,
)


def tiny_config(models: dict[str, str]) -> Config:
    """A run over some thirty items.

    Args:
        models: As :func:`make_tiny_models` gives them.
    """
    return Config(
        device="cpu",
        dtype="fp32",
        catalogue=CatalogueConfig(
            "demo", options={"items_per_domain": 12}, hidden=["color", "pattern"], test_items=0.3
        ),
        simulate=SimulateConfig(users=40, favour=["color"], history=5, test_users=0.3),
        pack=PackConfig(shard_size=8),
        align=AlignConfig(
            image="timm:test_efficientnet",
            image_weights="",
            text_weights=models["text"],
            video=VideoConfig(frames=2),
            dim=16,
            steps=20,
            batch_size=16,
        ),
        embed=EmbedConfig(part_size=8, batch_size=8),
        reason=ReasonConfig(
            lm=models["lm"],
            soft_tokens=3,
            hidden_size=16,
            layers=1,
            heads=2,
            warmup_steps=10,
            projector_steps=4,
            lora_steps=6,
            batch_size=4,
            warmup_batch_size=8,
            lora_rank=2,
            save_every=2,
            log_every=2,
            max_length=24,
        ),
        generate=GenerateConfig(batch_size=4, part_size=4, max_new_tokens=6),
        evaluate=EvaluateConfig(sample=4, rows=6),
    )


def make_tiny_models(parent: Path) -> dict[str, str]:
    """Write a tiny random text encoder, decoder LM and inference model, with a byte-level tokenizer.

    Returns:
        ``lm``, ``text`` and ``nli`` → their folders in ``parent``.
    """
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertModel,
        LlamaConfig,
        LlamaForCausalLM,
    )

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
    }
    llama = LlamaConfig(
        num_hidden_layers=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=1,
        pad_token_id=0,
        **size,
    )
    bert = {"num_hidden_layers": 1, "max_position_embeddings": 512, **size}
    labels = dict(enumerate(("contradiction", "entailment", "neutral")))
    folders = {}
    for name, model in (
        ("lm", LlamaForCausalLM(llama)),
        ("text", BertModel(BertConfig(**bert))),
        ("nli", BertForSequenceClassification(BertConfig(id2label=labels, **bert))),
    ):
        folder = parent / name
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders[name] = str(folder)
    return folders


def byte_tokenizer() -> Any:
    """A tokenizer of transformers with a token a byte, and no special ones around a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(vocab={"<pad>": 0, "<eos>": 1, **_bytes(pre_tokenizers)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", model_max_length=512
    )


def _bytes(pre_tokenizers: object) -> dict[str, int]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())  # type: ignore[attr-defined]
    return {symbol: index + 2 for index, symbol in enumerate(alphabet)}
