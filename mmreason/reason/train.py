"""The ``train`` stage: the reason model, and the text-only LM beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed

from mmreason.config import Config, ReasonConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.model import AlignModel
from mmreason.evidence.claims import Vocabulary
from mmreason.files import atomic_write, remove, replaced_folder, write_json
from mmreason.probes.picture import PictureProbe
from mmreason.processes import on_main_process, wait_for_others
from mmreason.reason.batch import Collator, candidate_tokens
from mmreason.reason.lm import load_tokenizer
from mmreason.reason.model import ReasonModel, feature_sizes
from mmreason.reason.plans import PlanReader
from mmreason.reason.task import ReasonTask, has_reasons
from mmreason.records import stage_identity
from mmreason.schema import Item
from mmreason.shards.loader import reason_samples
from mmreason.shards.manifest import read_manifest
from mmreason.store.items import ItemLookup
from mmreason.store.store import EmbeddingStore
from mmreason.training.accelerator import make_accelerator
from mmreason.training.loop import TrainingLoop

LOOKED_AT = 256
"""Reasons of which it is told how many say a plan."""


def train(config: Config) -> str:
    """The ``train`` stage: the reason model in ``reason/``, and the text-only LM beside it in ``baseline/``.

    Without training reasons, or without ``lm`` among the writers, nothing is trained, and the summary says so.
    """
    if not config.generate.trains_lm:
        return "no language model among generate.writers, so nothing was trained"
    if not has_reasons(config.path("shards")):
        return _nothing_to_learn(config)
    summary = train_reasoner(config, config.reason, config.path("reason"))
    if config.evaluate.baseline and config.reason.inputs != "text":
        steps = config.evaluate.baseline_steps or config.reason.lora_steps
        text = replace(config.reason, inputs="text", lora_steps=steps)
        summary += "; text-only LM: " + train_reasoner(config, text, config.path("baseline"))
    return summary


def train_reasoner(config: Config, settings: ReasonConfig, folder: Path) -> str:
    """Train one reason model and save it, with its probe, its alignment heads and its log.

    Goes on from its last checkpoint, if settings and data are the same. The model in ``folder`` is replaced when
    the new one is complete.

    Args:
        config: The run.
        settings: Of this model.
        folder: Where the model is saved; its checkpoints are in ``checkpoints/`` of the run, under the same name.

    Raises:
        DataError: As :meth:`TrainingLoop.run`; or if the processes keep weights in shards (FSDP).
    """
    device = pick_device(config.device)
    accelerator = make_accelerator(device, "train")
    set_seed(config.seed)
    items = ItemLookup(config.path("catalogue"))
    store = EmbeddingStore.open(config.path("embed"))
    tokenizer = load_tokenizer(settings.lm)
    candidates = on_main_process(lambda: _candidates(config, settings, tokenizer))
    probe = on_main_process(lambda: PictureProbe.fit(items.values(), store))
    plans = None
    if settings.inputs == "plan":
        plans = PlanReader(config.path("evidence"), config.path("shards"), items)
    collator = Collator(items, store, tokenizer, settings, candidates, probe, plans)
    dtype = pick_dtype(config.dtype, device)
    model = ReasonModel.create(feature_sizes(store), settings, dtype, candidates).to(accelerator.device)
    task = ReasonTask(config, settings, model, collator, accelerator)
    loop = TrainingLoop(
        task,
        task.stages(),
        name=folder.name,
        folder=config.path("checkpoints", folder.name),
        identity=_identity(config, settings),
        accelerator=accelerator,
        seed=config.seed,
        continue_training=config.continue_training,
    )
    log = loop.run()
    if accelerator.is_main_process:
        _save(config, model, probe, items, log, folder)
    wait_for_others()
    return f"{_reasons(config, plans)}; loss: {_losses(log, task)}"


def _candidates(config: Config, settings: ReasonConfig, tokenizer: Any) -> list[int]:
    """What soft tokens are made of, if there are any."""
    if not settings.has_soft_tokens:
        return []
    reasons = (sample.reason for sample in reason_samples(config.path("shards"), "train"))
    return candidate_tokens(reasons, tokenizer)


def _reasons(config: Config, plans: PlanReader | None) -> str:
    """How many reasons there are to learn from, and how many of the first ones say a plan, where that is asked."""
    count = read_manifest(config.path("shards")).samples("reasons-train")
    if plans is None:
        return f"{count:,} reasons"
    first = list(islice(reason_samples(config.path("shards"), "train"), LOOKED_AT))
    good = sum(plans.read(sample) is not None for sample in first)
    return f"{count:,} reasons, of the first {len(first):,} of which {good:,} say a plan, others are left out"


def _save(
    config: Config,
    model: ReasonModel,
    probe: PictureProbe,
    items: Mapping[str, Item],
    log: list[dict[str, Any]],
    folder: Path,
) -> None:
    """Put the new model in the old one's place, once it is complete."""
    with replaced_folder(folder) as temporary:
        model.save_pretrained(temporary)
        probe.save_pretrained(temporary / "probe")
        with atomic_write(temporary / "vocabulary.json") as file:
            file.write(Vocabulary.of(items.values()).to_json().encode())
        write_json(temporary / "log.json", log)
        # The heads, so that the folder is enough to explain new items.
        AlignModel.from_pretrained(config.path("align")).save_pretrained(temporary / "align")


def _identity(config: Config, settings: ReasonConfig) -> str:
    """Fingerprint of all that one of the stage's models depends on."""
    # The rest of the settings, and the LM by its content, are in the stage's own.
    own = f"{settings.inputs} {settings.lora_steps}"
    return hashlib.sha256((stage_identity(config, "train") + own).encode()).hexdigest()


def _losses(log: list[dict[str, Any]], task: ReasonTask) -> str:
    spans = []
    for stage in task.stages():
        rows = [row for row in log if row["stage"] == stage.name]
        if rows:
            first, last = rows[0]["loss"], rows[-1]["loss"]
            spans.append(f"{stage.name} {first:.2f} → {last:.2f} in {stage.steps} steps")
    return ", ".join(spans)


def _nothing_to_learn(config: Config) -> str:
    """Say what to do; a model of earlier data is put aside, so that nothing takes it for this data's."""
    aside = on_main_process(lambda: _put_aside(config))
    moved = f"; what was trained before is in {', '.join(aside)}" if aside else ""
    return (
        "no training reasons, so there is nothing to learn from and nothing was trained: ingest reasons, get some out "
        f"of reviews with mine-reasons, or set simulate.users{moved}"
    )


def _put_aside(config: Config) -> list[str]:
    moved = []
    for name in ("reason", "baseline"):
        if config.path(name).exists():
            remove(config.path(f"{name}-before"))
            config.path(name).replace(config.path(f"{name}-before"))
            moved.append(f"{name}-before")
    return moved
