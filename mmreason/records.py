"""The stages of a run, what each depends on, and the record of what was done: which of it is stale, and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from encoders.errors import WeightsError
from mmreason.config import Config
from mmreason.files import atomic_write
from mmreason.products import Parts, combined, fingerprint
from mmreason.schema import DataError


class Unfinished(Exception):
    """A stage stopped in time, as it was told to; what it did is kept, and the same command goes on."""


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: The verb.
        function: Where its function is, ``module:name``; imported when it runs.
        reads: Products that its result depends on, see :data:`mmreason.products.PRODUCTS`.
        writes: Products that it makes.
        settings: Sections and keys of the configuration that its result depends on.
        except_for: Keys of these that make no difference to the result.
        beside: Keys that say where things are or what is made beside: the stage runs again when they change, and what
            it trained stays good.
        version: Raised when the same inputs give another result.
        spares: Files and folders of the run that spare a stage work that was done: set aside if all is to be done anew.
        by_all: Under several processes each does its share; else one works and the others wait.
    """

    name: str
    function: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    settings: tuple[str, ...]
    except_for: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()
    version: int = 1
    by_all: bool = False

    def run(self, config: Config) -> str:
        """Run the stage's function; returns its one-line summary."""
        module, name = self.function.split(":")
        run: Callable[[Config], str] = getattr(import_module(module), name)
        return run(config)


STAGES = (
    Stage(
        "ingest",
        "mmreason.catalogue.ingest:ingest",
        reads=("source",),
        writes=("items", "own behaviours"),
        settings=("catalogue", "split", "seed"),
        except_for=("catalogue.max_quarantined",),
        version=2,
    ),
    Stage(
        "simulate",
        "mmreason.targets.stage:simulate_shoppers",
        reads=("items", "own behaviours", "added writers"),
        writes=("behaviours",),
        settings=("simulate", "seed", "generate.writers"),
        version=3,
    ),
    Stage(
        "pack",
        "mmreason.shards.pack:pack",
        reads=("items", "media", "behaviours"),
        writes=("item shards", "reason shards"),
        settings=("pack", "balance"),
        spares=("shards/.packed.jsonl",),
    ),
    Stage(
        "align",
        "mmreason.align.train:align",
        reads=("item shards", "encoder weights"),
        writes=("shared space",),
        settings=("align", "seed", "dtype"),
        except_for=(
            *("align.trackers", "align.save_every", "align.features"),
            *("align.micro_batch", "align.loss_chunk", "align.local_loss"),
        ),
        beside=("align.image_weights", "align.text_weights"),
        spares=("checkpoints/align", "features"),
        by_all=True,
    ),
    Stage(
        "embed",
        "mmreason.embed.job:embed",
        reads=("embedded items", "shared space", "encoder weights"),
        writes=("vectors",),
        settings=("embed.int8", "embed.source", "dtype"),
        spares=("embed",),
        by_all=True,
    ),
    Stage(
        "evidence",
        "mmreason.concepts.stage:find_evidence",
        reads=("items", "behaviours", "vectors", "corrected concepts", "aspects", "sensitive terms"),
        writes=("evidence",),
        settings=("evidence", "seed"),
        spares=("evidence/read.parquet", "evidence/concepts.parquet"),
        version=3,
    ),
    Stage(
        "train",
        "mmreason.reason.train:train",
        reads=("items", "vectors", "told evidence", "learnt reason shards", "shared space", "language model"),
        writes=("models",),
        settings=(
            "reason",
            "seed",
            "dtype",
            "evaluate.baseline",
            "evaluate.baseline_steps",
            "generate.writers",
        ),
        except_for=("reason.save_every", "reason.log_every"),
        beside=("reason.lm", "evaluate.baseline", "evaluate.baseline_steps", "generate.writers"),
        spares=("checkpoints/reason", "checkpoints/baseline"),
        by_all=True,
    ),
    Stage(
        "generate",
        "mmreason.generate.job:generate",
        reads=(
            "requests",
            "items",
            "evidence",
            "vectors",
            "reason model",
            "language model",
            "inference model",
            "compliance packs",
            "added writers",
        ),
        writes=("reasons",),
        settings=("generate", "verify", "seed", "dtype"),
        except_for=(
            *("generate.batch_size", "generate.part_size", "generate.max_failures", "generate.max_seconds"),
            "generate.share",
            *("generate.backend.url", "generate.backend.key_env", "generate.backend.concurrency"),
            *("generate.backend.requests_per_minute", "generate.backend.timeout"),
        ),
        spares=("generate/{job}",),
        version=2,
        by_all=True,
    ),
    Stage(
        "evaluate",
        "mmreason.evaluate.evaluate:evaluate",
        reads=("items", "media", "vectors", "reason shards", "judged reasons", "models"),
        writes=("report",),
        settings=("evaluate", "generate.max_new_tokens", "seed", "dtype"),
    ),
)


