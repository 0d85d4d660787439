"""Concepts: facts that mean the same, across spellings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from mmreason.database import Database
from mmreason.evidence.lookup import write_rows
from mmreason.evidence.sensitive import sensitive_kind
from mmreason.evidence.store import CONCEPTS

_SHOWN = """
    CREATE TABLE shown AS
    SELECT DISTINCT item_id, concept_id AS id FROM kept JOIN meaning USING (spelling) WHERE source <> 'relation'
"""
_STEPS = """
    CREATE TABLE steps AS
    SELECT item_id, count(DISTINCT user_id) AS steps FROM interactions WHERE event <> 'impression' GROUP BY item_id
"""
# A step more than there are, spread over the items: a concept that nobody has taken yet is rare, not impossible.
_SIZES = """
    CREATE TABLE sizes AS
    SELECT id, count(*)::INT AS items,
        (coalesce(sum(steps), 0) + count(*) / (SELECT count(*) FROM items))
        / ((SELECT coalesce(sum(steps), 0) FROM steps) + 1) AS popularity
    FROM shown LEFT JOIN steps USING (item_id) GROUP BY id HAVING items > 1
"""
_NAMED = """
    SELECT id, arg_min(name, place) AS name, arg_min(value, place) AS value, any_value(items) AS items,
        any_value(popularity) AS popularity, list(DISTINCT spelling ORDER BY spelling) AS spellings
    FROM (
        SELECT concept_id AS id, spelling, name, value,
            row_number() OVER (PARTITION BY concept_id ORDER BY count(*) DESC, name, value) AS place
        FROM kept JOIN meaning USING (spelling) GROUP BY concept_id, spelling, name, value
    ) JOIN sizes USING (id) GROUP BY id ORDER BY id
"""


def write_concepts(database: Database, path: Path) -> int:
    """Write the concepts that several items show.

    Args:
        database: With the views ``kept`` (facts), ``items`` and ``interactions``; gets the table ``meaning``, the
            concept of each spelling.
        path: Of ``concepts.parquet``.

    Returns:
        How many.
    """
    database.execute("CREATE TABLE meaning AS SELECT DISTINCT spelling, spelling AS concept_id FROM kept")
    for statement in (_SHOWN, _STEPS, _SIZES):
        database.execute(statement)
    return write_rows(path, CONCEPTS, _with_kinds(database.stream(_NAMED, 2048)))


def _with_kinds(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """With what each would tell of a person."""
    for batch in batches:
        rows = batch.to_pylist()
        kinds = [sensitive_kind(f"{row['name']}\n{row['value']}") for row in rows]
        yield pa.RecordBatch.from_pylist(
            [{**row, "sensitive": kind} for row, kind in zip(rows, kinds, strict=True)], CONCEPTS
        )
