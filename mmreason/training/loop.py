"""The one training loop: steps, schedule, clipping, checks, checkpoints, the log and the progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor
from torch.distributed.fsdp import register_fsdp_forward_method

from mmreason.processes import wait_for_others
from mmreason.progress import Progress
from mmreason.schema import DataError
from mmreason.training.accelerator import make_accelerator
from mmreason.training.average import MovingAverage
from mmreason.training.schedule import cosine
from mmreason.training.sharding import full_tensor, make_shardable, overwrite, unshard
from mmreason.training.state import (
    Checkpoint,
    newest_checkpoint,
    overwrite_with_full,
    random_state,
    restore,
    save_checkpoint,
    trained_parameters,
    training_tensors,
)
from mmreason.training.task import Task, TrainingStage

MAX_NORM = 1.0  # gradients are clipped to this length
LOST_PEER = ("connection closed", "connection reset", "broken pipe", "timed out", "nccl", "socket")
SEEDS_A_STAGE = 1_000_003  # more than there are processes


@dataclass
class Score:
    """The best figure of a stage so far, and the evaluations since it was last surpassed."""

    best: float = float("-inf")
    since: int = 0


class RunningStage:
    """A stage under way, with the weights kept beside those that train."""

    def __init__(self, stage: TrainingStage, offset: int, task: Task) -> None:
        self.stage, self.offset = stage, offset
        self.trained = trained_parameters(task.model)
        self.average = MovingAverage(self.trained, stage.average) if stage.average else None
        self.best = {n: t.detach().clone() for n, t in self.trained.items()} if stage.best_by else {}
        self.score = Score()
        averages = self.average.tensors if self.average else {}
        self.kept: dict[str, Tensor] = {f"task.{name}": t for name, t in task.kept().items()}
        self.kept |= {f"average.{name}": t for name, t in averages.items()}
        self.kept |= {f"best.{name}": t for name, t in self.best.items()}

    def averaged(self) -> AbstractContextManager[None]:
        """Context in which the moving average, if there is one, is in the weights' place."""
        return self.average.swapped_in() if self.average else nullcontext()

    def judge(self, figure: float) -> None:
        """Keep the weights if none were better; of equals the later, which were trained for longer."""
        self.score.since += 1
        if figure > self.score.best:
            self.score.since = 0
        if figure >= self.score.best:
            self.score.best = figure
            overwrite(self.best, self.trained)

    def is_out_of_patience(self) -> bool:
        """Whether the figure has not risen for so long that the stage ends."""
        return bool(self.stage.patience) and self.score.since >= self.stage.patience

    def finish(self) -> None:
        """Put the weights to keep in place: the best, else the average, else those there are."""
        overwrite(self.trained, self.best or (self.average.tensors if self.average else {}))


