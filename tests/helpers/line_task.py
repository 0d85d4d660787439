"""The smallest training: a line through points, with rows that differ in how many targets they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mmreason.training.accelerator import make_accelerator
from mmreason.training.loop import TrainingLoop
from mmreason.training.task import Task, TrainingStage

ROWS = 6


class Line(nn.Module):
    """A line, and a part that only the second stage uses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(2, 1)
        self.extra = nn.Linear(2, 1)
        self.dropout = nn.Dropout(0.0)

    def forward(self, x: Tensor, extra: bool) -> Tensor:
        return self.line(self.dropout(x)) + (self.extra(x) if extra else 0.0)


class LineTask(Task):
    """Points of a fixed line; a step's batch is a function of the step.

    Args:
        accelerator: Accelerate's.
        rows: Rows of one process.
        dropout: Of the inputs.
        broken_at: Step of the first stage whose loss has a finite value and no finite gradient.
    """

    bound_to_data = ("*.bias",)

    def __init__(
        self, accelerator: Accelerator, rows: int = ROWS, dropout: float = 0.0, broken_at: int = -1
    ) -> None:
        self.model: Line = Line()
        self.model.dropout.p = dropout
        self.accelerator, self.rows, self.broken_at = accelerator, rows, broken_at
        self.given = 0
        self.scores: list[float] = []

    def begin(self, stage: TrainingStage) -> list[dict[str, Any]]:
        self.extra = stage.name == "second"
        for parameter in self.model.extra.parameters():
            parameter.requires_grad_(self.extra)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return [{"params": trained, "lr": 0.05, "weight_decay": 0.0}]

    def batch(self, stage: TrainingStage, step: int) -> Any:
        """Points, their values and which count: a share of the rows of all processes."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(self.rows * world, 2, generator=generator)
        counts = torch.arange(len(x)) < len(x) - 2  # the last process has fewer targets
        own = slice(rank * self.rows, (rank + 1) * self.rows)
        self.given += 1
        y = x.sum(1, keepdim=True) + 0.1 * step
        if step == self.broken_at:
            y = y * float("nan")
        return x[own], y[own], counts[own]

    def loss(self, model: Any, batch: Any) -> Tensor:
        x, y, counts = batch
        error = model(x, self.extra) - y
        if error.isnan().any():  # finite, with a gradient that is not
            return (error.nan_to_num() * 0 + torch.sqrt(self.model.line.weight * 0)).sum()
        return error.square()[counts].mean()

    def targets(self, batch: Any) -> int:
        return int(batch[2].sum())

    def evaluate(self, stage: TrainingStage) -> dict[str, float]:
        return {"score": self.scores.pop(0)} if self.scores else {}

    def state_dict(self) -> dict[str, Any]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.given = state["given"]


STAGES = (
    TrainingStage("first", 5, log_every=1, save_every=2, average=0.5),
    TrainingStage("second", 6, log_every=1, save_every=3),
)


def fit(folder: Path | None, task: LineTask | None = None, stages: Any = STAGES, **options: Any) -> Any:
    """Train; returns the task and the log."""
    accelerator = make_accelerator(torch.device("cpu"), "fit")
    task = task or LineTask(accelerator)
    loop = TrainingLoop(
        task,
        stages,
        **{"name": "fit", "folder": folder, "identity": "a", "accelerator": accelerator, **options},
    )
    return task, loop.run()


def fit_as_one_of_two(rank: int, folder: Path, die_at: int = -1) -> None:
    """In one of two processes; the first saves the log."""
    import json
    import os

    from processes import die_in_step

    from mmreason.schema import DataError

    if rank == 1:
        die_in_step(die_at)
    try:
        task, log = fit(
            folder / "checkpoints", LineTask(make_accelerator(torch.device("cpu"), "fit"), ROWS // 2)
        )
    except DataError as error:
        (folder / f"told-{rank}").write_text(str(error))
        os._exit(1)
    if rank == 0:
        (folder / "log.json").write_text(json.dumps(log))
        torch.save(task.model.state_dict(), folder / "weights.pt")
