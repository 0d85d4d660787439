"""Every benchmark one after another, each alone on the machine; its last line is shown, the rest goes to a log.

    python benchmarks/all.py --data /path/to/data --logs /path/to/logs            # some hours on two cores
    python benchmarks/all.py --data /path/to/data --logs /path/to/logs --only '[reuse, memory]'

The run of the sample shop is left out, as its folder stands in its configuration. A benchmark whose log is there and
ended is not run again, so that a run that was broken off goes on.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import auto_cli

HERE = Path(__file__).parent
ENDED = "exit status"
COMMANDS: dict[str, str] = {
    "quickstart": "run_bars.py {repo}/configs/quickstart.yaml --fresh true",
    "reuse": "reuse.py",
    "memory": "memory.py",
    "modalities": "modalities.py --data {data}",
    "field": "field.py --data {data}/field",
    "exports": "exports.py",
    "weights_folders": "weights_folders.py",
    "tastes": "tastes.py --data {data}",
    "safety": "safety.py --data {data}",
    "evidence_speed": "evidence_speed.py",
    "facts": "facts.py --data {data}",
    "verifier": "verifier.py --data {data}",
    "learned_checker": "learned_checker.py --data {data}",
    "faults": "faults.py",
    "kills": "kills.py",
    "loader_alone": "loader.py --workers [0]",
    "loader_workers": "loader.py --workers [2] --rounds 5",
    "mine_reasons": "mine_reasons.py --data {data}",
    "align_sample_shop": "align_sample_shop.py --data {data}/magento",
    "align_grocery": "align_grocery.py --data {data}/grocery",
    "align_users": "align_users.py --data {data}",
    "align_store": "align_speed.py --data {data}/magento --only store --pictures 256 --steps 4",
    "align_openclip": "align_speed.py --data {data}/magento --only openclip --pictures 160 --steps 3",
    "align_cache": "align_speed.py --data {data}/magento --only cache",
    "embed_vit": "embed_images.py --data {data}/magento --images 1000 --model vit",
    "embed_lite0": "embed_images.py --data {data}/magento --images 1000 --model lite0",
    "embed_texts": "embed_texts.py --data {data} --texts 4000",
    "embed_videos": "embed_videos.py",
    "embed_scale": "embed_scale.py",
    "ingest_scale": "ingest_scale.py",
    "generate_throughput": "generate_throughput.py",
    "generate_limit": "generate_limit.py",
    "generate_scale": "generate_scale.py",
    "generate_shared": "generate_shared.py",
    "generate_faults": "generate_faults.py",
}


def main(data: str = "../shared/data", logs: str = "logs", only: list[str] | None = None) -> None:
    """Run them.

    Args:
        data: Folder of the test data.
        logs: Folder for a log each.
        only: Names; default: all.
    """
    folder = Path(logs)
    folder.mkdir(parents=True, exist_ok=True)
    below = 0
    for name in only or COMMANDS:
        log = folder / f"{name}.log"
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        if ENDED not in text:
            text = run(COMMANDS[name].format(data=Path(data).resolve(), repo=HERE.parent), log)
        *_, last, ended = ["", *filter(str.strip, text.splitlines())]
        below += not ended.startswith(f"{ENDED} 0")
        print(f"{name}: {last} ({ended})", flush=True)
    print(f"benchmarks met: {len(only or COMMANDS) - below}/{len(only or COMMANDS)} (bar all)")
    sys.exit(below > 0)


def run(command: str, log: Path) -> str:
    """Run one benchmark in the log's folder; returns what it printed, and how it ended."""
    started = time.monotonic()
    script, *arguments = command.split()
    with log.open("w", encoding="utf-8") as file:
        status = subprocess.run(
            [sys.executable, str(HERE / script), *arguments], stdout=file, stderr=file, cwd=log.parent
        ).returncode
        file.write(f"\n{ENDED} {status} after {time.monotonic() - started:.0f} s\n")
    return log.read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    auto_cli(main)
