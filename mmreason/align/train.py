"""Training the alignment heads under Accelerate, over features read once from the shards."""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from tqdm import tqdm

from mmreason.align.embedder import Embedder, Features
from mmreason.align.model import MODALITIES, AlignModel
from mmreason.checkpoint import load_training_state, save_training_state, write_json
from mmreason.config import Config
from mmreason.data.loader import item_samples
from mmreason.device import pick_device
from mmreason.schema import DataError, Item, item_text

SAVE_EVERY = 100


def align(config: Config) -> str:
    """The ``align`` stage: read the shards, encode with frozen towers, train the heads, save ``align/``.

    Test items take no part: neither in training nor in the features' mean and spread.

    Raises:
        DataError: If fewer than two training items have two modalities.
    """
    # The heads are a few small layers: they train in fp32, the frozen towers run in the configured dtype.
    accelerator = Accelerator(cpu=pick_device(config.device).type == "cpu")
    set_seed(config.seed)
    items = [item for item in item_samples(config.path("shards")) if item.split != "test"]
    embedder = Embedder.create(config.align, config.device, config.dtype)
    features = embedder.features(items, config.embed.batch_size, show_progress=accelerator.is_main_process)
    train = torch.tensor([item.split == "train" for item in items])
    if _paired(features, train) < 2:
        raise DataError(
            f"{config.path('shards')}: fewer than two training items have two modalities to align; "
            "add pictures or texts, or a larger training split"
        )
    model = embedder.model
    for name in MODALITIES:
        present = train & features.masks[name]
        if present.any():
            model.head(name).fit(features.values[name][present].to(embedder.device))
    log = _train_heads(model, features, train, same_product(items), config, accelerator)
    if accelerator.is_main_process:
        embedder.save_pretrained(config.path("align"))
        write_json(config.path("align", "log.json"), log)
    lost = f", {len(features.errors)} media unreadable" if features.errors else ""
    return (
        f"{int(train.sum()):,} items{lost}; contrastive loss {log[0]['loss']:.2f} → {log[-1]['loss']:.2f} "
        f"in {config.align.steps} steps (valid {log[-1]['valid_loss']:.2f})"
    )


def same_product(items: list[Item]) -> Tensor:
    """(N, N) bool: items of one group or of one text are not each other's negatives."""
    groups = _codes([item.group for item in items])
    texts = _codes([item_text(item) for item in items])
    return (groups[:, None] == groups) | (texts[:, None] == texts)


def _codes(values: list[str]) -> Tensor:
    known: dict[str, int] = {}
    return torch.tensor([known.setdefault(v, len(known)) for v in values])


def _paired(features: Features, train: Tensor) -> int:
    present = torch.stack([features.masks[m] for m in MODALITIES]).sum(0)
    return int(((present >= 2) & train).sum())


def _train_heads(
    model: AlignModel,
    features: Features,
    train: Tensor,
    same: Tensor,
    config: Config,
    accelerator: Accelerator,
) -> list[dict[str, float]]:
    """Train; returns the log, one row every few steps."""
    settings, device = config.align, accelerator.device
    model.to(device)
    standard = {m: model.head(m).standardise(x.to(device)) for m, x in features.values.items()}
    masks = {m: mask.to(device) for m, mask in features.masks.items()}
    rows, valid = train.nonzero().flatten(), (~train).nonzero().flatten()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=0.05)
    checkpoints = config.path("align", "checkpoints")
    saved = load_training_state(checkpoints, model, optimizer) or {"step": 0, "log": []}
    start, log = saved["step"], saved["log"]
    wrapped, optimizer = accelerator.prepare(model, optimizer)

    def batch(index: Tensor, drop: float, generator: torch.Generator) -> tuple[dict, dict, Tensor]:
        kept = {
            m: mask[index] & (torch.rand(len(index), generator=generator) >= drop).to(device)
            for m, mask in masks.items()
        }
        return {m: x[index] for m, x in standard.items()}, kept, same[index][:, index].to(device)

    with tqdm(total=settings.steps, initial=start, desc="align", disable=None) as bar:
        for step in range(start, settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * cosine(step, settings.steps, settings.steps // 10)
            # Every process draws the same batch from the step's own generator, so a resumed run and
            # a run of another size see the same data.
            generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
            picked = rows[torch.randperm(len(rows), generator=generator)[: settings.batch_size]]
            model.train()
            loss = wrapped(*batch(picked, settings.drop_modality, generator))
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            bar.update()
            if step % 10 == 0 or step == settings.steps - 1:
                model.eval()
                with torch.no_grad():
                    held = model(*batch(valid[:512], 0.0, generator)) if len(valid) > 1 else loss
                log.append({"step": step + 1, "loss": loss.item(), "valid_loss": held.item()})
                bar.set_postfix(loss=f"{loss.item():.3f}")
            if (step + 1) % SAVE_EVERY == 0 and accelerator.is_main_process:
                save_training_state(checkpoints, step + 1, model, optimizer, {"log": log})
    return log


def cosine(step: int, steps: int, warmup: int) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
