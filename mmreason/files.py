"""Files and folders that appear whole or not at all, whatever kills the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmreason.schema import DataError

TEMPORARY = ".tmp-"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of ``path``; sync and rename it when the block ends well.

    Raises:
        DataError: If it cannot be written (a full disk, a quota, no permission); nothing is left behind.

    Example:
        >>> with whole_file(Path("index.json")) as file:
        ...     _ = file.write(b"{}")
    """
    temporary = path.with_name(TEMPORARY + path.name)
    with _mended(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Like :func:`whole_file` for a flat folder: yields the temporary folder to write files into.

    Raises:
        DataError: If it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(TEMPORARY + path.name)
    with _mended(path, temporary):
        temporary.mkdir(parents=True)
        yield temporary
        for name in temporary.iterdir():
            with name.open("rb") as file:
                os.fsync(file.fileno())
        _sync_folder(temporary)
        temporary.replace(path)
        _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):  # another process removes it, too
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed writer left half written in a folder."""
    for path in folder.glob(TEMPORARY + "*"):
        remove(path)


@contextmanager
def _mended(path: Path, temporary: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        remove(temporary)
        if isinstance(error, OSError):
            cause = error.strerror or error
            raise DataError(f"{path}: cannot be written ({cause}); free space or mend the folder") from error
        raise


def _sync_folder(folder: Path) -> None:
    # Best effort: the rename is done and must not be reported as failed where folders cannot be synced.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
