"""Training the reason model under Accelerate, from WebDataset shards: warm-up, projector, LoRA."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from tqdm import tqdm

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.checkpoint import load_training_state, save_training_state, training_tensors, write_json
from mmreason.config import Config, ReasonConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.evidence.claims import Vocabulary
from mmreason.evidence.probe import PictureProbe
from mmreason.files import whole_file
from mmreason.reason.batch import Collator, candidate_tokens
from mmreason.reason.lm import load_tokenizer
from mmreason.reason.model import ReasonModel
from mmreason.schema import DataError
from mmreason.shards.balance import read_weights
from mmreason.shards.loader import ShardLoader, reason_samples
from mmreason.store.store import EmbeddingStore
from mmreason.training.schedule import cosine

VALID_ROWS = 32
SHUFFLE = 4096


@dataclass(frozen=True)
class Stage:
    """One part of the training: what trains, for how long, how fast."""

    name: str
    trains: str
    steps: int
    lr: float
    batch_size: int


def stages(config: ReasonConfig) -> list[Stage]:
    """The parts of a training; the text-prompted LM has no soft tokens and so only the last."""
    lora = Stage("lora", "lora", config.lora_steps, config.lr, config.batch_size)
    if config.inputs == "text":
        return [lora]
    return [
        Stage("warmup", "projector", config.warmup_steps, config.warmup_lr, config.warmup_batch_size),
        Stage("projector", "projector", config.projector_steps, config.warmup_lr, config.batch_size),
        lora,
    ]


def train(config: Config) -> str:
    """The ``train`` stage: the reason model in ``reason/``, and the text-only LM beside it in ``baseline/``."""
    summary = train_reasoner(config, config.reason, config.path("reason"))
    if config.evaluate.baseline and config.reason.inputs != "text":
        text = replace(config.reason, inputs="text")
        summary += "; text-only LM: " + train_reasoner(config, text, config.path("baseline"))
    return summary


def train_reasoner(config: Config, settings: ReasonConfig, folder: Path) -> str:
    """Train one reason model and save it, with its probe, its alignment heads and its log.

    Resumes from its last checkpoint; a finished stage is not trained again.

    Raises:
        DataError: If there is no training row.
    """
    device = pick_device(config.device)
    accelerator = Accelerator(cpu=device.type == "cpu")
    set_seed(config.seed)
    items = read_catalogue(config.path("catalogue")).items
    store = EmbeddingStore.open(config.path("embed"))
    tokenizer = load_tokenizer(settings.lm)
    reasons = [sample.reason for sample in reason_samples(config.path("shards"), "train")]
    if not reasons:
        raise DataError(
            f"{config.path('shards')}: no training reasons; set simulate.users, or ingest reasons"
        )
    candidates = candidate_tokens(reasons, tokenizer)
    probe = PictureProbe.fit(items.values(), store, seed=config.seed)
    collator = Collator(items, store, tokenizer, settings, candidates, probe)
    dims = {m: store.dims[f"{m}_features"] for m in ("image", "text", "video")} | {
        "shared": store.dims["fused"]
    }
    dtype = pick_dtype(config.dtype, device)
    model = ReasonModel.create(dims, settings, dtype, candidates).to(accelerator.device)
    trainer = _Trainer(config, settings, folder, model, collator, accelerator)
    log = trainer.run()
    if accelerator.is_main_process:
        model.save_pretrained(folder)
        probe.save_pretrained(folder / "probe")
        with whole_file(folder / "vocabulary.json") as file:
            file.write(Vocabulary.of(items.values()).to_json().encode())
        write_json(folder / "log.json", log)
        _copy_align(config.path("align"), folder / "align")
    accelerator.wait_for_everyone()
    spans = []
    for stage in stages(settings):
        rows = [r for r in log if r["stage"] == stage.name]
        if rows:
            spans.append(
                f"{stage.name} {rows[0]['loss']:.2f} → {rows[-1]['loss']:.2f} in {stage.steps} steps"
            )
    return f"{len(reasons):,} reasons; loss: " + ", ".join(spans)


def _copy_align(source: Path, target: Path) -> None:
    """Keep the heads with the model, so that its folder is enough to explain new items."""
    from mmreason.embed.model import AlignModel

    AlignModel.from_pretrained(source).save_pretrained(target)


class _Trainer:
    """Runs the stages, logs and keeps checkpoints."""

    def __init__(
        self,
        config: Config,
        settings: ReasonConfig,
        folder: Path,
        model: ReasonModel,
        collator: Collator,
        accelerator: Accelerator,
    ) -> None:
        self.config = config
        self.settings = settings
        self.folder = folder
        self.model = model
        self.collator = collator
        self.accelerator = accelerator
        self.valid = self._valid_batches()
        self.log: list[dict[str, Any]] = []

    def run(self) -> list[dict[str, Any]]:
        """Train every stage; returns the log."""
        # The newest checkpoint says which stage it was saved in; earlier stages are then done.
        all_stages = stages(self.settings)
        for index, stage in enumerate(all_stages):
            if stage.steps:
                self._run_stage(index, stage, sum(s.steps for s in all_stages[:index]))
        return self.log

    def _run_stage(self, index: int, stage: Stage, offset: int) -> None:
        self.model.set_stage(stage.trains)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        optimizer: Any = torch.optim.AdamW(trained, lr=stage.lr, weight_decay=0.01)
        loader = self._loader(stage)
        checkpoints = self.folder / "checkpoints" / f"{index}-{stage.name}"
        saved = load_training_state(checkpoints, self.model, optimizer)
        start = 0
        if saved:
            start, self.log = saved["step"], saved["log"]
            loader.load_state_dict(saved["loader"][self.accelerator.process_index])
        if start == stage.steps:
            return
        if not saved:
            set_seed(self.config.seed + index)
        # Only model and optimiser are prepared: Accelerate would shard our loader a second time.
        model, optimizer = self.accelerator.prepare(self.model, optimizer)
        batches = iter(loader)
        with tqdm(total=stage.steps, initial=start, desc=f"train {stage.name}", disable=None) as bar:
            for step in range(start, stage.steps):
                loss = self._step(model, optimizer, stage, step, next(batches))
                bar.update()
                if step % self.settings.log_every == 0 or step == stage.steps - 1:
                    self._note(stage, offset + step + 1, loss, bar)
                if (step + 1) % self._save_every(stage) == 0 or step == stage.steps - 1:
                    self._save(checkpoints, step + 1, optimizer, loader)
        self.accelerator.free_memory()

    def _step(self, model: Any, optimizer: Any, stage: Stage, step: int, batch: Any) -> float:
        """One optimiser step; returns the loss."""
        for group in optimizer.param_groups:
            group["lr"] = stage.lr * cosine(step, stage.steps, max(1, stage.steps // 10))
        model.train()
        batch = batch.to(self.accelerator.device)
        loss = model(batch, warmup=stage.name == "warmup")
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if not torch.isfinite(loss):
            raise DataError(
                f"{self.folder}: the loss became {loss.item()} at step {step + 1} of {stage.name}; the last "
                "checkpoint is intact: lower reason.lr or reason.warmup_lr and run again"
            )
        return float(loss.item())

    def _note(self, stage: Stage, step: int, loss: float, bar: tqdm) -> None:
        row = {"stage": stage.name, "step": step, "loss": loss}
        if len([r for r in self.log if r["stage"] == stage.name]) % 4 == 0:
            row["valid_loss"] = self._valid_loss(stage)
        self.log.append(row)
        bar.set_postfix(loss=f"{loss:.3f}")

    @torch.no_grad()
    def _valid_loss(self, stage: Stage) -> float | None:
        self.model.eval()
        warmup = stage.name == "warmup"
        losses = [self.model(b.to(self.accelerator.device), warmup=warmup).item() for b in self.valid]
        return sum(losses) / len(losses) if losses else None

    def _valid_batches(self) -> list[Any]:
        samples = list(reason_samples(self.config.path("shards"), "valid"))[:VALID_ROWS]
        size = self.settings.batch_size
        return [self.collator(samples[i : i + size]) for i in range(0, len(samples), size)]

    def _loader(self, stage: Stage) -> ShardLoader:
        shards = self.config.path("shards")
        return ShardLoader(
            shards,
            "reasons-train",
            batch_size=stage.batch_size,
            collate=self.collator,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            workers=self.config.workers,
            shuffle=SHUFFLE,
            seed=self.config.seed,
            endless=True,
            weights=read_weights(shards) if self.settings.balanced else None,
        )

    def _save_every(self, stage: Stage) -> int:
        # A warm-up step is some thirty times quicker than one through the LM.
        return self.settings.save_every * (10 if stage.name == "warmup" else 1)

    def _save(self, checkpoints: Path, step: int, optimizer: Any, loader: ShardLoader) -> None:
        from accelerate.utils import gather_object

        states = gather_object([loader.state_dict()])
        if self.accelerator.is_main_process:
            inner = getattr(optimizer, "optimizer", optimizer)
            tensors = training_tensors(self.model, inner)
            save_training_state(checkpoints, step, tensors, {"log": self.log, "loader": states})
        self.accelerator.wait_for_everyone()
