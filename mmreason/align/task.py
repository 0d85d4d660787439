"""The training of the shared space as a task of the training loop: what trains, the batches and the contrast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from mmreason.align.batch import Batch
from mmreason.align.losses.gradcache import cached_backward
from mmreason.align.losses.pairs import PairLoss, normalise_pairs
from mmreason.align.retrieval import mean_reciprocal_rank
from mmreason.align.sources import BatchSource, drop_modalities
from mmreason.align.stages import describe, parameter_groups, set_trained, stages_of
from mmreason.align.towers import Towers
from mmreason.config import AlignConfig
from mmreason.schema import DataError
from mmreason.training.sharding import reshard
from mmreason.training.task import Task, TrainingStage


class AlignTask(Task):
    """Trains heads, and towers where a stage says so, with a contrast between modalities.

    Args:
        config: Settings.
        towers: What trains; on its device.
        source: Gives each step its rows.
        valid: Validation rows in parts; empty for none.
        accelerator: Accelerate's.
        seed: Of modality dropout.
        pairs: What is contrasted; default: the configured pairs of modalities.

    Attributes:
        errors: (item id, modality, message) of media that this process could not read.

    Raises:
        DataError: If the settings ask for a choice by validation items, and there are none.
    """

    methods: ClassVar[tuple[str, ...]] = ("encode_frozen",)

    def __init__(
        self,
        config: AlignConfig,
        towers: Towers,
        source: BatchSource,
        valid: list[Batch],
        accelerator: Accelerator,
        seed: int = 0,
        pairs: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        self.config = config
        self.model = self.towers = towers
        self.source = source
        self.valid = valid
        self.accelerator = accelerator
        self.seed = seed
        self.pairs = pairs or normalise_pairs(config.pairs, list(towers.model.dims))
        self.contrast = PairLoss(
            self.pairs, config.loss, config.matryoshka, config.local_loss, config.loss_chunk
        )
        self.errors: dict[tuple[str, str, str], None] = {}
        self._stages = {stage.name: stage for stage in stages_of(config)}
        if config.patience and not valid:
            raise DataError(
                "align.patience needs validation items; set catalogue.valid_items, or patience to 0"
            )

    def stages(self) -> list[TrainingStage]:
        """The configured stages, as the loop takes them."""
        settings = self.config
        return [
            TrainingStage(
                stage.name,
                stage.steps,
                warmup=round(settings.warmup * stage.steps),
                log_every=settings.eval_every,
                evaluate_every=settings.eval_every,
                save_every=settings.save_every,
                average=settings.ema,
                best_by="retrieval" if settings.patience else "",
                patience=settings.patience,
            )
            for stage in self._stages.values()
        ]

    def begin(self, stage: TrainingStage) -> list[dict[str, Any]]:
        """See :class:`Task`; prints what trains."""
        settings = self._stages[stage.name]
        set_trained(self.towers, settings)
        self.towers.sharded = self.accelerator.is_fsdp2
        if self.accelerator.is_main_process:
            print(describe(self.towers, settings, self.config), flush=True)
        return parameter_groups(self.towers, settings, self.config)

    def batch(self, stage: TrainingStage, step: int) -> list[Batch]:
        """The step's rows in parts, on the device, with what frozen towers say of them."""
        accelerator = self.accelerator
        step += self._offset(stage)
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

    def loss(self, model: Any, batch: list[Batch]) -> Tensor:
        """The contrast of a batch that is in one part."""
        return self._contrast(batch, [model(part) for part in batch])

    def backward(self, model: Any, batch: list[Batch], accelerator: Accelerator) -> Tensor:
        """Accumulate the gradients of the contrast over all rows of all parts and processes."""
        if len(batch) == 1:
            value = self.loss(model, batch)
            accelerator.backward(value)
            return value.detach()
        return cached_backward(
            batch,
            model,
            lambda outputs: self._contrast(batch, outputs),
            backward=accelerator.backward,
            unsynced=lambda: accelerator.no_sync(model),
        )

    def after_step(self) -> None:
        """Hold the temperature in its bounds."""
        self.towers.model.hold_temperature()

    @torch.no_grad()
    def evaluate(self, stage: TrainingStage) -> dict[str, float]:
        """``temperature``; of the validation rows, if any, ``valid_loss`` and ``retrieval`` (mean reciprocal rank)."""
        figures = {"temperature": 1 / self.towers.model.logit_scale.item()}
        if not self.valid:
            return figures
        self.towers.eval()
        parts = [part.to(self.accelerator.device) for part in self.valid]
        outputs = [self.towers(part) for part in parts]
        reshard(self.towers)
        masks = {m: torch.cat([part.masks[m] for part in parts]) for m in parts[0].masks}
        vectors = {m: torch.cat([o[m] for o in outputs]) for m in masks}
        codes = torch.cat([part.codes for part in parts])
        loss = self.contrast(vectors, masks, codes, outputs[0]["scale"], outputs[0].get("bias"), alone=True)
        figures["valid_loss"] = loss.item()
        rank = mean_reciprocal_rank(vectors, masks, codes, self.pairs)
        return figures if rank is None else figures | {"retrieval": rank}

    def kept(self) -> dict[str, Tensor]:
        """The heads' mean and spread."""
        return dict(self.towers.model.named_buffers())

    def state_dict(self) -> dict[str, Any]:
        """The source's place, and what it could not read."""
        return {"source": self.source.state_dict(), "errors": list(self.errors)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""
        self.source.load_state_dict(state["source"])
        self.errors.update((tuple(error), None) for error in state["errors"])

    def gather_errors(self) -> list[tuple[str, str, str]]:
        """What any process could not read; all must ask."""
        every = gather_object(list(self.errors)) if self.accelerator.num_processes > 1 else self.errors
        return sorted(set(every))

    def _offset(self, stage: TrainingStage) -> int:
        """Steps of the stages before."""
        names = list(self._stages)
        return sum(self._stages[name].steps for name in names[: names.index(stage.name)])

    def _contrast(self, parts: list[Batch], outputs: Sequence[Mapping[str, Tensor]]) -> Tensor:
        masks = {m: torch.cat([part.masks[m] for part in parts]) for m in parts[0].masks}
        codes = torch.cat([part.codes for part in parts])
        vectors = {m: torch.cat([o[m] for o in outputs]) for m in masks}
        # Each part gives the temperature; the mean of equals hands each its share of the gradient.
        scale, bias = (
            torch.stack([o[name] for o in outputs]).mean() if name in outputs[0] else None
            for name in ("scale", "bias")
        )
        assert scale is not None
        value = self.contrast(vectors, masks, codes, scale, bias)
        # What no pair needs must still be in the graph, or the other processes wait for its gradient.
        return value + 0.0 * sum(v.sum() for v in vectors.values())
