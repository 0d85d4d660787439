"""Pictures and videos that stand in a table's cells as bytes, as Hugging Face datasets have them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.files import atomic_write
from mmreason.readers.rows import format_of
from mmreason.readers.source import inside

SOURCE = "source"
"""Name of the link to the catalogue's folder, beside the files that were written."""

_ENDING = re.compile(r"\.\w{2,5}", re.ASCII)
_ENDINGS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\x1a\x45\xdf\xa3", ".webm"),
)


class EmbeddedMedia:
    """Writes bytes once, by their content, into a run's own folder.

    Args:
        folder: The run's folder, which becomes the media root; other paths go through a link in it.
        source: The catalogue's folder, which paths are relative to.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.source = folder, source
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / SOURCE
        if link.is_symlink():
            link.unlink()
        link.symlink_to(source.resolve(), target_is_directory=True)

    def path(self, value: str | bytes | Mapping[str, Any]) -> str:
        """The path, relative to :attr:`folder`, of what a cell holds.

        Raises:
            ValueError: If it holds no bytes and no path, or a path that leads out of the catalogue's folder.
        """
        if isinstance(value, str):
            if "://" in value or value.startswith("//"):
                return value
            return f"{SOURCE}/{inside(self.source, value).relative_to(self.source).as_posix()}"
        data = value["bytes"] if isinstance(value, Mapping) else value
        if not isinstance(data, bytes):
            raise ValueError("neither a path nor bytes")
        ending = PurePath(str(value.get("path") or "")).suffix if isinstance(value, Mapping) else ""
        digest = hashlib.sha256(data).hexdigest()
        path = (
            self.folder / digest[:2] / (digest[2:] + (ending if _ENDING.fullmatch(ending) else _ending(data)))
        )
        if not path.exists():
            with atomic_write(path) as file:
                file.write(data)
        return path.relative_to(self.folder).as_posix()


def _ending(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:8] == b"ftyp":
        return ".avif" if data[8:12] in (b"avif", b"avis") else ".mp4"
    return next((ending for mark, ending in _ENDINGS if data.startswith(mark)), ".bin")


def holds_bytes(path: Path, columns: Iterable[str]) -> bool:
    """Whether any of a Parquet file's columns is of bytes, or of objects that have some."""
    if format_of(path) != "parquet":
        return False
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return False  # whoever reads it says so
    return any(_has_bytes(schema.field(name).type) for name in columns if name in schema.names)


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_has_bytes(kind.field(place).type) for place in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _has_bytes(kind.value_type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