class TrainingLoop:
    """Runs the stages of a :class:`Task`.

    Stopped at any moment, the next run with the same ``identity`` goes on from the last checkpoint and ends with
    the same weights. Checkpoints of another identity are never resumed; they go when the first of this one is
    written.

    Args:
        task: What trains.
        stages: Its parts, in order; those of 0 steps are left out.
        name: The verb, for the progress and messages.
        folder: Where checkpoints are kept; None keeps none.
        identity: Fingerprint of all that the training depends on, settings and data; see
            :func:`mmreason.records.stage_identity`.
        accelerator: As :func:`mmreason.training.accelerator.make_accelerator` gives it; None makes one for the
            model's device.
        seed: Of dropout and of all else that the global generators draw; they are as before afterwards.
        continue_training: Where there is no checkpoint of this identity, start from the weights of the newest one
            of any.

    Attributes:
        log: One row a logged step: ``stage``, ``step`` (over all stages, from 1), ``loss``, and figures of
            :meth:`Task.evaluate`.
    """

    def __init__(
        self,
        task: Task,
        stages: Sequence[TrainingStage],
        *,
        name: str = "train",
        folder: Path | None = None,
        identity: str = "",
        accelerator: Accelerator | None = None,
        seed: int = 0,
        continue_training: bool = False,
    ) -> None:
        self.task = task
        self.stages = [stage for stage in stages if stage.steps]
        self.name, self.folder, self.identity, self.seed = name, folder, identity, seed
        self.continue_training = continue_training
        self.accelerator = accelerator or make_accelerator(_device(task), name)
        self.log: list[dict[str, Any]] = []
        self._trained: set[str] = set()  # names of all that any stage so far trains

    def run(self) -> list[dict[str, Any]]:
        """Train every stage, from the last checkpoint on; the model then holds the weights to keep.

        Raises:
            DataError: If a loss or a gradient is not finite, another process died, or the checkpoint is one of
                another number of processes; the last checkpoint is intact then.
        """
        device = _device(self.task)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            checkpoint = self._checkpoint()
            offset = 0
            for index, stage in enumerate(self.stages):
                done_before = checkpoint is not None and checkpoint.state["stage"] > index
                with self._named_failures(stage):
                    self._run_stage(index, offset, checkpoint, done_before)
                offset += stage.steps
            unshard(self.task.model)
        self.task.model.eval()
        return self.log

    def _run_stage(self, index: int, offset: int, checkpoint: Checkpoint | None, done_before: bool) -> None:
        stage, task, accelerator = self.stages[index], self.task, self.accelerator
        groups = task.begin(stage)
        self._trained |= trained_parameters(task.model).keys()
        if done_before:
            return
        raw: Any = torch.optim.AdamW(groups, fused=True)
        if accelerator.is_fsdp2:
            make_shardable(task.model)
        model, optimizer = accelerator.prepare(task.model, raw)
        for method in task.methods:
            register_fsdp_forward_method(task.model, method)
        running = RunningStage(stage, offset, task)
        start = 0
        if checkpoint is not None and checkpoint.state["stage"] == index:
            start = self._resume(checkpoint, running, optimizer)
        else:
            torch.manual_seed(self.seed + SEEDS_A_STAGE * index + accelerator.process_index)
        self._steps(index, running, start, model, optimizer)
        accelerator.free_memory()
        running.finish()

    def _steps(self, index: int, running: RunningStage, start: int, model: Any, optimizer: Any) -> None:
        """Steps until the stage is done or its figure no longer rises."""
        stage = running.stage
        peaks = [group["lr"] for group in optimizer.param_groups]
        shown = self.accelerator.is_main_process
        with Progress(
            stage.steps,
            f"{self.name} {stage.name}",
            "step",
            initial=start,
            shown=shown and start < stage.steps,
        ) as bar:
            for step in range(start, stage.steps):
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * cosine(step, stage.steps, stage.warmup)
                loss = self._step(running, step, model, optimizer)
                if running.average:
                    running.average.update(step)
                last = step == stage.steps - 1
                evaluated = step % stage.evaluate_every == 0 or last
                if evaluated or step % stage.log_every == 0:
                    self._note(running, step, loss, evaluated, bar)
                stop = running.is_out_of_patience()
                if (step + 1) % stage.save_every == 0 or last or stop:
                    self._save(index, running, stage.steps if stop else step + 1, optimizer)
                bar.add()
                if stop:
                    bar.write(
                        f"stage {stage.name} stopped at step {step + 1}: {stage.best_by} no longer rises"
                    )
                    return

    def _step(self, running: RunningStage, step: int, model: Any, optimizer: Any) -> Tensor:
        """One optimiser step; returns this process's loss."""
        stage, task = running.stage, self.task
        task.model.train()
        loss = task.backward(model, task.batch(stage, step), self.accelerator)
        norm = self.accelerator.clip_grad_norm_(list(running.trained.values()), MAX_NORM)
        norm = full_tensor(torch.as_tensor(norm))
        # Before the weights are touched: a step with a bad number must not spoil them.
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise DataError(
                f"{self.folder or self.name}: the loss is {loss.item():g} and the gradient {float(norm):g} at step "
                f"{step + 1} of stage {stage.name}: not finite; the last checkpoint is intact: lower the learning "
                "rate, or look for broken features, and run again"
            )
        optimizer.step()
        optimizer.zero_grad()
        task.after_step()
        return loss

    def _note(self, running: RunningStage, step: int, loss: Tensor, evaluated: bool, bar: Progress) -> None:
        """Log a step; evaluate and keep what is best so far, if it is time."""
        mean: Any = self.accelerator.reduce(loss, "mean")
        row: dict[str, Any] = {
            "stage": running.stage.name,
            "step": running.offset + step + 1,
            "loss": mean.item(),
        }
        if evaluated:
            with running.averaged(), torch.no_grad():
                self.task.model.eval()
                row |= self.task.evaluate(running.stage)
                if running.stage.best_by in row:
                    running.judge(self._agreed(row[running.stage.best_by]))
        self.log.append(row)
        figures = {name: value for name, value in row.items() if isinstance(value, float)}
        self.accelerator.log(figures, step=row["step"])
        bar.note(**{name: f"{value:.3f}" for name, value in figures.items()})

    def _agreed(self, figure: float) -> float:
        """The first process's figure: another's may differ by rounding, and all must stop at the same step."""
        if self.accelerator.num_processes == 1:
            return figure
        told: Any = broadcast(torch.tensor([figure], dtype=torch.float64, device=self.accelerator.device))
        return float(told)

    def _parameters(self) -> dict[str, Tensor]:
        """All that was trained so far; earlier stages' weights may be frozen now."""
        return {name: p for name, p in self.task.model.named_parameters() if name in self._trained}

    def _checkpoint(self) -> Checkpoint | None:
        """The checkpoint to go on from, if there is one."""
        if self.folder is None:
            return None
        found = newest_checkpoint(self.folder, self.identity)
        if found is None:
            self._start_from_old_weights()
            return None
        processes = len(found.state["processes"])
        is_done = found.step == sum(stage.steps for stage in self.stages)
        if processes != self.accelerator.num_processes and not is_done:
            raise DataError(
                f"{found.folder}: this training was stopped with {processes} processes; start as many to go on, or "
                "remove that folder to begin anew"
            )
        self.log = found.state["log"]
        return found

    def _start_from_old_weights(self) -> None:
        """Take over the weights of a training on other data or with other settings, if that is wanted."""
        old = newest_checkpoint(self.folder) if self.continue_training and self.folder else None
        if old is None:
            return
        saved = old.tensors()
        weights = saved["model"]
        for kind in ("average.", "best."):  # the better last
            weights |= {n.removeprefix(kind): t for n, t in saved["kept"].items() if n.startswith(kind)}
        own = dict(self.task.model.named_parameters())
        fitting = {
            name: tensor
            for name, tensor in weights.items()
            if name in own
            and own[name].shape == tensor.shape
            and not any(fnmatchcase(name, pattern) for pattern in self.task.bound_to_data)
        }
        overwrite_with_full(own, fitting)
        if self.accelerator.is_main_process:
            rest = (
                f" ({len(weights) - len(fitting)} tensors start anew)" if len(fitting) < len(weights) else ""
            )
            print(f"{self.name}: goes on from the weights of {old.folder}{rest}", flush=True)

    def _resume(self, checkpoint: Checkpoint, running: RunningStage, optimizer: Any) -> int:
        """Take up a checkpoint; returns the steps of the stage that are done."""
        rank = self.accelerator.process_index
        inner = getattr(optimizer, "optimizer", optimizer)
        states = checkpoint.state["processes"]
        restore(checkpoint, self._parameters(), inner, running.kept, min(rank, len(states) - 1))
        self.task.load_state_dict(states[min(rank, len(states) - 1)])
        running.score = Score(**checkpoint.state["score"])
        return checkpoint.step - running.offset

    def _save(self, index: int, running: RunningStage, step: int, optimizer: Any) -> None:
        """Write a checkpoint; all processes take part, one writes."""
        if self.folder is None:
            return
        accelerator = self.accelerator
        own = (self.task.state_dict(), random_state())
        every = gather_object([own]) if accelerator.num_processes > 1 else [own]
        inner = getattr(optimizer, "optimizer", optimizer)
        tensors = training_tensors(self._parameters(), inner, running.kept, [random for _, random in every])
        if accelerator.is_main_process:
            state = {
                "stage": index,
                "log": self.log,
                "score": vars(running.score),
                "processes": [place for place, _ in every],
            }
            save_checkpoint(self.folder, self.identity, running.offset + step, tensors, state)
        wait_for_others()

    @contextmanager
    def _named_failures(self, stage: TrainingStage) -> Iterator[None]:
        """Say what it means when another process is gone."""
        try:
            yield
        except RuntimeError as error:
            told = str(error).lower()
            if self.accelerator.num_processes == 1 or not any(word in told for word in LOST_PEER):
                raise
            raise DataError(
                f"{self.folder or self.name}: another process died in stage {stage.name} "
                f"({str(error).splitlines()[0][:120]}); the last checkpoint is intact: look at that process's output "
                "and run again"
            ) from error


def _device(task: Task) -> torch.device:
    return next(task.model.parameters()).device
