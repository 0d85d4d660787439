"""Run as a script: an ingest is killed at every sync and at random moments; run again, it ends with the same bytes.

python kill_ingest.py FOLDER MOMENTS

Everything that starts threads happens in forked children, so that forking is safe.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from packing import contents, killed_at_sync

from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config, SimulateConfig


def make_source(root: Path, items: int = 300, reviews: int = 6000) -> None:
    root.mkdir()
    metas = [{"parent_asin": f"B{n % (items - 3)}", "title": f"Coat {n}", "store": "X"} for n in range(items)]
    rng = random.Random(0)
    rows = [
        {
            "user_id": f"u{rng.randrange(99)}",
            "parent_asin": f"B{rng.randrange(items)}",
            "rating": rng.randrange(1, 7),
        }
        | {"text": "Warm.", "timestamp": 1_600_000_000_000 + rng.randrange(999)}
        for _ in range(reviews)
    ]
    (root / "meta_Made.jsonl").write_text("\n".join(map(json.dumps, metas)))
    (root / "Made.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{broken")


def main(folder: Path, moments: int) -> None:
    make_source(folder / "source")

    def work(run: str) -> None:
        catalogue = CatalogueConfig("amazon", str(folder / "source"))
        ingest(Config(run_dir=str(folder / run), catalogue=catalogue, simulate=SimulateConfig(users=0)))

    def child(run: str) -> int:
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                work(run)
                os._exit(0)
            os._exit(1)
        return pid

    started = time.monotonic()
    assert os.waitpid(child("whole"), 0)[1] == 0
    seconds = time.monotonic() - started
    expected = contents(folder / "whole" / "catalogue")
    assert {"catalogue.json", "interactions.parquet", "items.parquet"} <= set(expected)

    def check_half() -> None:
        """While it is not whole, a catalogue does not look so."""
        found = (
            contents(folder / "killed" / "catalogue") if (folder / "killed" / "catalogue").exists() else {}
        )
        whole = {name: data for name, data in found.items() if ".tmp-" not in name}
        assert "catalogue.json" not in found or whole == expected

    rng, kills = random.Random(1), 0
    for _ in range(moments):
        pid = child("killed")
        time.sleep(rng.random() * seconds)
        os.kill(pid, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        check_half()
    syncs = 0
    while killed_at_sync(syncs, lambda: work("killed")):
        check_half()
        syncs += 1
    assert contents(folder / "killed" / "catalogue") == expected
    print(f"killed {kills} times at random and {syncs} times at a sync; the same {len(expected)} files")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
