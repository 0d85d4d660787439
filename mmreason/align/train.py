"""The ``align`` stage: one shared space, from kept features of frozen towers or end to end from pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed

from mmreason.align.prepare import Prepared, from_features, from_pixels
from mmreason.align.stages import stages_of, trained_towers
from mmreason.align.task import AlignTask
from mmreason.align.towers import save_towers
from mmreason.config import Config
from mmreason.device import pick_device
from mmreason.files import atomic_write, replaced_folder, write_json
from mmreason.processes import wait_for_others
from mmreason.records import stage_identity
from mmreason.training.accelerator import make_accelerator
from mmreason.training.loop import TrainingLoop


def align(config: Config) -> str:
    """Train the shared space and save it in ``align/``; goes on from its last checkpoint.

    Test items take no part: neither in training nor in the features' mean and spread.

    Where no two items have two modalities in common, two views of one are contrasted; where there is nothing to
    contrast either, the encoders' own spaces are kept. The summary says so.

    Raises:
        DataError: If a setting cannot be met; see also :meth:`TrainingLoop.run`.
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
    prepared = (from_features if settings.source == "features" else from_pixels)(config, accelerator)
    log, errors = _train(config, prepared, accelerator)
    if accelerator.is_main_process:
        _save(config, prepared, log, errors)
    for tracker in accelerator.trackers:
        tracker.finish()
    wait_for_others()
    lost = f", {len(errors)} media unreadable" if errors else ""
    return f"{prepared.about}{lost}; " + "; ".join(filter(None, [prepared.contrast.note, _summary(log)]))


def _train(
    config: Config, prepared: Prepared, accelerator: Accelerator
) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
    """The log, and what could not be read; no log where there is nothing to contrast."""
    if prepared.source is None:
        return [], prepared.errors
    task = AlignTask(
        config.align,
        prepared.towers,
        prepared.source,
        prepared.valid,
        accelerator,
        config.seed,
        prepared.contrast.pairs,
    )
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
    return log, sorted({*prepared.errors, *task.gather_errors()})


def _save(
    config: Config, prepared: Prepared, log: list[dict[str, Any]], errors: list[tuple[str, str, str]]
) -> None:
    """Put the new model in the old one's place, once it is complete."""
    with replaced_folder(config.path("align")) as folder:
        trained = trained_towers(prepared.towers, stages_of(config.align)) if prepared.source else set()
        save_towers(prepared.towers, sorted(trained & {"image", "text"}), folder)
        prepared.embedder.save_pretrained(folder)
        write_json(folder / "log.json", log)
        _quarantine(folder, errors)


def _quarantine(folder: Path, errors: list[tuple[str, str, str]]) -> None:
    """List unreadable media in ``quarantine.jsonl``."""
    if errors:
        rows = [
            json.dumps({"item_id": i, "modality": m, "reason": e}, ensure_ascii=False) for i, m, e in errors
        ]
        with atomic_write(folder / "quarantine.jsonl") as file:
            file.write("".join(row + "\n" for row in sorted(rows)).encode())


def _summary(log: list[dict[str, Any]]) -> str:
    if not log:
        return ""
    first, last = log[0], log[-1]
    found = f"contrastive loss {first['loss']:.2f} → {last['loss']:.2f} in {last['step']} steps"
    return f"{found} (valid {last.get('valid_loss', last['loss']):.2f})"
