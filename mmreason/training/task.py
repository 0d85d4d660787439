"""What a caller of the training loop brings: what trains, the batches and the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn


@dataclass(frozen=True)
class TrainingStage:
    """One part of a training; the next one starts from its weights.

    Attributes:
        name: Shown in the log and the progress.
        steps: Optimiser steps.
        warmup: Steps in which the learning rate rises; it then falls along a cosine.
        log_every: Steps between rows of the log.
        evaluate_every: Steps between evaluations, which are rows of the log too.
        save_every: Steps between checkpoints.
        average: Decay of the moving average that is evaluated and kept; 0 for none.
        best_by: The figure of :meth:`Task.evaluate` by which the best weights are chosen (higher is better) and
            kept; empty keeps the last ones.
        patience: Evaluations without a better figure after which the stage stops; 0 never stops.
    """

    name: str
    steps: int
    warmup: int = 0
    log_every: int = 10
    evaluate_every: int = 10
    save_every: int = 100
    average: float = 0.0
    best_by: str = ""
    patience: int = 0


class Task(ABC):
    """A training as :class:`mmreason.training.loop.TrainingLoop` runs it; subclass it.

    The loop owns the processes, the optimiser, the schedule, clipping, checkpoints, the log and the progress. A
    task says what trains in a stage, gives this process's rows of each step, and their loss.

    Attributes:
        model: What trains, on its device.
        methods: Names of the model's methods that run parts of it beside ``forward``; FSDP must know of them.
        bound_to_data: Patterns (``fnmatch``) of parameter names that belong to rows of the data, such as a residual
            for each item: they are not taken over when a training goes on from weights that other data made.

    Example:
        >>> class Line(Task):
        ...     def __init__(self):
        ...         self.model = nn.Linear(1, 1)
        ...     def begin(self, stage):
        ...         return [{"params": list(self.model.parameters()), "lr": 0.1, "weight_decay": 0.0}]
        ...     def batch(self, stage, step):
        ...         return torch.linspace(-1, 1, 8)[:, None]
        ...     def loss(self, model, batch):
        ...         return (model(batch) - 2 * batch).square().mean()
        >>> from mmreason.training.loop import TrainingLoop
        >>> log = TrainingLoop(Line(), [TrainingStage("fit", 50)]).run()
        >>> log[-1]["loss"] < log[0]["loss"]
        True
    """

    model: nn.Module
    methods: ClassVar[tuple[str, ...]] = ()
    bound_to_data: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def begin(self, stage: TrainingStage) -> list[dict[str, Any]]:
        """Choose what trains in a stage (``requires_grad``) and get ready to give its batches.

        Returns:
            The optimiser's groups: dicts of ``params``, ``lr`` (the peak) and ``weight_decay``.
        """

    @abstractmethod
    def batch(self, stage: TrainingStage, step: int) -> Any:
        """This process's rows of a step, counted from 0 in the stage, on the model's device."""

    @abstractmethod
    def loss(self, model: Any, batch: Any) -> Tensor:
        """The mean loss over the batch's targets; ``model`` is :attr:`model`, wrapped for several processes."""

    def targets(self, batch: Any) -> int:
        """How many targets the loss of a batch is the mean of, so that each counts alike in all processes."""
        return 1

    def backward(self, model: Any, batch: Any, accelerator: Accelerator) -> Tensor:
        """Accumulate the gradients of a step; returns the loss, detached."""
        loss = self.loss(model, batch)
        if accelerator.num_processes > 1:
            count = torch.tensor(float(self.targets(batch)), device=loss.device)
            mean: Any = accelerator.reduce(count, "mean")
            loss = loss * (count / mean.clamp_min(1e-9))
        accelerator.backward(loss)
        return loss.detach()

    def after_step(self) -> None:  # noqa: B027 (a hook that a task may leave out, as the next)
        """Called after each step of the optimiser, to hold a parameter in its bounds, say."""

    def evaluate(self, stage: TrainingStage) -> dict[str, float]:
        """Figures for the log, of the weights that are in the model now; without gradients."""
        return {}

    def kept(self) -> Mapping[str, Tensor]:
        """Tensors beside the trained parameters that checkpoints must hold, such as running statistics."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Where this process is in its data, as JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Go on where a state was saved."""
