"""One writer a run folder: a lock that names who holds it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mmreason.processes import is_running
from mmreason.schema import DataError

NAME = "run.lock"
ORPHANS_END = 30.0
"""Seconds that processes started by a killed owner may take to notice; they hold its lock until then."""


@contextmanager
def locked(run: Path, share: str = "") -> Iterator[None]:
    """Hold a run folder; the lock of a process that died is free at once, as the system releases it.

    Args:
        run: The folder, made if it is not there.
        share: ``i/n`` of a process that shares its stage with others on purpose: these exclude all that
            want the folder alone, and a second process of the same share.

    Raises:
        DataError: If another process holds it; the message names it.
    """
    folder = run / "done"
    folder.mkdir(parents=True, exist_ok=True)
    alone = FileLock(folder / NAME)
    if not share:
        with _held(alone, run, 0.0):
            for path in folder.glob("share-*.lock"):
                with _held(FileLock(path), run, 0.0):
                    path.unlink()
            yield
        return
    mine = FileLock(folder / f"share-{share.replace('/', '-of-')}.lock")
    with ExitStack() as held:
        with _held(alone, run, 5.0):  # others of the shares hold it for a moment, too
            held.enter_context(_held(mine, run, 0.0))
        yield


@contextmanager
def _held(lock: FileLock, run: Path, patience: float) -> Iterator[None]:
    path = Path(lock.lock_file)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        owner = _owner(path)
        if not _is_dead(owner):
            raise DataError(_in_use(run, owner)) from None
        try:
            lock.acquire(timeout=ORPHANS_END)
        except Timeout:
            raise DataError(_in_use(run, owner)) from None
    try:
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": " ".join(["mmreason", *map(shlex.quote, sys.argv[1:])]),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        path.write_text(json.dumps(about), encoding="utf-8")
        yield
    finally:
        lock.release()


def _owner(path: Path) -> dict[str, object]:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_dead(owner: dict[str, object]) -> bool:
    if owner.get("host") != socket.gethostname():
        return False
    try:
        return not is_running(int(str(owner["pid"])))
    except (ValueError, KeyError):
        return False


def _in_use(run: Path, owner: dict[str, object]) -> str:
    if not owner:
        return f"run folder {run} is in use by another process; wait for it or stop it"
    return (
        f"run folder {run} is in use by process {owner.get('pid')} on host {owner.get('host')} "
        f"({owner.get('command')}) since {owner.get('since')}; wait for it or stop it"
    )
