"""The stages of a run, and the fingerprint of what each depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module

from mmreason.config import Config
from mmreason.schema import DataError


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: The verb.
        function: Where its function is, ``module:name``; imported when it runs.
        settings: Sections of the configuration that its result depends on.
        folders: What it writes; removed when its settings changed. Stages that tell changes themselves list none.
    """

    name: str
    function: str
    settings: tuple[str, ...]
    folders: tuple[str, ...] = ()

    def run(self, config: Config) -> str:
        """Run the stage's function; returns its one-line summary."""
        module, name = self.function.split(":")
        run: Callable[[Config], str] = getattr(import_module(module), name)
        return run(config)


STAGES = (
    Stage("ingest", "mmreason.catalogue.ingest:ingest", ("catalogue", "split"), ("catalogue",)),
    Stage("simulate", "mmreason.targets.simulate:simulate_shoppers", ("simulate",)),
    Stage("pack", "mmreason.shards.pack:pack", ("pack", "balance"), ("shards",)),
    Stage("align", "mmreason.align.train:align", ("align",), ("align",)),
    Stage("embed", "mmreason.embed.job:embed", ("embed",)),
    Stage("train", "mmreason.reason.train:train", ("reason",), ("reason", "baseline")),
    Stage("generate", "mmreason.generate.job:generate", ("generate",)),
    Stage("evaluate", "mmreason.evaluate.evaluate:evaluate", ("evaluate",), ("evaluate",)),
)


def stage_identity(config: Config, name: str) -> str:
    """Fingerprint of everything that a stage's result depends on: a checkpoint of another one is never resumed.

    Raises:
        DataError: If there is no stage of that name.
    """
    chain = ""
    for stage in STAGES:
        chain = chain_on(chain, stage, config)
        if stage.name == name:
            return chain
    raise DataError(f"no stage is called {name!r}; there are {', '.join(stage.name for stage in STAGES)}")


def chain_on(before: str, stage: Stage, config: Config) -> str:
    """Fingerprint of the settings of a stage and of all before it."""
    settings = asdict(config)
    own = {name: settings[name] for name in (*stage.settings, "seed")}
    if stage.name == "embed":
        own["embed"] = own["embed"] | {"shard": ""}  # who does it makes no difference to what is there
    if stage.name == "train":
        own["baseline"] = config.evaluate.baseline
    return hashlib.sha256((before + json.dumps(own, sort_keys=True)).encode()).hexdigest()
