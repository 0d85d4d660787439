"""The training loop: stopped is unstopped, bad numbers touch nothing, other data begins anew, two processes are one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from line_task import STAGES, LineTask, fit, fit_as_one_of_two
from processes import run_two
from stopping import stop_at

from mmreason.schema import DataError
from mmreason.training.accelerator import make_accelerator
from mmreason.training.state import newest_checkpoint
from mmreason.training.task import TrainingStage


def _task(**options: float) -> LineTask:
    return LineTask(make_accelerator(torch.device("cpu"), "fit"), **options)  # type: ignore[arg-type]


def _weights(task: LineTask) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in task.model.state_dict().items()}


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 7, 10])
def test_stopped_and_resumed_is_unstopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    whole, log = fit(tmp_path / "whole", _task(dropout=0.3))
    stop_at(monkeypatch, stop, lambda: fit(tmp_path / "stopped", _task(dropout=0.3)))
    torch.manual_seed(99)  # what was drawn before must not matter
    again, resumed = fit(tmp_path / "stopped", _task(dropout=0.3))
    assert resumed == log and [row["step"] for row in log] == list(range(1, 12))
    assert again.given == whole.given == 11
    assert all(torch.equal(tensor, _weights(whole)[name]) for name, tensor in _weights(again).items())


def test_a_finished_training_is_taken_up_and_not_trained_again(tmp_path: Path) -> None:
    first, log = fit(tmp_path)
    again, same = fit(tmp_path)
    assert same == log and again.given == first.given
    assert all(torch.equal(tensor, _weights(first)[name]) for name, tensor in _weights(again).items())


def test_the_generators_are_afterwards_as_before() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    task = _task(dropout=0.5)
    torch.manual_seed(5)
    fit(None, task)
    assert torch.equal(torch.rand(3), expected)


def test_other_data_begin_anew_and_old_checkpoints_go_when_a_new_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tmp_path)
    fresh, log = fit(None)
    stop_at(monkeypatch, 1, lambda: fit(tmp_path, identity="b"))  # before its first checkpoint
    old = newest_checkpoint(tmp_path, "a")
    assert old is not None and old.step == 11, "the old checkpoint stays until then"
    changed, same = fit(tmp_path, identity="b")
    assert same == log, "fresh weights"
    assert all(torch.equal(tensor, _weights(fresh)[name]) for name, tensor in _weights(changed).items())
    assert newest_checkpoint(tmp_path, "a") is None
    assert len(list(tmp_path.glob("checkpoint-*"))) == 1


def test_it_goes_on_from_old_weights_on_purpose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, _ = fit(tmp_path)
    trained = {name: tensor for name, tensor in _weights(old).items() if "bias" not in name}
    task = _task()
    fresh = _weights(task)
    stages = [TrainingStage("second", 1, warmup=10**9)]  # next to no learning rate
    continued, log = fit(tmp_path, task, stages, identity="b", continue_training=True)
    now = _weights(continued)
    assert all(torch.allclose(now[name], tensor, atol=1e-6) for name, tensor in trained.items())
    assert torch.allclose(now["line.bias"], fresh["line.bias"], atol=1e-6), "bound to the data: begins anew"
    assert "goes on from the weights of" in capsys.readouterr().out and log[0]["step"] == 1


def test_a_gradient_that_is_not_finite_touches_nothing(tmp_path: Path) -> None:
    task = _task(broken_at=3)
    with pytest.raises(
        DataError, match=r"the loss is 0 and the gradient nan at step 4 of stage first: not finite"
    ):
        fit(tmp_path, task)
    assert all(torch.isfinite(tensor).all() for tensor in _weights(task).values())
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 2
    _, log = fit(tmp_path)
    assert len(log) == 11


def test_the_best_weights_are_kept_and_patience_ends_a_stage() -> None:
    task = _task()
    task.scores = [0.1, 0.5, 0.5, 0.2, 0.3, 0.0]
    seen: list[dict[str, torch.Tensor]] = []
    judge = task.evaluate

    def evaluate(stage: TrainingStage) -> dict[str, float]:
        seen.append(_weights(task))
        return judge(stage)

    task.evaluate = evaluate  # type: ignore[method-assign]
    stage = TrainingStage("only", 20, evaluate_every=1, best_by="score", patience=3)
    _, log = fit(None, task, [stage])
    assert len(log) == 5, "three evaluations after the best without a better one"
    assert all(torch.equal(tensor, seen[2][name]) for name, tensor in _weights(task).items())


def test_another_number_of_processes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 5, lambda: fit(tmp_path))
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    path = checkpoint.folder / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"processes": state["processes"] * 2}))
    with pytest.raises(DataError, match="stopped with 2 processes; start as many"):
        fit(tmp_path)


def test_two_processes_are_one_with_twice_the_rows_stopped_too(tmp_path: Path) -> None:
    """One process has three targets a step, the other one; the first stage leaves parameters unused."""
    _, expected = fit(None, stages=STAGES)
    assert run_two(fit_as_one_of_two, tmp_path, 7) == [1, 9]
    assert "another process died in stage second" in (tmp_path / "told-0").read_text()
    assert run_two(fit_as_one_of_two, tmp_path) == [0, 0]
    log = json.loads((tmp_path / "log.json").read_text())
    assert [row["loss"] for row in log] == pytest.approx([row["loss"] for row in expected], rel=1e-5)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    task, _ = fit(None)
    assert all(torch.allclose(weights[name], tensor, atol=1e-5) for name, tensor in _weights(task).items())
