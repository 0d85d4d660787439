from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import MediaError
from encoders.media.guarded import GuardedPool


def decode(raw: Any) -> Any:
    """A decoder that does what its input says."""
    match raw if isinstance(raw, str) else None:
        case "spin":  # backtracks for years inside C, and takes no signal while it does
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
            re.fullmatch(r"(a|aa)+b", "a" * 100)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os._exit(3)
        case "broken":
            raise MediaError("broken: no picture")
        case "bug":
            raise KeyError("bug")
        case "tensor":
            return torch.arange(6).view(2, 3)
        case "pid":
            return os.getpid()
    return raw


class SlowToArrive:
    """A function whose second worker needs a while to start; each leaves a file once it has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        try:
            (self.folder / "first").touch(exist_ok=False)
        except FileExistsError:
            time.sleep(1)
            (self.folder / "second").touch()

    def __call__(self, raw: Any) -> Any:
        return raw


def test_a_worker_that_is_still_starting_is_waited_for(tmp_path: Path) -> None:
    with GuardedPool(SlowToArrive(tmp_path), workers=2) as pool:
        assert list(pool.map(["one"])) == ["one"]
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


@pytest.fixture(scope="module")
def pool() -> Iterator[GuardedPool]:
    with GuardedPool(decode, workers=2, timeout=0.8) as pool:
        list(pool.map(["warm"] * 4))
        yield pool


def test_results_come_in_order_and_one_per_input(pool: GuardedPool) -> None:
    assert list(pool.map(range(200))) == list(range(200))
    assert list(pool.map([])) == []
    array = np.zeros((3, 500, 500), np.uint8)
    assert all(np.array_equal(array, out) for out in pool.map([array] * 20))
    (tensor,) = pool.map(["tensor"])
    assert torch.equal(tensor, torch.arange(6).view(2, 3))


def test_a_decoder_stuck_in_c_or_crashing_is_one_error_each(pool: GuardedPool) -> None:
    inputs = ["a", "spin", "b", "crash", "broken", "c", "exit", *range(30), "spin", "d"]
    started = time.monotonic()
    results = list(pool.map(inputs))
    assert time.monotonic() - started < 20
    errors = {i: str(r) for i, r in enumerate(results) if isinstance(r, MediaError)}
    last = len(inputs) - 2
    assert errors == {
        1: "spin: not read within 0.8 seconds; given up",
        3: "crash: crashed its decoder (SIGSEGV)",
        4: "broken: no picture",
        6: "exit: crashed its decoder (exit status 3)",
        last: "spin: not read within 0.8 seconds; given up",
    }
    assert [r for r in results if not isinstance(r, MediaError)] == ["a", "b", "c", *range(30), "d"]


def test_every_input_crashing_does_not_end_the_pool(pool: GuardedPool) -> None:
    results = list(pool.map(["crash"] * 8))
    assert all(isinstance(result, MediaError) for result in results)
    assert list(pool.map(["after"])) == ["after"]


def test_bugs_are_raised_not_counted_as_broken_media(pool: GuardedPool) -> None:
    with pytest.raises(KeyError, match="bug"):
        list(pool.map(["a", "bug", "b"]))
    assert list(pool.map([1, 2])) == [1, 2]


def test_inputs_are_taken_lazily(pool: GuardedPool) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = pool.map(endless())
    assert [next(results) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert taken <= 5 + pool.ahead
    results.close()  # type: ignore[attr-defined]
    assert list(pool.map(["after"])) == ["after"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_closing_leaves_no_process() -> None:
    with GuardedPool(decode, workers=2, timeout=5) as pool:
        pids = set(pool.map(["pid"] * 20))
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    with pytest.raises(ValueError, match="timeout"):
        GuardedPool(decode, timeout=0)
