"""One writer a run folder: who holds it is named, a dead owner holds nothing, shares work together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmreason.lock import NAME, locked
from mmreason.schema import DataError

HOLD = "import sys, time; from pathlib import Path; from mmreason.lock import locked\n"
HOLD += "with locked(Path(sys.argv[1]), sys.argv[2]):\n    print('held', flush=True)\n    time.sleep(60)"


@contextmanager
def _other(run: Path, share: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run."""
    command = [sys.executable, "-c", HOLD, str(run), share]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    with _other(tmp_path) as owner:
        named = rf"in use by process {owner.pid} on host .* since "
        with pytest.raises(DataError, match=named) as told, locked(tmp_path):
            pass
        assert str(tmp_path) in str(told.value) and "\n" not in str(told.value)


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    with _other(tmp_path) as owner:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        with locked(tmp_path):
            assert json.loads((tmp_path / "done" / NAME).read_text())["pid"] == os.getpid()
    with locked(tmp_path):  # released at the end of the block, too
        pass


def test_workers_of_a_killed_owner_are_waited_for(tmp_path: Path) -> None:
    """A forked worker keeps its dead parent's lock until it has noticed."""
    fork = HOLD.replace(
        "time.sleep(60)", "__import__('os').fork() and __import__('os')._exit(9); time.sleep(1)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", fork, str(tmp_path), ""], stdout=subprocess.DEVNULL, check=False
    )
    assert ended.returncode == 9
    started = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - started < 20


def test_shares_work_together_and_exclude_all_others(tmp_path: Path) -> None:
    with _other(tmp_path, "1/2") as first:
        with locked(tmp_path, "2/2"):
            pass
        for share in ("", "1/2"):
            with pytest.raises(DataError, match=f"process {first.pid} "), locked(tmp_path, share):
                pass
    with locked(tmp_path):
        pass
    with _other(tmp_path), pytest.raises(DataError, match="in use"), locked(tmp_path, "1/2"):
        pass
