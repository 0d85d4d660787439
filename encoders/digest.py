"""What weights are, by content: a digest that changes when a file of theirs is replaced, wherever it lies."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from encoders.errors import WeightsError
from encoders.weights import WHEELS, cache_folder, resolve_weights

SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja", ".pth", ".pt", ".bin")
"""What a weights folder is known by; a README beside them makes no other weights."""


def weights_digest(spec: str) -> str:
    """sha256 of the content of weights: the same for the same files in another folder, another for a replaced file.

    A file is hashed once and again only if its size or times change; so a second call costs a look at each file.

    Args:
        spec: As :func:`encoders.weights.resolve_weights` takes it. ``wheel:`` weights are pinned by sha256, so they
            are known without being there; ``hf://`` weights are fetched if they are not.

    Returns:
        64 hexadecimal digits; nothing for no weights, which are random from a fixed seed.

    Raises:
        WeightsError: If they do not exist, hold no weights or cannot be read.

    Example:
        >>> weights_digest("wheel:minilm") == weights_digest("wheel:efficientnet-lite0")
        False
    """
    if not spec:
        return ""
    digest = hashlib.sha256()
    wheel = WHEELS.get(spec.removeprefix("wheel:")) if spec.startswith("wheel:") else None
    if wheel is not None:
        digest.update(json.dumps(wheel.members, sort_keys=True).encode())
        return digest.hexdigest()
    path = resolve_weights(spec)
    files = (
        [path, *_beside(path)]
        if path.is_file()
        else sorted(p for p in path.rglob("*") if _is_weights(p, path))
    )
    if not files:
        raise WeightsError(f"{path}: folder holds none of {', '.join('*' + suffix for suffix in SUFFIXES)}")
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else "" if file == path else file.name
        digest.update(f"{name}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file, from a note of it if its size and times are those of the note.

    Raises:
        WeightsError: If it cannot be read.
    """
    try:
        stat = path.stat()
        return _noted(str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None


@lru_cache(maxsize=1024)
def _noted(path: str, *state: int) -> str:
    """Kept for other processes, too, in the cache folder, where that can be written."""
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    note = cache_folder() / "digests" / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text())
        if known["state"] == list(state):
            return str(known["sha256"])
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_name(f".tmp-{uuid4().hex}-{note.name}")
        part.write_text(json.dumps({"state": state, "sha256": digest}))
        part.replace(note)
    return digest


def _beside(path: Path) -> list[Path]:
    """What tells how a single file is to be used."""
    return [
        file for name in ("config.json", "open_clip_config.json") if (file := path.with_name(name)).is_file()
    ]


def _is_weights(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix in SUFFIXES and not hidden and path.is_file()
