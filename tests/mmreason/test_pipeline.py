"""The stages together: done once, redone where settings change, and the same however often they are killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from PIL import Image

from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.generate.job import read_job
from mmreason.pipeline import run, run_verb, status
from mmreason.records import STAGES, find_stage, record_path
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
        "generate/test/part-000000.parquet",
        "evaluate/metrics.json",
        "report.html",
    ):
        assert tiny_run.path(name).exists(), name
    table = read_job(tiny_run)
    metrics = json.loads(tiny_run.path("evaluate", "metrics.json").read_text())
    assert metrics["rows"] == len(table) > 0
    assert metrics["systems"]["text-only LM"]["rows"] == min(6, len(table))


def test_a_second_run_does_nothing(tiny_run: Config, capsys: pytest.CaptureFixture[str]) -> None:
    files = [path for path in Path(tiny_run.run_dir).rglob("*") if path.is_file() and path.suffix != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in files}
    started = time.monotonic()
    run(tiny_run)
    assert time.monotonic() - started < 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert capsys.readouterr().out.count("(done before)") == len(STAGES)


def test_only_what_depends_on_a_changed_setting_is_redone(
    tiny_run: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, copy.run_dir)
    changed = replace(copy, evaluate=replace(copy.evaluate, sample=2))
    run(changed)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert ["done before" in line for line in lines] == [True] * 8 + [False] * 2
    assert lines[8] == "[9/9] evaluate … (setting evaluate.sample 4 → 2)"


@pytest.fixture
def copied(tiny_run: Config, tmp_path: Path) -> Config:
    """A finished run of its own, that a test may change."""
    shutil.copytree(tiny_run.run_dir, tmp_path / "run")
    return replace(tiny_run, run_dir=str(tmp_path / "run"))


def test_status_tells_what_is_done_stale_and_missing(copied: Config) -> None:
    assert {line.split()[1] for line in status(copied).splitlines()} == {"done"}
    shutil.rmtree(copied.path("embed"))
    changed = replace(copied, align=replace(copied.align, steps=21))
    copied.path("done", "evaluate.json").unlink()
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in status(changed).splitlines()}
    assert lines["pack"].startswith("done ")
    assert lines["align"].split(maxsplit=1) == ["stale", "setting align.steps 20 → 21"]
    assert lines["embed"].startswith("stale ") and "vectors gone" in lines["embed"]
    assert lines["generate"].startswith("stale ") and "vectors" in lines["generate"]
    assert lines["evaluate"].split(maxsplit=1) == ["missing", "not done yet"]


def test_status_is_quick_and_imports_no_torch(tiny_run: Config, tmp_path: Path) -> None:
    _command(tiny_run, tmp_path / "config.yaml")
    code = (
        "import sys, time; from mmreason.cli import main; "
        "main(['status', sys.argv[1]]); assert time.process_time() < 1; "
        "assert 'torch' not in sys.modules and 'pyarrow' not in sys.modules"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "config.yaml")], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == len(STAGES)


def test_a_removed_folder_is_made_again_and_nothing_else(
    copied: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    before = EmbeddingStore.open(copied.path("embed"))
    vectors = before.get("fused", before.ids)
    shutil.rmtree(copied.path("embed"))
    run(copied)
    done = [line for line in capsys.readouterr().out.splitlines() if " … " in line]
    assert done == ["[5/9] embed … (vectors gone)"]
    again = EmbeddingStore.open(copied.path("embed"))
    assert (again.get("fused", before.ids) == vectors).all()


def test_force_does_everything_from_the_start(copied: Config, capsys: pytest.CaptureFixture[str]) -> None:
    run(copied, force=True)
    said = capsys.readouterr().out
    assert "(done before)" not in said
    assert "(0 were there already)" in said and "(0 were answered already)" in said
    assert not list(copied.path().rglob("*.before"))


def test_a_forced_stage_that_fails_leaves_what_was_there(
    copied: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(config: Config) -> str:
        raise DataError("no")

    rows = read_job(copied)
    monkeypatch.setattr("mmreason.embed.job.embed", fails)
    with pytest.raises(DataError, match="no"):
        run(copied, force=True)
    assert len(EmbeddingStore.open(copied.path("embed"))) > 0 and read_job(copied).equals(rows)


def test_what_replaces_a_model_is_made_first(copied: Config) -> None:
    """Without shoppers there is nothing to learn from: the model that was there is put aside, not deleted."""
    model = copied.path("reason", "model.safetensors")
    before = model.read_bytes()
    with suppress(DataError):
        run(replace(copied, simulate=replace(copied.simulate, users=0)))
    aside = copied.path("reason-before", "model.safetensors")
    assert (model if model.exists() else aside).read_bytes() == before


def test_a_folder_that_is_gone_is_an_error_before_anything_is_touched(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    Image.new("RGB", (8, 8)).save(shop / "a.png")
    (shop / "items.csv").write_text("id,title,images\na,Coat,a.png\nb,Hat,\n")
    catalogue, nobody = CatalogueConfig("tables", str(shop)), SimulateConfig(users=0)
    config = make_config(tmp_path / "run", catalogue=catalogue, simulate=nobody)
    for stage in ("ingest", "simulate", "pack"):
        run_verb(stage, config)
    before = {path: path.read_bytes() for path in Path(config.run_dir).rglob("*.*") if path.is_file()}
    shop.rename(tmp_path / "elsewhere")
    for attempt in (
        lambda: run(config),
        lambda: run_verb("ingest", config),
        lambda: run_verb("pack", config),
    ):
        with pytest.raises(DataError, match="shop"):
            attempt()
    assert {path: path.read_bytes() for path in before if path.suffix != ".lock"} == {
        path: data for path, data in before.items() if path.suffix != ".lock"
    }


def _command(config: Config, path: Path) -> list[str]:
    path.write_text(yaml.safe_dump(asdict(config)))
    return [sys.executable, "-m", "mmreason.cli", "run", "--config", str(path)]


# What tells that a stage is in its middle: it has written something, and is not marked as done.
MIDDLE = {
    "embed": "embed/part-000001",
    "train": "checkpoints/reason/checkpoint-00000016-*",  # after two of six LoRA steps
    "generate": "generate/test/part-000001.parquet",
}


@pytest.mark.parametrize("stage", MIDDLE)
def test_sigkill_in_the_middle_then_again_ends_the_same(stage: str, tiny_run: Config, tmp_path: Path) -> None:
    """Stages before the killed one are copied from the finished run; the rest is compared with it."""
    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, config.run_dir)
    names = [s.name for s in STAGES]
    for name in names[names.index(stage) :]:
        record_path(find_stage(name), config).unlink()
    for folder in {"embed": ["embed"], "train": [], "generate": []}[stage] + [
        "reason",
        "baseline",
        "checkpoints",
        "generate",
    ]:
        if not (stage == "generate" and folder != "generate"):
            shutil.rmtree(config.path(folder))
    command = _command(config, tmp_path / "config.yaml")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while (
        not any(Path(config.run_dir).glob(MIDDLE[stage]))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not record_path(find_stage(stage), config).exists(), "killed too late to test anything"
    subprocess.run(command, check=True)
    assert EmbeddingStore.open(config.path("embed")).ids == EmbeddingStore.open(tiny_run.path("embed")).ids
    again, once = read_job(config), read_job(tiny_run)
    assert again.equals(once)
    for name in ("reason", "baseline"):
        assert (
            config.path(name, "model.safetensors").read_bytes()
            == tiny_run.path(name, "model.safetensors").read_bytes()
        )


def test_a_full_disk_is_one_line_and_loses_nothing(tiny_run: Config, tmp_path: Path) -> None:
    """A file-size limit stands in for the full disk: the kernel refuses the write in the same way."""
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
    with pytest.raises(DataError, match=r"catalogue"):
        run_verb("pack", Config(run_dir=str(tmp_path)))
