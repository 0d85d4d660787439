"""Progress tells the time left in a log, and nothing of what is done at once."""

from __future__ import annotations

import time

import pytest

from mmreason import progress as module
from mmreason.progress import Progress, track


def test_a_log_gets_lines_with_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_SECONDS", 0.05)
    with Progress(30, "train lora", "step", initial=4) as bar:
        for step in range(26):
            time.sleep(0.06)
            bar.note(loss=f"{1 / (1 + step):.3f}")
            bar.add()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 2 and all(line.startswith("train lora:") and "\r" not in line for line in lines)
    assert "/30" in lines[0] and "<00:" in lines[0] and "loss=" in lines[0]
    assert "30/30" in lines[-1]


def test_quick_work_and_other_processes_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(5), "count")) == [0, 1, 2, 3, 4]
    with Progress(2, "second rank", shown=False) as bar:
        time.sleep(1.1)
        bar.add(2)
    assert capsys.readouterr().err == ""
