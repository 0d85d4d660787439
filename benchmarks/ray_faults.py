"""``engine: ray`` under SIGKILL: workers at random moments, then the command itself; part of ``generate_faults.py``.

python benchmarks/ray_faults.py             # a cluster of this machine, two workers
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from bars import Bars
from generate_scale import make_shop, pairs
from jsonargparse import auto_cli
from tiny_models import make_tiny_models, tiny_config

from mmreason.pipeline import run

REQUESTS, ITEMS = 20_000, 80
ON_RAY = ["--engine", "ray", "--ray.min_workers", "2"]


def main(kills: int = 6, seed: int = 0) -> None:
    """Disturb, go on, compare.

    Args:
        kills: Of workers, for each of the two verbs.
        seed: Of the moments.
    """
    bars = Bars("Ray under faults")
    with tempfile.TemporaryDirectory() as name:
        check(bars, Path(name), kills, random.Random(seed))
    bars.finish()


def check(bars: Bars, root: Path, kills: int, rng: random.Random) -> None:
    """Hold both verbs on a cluster against what one process writes.

    Args:
        bars: Get the figures.
        root: Where to work.
        kills: Of workers, for each of the two verbs.
        rng: For the moments.
    """
    root.mkdir(exist_ok=True)
    for verb, after_kills in (("generate", reasons), ("embed", vectors)):
        killed, same = after_kills(root, kills, rng)
        bars.check(f"{verb} on Ray after {killed} dead workers and a dead command: the same bytes", same, 1)


def reasons(root: Path, kills: int, rng: random.Random) -> tuple[int, bool]:
    """Of a made shop, by the writers that need no training."""
    make_shop(root / "shop")
    rows = ({"user_id": user, "item_id": item} for user, item in pairs(REQUESTS))
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ["--run_dir", str(root / "shop" / "run"), "--generate.requests", str(root / "pairs.jsonl")]
    verb = ["generate", *settings, "--generate.part_size", "64"]
    return same_after_kills(verb, root / "shop" / "run" / "generate" / "pairs", kills, rng)


def vectors(root: Path, kills: int, rng: random.Random) -> tuple[int, bool]:
    """Of the quickstart's catalogue, by tiny models."""
    config = tiny_config(make_tiny_models(root / "models"))
    config.run_dir, config.catalogue.options = str(root / "run"), {"items_per_domain": ITEMS}
    run(config, until="align")
    verb = ["embed", "--run_dir", config.run_dir, "--embed.part_size", "2"]
    return same_after_kills(verb, config.path("embed"), kills, rng)


def same_after_kills(verb: list[str], folder: Path, kills: int, rng: random.Random) -> tuple[int, bool]:
    """How many workers were killed, and whether what a verb writes into a folder is what it writes alone.

    Args:
        verb: With its arguments.
        folder: Where it writes.
        kills: Of workers; after half of them the command is killed, and given again.
        rng: For the moments.
    """
    command = [sys.executable, "-m", "mmreason.cli", *verb]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    alone = contents(folder)
    shutil.rmtree(folder)
    killed = 0
    for ends in (False, True):
        process = subprocess.Popen([*command, *ON_RAY], stdout=subprocess.DEVNULL, env=environment)
        there = 0
        while process.poll() is None and killed < (kills if ends else kills // 2):
            written = len([*folder.glob("part-*")])
            if written <= max(there, 3):  # a worker that loads its models is left alone
                time.sleep(0.01)
                continue
            time.sleep(rng.random())
            killed += kill_a_worker(process.pid, rng)
            there = len([*folder.glob("part-*")])
        if not ends:
            process.kill()
        assert process.wait() in (0, -9), f"exit status {process.returncode}"
    assert process.returncode == 0
    return killed, contents(folder) == alone


def kill_a_worker(driver: int, rng: random.Random) -> bool:
    """Kill one of the pool that a command keeps; whether there was one."""
    try:
        children = psutil.Process(driver).children(recursive=True)
        pool = [each for each in children if "MapWorker" in "".join(each.cmdline()[:1])]
        if pool:
            rng.choice(pool).kill()
        return bool(pool)
    except psutil.Error:
        return False


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by name, but for the record, which has the speed in it."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "progress.json"}


if __name__ == "__main__":
    auto_cli(main)
