"""A killed ingest leaves nothing that looks whole, and the next one ends with the same bytes."""

import os
import re
import subprocess
import sys
from pathlib import Path


def test_killed_at_any_moment_the_next_ingest_ends_with_the_same_bytes(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "helpers/kill_ingest.py"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), str(script.parent)])
    }
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "5"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(re.findall(r"(\d+) times at a sync", done.stdout)[0]) >= 8
