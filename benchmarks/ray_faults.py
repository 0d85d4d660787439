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
MOST_TRIES = 4
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
        killed, stopped, same = after_kills(root, kills, rng)
        name = f"{verb} on Ray after {killed} dead workers and {stopped} dead commands: the same bytes"
        bars.check(name, same and killed >= kills and stopped > 0, 1)


def reasons(root: Path, kills: int, rng: random.Random) -> tuple[int, int, bool]:
    """Of a made shop, by the writers that need no training."""
    make_shop(root / "shop")
    rows = ({"user_id": user, "item_id": item} for user, item in pairs(REQUESTS))
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ["--run_dir", str(root / "shop" / "run"), "--generate.requests", str(root / "pairs.jsonl")]
    verb = ["generate", *settings, "--generate.part_size", "64"]
    return same_after_kills(verb, root / "shop" / "run" / "generate" / "pairs", kills, rng)


def vectors(root: Path, kills: int, rng: random.Random) -> tuple[int, int, bool]:
    """Of the quickstart's catalogue, by tiny models."""
    config = tiny_config(make_tiny_models(root / "models"))
    config.run_dir, config.catalogue.options = str(root / "run"), {"items_per_domain": ITEMS}
    run(config, until="align")
    verb = ["embed", "--run_dir", config.run_dir, "--embed.part_size", "2"]
    return same_after_kills(verb, config.path("embed"), kills, rng)


def same_after_kills(verb: list[str], folder: Path, kills: int, rng: random.Random) -> tuple[int, int, bool]:
    """Kill workers of a verb on a cluster, and the command that started it.

    Args:
        verb: With its arguments.
        folder: Where it writes.
        kills: Of workers; after half of them the command is killed, and given again.
        rng: For the moments.

    Returns:
        How many workers were killed, how many commands, and whether what was written is what the verb writes alone.
    """
    command = [sys.executable, "-m", "mmreason.cli", *verb]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    alone = contents(folder)
    killed = stopped = 0
    for _ in range(MOST_TRIES):  # a verb that ended before it was killed so often begins anew
        shutil.rmtree(folder)
        for ends in (False, True):
            process = subprocess.Popen([*command, *ON_RAY], stdout=subprocess.DEVNULL, env=environment)
            wanted = kills - killed if ends else max(1, kills // 2 - killed)
            killed += kill_workers(process, folder, wanted, rng)
            if not ends:
                process.kill()
            assert process.wait() in (0, -9), f"exit status {process.returncode}"
            stopped += process.returncode == -9
        if (killed >= kills and stopped) or contents(folder) != alone:
            break
    assert process.returncode == 0
    return killed, stopped, contents(folder) == alone


def kill_workers(process: subprocess.Popen[bytes], folder: Path, kills: int, rng: random.Random) -> int:
    """Kill workers of a running command, each after more was written; how many there were till it ended."""
    killed = there = 0
    while process.poll() is None and killed < kills:
        written = len([*folder.glob("part-*")])
        if written <= max(there, 3):  # a worker that loads its models is left alone
            time.sleep(0.01)
            continue
        time.sleep(rng.random())
        killed += kill_a_worker(process.pid, rng)
        there = len([*folder.glob("part-*")])
    return killed


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
