"""The ``align`` stage: one shared space, from kept features of frozen towers or end to end from pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from tqdm import tqdm

from mmreason.align.batch import Batch
from mmreason.align.losses.mining import mine_hard_negatives
from mmreason.align.sources import FeatureSource, PixelCollator, PixelSource
from mmreason.align.stages import stages_of, trained_towers
from mmreason.align.task import AlignTask
from mmreason.align.towers import Towers, save_towers
from mmreason.checkpoint import write_json
from mmreason.config import Config
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.embedder import Embedder
from mmreason.embed.feature_store import keep_features, read_features
from mmreason.embed.model import MODALITIES
from mmreason.files import replaced_folder, whole_file
from mmreason.records import stage_identity
from mmreason.schema import DataError
from mmreason.shards.loader import item_samples
from mmreason.store.store import EmbeddingStore
from mmreason.training.accelerator import make_accelerator
from mmreason.training.loop import TrainingLoop

VALID_ROWS = 512
FIT_ROWS = 1024  # items whose features tell the heads' mean and spread, when training from pixels


def align(config: Config) -> str:
    """Train the shared space and save it in ``align/``; goes on from its last checkpoint.

    Test items take no part: neither in training nor in the features' mean and spread.

    Raises:
        DataError: If fewer than two training items have two modalities; see also :meth:`TrainingLoop.run`.
    """
    settings = config.align
    accelerator = make_accelerator(
        pick_device(config.device),
        "align",
        shardable=True,
        trackers=settings.trackers,
        logs=config.path("logs", "align"),
    )
    set_seed(config.seed)
    if settings.trackers:
        flat = {name: value for name, value in vars(settings).items() if isinstance(value, int | float | str)}
        accelerator.init_trackers("mmreason", config=flat)
    prepare = _from_features if settings.source == "features" else _from_pixels
    embedder, task, about = prepare(config, accelerator)
    loop = TrainingLoop(
        task,
        task.stages(),
        name="align",
        folder=config.path("checkpoints", "align"),
        identity=stage_identity(config, "align"),
        accelerator=accelerator,
        seed=config.seed,
        continue_training=config.continue_training,
    )
    log = loop.run()
    errors = task.gather_errors()
    if accelerator.is_main_process:
        _save(config, embedder, task, log, errors)
    for tracker in accelerator.trackers:
        tracker.finish()
    accelerator.wait_for_everyone()
    lost = f", {len(errors)} media unreadable" if errors else ""
    return f"{about}{lost}; {_summary(log)}"


def _save(
    config: Config,
    embedder: Embedder,
    task: AlignTask,
    log: list[dict[str, Any]],
    errors: list[tuple[str, str, str]],
) -> None:
    """Put the new model in the old one's place, once it is complete."""
    with replaced_folder(config.path("align")) as folder:
        trained = trained_towers(task.towers, stages_of(config.align))
        save_towers(task.towers, sorted(trained & {"image", "text"}), folder)
        embedder.save_pretrained(folder)
        write_json(folder / "log.json", log)
        _quarantine(folder, errors)


def _from_features(config: Config, accelerator: Accelerator) -> tuple[Embedder, AlignTask, str]:
    """Heads over the features of frozen towers."""
    settings, device = config.align, accelerator.device
    embedder = Embedder.create(settings, config.device, config.dtype)
    with accelerator.main_process_first():  # the others then find the features done
        rows, store, lost = keep_features(config, embedder)
    values, masks = read_features(store, rows.ids)
    _check_pairs(torch.stack([masks[m] for m in MODALITIES])[:, rows.train].T, config)
    model = embedder.model.to(device)
    for name in MODALITIES:
        present = rows.train & masks[name]
        if present.any():
            model.head(name).fit(values[name][present].to(device))
    features = {m: model.head(m).standardise(x.to(device)) for m, x in values.items()}
    there, codes = {m: mask.to(device) for m, mask in masks.items()}, rows.codes.to(device)
    train, held = rows.train.nonzero().flatten(), (~rows.train).nonzero().flatten()[:VALID_ROWS]
    everything = FeatureSource(features, there, codes, size=1)
    source = FeatureSource(
        {m: x[train] for m, x in features.items()},
        {m: mask[train] for m, mask in there.items()},
        codes[train],
        size=settings.batch_size,
        micro=settings.micro_batch,
        seed=config.seed,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        hard=_hard_negatives(config, [rows.ids[i] for i in train.tolist()], codes[train]),
    )
    if len(train) < accelerator.num_processes:
        raise DataError(
            f"{config.path('shards')}: fewer training items than processes; start fewer processes"
        )
    towers = Towers({}, model)
    valid = [everything.batch(held)] if len(held) > 1 else []
    task = AlignTask(settings, towers, source, valid, accelerator, config.seed)
    return embedder, task, f"{len(train):,} items" + (f", {lost} media unreadable" if lost else "")


