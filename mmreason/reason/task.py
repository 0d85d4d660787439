"""The training of the reason model as a task of the training loop: warm-up, projector, LoRA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from mmreason.config import Config, ReasonConfig
from mmreason.reason.batch import Collator, ReasonBatch
from mmreason.reason.model import ReasonModel
from mmreason.shards.balance import read_weights
from mmreason.shards.loader import ReasonSample, ShardLoader, reason_samples
from mmreason.training.task import Task, TrainingStage

VALID_ROWS = 32
SHUFFLE = 4096
EVALUATE_EVERY = 8  # rows of the log: 32 rows take as long as a step and a half
WARMUP_SAVES = (
    10  # a warm-up step is some thirty times quicker than one through the LM, and saved so much rarer
)


@dataclass(frozen=True)
class ReasonStage:
    """One part of the training: what trains (see :meth:`ReasonModel.set_stage`), for how long, how fast."""

    name: str
    trains: str
    steps: int
    lr: float
    batch_size: int


def stages(config: ReasonConfig) -> list[ReasonStage]:
    """The parts of a training; an LM that reads words alone has only the last."""
    lora = ReasonStage("lora", "lora", config.lora_steps, config.lr, config.batch_size)
    if not config.has_soft_tokens:
        return [lora]
    return [
        ReasonStage("warmup", "projector", config.warmup_steps, config.warmup_lr, config.warmup_batch_size),
        ReasonStage("projector", "projector", config.projector_steps, config.warmup_lr, config.batch_size),
        lora,
    ]


class ReasonTask(Task):
    """Trains fusion, projector and LoRA to write the training reasons.

    Args:
        config: The run: shards, seed, workers.
        settings: Of the model that trains.
        model: On its device.
        collator: Makes batches.
        accelerator: Accelerate's.
    """

    def __init__(
        self,
        config: Config,
        settings: ReasonConfig,
        model: ReasonModel,
        collator: Collator,
        accelerator: Accelerator,
    ) -> None:
        self.config, self.settings = config, settings
        self.model: ReasonModel = model
        self.collator, self.accelerator = collator, accelerator
        self._stages = {stage.name: stage for stage in stages(settings)}
        self._valid: list[ReasonBatch] | None = None
        self._is_warmup = False
        self._loader: ShardLoader
        self._batches: Iterator[ReasonBatch]

    def stages(self) -> list[TrainingStage]:
        """The configured stages, as the loop takes them."""
        return [
            TrainingStage(
                stage.name,
                stage.steps,
                warmup=max(1, stage.steps // 10),
                log_every=self.settings.log_every,
                evaluate_every=EVALUATE_EVERY * self.settings.log_every,
                save_every=self.settings.save_every * (WARMUP_SAVES if stage.name == "warmup" else 1),
            )
            for stage in self._stages.values()
        ]

    def begin(self, stage: TrainingStage) -> list[dict[str, Any]]:
        """See :class:`Task`."""
        settings = self._stages[stage.name]
        self._is_warmup = stage.name == "warmup"
        self.model.set_stage(settings.trains)
        self._loader = self._make_loader(settings.batch_size)
        self._batches = iter(self._loader)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return [{"params": trained, "lr": settings.lr, "weight_decay": 0.01}]

    def batch(self, stage: TrainingStage, step: int) -> ReasonBatch:
        """The next one; the loader counts the steps."""
        return next(self._batches).to(self.accelerator.device)

    def loss(self, model: Any, batch: ReasonBatch) -> Tensor:
        """See :meth:`ReasonModel.forward`."""
        return model(batch, warmup=self._is_warmup)

    def targets(self, batch: ReasonBatch) -> int:
        """Tokens; in the warm-up, rows."""
        return len(batch.labels) if self._is_warmup else int((batch.labels != -100).sum())

    def evaluate(self, stage: TrainingStage) -> dict[str, float]:
        """``valid_loss``, where there are validation reasons."""
        total = count = 0.0
        for batch in self._valid_batches():
            targets = self.targets(batch)
            total += targets * self.model(batch.to(self.accelerator.device), warmup=self._is_warmup).item()
            count += targets
        return {"valid_loss": total / count} if count else {}

    def state_dict(self) -> dict[str, Any]:
        """The loader's place."""
        return {"loader": self._loader.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""
        self._loader.load_state_dict(state["loader"])
        self._batches = iter(self._loader)

    def _valid_batches(self) -> list[ReasonBatch]:
        if self._valid is None:
            samples = list(islice(reason_samples(self.config.path("shards"), "valid"), VALID_ROWS))
            size = self.settings.batch_size
            self._valid = [self.collator(samples[i : i + size]) for i in range(0, len(samples), size)]
        return self._valid

    def _make_loader(self, batch_size: int) -> ShardLoader:
        shards, world = self.config.path("shards"), self.accelerator.num_processes
        # Every process reads the rows of all, which are small, and keeps its own: so W processes train on what one
        # does with W times the batch.
        return ShardLoader(
            shards,
            "reasons-train",
            batch_size=batch_size * world,
            collate=_OwnRows(self.collator, self.accelerator.process_index, world),
            workers=self.config.workers,
            shuffle=SHUFFLE,
            seed=self.config.seed,
            endless=True,
            weights=read_weights(shards) if self.settings.balanced else None,
        )


@dataclass
class _OwnRows:
    """Collates one process's rows of a batch; picklable, for loader workers."""

    collator: Collator
    rank: int
    world: int

    def __call__(self, samples: Sequence[ReasonSample]) -> ReasonBatch:
        return self.collator(list(samples[self.rank :: self.world]))


def has_reasons(shards: Path) -> bool:
    """Whether there is a training reason to learn from."""
    return next(iter(reason_samples(shards, "train")), None) is not None
