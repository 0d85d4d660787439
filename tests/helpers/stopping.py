"""Stopping a training in a step, as a kill would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
