"""SIGKILL of ``mmreason ingest`` and ``mmreason pack`` at random moments; the next run must end with the same bytes.

    python benchmarks/kills.py                            # twenty kills of each
    python benchmarks/kills.py --kills 3 --items 300      # a small run

A kill comes at a random moment between the stage's start and the time an uninterrupted run takes. Every second time
the folder already holds what another catalogue left there. Packing is done by two processes, and only the parent is
killed.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bars import Bars
from jsonargparse import auto_cli
from PIL import Image
from tqdm import tqdm

from mmreason.shards.manifest import verify_shards

FOLDERS = {"ingest": "catalogue", "pack": "shards"}


def main(kills: int = 20, items: int = 2000, seed: int = 0) -> None:
    """Kill, go on, compare.

    Args:
        kills: Of each of the two verbs.
        items: Size of the catalogue; it gets ten interactions and one reason an item.
        seed: Of the moments.
    """
    bars = Bars("kills")
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_tables(root / "older", items // 2, "older")
        make_tables(root / "tables", items, "newer")
        older = Run(root, "older")
        whole = Run(root, "tables")
        for verb in FOLDERS:
            older.finish(verb)
            whole.finish(verb)
        verify_shards(whole.folder / "shards")
        for verb, folder in FOLDERS.items():
            same = in_time = tries = 0
            bar = tqdm(total=kills, desc=verb, unit="kill", disable=None)
            while in_time < kills and tries < 3 * kills:  # one that comes after the end does not count
                number, tries = tries, tries + 1
                run = Run(root, "tables", f"run-{verb}-{number}")
                if verb == "pack":
                    shutil.copytree(whole.folder / "catalogue", run.folder / "catalogue")
                if number % 2:
                    shutil.copytree(older.folder / folder, run.folder / folder)
                if run.kill(verb, rng.random() * whole.seconds[verb]):
                    in_time += 1
                    run.finish(verb)
                    same += contents(run.folder / folder) == contents(whole.folder / folder)
                    bar.update()
                shutil.rmtree(run.folder)
            bar.close()
            print(f"{verb} ({whole.seconds[verb]:.1f} s): {in_time} kills")
            bars.check(f"{verb}: same bytes after a kill", same / kills, 1)
    bars.finish()


class Run:
    """A run over one of the made-up catalogues."""

    def __init__(self, root: Path, tables: str, name: str = "") -> None:
        self.folder = root / (name or f"run-{tables}")
        self.seconds: dict[str, float] = {}
        self._arguments = ["--run_dir", str(self.folder), "--workers", "2", "--simulate.users", "0"]
        self._arguments += ["--catalogue.source", "tables", "--catalogue.root", str(root / tables)]
        self._arguments += ["--pack.shard_size", "32"]

    def command(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "mmreason.cli", verb, *self._arguments]

    def finish(self, verb: str) -> None:
        """Run a verb to its end."""
        process = subprocess.Popen(self.command(verb), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"{verb} failed: {errors.decode()}")
        self.seconds[verb] = json.loads((self.folder / "done" / f"{verb}.json").read_text())["seconds"]

    def kill(self, verb: str, after: float) -> bool:
        """Kill a verb so many seconds after its stage began; False if it had ended."""
        process = subprocess.Popen(self.command(verb), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.readline()  # the stage says that it begins
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by name, leftovers included; but for the record of sizes and times that pack keeps for itself."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".packed.jsonl"}


def make_tables(folder: Path, items: int, title: str) -> None:
    """Items with a small picture each, interactions and reasons as CSV; some rows are bad."""
    rng = random.Random(title)
    folder.mkdir()
    for number in range(items):
        Image.new("RGB", (48, 48), (number % 256, number // 256, 99)).save(folder / f"{number}.jpg")
    ids = [f"item.{number}" for number in range(items)]
    rows = [[one, f"{title} {one}", f"{number}.jpg"] for number, one in enumerate(ids)]
    write_csv(folder / "items.csv", ["id", "title", "images"], [*rows, ["", "no id", ""]])
    events = [
        [f"user {rng.randrange(items // 5)}", rng.choice(ids), "click", rng.randrange(10**9, 17 * 10**8)]
        for _ in range(10 * items)
    ]
    fields = ["user_id", "item_id", "event", "timestamp"]
    write_csv(folder / "interactions.csv", fields, [*events, ["user 1", "item.0", "stare", 10**9]])
    reasons = [[user, item, f"Because of {item}."] for user, item, _, _ in events[::10]]
    write_csv(
        folder / "reasons.csv", ["user_id", "item_id", "text"], [*reasons, ["user 1", "gone", "Because."]]
    )


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    """A CSV file with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    auto_cli(main)
