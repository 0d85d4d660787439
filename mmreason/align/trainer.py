"""The training loop of the shared space, under Accelerate: stages, checkpoints, evaluation, trackers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from tqdm import tqdm

from mmreason.align.batch import Batch
from mmreason.align.ema import MovingAverage
from mmreason.align.losses.gradcache import cached_backward
from mmreason.align.losses.pairs import PairLoss, normalise_pairs
from mmreason.align.retrieval import mean_reciprocal_rank
from mmreason.align.schedule import cosine
from mmreason.align.sources import Source, drop_modalities
from mmreason.align.stages import describe, parameter_groups, set_trained, stages_of
from mmreason.align.towers import Towers
from mmreason.checkpoint import load_training_state, random_state, save_training_state, trainable_tensors
from mmreason.config import AlignConfig, AlignStage
from mmreason.schema import DataError

LOST_PEER = ("connection closed", "connection reset", "broken pipe", "timed out", "nccl", "socket")


@dataclass
class _Progress:
    """What a stage keeps beside weights: the best retrieval so far, and evaluations since."""

    best: float = -1.0
    since: int = 0


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
        return self.log

    def _run_stage(self, index: int, stage: AlignStage, offset: int) -> None:
        set_trained(self.towers, stage)
        if self.accelerator.is_main_process:
            print(describe(self.towers, stage, self.config), flush=True)
        raw: Any = torch.optim.AdamW(parameter_groups(self.towers, stage, self.config), fused=True)
        checkpoints = self.folder / "checkpoints" / f"{index}-{stage.name}"
        average = MovingAverage(trainable_tensors(self.towers), self.config.ema) if self.config.ema else None
        best = {n: t.detach().clone() for n, t in trainable_tensors(self.towers).items()}
        more = self._more(average, best if self.config.patience else {})
        start, progress = self._resume(checkpoints, raw, more)
        if start < stage.steps:
            model, optimizer = self.accelerator.prepare(self.towers, raw)
            self._loop(stage, start, offset, model, optimizer, average, best, progress, checkpoints, more)
            self.accelerator.free_memory()
        kept = best if self.config.patience else average.tensors if average else {}
        own = trainable_tensors(self.towers)
        with torch.no_grad():
            for name, tensor in kept.items():
                own[name].copy_(tensor)

    def _loop(
        self,
        stage: AlignStage,
        start: int,
        offset: int,
        model: Any,
        optimizer: Any,
        average: MovingAverage | None,
        best: dict[str, Tensor],
        progress: _Progress,
        checkpoints: Path,
        more: dict[str, Tensor],
    ) -> None:
        """Steps until the stage is done or its retrieval no longer rises."""
        settings = self.config
        hidden = None if self.accelerator.is_main_process else True
        with tqdm(total=stage.steps, initial=start, desc=f"align {stage.name}", disable=hidden) as bar:
            for step in range(start, stage.steps):
                loss = self._step(model, optimizer, stage, step, offset)
                if average:
                    average.update(step)
                bar.update()
                last = step == stage.steps - 1
                if step % settings.eval_every == 0 or last:
                    with average.swapped_in() if average else nullcontext():
                        self._note(stage, offset + step + 1, loss, best, progress, bar)
                stop = bool(settings.patience) and progress.since >= settings.patience
                if (step + 1) % settings.save_every == 0 or last or stop:
                    done = stage.steps if stop else step + 1
                    self._save(checkpoints, done, optimizer, progress, more)
                if stop:
                    bar.write(f"stage {stage.name} stopped at step {step + 1}: retrieval no longer rises")
                    return

    def _step(self, model: Any, optimizer: Any, stage: AlignStage, step: int, offset: int) -> Tensor:
        """One optimiser step; returns this process's loss."""
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * cosine(step, stage.steps, round(self.config.warmup * stage.steps))
        self.towers.train()
        parts = self._parts(offset + step)
        loss = self._backward(model, parts)
        norm = self.accelerator.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        # Before the weights are touched: a step with a bad number must not spoil them.
        if not (torch.isfinite(loss) and torch.isfinite(torch.as_tensor(norm))):
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

    def _note(
        self,
        stage: AlignStage,
        step: int,
        loss: Tensor,
        best: dict[str, Tensor],
        progress: _Progress,
        bar: tqdm,
    ) -> None:
        """Evaluate, keep what is best so far, and log."""
        mean: Any = self.accelerator.reduce(loss, "mean")
        row: dict[str, Any] = {"stage": stage.name, "step": step, "loss": mean.item()}
        row |= {"temperature": 1 / self.towers.model.logit_scale.item()} | self.evaluate()
        row.setdefault("valid_loss", row["loss"])
        score = row.get("retrieval")
        if score is not None and self.config.patience:
            progress.since += 1
            if score > progress.best:
                progress.best, progress.since = score, 0
                for name, tensor in trainable_tensors(self.towers).items():
                    best[name].copy_(tensor.detach())
        self.log.append(row)
        numbers = {name: value for name, value in row.items() if isinstance(value, float)}
        self.accelerator.log(numbers, step=step)
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
        masks = {m: torch.cat([part.masks[m] for part in parts]) for m in parts[0].masks}
        vectors = {m: torch.cat([o[m] for o in outputs]) for m in masks}
        codes = torch.cat([part.codes for part in parts])
        loss = self.loss(vectors, masks, codes, outputs[0]["scale"], outputs[0].get("bias"), alone=True)
        found = {"valid_loss": loss.item()}
        rank = mean_reciprocal_rank(vectors, masks, codes, self.pairs)
        return found if rank is None else found | {"retrieval": rank}

    def _more(self, average: MovingAverage | None, best: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors beside the trained ones that a checkpoint holds."""
        heads = {f"buffer.{name}": t for name, t in self.towers.model.named_buffers()}
        averages = {f"average.{name}": t for name, t in (average.tensors if average else {}).items()}
        return heads | averages | {f"best.{name}": t for name, t in best.items()}

    def _resume(self, checkpoints: Path, optimizer: Any, more: dict[str, Tensor]) -> tuple[int, _Progress]:
        rank = self.accelerator.process_index
        saved = load_training_state(checkpoints, self.towers, optimizer, more=more, rank=rank)
        if saved is None:
            return 0, _Progress()
        self.log = saved["log"]
        self.errors.update((tuple(error), None) for error in saved["errors"])
        if rank < len(saved["source"]):
            self.source.load_state_dict(saved["source"][rank])
        return saved["step"], _Progress(**saved["progress"])

    def _save(
        self, checkpoints: Path, step: int, optimizer: Any, progress: _Progress, more: dict[str, Tensor]
    ) -> None:
        """Write a checkpoint; all processes take part, one writes."""
        accelerator = self.accelerator
        mine = (self.source.state_dict(), random_state(), list(self.errors))
        every = gather_object([mine]) if accelerator.num_processes > 1 else [mine]
        self.errors = dict.fromkeys(error for _, _, errors in every for error in errors)
        if accelerator.is_main_process:
            state = {
                "log": self.log,
                "source": [source for source, _, _ in every],
                "errors": list(self.errors),
                "progress": vars(progress),
            }
            inner = getattr(optimizer, "optimizer", optimizer)
            random = [states for _, states, _ in every]
            save_training_state(checkpoints, step, self.towers, inner, state, more=more, random=random)
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
