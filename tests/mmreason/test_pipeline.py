"""The stages together: done once, redone where settings change, and the same however often they are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from mmreason.config import Config
from mmreason.generate.job import read_parts
from mmreason.pipeline import run
from mmreason.records import STAGES
from mmreason.schema import DataError
from mmreason.store.store import EmbeddingStore


def test_run_leaves_every_product_of_the_design(tiny_run: Config) -> None:
    for name in (
        "catalogue/items.parquet",
        "shards/manifest.json",
        "align/model.safetensors",
        "embed/index.json",
        "reason/model.safetensors",
        "reason/adapter/adapter_model.safetensors",
        "baseline/model.safetensors",
        "generate/part-000000.parquet",
        "evaluate/metrics.json",
        "report.html",
    ):
        assert tiny_run.path(name).exists(), name
    table = read_parts(tiny_run.path("generate"))
    metrics = json.loads(tiny_run.path("evaluate", "metrics.json").read_text())
    assert metrics["rows"] == len(table) > 0
    assert metrics["systems"]["text-only LM"]["rows"] == min(6, len(table))


def test_a_second_run_does_nothing(tiny_run: Config, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(tiny_run.run_dir).rglob("*") if path.is_file()}
    started = time.monotonic()
    run(tiny_run)
    assert time.monotonic() - started < 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert capsys.readouterr().out.count("(done before)") == len(STAGES)


def test_only_what_depends_on_a_changed_setting_is_redone(
    tiny_run: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, copy.run_dir)
    changed = replace(copy, evaluate=replace(copy.evaluate, sample=2))
    run(changed)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [("done before" in line) for line in lines] == [True] * 7 + [False]


def _command(config: Config, path: Path) -> list[str]:
    path.write_text(yaml.safe_dump(asdict(config)))
    return [sys.executable, "-m", "mmreason.cli", "run", "--config", str(path)]


# What tells that a stage is in its middle: it has written something, and is not marked as done.
MIDDLE = {
    "embed": "embed/part-000001",
    "train": "reason/checkpoints/2-lora/checkpoint-00000002",
    "generate": "generate/part-000001.parquet",
}


@pytest.mark.parametrize("stage", MIDDLE)
def test_sigkill_in_the_middle_then_again_ends_the_same(stage: str, tiny_run: Config, tmp_path: Path) -> None:
    """Stages before the killed one are copied from the finished run; the rest is compared with it."""
    import shutil

    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, config.run_dir)
    names = [s.name for s in STAGES]
    for name in names[names.index(stage) :]:
        config.path("done", f"{name}.json").unlink()
        config.path("done", f"{name}.started").unlink()
    for folder in {"embed": ["embed"], "train": [], "generate": []}[stage] + [
        "reason",
        "baseline",
        "generate",
    ]:
        if not (stage == "generate" and folder != "generate"):
            shutil.rmtree(config.path(folder))
    command = _command(config, tmp_path / "config.yaml")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not config.path(MIDDLE[stage]).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not config.path("done", f"{stage}.json").exists(), "killed too late to test anything"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert EmbeddingStore.open(config.path("embed")).ids == EmbeddingStore.open(tiny_run.path("embed")).ids
    again, once = read_parts(config.path("generate")), read_parts(tiny_run.path("generate"))
    assert again.equals(once)
    for name in ("reason", "baseline"):
        assert (
            config.path(name, "model.safetensors").read_bytes()
            == tiny_run.path(name, "model.safetensors").read_bytes()
        )


def test_a_full_disk_is_one_line_and_loses_nothing(tiny_run: Config, tmp_path: Path) -> None:
    """A file-size limit stands in for the full disk: the kernel refuses the write in the same way."""
    import shutil

    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, config.run_dir)
    shutil.rmtree(config.path("embed"))
    config.path("done", "embed.json").unlink()
    command = " ".join(_command(config, tmp_path / "config.yaml"))
    limited = subprocess.run(
        ["bash", "-c", f"trap '' XFSZ; ulimit -f 2; exec {command}"], capture_output=True, text=True
    )
    assert limited.returncode != 0
    assert "Traceback" not in limited.stderr
    assert limited.stderr.strip().splitlines()[-1].startswith("mmreason: error:")
    assert config.path("shards", "manifest.json").exists()


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    from mmreason.pipeline import run_verb

    with pytest.raises(DataError, match=r"catalogue"):
        run_verb("pack", Config(run_dir=str(tmp_path)))
