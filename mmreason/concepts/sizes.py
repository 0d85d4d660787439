"""Concepts and pairs of them with their sizes and popularity, and what each would tell of a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.concepts.corrections import Corrections
from mmreason.concepts.meaning import FORMS
from mmreason.database import Database
from mmreason.evidence.lookup import write_rows
from mmreason.evidence.pairs import MIN_SHARE, MOST_OF_PART, PAIRS
from mmreason.evidence.store import CONCEPTS
from mmreason.safety.sensitive import sensitive_kind, sensitive_together
from mmreason.safety.terms import TermFinder

_SHOWN = """
    CREATE TABLE shown AS
    SELECT DISTINCT item_id, concept_id AS id FROM meant WHERE source <> 'relation'
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
_NAMED = f"""
    SELECT id, arg_min(name, place) AS name, arg_min(value, place) AS value, any_value(items) AS items,
        any_value(popularity) AS popularity, list(DISTINCT spelling ORDER BY spelling) AS spellings
    FROM (
        SELECT concept_id AS id, spelling, name, value,
            row_number() OVER (PARTITION BY concept_id ORDER BY name IN {FORMS}, count(*) DESC, name, value) AS place
        FROM meant GROUP BY concept_id, spelling, name, value
    ) JOIN sizes USING (id) GROUP BY id ORDER BY id
"""


_PAIRS = f"""
    WITH told AS (
        SELECT DISTINCT item_id, concept_id AS id FROM meant
        WHERE source = 'attribute'
            AND concept_id IN (SELECT id FROM sizes WHERE popularity BETWEEN {MIN_SHARE} AND {1 - MIN_SHARE})
    ), pairs AS (
        SELECT a.id AS first, b.id AS second, count(*)::INT AS items,
            (coalesce(sum(steps), 0) + count(*) / (SELECT count(*) FROM items))
            / ((SELECT coalesce(sum(steps), 0) FROM steps) + 1) AS popularity
        FROM told a JOIN told b ON a.item_id = b.item_id AND a.id < b.id
            LEFT JOIN steps ON steps.item_id = a.item_id
        GROUP BY a.id, b.id HAVING items > 1
    )
    SELECT first, second, pairs.items, pairs.popularity
    FROM pairs JOIN sizes a ON a.id = first JOIN sizes b ON b.id = second
    WHERE pairs.popularity <= {MOST_OF_PART} * least(a.popularity, b.popularity)
    ORDER BY first, second
"""


def write_concepts(
    database: Database, path: Path, corrections: Corrections, sensitive: TermFinder | None
) -> int:
    """Write the concepts that several items show.

    Args:
        database: With the views ``meant`` (facts with their concepts), ``items`` and ``interactions``.
        path: Of ``concepts.parquet``.
        corrections: What a person said of them.
        sensitive: Finds further terms that tell of a person what nobody may infer.

    Returns:
        How many.
    """
    for statement in (_SHOWN, _STEPS, _SIZES):
        database.execute(statement)
    return write_rows(path, CONCEPTS, _corrected(database.stream(_NAMED, 2048), corrections, sensitive))


def write_pairs(database: Database, path: Path, sensitive: TermFinder | None) -> int:
    """Write the pairs of common concepts that several items show; :func:`write_concepts` comes before.

    A pair that would tell what its parts do not, of health for instance, is left out.

    Args:
        database: With the tables of :func:`write_concepts`.
        path: Of ``pairs.parquet``.
        sensitive: Further terms that tell of a person.

    Returns:
        How many.
    """
    return write_rows(path, PAIRS, _untelling(database.stream(_PAIRS, 2048), sensitive))


def _untelling(batches: Iterator[pa.RecordBatch], sensitive: TermFinder | None) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = [
            row
            for row in batch.to_pylist()
            if not sensitive_together({part: row[part] for part in ("first", "second")}, sensitive)
        ]
        yield pa.RecordBatch.from_pylist(rows, PAIRS)


def earlier_meaning(path: Path) -> dict[str, str]:
    """Spelling → concept, of concepts that an earlier run wrote; nothing if there are none."""
    if not path.is_file():
        return {}
    table = pq.read_table(path, columns=["id", "spellings"])
    rows = zip(table["id"].to_pylist(), table["spellings"].to_pylist(), strict=True)
    return {spelling: concept for concept, spellings in rows for spelling in spellings}


def _corrected(
    batches: Iterator[pa.RecordBatch], corrections: Corrections, sensitive: TermFinder | None
) -> Iterator[pa.RecordBatch]:
    """With what each would tell of a person, unless a person said so, and under the name that they gave it."""
    for batch in batches:
        rows = batch.to_pylist()
        for row in rows:
            row["value"] = corrections.values.get(row["id"], row["value"])
            found = corrections.sensitive.get(row["id"])
            said = f"{row['name']}\n{row['value']}"
            row["sensitive"] = sensitive_kind(said, sensitive) if found is None else found
        yield pa.RecordBatch.from_pylist(rows, CONCEPTS)
