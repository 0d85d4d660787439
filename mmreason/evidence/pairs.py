"""Two concepts together say more than each: romantic comedies, comedies of the 1990s, wool jackets.

Only pairs of concepts that are common by themselves are kept, as many people take a comedy, fewer a romantic one; what
is rare says enough alone. So their number is bounded whatever the size of the catalogue: of items with ten attributes
at most ``10 / MIN_SHARE`` concepts are common.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.evidence.schema import Concept
from mmreason.schema import DataError

PAIRS = pa.schema(
    {
        **dict.fromkeys(("first", "second"), pa.string()),
        "items": pa.int32(),
        "popularity": pa.float64(),
    }
)
"""Columns of ``pairs.parquet``: two concepts, the lesser id first, how many items show both, and their popularity."""

MIN_SHARE = 0.02
"""Popularity of each concept of a pair, at least."""

MOST_OF_PART = 0.7
"""Popularity of a pair over that of its rarer concept, at most: all jackets of a shop are clothing."""

_HELD = 16_384  # sets of concepts whose pairs are in memory


class Pairs:
    """The pairs of a run, which several items show.

    Args:
        path: ``pairs.parquet``; none if it is not there.

    Raises:
        DataError: If it cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._known: dict[tuple[str, str], Concept] = {}
        if path is not None and path.is_file():
            try:
                rows = pq.read_table(path, columns=PAIRS.names).to_pylist()
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path} cannot be read ({error}); run `mmreason evidence` again") from None
            for row in rows:
                parts = row["first"], row["second"]
                self._known[parts] = Concept(
                    pair_id(*parts), "", "", row["items"], row["popularity"], parts=parts
                )
        self._common = frozenset(part for parts in self._known for part in parts)
        self._of = lru_cache(maxsize=_HELD)(self._look_up)

    def of(self, concepts: Iterable[str]) -> tuple[Concept, ...]:
        """The pairs among concepts."""
        common = self._common.intersection(concepts)
        return self._of(frozenset(common)) if len(common) > 1 else ()

    def _look_up(self, common: frozenset[str]) -> tuple[Concept, ...]:
        return tuple(self._known[two] for two in combinations(sorted(common), 2) if two in self._known)


def pair_id(first: str, second: str) -> str:
    """Id of two concepts together.

    Example:
        >>> pair_id("genre=romance", "genre=comedy")
        'genre=comedy + genre=romance'
    """
    return " + ".join(sorted((first, second)))
