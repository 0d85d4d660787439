"""The error of a medium that cannot be read, and how messages call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class MediaError(ValueError):
    """A picture, video or text that cannot be read: the message names the input and what is wrong with it."""


class NamedBytes(bytes):
    """The bytes of a file that messages call by its name.

    Example:
        >>> name_of(NamedBytes(b"abc", "a.jpg"))
        'a.jpg'
    """

    name: str

    def __new__(cls, data: bytes, name: str) -> NamedBytes:
        """The bytes ``data`` of the file ``name``."""
        made = super().__new__(cls, data)
        made.name = name
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return bytes(self), self.name


def name_of(raw: Any) -> str:
    """How messages call an input: a path as it is, bytes by their number, anything else by its name or its type.

    Example:
        >>> name_of(b"abc")
        '<3 bytes>'
    """
    if isinstance(raw, str | Path):
        return str(raw)
    if isinstance(raw, bytes | bytearray | memoryview) and not isinstance(raw, NamedBytes):
        return f"<{len(raw)} bytes>"
    return getattr(raw, "name", None) or type(raw).__name__


class MediaWarning(UserWarning):
    """Something is wrong with a file beside its pixels, which were read."""
