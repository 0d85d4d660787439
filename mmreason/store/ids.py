"""Looking up item ids: millions of them in a few bytes each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


class Ids:
    """Ids in the order of their first appearance; of several places of an id the last one counts.

    Kept as one Arrow array and two of integers, sorted by hash: a tenth of what a dictionary of strings takes.

    Args:
        columns: Arrow string columns, one after another; a *place* is a position in all of them together.
        gone: (places,) bool; an id whose last place is marked is left out.

    Attributes:
        places: Row → place of its last appearance, (n,) int64.

    Example:
        >>> ids = Ids([pa.array(["a", "b"]), pa.array(["a", "c"])])
        >>> ids.all(), ids.places.tolist(), ids.row("c")
        (['a', 'b', 'c'], [2, 1, 3], 2)
    """

    def __init__(self, columns: Sequence[pa.Array | pa.ChunkedArray], gone: np.ndarray | None = None) -> None:
        chunks = [c for column in columns for c in (column.chunks if hasattr(column, "chunks") else [column])]
        self._column = pa.chunked_array(chunks, pa.string())
        total = len(self._column)
        hashes = np.empty(total, dtype=np.int64)
        start = 0
        for chunk in chunks:
            hashes[start : start + len(chunk)] = [hash(one) for one in chunk.to_pylist()]
            start += len(chunk)
        order = np.argsort(hashes, kind="stable")
        first, last = self._appearances(hashes, order)
        if gone is not None:
            first, last = first[~gone[last]], last[~gone[last]]
        row_order = np.argsort(first, kind="stable")
        self.places = last[row_order]
        by_hash = np.argsort(hashes[self.places], kind="stable")
        self._rows, self._hashes = by_hash, hashes[self.places][by_hash]
        # One chunk, so that a lookup need not search for its chunk.
        column = self._column.combine_chunks()
        self._column = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)

    def _appearances(self, hashes: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and last place of every distinct id."""
        ordered = hashes[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
        ends = np.r_[starts[1:], len(ordered)] if len(starts) else starts
        lone = ends - starts == 1
        first, last = [order[starts[lone]]], [order[starts[lone]]]
        for start, end in zip(starts[~lone], ends[~lone], strict=True):
            seen: dict[str, list[int]] = {}  # by the ids themselves: two of them may share a hash
            for place in order[start:end]:
                seen.setdefault(self._column[int(place)].as_py(), []).append(int(place))
            first.append(np.array([places[0] for places in seen.values()]))
            last.append(np.array([places[-1] for places in seen.values()]))
        return np.concatenate(first).astype(np.int64), np.concatenate(last).astype(np.int64)

    def __len__(self) -> int:
        return len(self.places)

    def row(self, one: str) -> int | None:
        """The row of an id, None if it is not there."""
        wanted = hash(one)
        position = int(np.searchsorted(self._hashes, wanted))
        while position < len(self._hashes) and self._hashes[position] == wanted:
            row = int(self._rows[position])
            if self.id(row) == one:
                return row
            position += 1
        return None

    def place(self, one: str) -> int | None:
        """The last place of an id, None if it is not there."""
        row = self.row(one)
        return None if row is None else int(self.places[row])

    def id(self, row: int) -> str:
        """The id of a row."""
        return self._column[int(self.places[row])].as_py()

    def all(self) -> list[str]:
        """Every id, by row."""
        return self._column.take(pa.array(self.places)).to_pylist()
