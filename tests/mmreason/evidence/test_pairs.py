from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmreason.evidence.pairs import PAIRS, Pairs, pair_id
from mmreason.schema import DataError


def test_pairs_are_found_among_concepts(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    row = {"first": "genre=comedy", "second": "genre=romance", "items": 4, "popularity": 0.1}
    pq.write_table(pa.Table.from_pylist([row], PAIRS), path)
    (pair,) = Pairs(path).of(["genre=romance", "decade=1990s", "genre=comedy"])
    assert (pair.id, pair.popularity) == (pair_id("genre=comedy", "genre=romance"), 0.1)
    assert pair.parts == ("genre=comedy", "genre=romance")
    assert Pairs(path).of(["genre=comedy"]) == () == Pairs(None).of(["genre=comedy", "genre=romance"])


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read"):
        Pairs(tmp_path / "pairs.parquet")