@dataclass(frozen=True)
class Record:
    """What a stage was done with, as ``done/<stage>.json`` keeps it.

    Attributes:
        version: Of the stage.
        settings: Dotted key → value.
        reads: Product → its parts when the stage began.
        writes: Product → its parts when the stage was done.
        summary: The stage's line.
        seconds: That it took.
    """

    version: int
    settings: dict[str, Any]
    reads: dict[str, Parts]
    writes: dict[str, Parts] = field(default_factory=dict)
    summary: str = ""
    seconds: float = 0.0

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        with atomic_write(path) as file:
            file.write(json.dumps(asdict(self), ensure_ascii=False).encode())


def find_stage(name: str) -> Stage:
    """The stage of a name.

    Raises:
        DataError: If there is none.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise DataError(f"no stage is called {name!r}; there are {', '.join(stage.name for stage in STAGES)}")


def stage_identity(config: Config, name: str) -> str:
    """Fingerprint of everything that a stage's result depends on: a checkpoint of another one is never resumed.

    Raises:
        DataError: If there is no stage of that name.
    """
    stage = find_stage(name)
    now = inputs(stage, config)
    settings = {key: value for key, value in now.settings.items() if key not in stage.beside}
    digests = {product: combined(parts) for product, parts in now.reads.items()}
    content = json.dumps([stage.name, stage.version, settings, digests], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def inputs(stage: Stage, config: Config) -> Record:
    """A record of what a stage would read now."""
    reads = {product: fingerprint(product, config) for product in stage.reads}
    return Record(stage.version, settings_of(stage, config), reads)


def outputs(stage: Stage, config: Config) -> dict[str, Parts]:
    """What a stage has written, as it is on disk now."""
    return {product: fingerprint(product, config) for product in stage.writes}


def settings_of(stage: Stage, config: Config) -> dict[str, Any]:
    """The settings that a stage's result depends on, by dotted key."""
    chosen = {}
    for key, value in flat(asdict(config)):
        named = key in stage.settings or key.partition(".")[0] in stage.settings
        if named and key not in stage.except_for:
            chosen[key] = value
    return json.loads(json.dumps(chosen))


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested settings.

    Example:
        >>> dict(flat({"seed": 0, "align": {"steps": 3}}))
        {'seed': 0, 'align.steps': 3}
    """
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def record_path(stage: Stage, config: Config) -> Path:
    """Where a stage's record is; every generate job has its own."""
    job = f"-{config.generate.job}" if stage.name == "generate" else ""
    return config.path("done", f"{stage.name}{job}.json")


def read_record(stage: Stage, config: Config) -> Record | None:
    """The record of a stage; None if it is not done, or the record is none."""
    try:
        return Record(**json.loads(record_path(stage, config).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def causes(stage: Stage, config: Config) -> list[str]:
    """Why a stage must be done, a phrase each; empty if nothing changed since it was done.

    Raises:
        DataError: If what it reads is gone.
    """
    try:
        now = inputs(stage, config)
    except WeightsError as error:
        raise DataError(str(error)) from None
    done = read_record(stage, config)
    if done is None:
        return ["not done yet"]
    found = []
    if done.version != now.version:
        found.append(f"format version {done.version} → {now.version}")
    found += changed_settings(done.settings, now.settings)
    for product, parts in now.reads.items():
        found += _changed_parts(product, done.reads.get(product, {}), parts)
    for product, parts in outputs(stage, config).items():
        gone = [name for name in done.writes.get(product, {}) if name not in parts]
        found += [f"{_named(product, gone, len(gone))} gone"] if gone else []
    return found


def changed_settings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """``setting align.steps 300 → 400``, one each."""
    keys = dict.fromkeys([*before, *after])
    changed = [key for key in keys if before.get(key) != after.get(key)]
    return [f"setting {key} {_short(before.get(key))} → {_short(after.get(key))}" for key in changed]


def _changed_parts(product: str, before: Parts, after: Parts) -> Iterable[str]:
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{_named(product, changed, len(after))} changed"] if changed else []


def _named(product: str, names: list[str], of: int) -> str:
    """``source (items.csv)``, ``3 of 23 item shards``."""
    if product.endswith("shards") and of:
        return f"{len(names)} of {of} {product}"
    shown = ", ".join(names[:2]) + (f" and {len(names) - 2:,} more" if len(names) > 2 else "")
    return product if names == [product] else f"{product} ({shown})"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value) or "empty"
    return text if len(text) <= 60 else text[:57] + "…"
