"""Files and folders that appear whole or not at all, whatever kills the process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from mmreason.processes import is_running
from mmreason.schema import DataError

TEMPORARY = ".tmp-"
"""Begins the names of what is half written; then the writer's process and machine, unless it holds its folder alone."""

ABANDONED = 86_400.0
"""Seconds without a change after which the writer of another machine, which cannot be asked, counts as dead."""

_OWNED = re.compile(re.escape(TEMPORARY) + r"(\d+)(?:@([0-9a-f]{8}))?-")
_WHAT_TO_DO = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space, or ask for more",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EACCES: "let this user write to the folder",
    errno.EPERM: "let this user write to the folder",
    errno.EROFS: "name a folder that can be written to",
    errno.ENOENT: "it was removed meanwhile: run again",
}


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of ``path``; sync and rename it when the block ends well.

    Raises:
        DataError: If it cannot be written (a full disk, a quota, no permission); nothing is left behind.

    Example:
        >>> with atomic_write(Path("index.json")) as file:
        ...     _ = file.write(b"{}")
    """
    part = temporary(path)
    with _mended(path, part):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Like :func:`atomic_write` for a flat folder: yields the temporary folder to write files into.

    Raises:
        DataError: If it cannot be written; nothing is left behind.
    """
    part = temporary(path)
    with _mended(path, part):
        remove(part)
        part.mkdir(parents=True)
        yield part
        for name in part.iterdir():
            with name.open("rb") as file:
                os.fsync(file.fileno())
        _sync_folder(part)
        part.replace(path)
        _sync_folder(path.parent)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; when the block ends well, it takes the place of ``path``, which goes last.

    Until then the old folder stays as it was, and may be read. Unlike :func:`atomic_folder` this one may hold folders.

    Raises:
        DataError: If it cannot be written; the old folder is untouched then.
    """
    part, old = temporary(path), path.with_name(f"{TEMPORARY}{path.name}-old")
    if old.exists() and not path.exists():  # killed between the two renames below
        old.replace(path)
    with _mended(path, part):
        remove(part)
        part.mkdir(parents=True)
        yield part
        for name in part.rglob("*"):
            if name.is_file():
                with name.open("rb") as file:
                    os.fsync(file.fileno())
        remove(old)
        if path.exists():
            path.replace(old)
        part.replace(path)
        _sync_folder(path.parent)
        remove(old)


def move(source: Path, target: Path) -> None:
    """Rename a file or folder; when this returns, the new name survives a kill and a power cut."""
    source.replace(target)
    _sync_folder(target.parent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all.

    Raises:
        DataError: If it cannot be written (a full disk, say).
    """
    with atomic_write(path) as file:
        file.write((json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the stage that writes it, or check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); delete it and run its stage again") from None


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there; no half of a folder is ever left under its name."""
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):  # another process removes it, too
            if not path.name.startswith(TEMPORARY):
                aside = path.with_name(f"{temporary(path).name}-removed")
                shutil.rmtree(aside, ignore_errors=True)
                path = path.rename(aside)
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left half written in a folder; what a living one may still write stays."""
    for path in folder.glob(TEMPORARY + "*"):
        if not has_writer(path):
            remove(path)


def has_writer(path: Path) -> bool:
    """Whether another living process may be writing a file or folder of a temporary name."""
    owner = _OWNED.match(path.name)
    if owner is None:
        return False
    if owner[2] not in (None, _machine()):  # without one it is of an earlier version
        return time.time() - _changed(path) < ABANDONED
    return int(owner[1]) != os.getpid() and is_running(int(owner[1]))


def finished_name(path: Path) -> str:
    """The name that a temporary file gets when it is whole; of other files their own."""
    return _OWNED.sub("", path.name).removeprefix(TEMPORARY)


def temporary(path: Path) -> Path:
    """The neighbour of a path that this process writes first; no other process, on whatever machine, has the same."""
    return path.with_name(f"{own_prefix()}{path.name}")


def own_prefix() -> str:
    """Begins the temporary names of this process.

    Example:
        >>> has_writer(Path(own_prefix() + "index.json"))  # of another process
        False
    """
    return f"{TEMPORARY}{os.getpid()}@{_machine()}-"


@cache
def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _changed(path: Path) -> float:
    """When a file, or something in a folder, changed last, in seconds since 1970; of one that is gone long ago."""
    times = [0.0]
    for each in (path, *path.rglob("*")):
        with suppress(OSError):
            times.append(each.lstat().st_mtime)
    return max(times)


@contextmanager
def _mended(path: Path, part: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        remove(part)
        if isinstance(error, OSError):
            what = f"; {_WHAT_TO_DO[error.errno]}" if error.errno in _WHAT_TO_DO else ""
            raise DataError(f"{path}: cannot be written ({error.strerror or error}){what}") from error
        raise


def _sync_folder(folder: Path) -> None:
    # Best effort: the rename is done and must not be reported as failed where folders cannot be synced.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
