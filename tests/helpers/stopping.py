"""Runs that come up to a training, and are stopped in a step of it as a kill would."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmreason.config import Config
from mmreason.training.loop import TrainingLoop


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, run: Callable[[], Any]) -> None:
    """Run something until just before a step of its training, counted from 0 over all stages; then stop it."""
    real = TrainingLoop._step

    def stopped(self: TrainingLoop, running: Any, number: int, *rest: Any) -> Any:
        if running.offset + number == step:
            raise KeyboardInterrupt
        return real(self, running, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            run()


def before_train(finished: Config, folder: Path) -> Config:
    """A copy of a finished run that has come up to ``train``."""
    run = replace(finished, run_dir=str(folder / "run"))
    for name in ("catalogue", "shoppers", "shards", "features", "align", "embed"):
        shutil.copytree(finished.path(name), run.path(name))
    return run
