"""The bulk job under SIGKILL, on a full disk and over damaged files: rows = requests, none doubled, the same content.

    python benchmarks/generate_faults.py
    python benchmarks/generate_faults.py --kills 5 --stage_kills 1 --damages 5 --ray_kills 2      # a small run

Kills: a job of 6,000 requests, a third of whose rows are there in another order, is killed at a random moment, and the
same command given again, until it ends; then its folder must hold the very bytes of a run that nobody disturbed. So is
``mmreason generate`` itself, with templates. Full disk: a small tmpfs that a file fills up to some hundred kilobytes,
where one may mount one; else a limit on the size of files stands in for it (the last lines say which). Each must
end in one line and leave nothing half written. Damage: a bit or a stretch of a part, of the requests or of the record
is changed, or it is cut off. Ray: workers of a cluster are killed, and the command that started it
(``ray_faults.py``).
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray_faults
import server_faults
from bars import Bars
from generate_scale import make_shop, pairs
from jsonargparse import auto_cli

from mmreason.bulk import windows
from mmreason.bulk.asked import Asked
from mmreason.bulk.attempts import Pair
from mmreason.bulk.job import Job
from mmreason.bulk.parts import parts, read_parts
from mmreason.schema import DataError, Item, Reason, User

REQUESTS, PART = 6000, 100
HERE = Path(__file__).parent


def main(
    kills: int = 50,
    stage_kills: int = 10,
    damages: int = 40,
    server_requests: int = 1000,
    ray_kills: int = 6,
    seed: int = 0,
) -> None:
    """Disturb, go on, compare.

    Args:
        kills: All SIGKILLs.
        stage_kills: Those of them that are of ``mmreason generate``; a start of it takes seconds.
        damages: Damaged files.
        server_requests: Requests of the job over a server that fails.
        ray_kills: Workers of a Ray cluster killed, of each of two verbs.
        seed: Of moments and places.
    """
    bars, rng = Bars("generate under faults"), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        child(root / "whole", "all")
        check_kills(bars, "a job", kill_jobs(root, kills - stage_kills, rng), kills - stage_kills)
        check_kills(bars, "`mmreason generate`", kill_stages(root, stage_kills, rng), stage_kills)
        good, of, how = full_disks(root, rng)
        bars.check(f"full disks ({how}): one line, nothing half written, the same after", good / of, 1)
        good = sum(damaged(root, rng) for _ in range(damages))
        bars.check("damaged files: the same after", good / max(1, damages), 1)
        make_shop(root / "asking")
        good = server_faults.same_rows(root / "asking", server_requests)
        bars.check("a server that fails: the same rows", good, 1)
        ray_faults.check(bars, root / "ray", ray_kills, rng)
    bars.finish()


# ---- what is disturbed: run as `python -c "import generate_faults; generate_faults.child(…)"`


def child(folder: str | Path, which: str, slow: float = 0.0) -> None:
    """Run a job.

    Args:
        folder: Of the job.
        which: ``all`` requests, or the ``first`` third of them in another order.
        slow: Seconds that a request takes to write.
    """
    windows.WINDOW = 200
    wanted = list(asked())
    wanted = wanted[: REQUESTS // 3][::-1] if which == "first" else wanted

    def write(some: list[Pair]) -> list[Reason]:
        time.sleep(slow * len(some))
        if any(item.id == "i13" for _, item in some):
            raise DataError("no picture of it")
        return [Reason(user.id, item.id, f"{item.title} for {user.id}", verified=True) for user, item in some]

    job = Job(Path(folder), PART)
    outlook = job.prepare(lambda: wanted)
    job.run(outlook, lambda a: (User(a.user_id), Item(a.item_id, title=a.content)), lambda: write)


def in_a_line(folder: str, which: str, slow: float) -> None:
    """As :func:`child`; what a user can mend ends in a line, as it does in ``mmreason``."""
    print("began", flush=True)
    try:
        child(folder, which, slow)
    except DataError as error:
        sys.exit(f"error: {error}")


def asked() -> Iterator[Asked]:
    """Requests, one of which is none."""
    for n, (user, item) in enumerate(pairs(REQUESTS)):
        if n == 99:
            yield Asked(user, "gone", error="item 'gone' is not in the catalogue", key="none")
        else:
            yield Asked(user, item, key=f"{n:032x}", content=f"Title of {item}")


def command(folder: Path, which: str, slow: float = 0.0) -> list[str]:
    code = "import sys, generate_faults as g; g.in_a_line(sys.argv[1], sys.argv[2], float(sys.argv[3]))"
    return [sys.executable, "-c", code, str(folder), which, str(slow)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"}


# ---- kills


@dataclass
class Killed:
    """How many kills there were, of how many jobs, and how many of these ended the same."""

    kills: int = 0
    jobs: int = 0
    same: int = 0


def check_kills(bars: Bars, what: str, found: Killed, wanted: int) -> None:
    """Hold the jobs that were killed against the bar: all ended the same, and the kills did happen."""
    name = f"{found.kills} kills of {what}, {found.jobs} times from its start: ended the same"
    bars.check(name, found.same / max(1, found.jobs) if found.kills >= wanted else 0.0, 1)


def kill_jobs(root: Path, kills: int, rng: random.Random) -> Killed:
    """Kill jobs over a third of their rows; what is there stays there, so after some kills another job begins."""
    found = Killed()
    while found.kills < kills:
        folder = root / f"killed-{found.jobs}"
        child(folder, "first")
        found.kills += killed_until_it_ends(
            command(folder, "all", 1e-4), 1.0, min(10, kills - found.kills), rng
        )
        found.same += contents(folder) == contents(root / "whole") and is_whole(folder)
        found.jobs += 1
        shutil.rmtree(folder)
    return found


def kill_stages(root: Path, kills: int, rng: random.Random) -> Killed:
    """Kill ``mmreason generate`` over a made shop, each time up to three times until it ends."""
    make_shop(root / "shop")
    rows = [{"user_id": user, "item_id": item} for user, item in pairs(4000)]
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copytree(root / "shop", root / "quiet")
    with started(stage(root, "quiet")) as process:
        began = time.monotonic()
        assert process.wait() == 0, f"exit status {process.returncode}"
    seconds, quiet = time.monotonic() - began, stage_contents(root, "quiet")
    found = Killed()
    while found.kills < kills:
        shutil.copytree(root / "shop", root / "killed")
        found.kills += killed_until_it_ends(stage(root, "killed"), seconds, min(3, kills - found.kills), rng)
        whole = is_whole(root / "killed" / "run" / "generate" / "pairs", len(rows))
        found.same += whole and stage_contents(root, "killed") == quiet
        found.jobs += 1
        shutil.rmtree(root / "killed")
    return found


def stage_contents(root: Path, shop: str) -> dict[str, bytes]:
    """Every file of the job but its record, in which paths and memory are."""
    found = contents(root / shop / "run" / "generate" / "pairs")
    return {name: data for name, data in found.items() if name != "progress.json"}


def stage(root: Path, shop: str) -> list[str]:
    settings = ["--run_dir", str(root / shop / "run"), "--generate.requests", str(root / "pairs.jsonl")]
    return [sys.executable, "-m", "mmreason.cli", "generate", *settings, "--generate.part_size", "64"]


def killed_until_it_ends(what: list[str], seconds: float, kills: int, rng: random.Random) -> int:
    """Give a command again and again, killed at random moments after its first line; how often it was."""
    killed = 0
    while True:
        with started(what) as process:
            if killed < kills:
                time.sleep(rng.random() * seconds)
                process.send_signal(signal.SIGKILL)
            process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, f"exit status {process.returncode}"
            return killed
        killed += 1


@contextmanager
def started(what: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has printed its first line: it is at work."""
    with subprocess.Popen(
        what, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


# ---- full disks


def full_disks(root: Path, rng: random.Random) -> tuple[int, int, str]:
    """How often a full disk was one line and the next run went on; of how many; on what."""
    rooms = [rng.randrange(8, 400) * 1024 for _ in range(8)]
    disk = root / "disk"
    with small_disk(disk) as how:
        good = sum(full(root, disk / f"job-{n}", how, room) for n, room in enumerate(rooms))
    return good, len(rooms), how


@contextmanager
def small_disk(path: Path) -> Iterator[str]:
    """A disk of 24 MB; says what it is."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
    if shutil.which("mount") and not subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        try:
            yield "a tmpfs"
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)
    else:
        yield "a limit on files"


def full(root: Path, folder: Path, how: str, room: int) -> bool:
    """Run a job where so many bytes are free, then where there is room."""
    child(folder, "first")
    ballast = folder.parent / "ballast"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))

    if how == "a tmpfs":
        free = shutil.disk_usage(folder).free
        ballast.write_bytes(b"\0" * max(0, free - room))
    what = command(folder, "all")
    done = subprocess.run(
        what,
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=limit if how != "a tmpfs" else None,
    )
    lines = done.stderr.strip().splitlines()
    left = [path.name for path in folder.rglob(".tmp-*")]
    ballast.unlink(missing_ok=True)
    print(f"  {room:,} bytes free: {lines[-1].removeprefix('error: ') if lines else 'no line'}")
    told = done.returncode == 1 and len(lines) == 1 and lines[0].startswith("error: ")
    if not told or left:
        print(f"    exit status {done.returncode}, {len(lines)} lines, left {left}")
    child(folder, "all")
    good = told and not left and contents(folder) == contents(root / "whole") and is_whole(folder)
    shutil.rmtree(folder)
    return good


# ---- damage


def damaged(root: Path, rng: random.Random) -> bool:
    """Whether a job with a damaged file ends the same, if need be after the file that the error names is deleted."""
    folder = root / "damaged"
    shutil.copytree(root / "whole", folder)
    files = [*parts(folder), folder / "requests.parquet", folder / "progress.json"]
    path = rng.choice(
        [rng.choice(files), files[-1], files[-2], rng.choice(files[:-2]), rng.choice(files[:-2])]
    )
    data, how = bytearray(path.read_bytes()), rng.choice(["bit", "stretch", "cut", "empty"])
    place = rng.randrange(len(data))
    if how == "bit":
        data[place] ^= 1 << rng.randrange(8)
    elif how == "stretch":
        data[place : place + 64] = rng.randbytes(len(data[place : place + 64]))
    path.write_bytes(data[:place] if how == "cut" else b"" if how == "empty" else data)
    try:
        child(folder, "all")
    except DataError as error:
        if path.name not in str(error):
            print(f"  {how} of {path.name} at {place}: {error}")
        path.unlink()
        child(folder, "all")
    # Of the rows: a flipped bit of a header that says nothing of the rows may stay.
    same = read_parts(folder).equals(read_parts(root / "whole")) and is_whole(folder)
    if not same:
        print(f"  {how} of {path.name} at {place}: not the same")
    shutil.rmtree(folder)
    return same


# ---- what must be


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by name, but for the speed in the record."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    noted = json.loads(found["progress.json"])
    return found | {
        "progress.json": json.dumps({"requests": noted["requests"], "done": noted["done"]}).encode()
    }


def is_whole(folder: Path, count: int = REQUESTS) -> bool:
    """Just one row a request, in order, for the pair that was asked for."""
    table = read_parts(folder)  # which sees to the order
    got = [*zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True)]
    wanted = [(each.user_id, each.item_id) for each in asked()] if count == REQUESTS else [*pairs(count)]
    return got == wanted


if __name__ == "__main__":
    auto_cli(main)