def _hard_negatives(config: Config, ids: list[str], codes: Tensor) -> Tensor | None:
    """(N, H) rows out of the store named by ``align.mine_from``; None if none are asked for."""
    settings = config.align
    if not settings.hard_negatives:
        return None
    if not settings.mine_from:
        raise DataError("align.hard_negatives needs align.mine_from, an embedding store that embed wrote")
    store = EmbeddingStore.open(settings.mine_from)
    vectors = {m: torch.from_numpy(store.get(m, ids)) for m in ("image", "text")}
    return mine_hard_negatives(vectors["image"], vectors["text"], codes.cpu(), settings.hard_negatives)


def _from_pixels(config: Config, accelerator: Accelerator) -> tuple[Embedder, AlignTask, str]:
    """Towers and heads end to end."""
    settings, device = config.align, accelerator.device
    if settings.hard_negatives:
        raise DataError("align.hard_negatives: shards are read in a stream; set align.source=features")
    bf16 = pick_dtype(config.dtype, device) is torch.bfloat16
    embedder = Embedder.create(settings, config.device, "fp32")
    towers = Towers(embedder.encoders, embedder.model, bf16).to(device)
    towers.set_precision(trained_towers(towers, stages_of(settings)))
    collate = PixelCollator(embedder.encoders, settings.mask)
    batch, valid, masks = settings.micro_batch or settings.batch_size, [], []
    fitting: dict[str, list[Tensor]] = {m: [] for m in MODALITIES}
    for split, limit in (("train", FIT_ROWS), ("valid", VALID_ROWS)):
        items = [item for item in item_samples(config.path("shards")) if item.split == split][:limit]
        for start in tqdm(range(0, len(items), batch), desc=f"read {split}", unit="batch", disable=None):
            part = collate(items[start : start + batch])
            if split == "valid":
                valid.append(part)
                continue
            masks.append(torch.stack([part.masks[m] for m in MODALITIES], 1))
            raw = _raw_features(towers, part.to(device))
            for m, x in raw.items():
                fitting[m].append(x)
    _check_pairs(torch.cat(masks) if masks else torch.zeros(0, 3), config)
    for name, parts in fitting.items():
        if parts:
            embedder.model.head(name).fit(torch.cat(parts).to(device))
    source = PixelSource(config, embedder.encoders, accelerator.process_index, accelerator.num_processes)
    held = valid if sum(map(len, valid)) > 1 else []
    task = AlignTask(settings, towers, source, held, accelerator, config.seed)
    return embedder, task, "from pixels"


@torch.no_grad()
def _raw_features(towers: Towers, part: Batch) -> dict[str, Tensor]:
    """Modality → (n, F) features of the inputs that a part has."""
    towers.eval()
    return {m: towers.encoders[m](inputs.tensors).float().cpu() for m, inputs in part.inputs.items()}


def _check_pairs(there: Tensor, config: Config) -> None:
    """(N, M) bool, which modality the training items have."""
    if int((there.sum(1) >= 2).sum()) < 2:
        raise DataError(
            f"{config.path('shards')}: fewer than two training items have two modalities to align; "
            "add pictures or texts, or a larger training split"
        )


def _quarantine(folder: Path, errors: list[tuple[str, str, str]]) -> None:
    """List unreadable media in ``quarantine.jsonl``."""
    if errors:
        rows = [
            json.dumps({"item_id": i, "modality": m, "reason": e}, ensure_ascii=False) for i, m, e in errors
        ]
        with whole_file(folder / "quarantine.jsonl") as file:
            file.write("".join(row + "\n" for row in sorted(rows)).encode())


def _summary(log: list[dict[str, Any]]) -> str:
    if not log:
        return "no steps: the heads are as they were made"
    first, last = log[0], log[-1]
    found = f"contrastive loss {first['loss']:.2f} → {last['loss']:.2f} in {last['step']} steps"
    return f"{found} (valid {last.get('valid_loss', last['loss']):.2f})"
