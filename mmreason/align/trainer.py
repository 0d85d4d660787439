"""The training loop of the shared space, under Accelerate: stages, checkpoints, evaluation, trackers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.distributed.fsdp import register_fsdp_forward_method
from tqdm import tqdm

from mmreason.align.batch import Batch
from mmreason.align.losses.gradcache import cached_backward
from mmreason.align.losses.pairs import PairLoss, normalise_pairs
from mmreason.align.retrieval import mean_reciprocal_rank
from mmreason.align.sources import Source, drop_modalities
from mmreason.align.stages import describe, parameter_groups, set_trained, stages_of
from mmreason.align.towers import Towers
from mmreason.checkpoint import (
    load_training_state,
    random_state,
    save_training_state,
    trainable_tensors,
    training_tensors,
)
from mmreason.config import AlignConfig, AlignStage
from mmreason.schema import DataError
from mmreason.training.ema import MovingAverage
from mmreason.training.schedule import cosine
from mmreason.training.sharding import copy, gather, make_shardable, reshard, whole

LOST_PEER = ("connection closed", "connection reset", "broken pipe", "timed out", "nccl", "socket")


@dataclass
class _Progress:
    """The best retrieval of a stage so far, and evaluations since."""

    best: float = -1.0
    since: int = 0


class _Stage:
    """One stage while it runs: what trains, and what is kept beside it."""

    def __init__(
        self, index: int, stage: AlignStage, offset: int, towers: Towers, config: AlignConfig, folder: Path
    ):
        self.name, self.steps, self.offset = stage.name, stage.steps, offset
        self.folder = folder / "checkpoints" / f"{index}-{stage.name}"
        self.trained = trainable_tensors(towers)
        self.average = MovingAverage(self.trained, config.ema) if config.ema else None
        self.best = {n: t.detach().clone() for n, t in self.trained.items()} if config.patience else {}
        self.progress = _Progress()
        heads = {f"buffer.{name}": t for name, t in towers.model.named_buffers()}
        averages = self.average.tensors if self.average else {}
        self.more = heads | _prefixed("average", averages) | _prefixed("best", self.best)

    def averaged(self) -> Any:
        """Context in which the moving average, if there is one, is in the weights' place."""
        return self.average.swapped_in() if self.average else nullcontext()

    def judge(self, score: float) -> None:
        """Keep the weights if they retrieve better than any before."""
        self.progress.since += 1
        if score > self.progress.best:
            self.progress.best, self.progress.since = score, 0
            copy(self.trained, self.best)

    def finish(self) -> None:
        """Put the weights to keep in place: the best, else the average, else those there are."""
        copy(self.best or (self.average.tensors if self.average else {}), self.trained)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


