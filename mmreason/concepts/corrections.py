"""``concepts.csv`` of a run: its concepts as a table that a person may correct, and that the next run keeps to.

A row is a spelling. Another ``concept`` in its row moves it there; ``value`` is how the concept is called, and
``sensitive`` what it would tell of a person (empty: nothing that is protected). What the table does not hold is as the
stage finds it.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.files import atomic_write
from mmreason.schema import DataError, printable

NAME = "concepts.csv"
COLUMNS = ("concept", "spelling", "value", "sensitive", "items")
SHOWN = 40


@dataclass
class Corrections:
    """What a person said of concepts.

    Attributes:
        meaning: Spelling → concept.
        values: Concept → how it is called.
        sensitive: Concept → what it would tell of a person.
    """

    meaning: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    sensitive: dict[str, str] = field(default_factory=dict)


def read_corrections(path: Path) -> Corrections:
    """Read a table that :func:`concepts` wrote and a person may have edited; of two rows for one thing the last counts.

    Raises:
        DataError: If it is no such table.
    """
    found = Corrections()
    if not path.is_file():
        return found
    for number, row in enumerate(_rows(path), start=2):
        concept, spelling = (row.get("concept") or "").strip(), (row.get("spelling") or "").strip()
        if not concept or not spelling:
            raise DataError(
                f"{path}, row {number}: no concept or no spelling; fill the cells in, or remove the row"
            )
        found.meaning[spelling] = concept
        if value := (row.get("value") or "").strip():
            found.values.setdefault(concept, value)
        found.sensitive.setdefault(concept, (row.get("sensitive") or "").strip())
    return found


def concepts(config: Config) -> str:
    """Show the largest concepts, and write ``concepts.csv`` into the run to correct; rows that are there stay.

    Raises:
        DataError: If there is no evidence yet, or the table that is there cannot be read.
    """
    store, path = EvidenceStore.open(config.path("evidence")), config.path(NAME)
    rows = _rows(path) if path.is_file() else []
    there = {row["spelling"] for row in rows}
    for concept in store.concepts.values():
        for spelling in concept.spellings:
            if spelling not in there:
                cells = (concept.id, spelling, concept.value, concept.sensitive, str(concept.items))
                rows.append(dict(zip(COLUMNS, cells, strict=True)))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))
    largest = sorted(store.concepts.values(), key=lambda concept: (-concept.items, concept.id))[:SHOWN]
    lines = [
        f"{concept.items:8,}  {concept.name}: {concept.value}"
        + (f"  (also {', '.join(concept.spellings[:3])})" if len(concept.spellings) > 1 else "")
        + (f"  [{concept.sensitive}]" if concept.sensitive else "")
        for concept in largest
    ]
    head = f"   items  of {len(store.concepts):,} concepts; correct them in {path}, then `mmreason evidence`"
    return "\n".join([head, *map(printable, lines)])


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); save it as CSV in UTF-8, or remove it") from None
    missing = {"concept", "spelling"} - set(reader.fieldnames or ())
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(sorted(missing))}; keep the header, or remove the file"
        )
    return rows
