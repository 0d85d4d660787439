"""The ``evidence`` stage: what is true of every item, and which facts mean the same, in ``<run_dir>/evidence``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from encoders.registry import FITTED
from mmreason.catalogue.index import read_index
from mmreason.concepts.corrections import NAME as CORRECTIONS
from mmreason.concepts.corrections import read_corrections
from mmreason.concepts.meaning import find_meaning
from mmreason.concepts.reading import BATCH, READ, read_facts, rows_of_facts
from mmreason.concepts.relations import bought_together, linked
from mmreason.concepts.sizes import earlier_meaning, write_concepts, write_pairs
from mmreason.concepts.synonyms import Vectors
from mmreason.concepts.titles import title_facts
from mmreason.concepts.worth import leave_out, leave_out_common_praise
from mmreason.config import Config
from mmreason.database import Database
from mmreason.evidence.lookup import write_rows
from mmreason.evidence.praise import praise_facts
from mmreason.evidence.schema import Fact
from mmreason.evidence.seen import seen_facts
from mmreason.evidence.store import FACTS, SENSITIVE
from mmreason.files import atomic_write, own_prefix, remove, remove_leftovers
from mmreason.safety.sensitive import read_terms
from mmreason.safety.terms import TermFinder
from mmreason.store.index import index_files
from mmreason.store.store import EmbeddingStore

MORE: tuple[Callable[[Config], Iterator[Fact]], ...] = (
    title_facts,
    seen_facts,
    praise_facts,
    bought_together,
    linked,
)
"""Facts that only the whole catalogue tells: what titles say, pictures show, reviewers praise, and what goes together.
Each yields nothing where the run lacks what it needs."""

MEMORY = "200MB"
"""What joins and sorts may hold; the rest is on disk."""

_COLUMNS = ", ".join(f'"{name}"' for name in FACTS.names)


def find_evidence(config: Config) -> str:
    """The stage: ``facts.parquet``, ``concepts.parquet`` and ``pairs.parquet``; only items that changed are read again.

    Raises:
        DataError: If there is no catalogue, or a file of terms or corrections cannot be read.
    """
    index = read_index(config.path("catalogue"))
    folder = config.path("evidence")
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    with (
        TemporaryDirectory(prefix=own_prefix(), dir=folder) as scratch,
        Database(config.path("catalogue"), Path(scratch, "sorting"), MEMORY) as database,
    ):
        for name in ("items", "interactions"):
            database.view(name, index.paths[name])
        items, read = read_facts(database, folder / "read.parquet", Path(scratch))
        dropped = leave_out(database)
        more, shown = Path(scratch, "more.parquet"), _shown(config)
        write_rows(more, READ, (rows for find in MORE for rows in rows_of_facts(find(config), shown)))
        database.view("found", more)
        leave_out_common_praise(database)
        database.execute("CREATE VIEW kept AS FROM worthy UNION ALL FROM more")
        corrections = read_corrections(config.path(CORRECTIONS))
        known = earlier_meaning(folder / "concepts.parquet") | corrections.meaning
        find_meaning(database, Path(scratch), known, _vectors(config))
        sensitive = _sensitive_terms(config)
        concepts = write_concepts(database, folder / "concepts.parquet", corrections, sensitive)
        write_pairs(database, folder / "pairs.parquet", sensitive)
        query = f"SELECT {_COLUMNS} FROM meant ORDER BY item_id, place, name"
        facts = write_rows(folder / "facts.parquet", FACTS, database.stream(query, BATCH))
        told = database.value("SELECT count(DISTINCT item_id) FROM kept")
    return _summary(items, read, told, facts, concepts, dropped)


def _shown(config: Config) -> Callable[[str], str]:
    """Item id → digest of what was embedded of it, the bytes of its pictures included."""
    folder = config.path("embed")
    return EmbeddingStore.open(folder).content if index_files(folder) else lambda item_id: ""


def _vectors(config: Config) -> Vectors | None:
    """The run's text encoder, where it is one that learned from more than this catalogue."""
    learned = config.align.text.partition(":")[0] not in FITTED and bool(config.align.text_weights)
    if not (config.evidence.synonyms and learned and config.path("align", "config.json").is_file()):
        return None
    from mmreason.embed.texts import TextFeatures  # needs torch, which n-grams do without

    return TextFeatures(config)


def _sensitive_terms(config: Config) -> TermFinder | None:
    """The user's own terms; their file is kept with the evidence, so that they hold wherever it is read."""
    path, own = config.path("evidence", SENSITIVE), config.evidence.sensitive
    if not own:
        remove(path)
        return None
    terms = read_terms(own)
    with atomic_write(path) as file:
        file.write(Path(own).read_bytes())
    return terms


def _summary(items: int, read: int, told: int, facts: int, concepts: int, dropped: dict[str, int]) -> str:
    silent = f", {items - told:,} without any" if told < items else ""
    left_out = "; left out: " + ", ".join(f"{n:,} {why}" for why, n in dropped.items()) if dropped else ""
    kept = f"{facts:,} facts of {items:,} items{silent} ({read:,} items read)"
    return f"{kept}, {concepts:,} concepts that items share{left_out}"
