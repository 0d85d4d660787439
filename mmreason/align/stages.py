"""Staged training: what trains in each stage, how fast, and the list that says so."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from mmreason.align.towers import Towers
from mmreason.config import AlignConfig, AlignStage
from mmreason.schema import DataError


def stages_of(config: AlignConfig) -> list[AlignStage]:
    """The configured stages, with their learning rates; the plain one if there are none.

    Raises:
        DataError: If two stages share a name, or a stage of kept features trains a tower.
    """
    stages = config.stages or [AlignStage("heads", config.steps)]
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names) or any(not n.replace("_", "").replace("-", "").isalnum() for n in names):
        raise DataError(f"align.stages: names {names} must differ and be letters, digits, - and _")
    for stage in stages:
        if config.source == "features" and any(part.partition(":")[0] != "heads" for part in stage.trains):
            raise DataError(
                f"align.stages: {stage.name!r} trains {', '.join(stage.trains)}, but the features of frozen "
                "towers train heads only; set align.source=pixels"
            )
    return [
        AlignStage(s.name, s.steps, s.trains, s.lr or config.lr, s.tower_lr or config.tower_lr)
        for s in stages
    ]


def set_trained(towers: Towers, stage: AlignStage) -> None:
    """Let exactly what the stage names train.

    Raises:
        DataError: If a part names nothing.
    """
    trained: set[str] = set()
    for part in stage.trains:
        names = _names(towers, part)
        if not names:
            known = ", ".join(["heads", *(f"heads:{name}" for name in towers.model.dims), *towers.encoders])
            raise DataError(
                f"align.stages: {stage.name!r} trains {part!r}, which names no parameter; give {known}, "
                "<tower>:<last blocks> or a pattern of parameter names"
            )
        trained |= names
    for name, parameter in towers.named_parameters():
        parameter.requires_grad_(name in trained)


def trained_towers(towers: Towers, stages: list[AlignStage]) -> set[str]:
    """The towers of which some stage trains some layer; a video's is the image's too."""
    found: set[str] = set()
    for stage in stages:
        set_trained(towers, stage)
        found |= {modality for modality in towers.encoders if towers.trains(modality)}
    return found


def parameter_groups(towers: Towers, stage: AlignStage, config: AlignConfig) -> list[dict[str, Any]]:
    """The optimiser's groups: by learning rate and weight decay.

    A tower's last layers learn at ``tower_lr``, each layer before at ``layer_decay`` times that of the next (BEiT,
    arXiv 2106.08254). Vectors and scalars (biases, norms, the temperature) have no weight decay.

    Returns:
        Dicts with ``params``, ``lr``, ``peak`` (the same, for the schedule) and ``weight_decay``.
    """
    rates = _tower_rates(towers, stage, config)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in towers.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rates.get(name, stage.lr), decay), []).append(parameter)
    return [
        {"params": params, "lr": lr, "peak": lr, "weight_decay": decay}
        for (lr, decay), params in groups.items()
    ]


def describe(towers: Towers, stage: AlignStage, config: AlignConfig) -> str:
    """A few lines: what trains in a stage, how large it is and how fast it learns."""
    rates = _tower_rates(towers, stage, config)
    trained: Counter[str] = Counter()
    frozen: Counter[str] = Counter()
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for name, parameter in towers.named_parameters():
        part = name.split(".")[1] if name.startswith("encoders.") and not is_pool(name) else "heads"
        if not parameter.requires_grad:
            frozen[part] += parameter.numel()
            continue
        trained[part] += parameter.numel()
        rate = rates.get(name, stage.lr)
        lows[part], highs[part] = min(rate, lows.get(part, rate)), max(rate, highs.get(part, rate))
    lines = [f"stage {stage.name}: {stage.steps} steps"]
    for part in sorted({*trained, *frozen}, key=lambda p: (p != "heads", p)):
        if not trained[part]:
            lines.append(f"  {part:<6} frozen ({frozen[part]:,} parameters)")
            continue
        of = f" of {trained[part] + frozen[part]:,}" if frozen[part] else ""
        shown = f"{highs[part]:g}" if lows[part] == highs[part] else f"{lows[part]:.2g} to {highs[part]:g}"
        lines.append(f"  {part:<6} trains {trained[part]:,}{of} parameters, lr {shown}")
    return "\n".join(lines)


def _names(towers: Towers, part: str) -> set[str]:
    """Full names of the parameters that one part of ``trains`` stands for."""
    if part == "heads":
        return {name for name, _ in towers.named_parameters() if name.startswith("model.") or is_pool(name)}
    if part.startswith("heads:") and part.removeprefix("heads:") in towers.model.dims:
        own = (f"model.heads.{part.removeprefix('heads:')}.", "model.log_scale", "model.logit_bias")
        return {name for name, _ in towers.named_parameters() if name.startswith(own)}
    tower, _, count = part.partition(":")
    if tower in towers.encoders and (not count or count.isdecimal()):
        encoder = towers.encoder(tower)
        kept = encoder.layer_groups()
        if count and not encoder.blocks():
            return set()
        if count:
            last = {id(p) for block in encoder.blocks()[-int(count) :] for p in block.parameters()}
            first = next((n for n, g in enumerate(kept) if last & {id(p) for p in g.values()}), 0)
            kept = kept[first:]
        names = {f"encoders.{tower}.{name}" for group in kept for name in group if not _unused(name)}
        names = {name for name in names if not is_pool(name)}
        return names & {name for name, _ in towers.named_parameters()}  # a video's tower is the image's
    return {
        name for name, _ in towers.named_parameters() if fnmatchcase(name.removeprefix("encoders."), part)
    }


def is_pool(name: str) -> bool:
    """Whether a parameter is of a pooling of frames or views, which belongs to the heads."""
    return name.startswith(("encoders.video.pool.", "encoders.image.pool."))


def _unused(name: str) -> bool:
    """Hugging Face models pool with a layer of their own, which ours do not use: it would get no gradient."""
    return "pooler." in name


def _tower_rates(towers: Towers, stage: AlignStage, config: AlignConfig) -> dict[str, float]:
    rates = {}
    for tower in towers.encoders:
        groups = towers.encoder(tower).layer_groups()
        for number, group in enumerate(groups):
            rate = stage.tower_lr * config.layer_decay ** (len(groups) - 1 - number)
            rates.update({f"encoders.{tower}.{name}": rate for name in group})
    return {name: rate for name, rate in rates.items() if not is_pool(name)}
