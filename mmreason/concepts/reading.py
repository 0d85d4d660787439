"""Facts of the catalogue's items, read again only of items that changed; in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.database import Database
from mmreason.evidence.facts import VERSION, facts_of, language_of
from mmreason.evidence.lookup import write_rows
from mmreason.evidence.schema import Fact
from mmreason.evidence.store import FACTS
from mmreason.progress import Progress
from mmreason.readers.source import batches
from mmreason.safety.untrusted import safe_item
from mmreason.schema import Item, from_record

READ = pa.schema(
    [("item_id", pa.string()), ("content", pa.string()), ("place", pa.int32()), ("spelling", pa.string())]
)
READ = pa.schema(
    [*READ, *(field for field in FACTS if field.name not in ("item_id", "concept_id", "content"))]
)
"""A fact as it was read: of an item of which content, and where among the item's facts."""

Source = tuple[str, str, bool]
"""Of the item that a fact was read from: the digest of its content, its language, and whether it is clean."""

BATCH = 2048
_BEHIND = 1_000_000  # more facts than an item tells

_CONTENT = f"md5(concat_ws(chr(31), '{VERSION}', title, text, attributes))"
_KNOWN = "(SELECT 1 FROM before WHERE before.item_id = now.id AND before.content = now.content)"


def read_facts(database: Database, path: Path, scratch: Path) -> tuple[int, int]:
    """Bring the facts of a file up to those of the items; both are views of the database afterwards.

    Args:
        database: With the view ``items``; gets the view ``facts``.
        path: What an earlier call wrote, or nothing yet.
        scratch: Folder for what is between.

    Returns:
        How many items there are, and how many of them were read.
    """
    fresh = scratch / "fresh.parquet"
    database.execute(f"CREATE TABLE now AS SELECT id, {_CONTENT} AS content FROM items")
    if not path.is_file() or pq.read_schema(path).names != READ.names:  # of another version
        write_rows(path, READ, [])
    database.view("before", path)
    changed = f"FROM now JOIN items USING (id) WHERE NOT EXISTS {_KNOWN}"
    count = database.value(f"SELECT count(*) {changed}")
    with Progress(count, "facts", "item") as progress:
        rows = database.stream(f"SELECT items.*, content {changed}", BATCH)
        write_rows(fresh, READ, (_rows_of(batch, progress) for batch in rows))
    database.view("fresh", fresh)
    kept = "SELECT before.* FROM before JOIN now ON before.item_id = now.id AND before.content = now.content"
    both = f"{kept} UNION ALL FROM fresh ORDER BY item_id, place"
    write_rows(path, READ, database.stream(both, BATCH))
    database.view("facts", path)
    return database.value("SELECT count(*) FROM now"), count


def rows_of_facts(facts: Iterable[Fact], shown: Callable[[str], str]) -> Iterator[pa.RecordBatch]:
    """Facts of whatever items as rows of :data:`READ`, placed in their order behind those that the item tells.

    Args:
        facts: The facts.
        shown: Of an item's id the digest of its pictures, for facts that were read off these.
    """
    for some in batches(enumerate(facts, start=_BEHIND), BATCH):
        yield _record_batch(
            [
                (fact, (shown(fact.item_id) if fact.source == "picture" else "", "", False), place)
                for place, fact in some
            ]
        )


def _rows_of(batch: pa.RecordBatch, progress: Progress) -> pa.RecordBatch:
    found = []
    for row in batch.to_pylist():
        item: Item = from_record(Item, row)
        source = row["content"], language_of(item), safe_item(item) is item
        found += [(fact, source, place) for place, fact in enumerate(facts_of(item))]
        progress.add()
    return _record_batch(found)


def _record_batch(facts: list[tuple[Fact, Source, int]]) -> pa.RecordBatch:
    rows = [
        {
            "item_id": fact.item_id,
            "content": content,
            "language": language,
            "clean": clean,
            "place": place,
            "spelling": fact.spelling,
            "name": fact.name,
            "value": fact.value,
            "source": fact.source,
            "start": fact.span[0] if fact.span else None,
            "end": fact.span[1] if fact.span else None,
            "probability": fact.probability,
            "supporters": fact.supporters,
            "asked": fact.asked,
        }
        for fact, (content, language, clean), place in facts
    ]
    return pa.RecordBatch.from_pylist(rows, READ)
