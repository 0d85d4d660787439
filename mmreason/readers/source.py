"""What a reader gives: rows and frames as its source has them, good or bad, read as they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from mmreason.schema import DataError

T = TypeVar("T")


@dataclass(slots=True)
class SourceRow:
    """One row as a reader found it.

    Attributes:
        file: File name, for messages.
        number: SourceRow number in the file, the header not counted, from 1.
        record: Field name → value, as in :mod:`mmreason.schema`.
        problem: Why the reader could not read the row, if so.
        unreadable: Single fields that could not be read, with what stood there; the rest of the row is good.
    """

    file: str
    number: int
    record: dict[str, Any]
    problem: str = ""
    unreadable: tuple[tuple[str, Any], ...] = ()

    def read(self, field: str, parse: Callable[[Any], Any], otherwise: Any) -> Any:
        """Parse one field of the record in place; what cannot be read is noted, and ``otherwise`` put there."""
        value = self.record.get(field)
        try:
            found = parse(value)
        except (ValueError, TypeError, AttributeError, RecursionError):
            self.unreadable += ((field, value),)
            found = otherwise
        self.record[field] = found
        return found


@dataclass(slots=True)
class Tables:
    """What a reader returns: every row of its source, good or bad, read as it is asked for.

    Attributes:
        media_root: Folder that picture and video paths are relative to.
        items: One row an item.
        interactions: Frames with the columns of :data:`mmreason.catalogue.behaviours.COLUMNS` that the source has;
            :func:`mmreason.readers.frames.row_frames` makes them of rows.
        reasons: One row a reason.
    """

    media_root: Path
    items: Iterable[SourceRow] = ()
    interactions: Iterable[pl.DataFrame] = ()
    reasons: Iterable[SourceRow] = ()


def batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` values, the last one shorter."""
    iterator = iter(values)
    while some := list(islice(iterator, size)):
        yield some


def inside(root: Path, relative: str) -> Path:
    """The path of a media file, which must lie under ``root``.

    The check is on the name alone, so links inside ``root`` (as content-addressed stores use) are followed.

    Raises:
        DataError: If the name leads out of ``root``.
    """
    base = os.path.normpath(root)
    path = os.path.normpath(root / relative)
    if os.path.commonpath([os.path.abspath(base), os.path.abspath(path)]) != os.path.abspath(base):  # noqa: PTH100  (a link stays a link)
        raise DataError(
            f"{relative!r} leads out of the media folder {root}; use a path relative to that folder"
        )
    return Path(path)