class Trainer:
    """Runs the stages of an alignment training.

    Args:
        config: Settings.
        towers: What trains; on its device.
        source: Gives each step its rows.
        valid: Validation rows in parts; empty for none.
        accelerator: Accelerate's; only the model and the optimiser are prepared.
        folder: Where checkpoints go.
        seed: Of modality dropout.

    Attributes:
        log: One row an evaluation: ``stage``, ``step``, ``loss``, ``valid_loss``, ``retrieval``, ``temperature``.
        errors: (item id, modality, message) of media that could not be read.
    """

    def __init__(
        self,
        config: AlignConfig,
        towers: Towers,
        source: Source,
        valid: list[Batch],
        accelerator: Accelerator,
        folder: Path,
        seed: int = 0,
    ) -> None:
        self.config = config
        self.towers = towers
        self.source = source
        self.valid = valid
        self.accelerator = accelerator
        self.folder = folder
        self.seed = seed
        self.pairs = normalise_pairs(config.pairs, list(towers.model.dims))
        self.loss = PairLoss(self.pairs, config.loss, config.matryoshka, config.local_loss, config.loss_chunk)
        self.log: list[dict[str, Any]] = []
        self.errors: dict[tuple[str, str, str], None] = {}
        if config.patience and not valid:
            raise DataError(
                "align.patience needs validation items; set catalogue.valid_items, or patience to 0"
            )

    def run(self) -> list[dict[str, Any]]:
        """Train every stage, from the last checkpoint on; the towers then hold the weights to keep.

        Raises:
            DataError: If the loss or a gradient is not finite, or another process died; the last checkpoint is
                intact then.
        """
        offset = 0
        for index, stage in enumerate(stages_of(self.config)):
            with self._named_failures(stage):
                self._run_stage(index, stage, offset)
            offset += stage.steps
        gather(self.towers)
        return self.log

    def _run_stage(self, index: int, stage: AlignStage, offset: int) -> None:
        set_trained(self.towers, stage)
        if self.accelerator.is_main_process:
            print(describe(self.towers, stage, self.config), flush=True)
        groups = parameter_groups(self.towers, stage, self.config)
        raw: Any = torch.optim.AdamW(groups, fused=True)
        if self.accelerator.is_fsdp2:
            make_shardable(self.towers)
            self.towers.sharded = True
        model, optimizer = self.accelerator.prepare(self.towers, raw)
        register_fsdp_forward_method(self.towers, "encode_frozen")  # else only forward gathers weights
        running = _Stage(index, stage, offset, self.towers, self.config, self.folder)
        start = self._resume(running, optimizer)
        if start < stage.steps:
            self._loop(running, start, model, optimizer)
        self.accelerator.free_memory()
        running.finish()

    def _loop(self, stage: _Stage, start: int, model: Any, optimizer: Any) -> None:
        """Steps until the stage is done or its retrieval no longer rises."""
        settings = self.config
        hidden = None if self.accelerator.is_main_process else True
        with tqdm(total=stage.steps, initial=start, desc=f"align {stage.name}", disable=hidden) as bar:
            for step in range(start, stage.steps):
                loss = self._step(model, optimizer, stage, step)
                if stage.average:
                    stage.average.update(step)
                bar.update()
                last = step == stage.steps - 1
                if step % settings.eval_every == 0 or last:
                    with stage.averaged():
                        self._note(stage, step, loss, bar)
                stop = bool(settings.patience) and stage.progress.since >= settings.patience
                if (step + 1) % settings.save_every == 0 or last or stop:
                    self._save(stage, stage.steps if stop else step + 1, optimizer)
                if stop:
                    bar.write(f"stage {stage.name} stopped at step {step + 1}: retrieval no longer rises")
                    return

    def _step(self, model: Any, optimizer: Any, stage: _Stage, step: int) -> Tensor:
        """One optimiser step; returns this process's loss."""
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * cosine(step, stage.steps, round(self.config.warmup * stage.steps))
        self.towers.train()
        loss = self._backward(model, self._parts(stage.offset + step))
        norm = self.accelerator.clip_grad_norm_(list(stage.trained.values()), 1.0)
        # Before the weights are touched: a step with a bad number must not spoil them.
        norm = whole(torch.as_tensor(norm))
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise DataError(
                f"{self.folder}: the loss is {loss.item():g} and the gradient {float(norm):g} at step {step + 1} of "
                f"stage {stage.name}; the last checkpoint is intact: lower align.lr or align.tower_lr, or look for "
                "broken features, and run again"
            )
        optimizer.step()
        optimizer.zero_grad()
        self.towers.model.hold_temperature()
        return loss

    def _parts(self, step: int) -> list[Batch]:
        """The step's rows, on the device, with what frozen towers say of them."""
        accelerator = self.accelerator
        parts = self.source.parts(step)
        for part in parts:
            self.errors.update(dict.fromkeys(part.errors))
        parts = drop_modalities(
            parts,
            self.config.drop_modality,
            self.seed * 1_000_003 + step,
            accelerator.process_index,
            accelerator.num_processes,
        )
        return [self.towers.encode_frozen(part.to(accelerator.device)) for part in parts]

    def _backward(self, model: Any, parts: list[Batch]) -> Tensor:
        """Accumulate the gradients of the contrast over all rows of all parts and processes."""
        masks = {m: torch.cat([part.masks[m] for part in parts]) for m in parts[0].masks}
        codes = torch.cat([part.codes for part in parts])

        def loss(outputs: list[Any]) -> Tensor:
            vectors = {m: torch.cat([o[m] for o in outputs]) for m in masks}
            # Each part gives the temperature; the mean of equals hands each its share of the gradient.
            scale, bias = (
                torch.stack([o[name] for o in outputs]).mean() if name in outputs[0] else None
                for name in ("scale", "bias")
            )
            assert scale is not None
            value = self.loss(vectors, masks, codes, scale, bias)
            # What no pair needs must still be in the graph, or the other processes wait for its gradient.
            return value + 0.0 * sum(v.sum() for v in vectors.values())

        if len(parts) == 1:
            value = loss([model(parts[0])])
            self.accelerator.backward(value)
            return value.detach()
        return cached_backward(
            parts,
            model,
            loss,
            backward=self.accelerator.backward,
            unsynced=lambda: self.accelerator.no_sync(model),
        )

    def _note(self, stage: _Stage, step: int, loss: Tensor, bar: tqdm) -> None:
        """Evaluate, keep what is best so far, and log."""
        mean: Any = self.accelerator.reduce(loss, "mean")
        row: dict[str, Any] = {"stage": stage.name, "step": stage.offset + step + 1, "loss": mean.item()}
        row |= {"temperature": 1 / self.towers.model.logit_scale.item()} | self.evaluate()
        row.setdefault("valid_loss", row["loss"])
        if self.config.patience and "retrieval" in row:
            stage.judge(row["retrieval"])
        self.log.append(row)
        numbers = {name: value for name, value in row.items() if isinstance(value, float)}
        self.accelerator.log(numbers, step=row["step"])
        bar.set_postfix({name: f"{value:.3f}" for name, value in numbers.items() if name != "temperature"})

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """``valid_loss`` and ``retrieval`` (mean reciprocal rank) of the validation rows, where there are any."""
        if not self.valid:
            return {}
        self.towers.eval()
        device = self.accelerator.device
        parts = [part.to(device) for part in self.valid]
        outputs = [self.towers(part) for part in parts]
        reshard(self.towers)
        masks = {m: torch.cat([part.masks[m] for part in parts]) for m in parts[0].masks}
        vectors = {m: torch.cat([o[m] for o in outputs]) for m in masks}
        codes = torch.cat([part.codes for part in parts])
        loss = self.loss(vectors, masks, codes, outputs[0]["scale"], outputs[0].get("bias"), alone=True)
        found = {"valid_loss": loss.item()}
        rank = mean_reciprocal_rank(vectors, masks, codes, self.pairs)
        return found if rank is None else found | {"retrieval": rank}

    def _resume(self, stage: _Stage, optimizer: Any) -> int:
        """Load the newest checkpoint of a stage; returns the steps done."""
        rank = self.accelerator.process_index
        inner = getattr(optimizer, "optimizer", optimizer)
        saved = load_training_state(stage.folder, self.towers, inner, more=stage.more, rank=rank)
        if saved is None:
            return 0
        self.log = saved["log"]
        self.errors.update((tuple(error), None) for error in saved["errors"])
        if rank < len(saved["source"]):
            self.source.load_state_dict(saved["source"][rank])
        stage.progress = _Progress(**saved["progress"])
        return saved["step"]

    def _save(self, stage: _Stage, step: int, optimizer: Any) -> None:
        """Write a checkpoint; all processes take part, one writes."""
        accelerator = self.accelerator
        mine = (self.source.state_dict(), random_state(), list(self.errors))
        every = gather_object([mine]) if accelerator.num_processes > 1 else [mine]
        self.errors = dict.fromkeys(error for _, _, errors in every for error in errors)
        inner = getattr(optimizer, "optimizer", optimizer)
        tensors = training_tensors(self.towers, inner, stage.more, [states for _, states, _ in every])
        if accelerator.is_main_process:
            state = {
                "log": self.log,
                "source": [source for source, _, _ in every],
                "errors": list(self.errors),
                "progress": vars(stage.progress),
            }
            save_training_state(stage.folder, step, tensors, state)
        accelerator.wait_for_everyone()

    @contextmanager
    def _named_failures(self, stage: AlignStage) -> Iterator[None]:
        """Say what it means when another process is gone."""
        try:
            yield
        except RuntimeError as error:
            told = str(error).lower()
            if self.accelerator.num_processes == 1 or not any(word in told for word in LOST_PEER):
                raise
            raise DataError(
                f"{self.folder}: another process died in stage {stage.name} ({str(error).splitlines()[0][:120]}); "
                "the last checkpoint is intact: look at that process's output and run again"
            ) from error


def tracking(config: AlignConfig, folder: Path) -> dict[str, Any]:
    """Arguments that make an ``Accelerator`` log to the configured trackers.

    Raises:
        DataError: If a tracker is unknown or not installed.
    """
    from accelerate.tracking import filter_trackers
    from accelerate.utils import is_tensorboard_available, is_wandb_available

    there = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available}
    for name in config.trackers:
        if name not in there:
            raise DataError(f"align.trackers: no {name!r}; there are {', '.join(there)}")
        if not there[name]():
            raise DataError(f"align.trackers: {name} is not installed; pip install mmreason[tracking]")
    if not config.trackers:
        return {}
    os.environ.setdefault("WANDB_MODE", "offline")
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return {
        "log_with": filter_trackers(list(config.trackers), str(folder / "logs")),
        "project_dir": folder / "logs",
    }
