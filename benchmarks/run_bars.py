"""Run a configuration and hold its figures against the bars.

    python benchmarks/run_bars.py configs/quickstart.yaml --color 0.8
    python benchmarks/run_bars.py configs/sample_shop.yaml --color 0.7
    python benchmarks/run_bars.py configs/quickstart.yaml --color 0.8 --kill true    # SIGKILL in three stages

The run happens in a process of its own, so that its peak memory is its own. A finished run is only measured, and
then its seconds are those that the stages took when they ran.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bars import Bars
from jsonargparse import auto_cli

from mmreason.cli import read_config
from mmreason.config import Config
from mmreason.generate.job import read_job
from mmreason.shards.manifest import read_manifest
from mmreason.store.store import EmbeddingStore

# What tells that a stage is in its middle.
MIDDLE = {
    "embed": "embed/part-000001",
    "train": "checkpoints/reason/checkpoint-0000012*",
    "generate": "generate/test/part-000000.parquet",
}


def main(
    path: str,
    color: float = 0.8,
    changed: float = 0.8,
    minutes: float = 8,
    fresh: bool = False,
    kill: bool = False,
) -> None:
    """Run and check.

    Args:
        path: The configuration.
        color: Bar for the share of reasons naming a colour that are right.
        changed: Bar for the share of personal reasons that another user changes.
        minutes: Bar for the stages together.
        fresh: Remove the run first.
        kill: Kill with SIGKILL in the middle of embed, train and generate, and go on each time (implies fresh).
    """
    settings = read_config(path)
    if fresh or kill:
        shutil.rmtree(settings.run_dir, ignore_errors=True)
    command = [sys.executable, "-m", "mmreason.cli", "run", path]
    for stage in MIDDLE if kill else ():
        kill_in(stage, command, settings)
    subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    again = time.monotonic() - started
    bars = Bars(Path(path).stem)
    check(bars, settings, color, changed, minutes)
    bars.check("second run, seconds", again, 30, at_most=True, form=".1f")
    bars.check("peak memory, GB", peak, 6, at_most=True, form=".1f")
    bars.finish()


def kill_in(stage: str, command: list[str], config: Config) -> None:
    """Start the run and kill it when the stage is in its middle."""
    process = subprocess.Popen(command)
    while process.poll() is None and not list(config.path().glob(MIDDLE[stage])):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    unfinished = not config.path("done", f"{stage}.json").exists()
    print(
        f"-- SIGKILL in the middle of {stage}" if unfinished else f"-- {stage} ended before the kill",
        flush=True,
    )


def check(bars: Bars, config: Config, color: float, changed: float, minutes: float) -> None:
    """The figures of a finished run."""
    result = json.loads(config.path("evaluate", "metrics.json").read_text())
    for name, scores in result["systems"].items():
        if scores:
            right, true = scores["color right"], scores["claims true of the item"]
            print(
                f"{name} ({scores['rows']} rows): color right {_share(right)}, claims true {_share(true)}, "
                f"USR-12 {scores['USR-12']:.2f}, FMR {scores['FMR']:.2f}, BLEU-4 {scores['BLEU-4']:.1f}, "
                f"ROUGE-1 {scores['ROUGE-1']:.1f}, ROUGE-2 {scores['ROUGE-2']:.1f}"
            )
    for name, share in result["swaps"].items():
        print(f"swap, {name}: {_share(share)}")
    for name, recall in result["retrieval"].items():
        figures = ", ".join(
            f"R@{k} {recall[f'recall@{k}']:.1%} (chance {recall[f'chance@{k}']:.1%})" for k in (1, 5, 10)
        )
        print(f"retrieval over {recall['gallery']} unseen items, {name}: {figures}")
    from mmreason.records import find_stage, record_path

    seconds = {
        stage: json.loads(record_path(find_stage(stage), config).read_text())["seconds"]
        for stage in _stages()
    }
    print("seconds: " + ", ".join(f"{stage} {value:.0f}" for stage, value in seconds.items()))
    floor = result["most_frequent"]["color"]
    print(f"most frequent color ({floor['value']}) would be right in {_share(floor['share'])}")
    bars.check("color right", result["systems"]["MMReason"]["color right"]["value"], color)
    swaps = result["swaps"]
    print(f"another user changes a reason, selling points too: {swaps['user: text changed']['value']:.1%}")
    bars.check(
        "another user changes a personal reason", swaps["user: personal text changed"]["value"], changed
    )
    picture = result["retrieval"]["image → text"]
    bars.check("image → text R@5 over chance", picture["recall@5"] / picture["chance@5"], 3, form=".1f")
    for name, (first, last) in result["training"].items():
        bars.check(f"loss of {name}, last / first", last / first, 1, at_most=True, form=".2f")
    rows, requests = (
        len(read_job(config)),
        read_manifest(config.path("shards")).samples("reasons-test"),
    )
    bars.check("rows per request", rows / requests, 1, form=".3f")
    embedded, items = (
        len(EmbeddingStore.open(config.path("embed"))),
        read_manifest(config.path("shards")).samples("items"),
    )
    bars.check("embedded per item", embedded / items, 1, form=".3f")
    bars.check("minutes, all stages", sum(seconds.values()) / 60, minutes, at_most=True, form=".1f")


def _stages() -> list[str]:
    from mmreason.records import STAGES

    return [stage.name for stage in STAGES]


def _share(share: dict) -> str:
    if not share["total"]:
        return "none named"
    low, high = share["ci95"]
    return f"{share['value']:.1%} ({share['hits']}/{share['total']}, 95 % {low:.0%} to {high:.0%})"


if __name__ == "__main__":
    auto_cli(main)
