"""The stage ``generate``: what a run's configuration asks for, written by the bulk job (:mod:`mmreason.bulk`)."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.bulk import index
from mmreason.bulk.asked import Asked
from mmreason.bulk.attempts import Attempts, Write
from mmreason.bulk.job import Job, Outlook
from mmreason.bulk.parts import SCHEMA, note_progress, parts, read_parts, read_progress, stream_parts
from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.files import atomic_write
from mmreason.generate.ladder import RUNGS
from mmreason.generate.reasoner import Reasoner
from mmreason.generate.requests import Behaviours, Keys, read_requests
from mmreason.processes import collect_rarely, on_main_process
from mmreason.products import combined, fingerprint
from mmreason.reason.plans import learn_wording
from mmreason.records import Unfinished, changed_settings, stage_identity
from mmreason.schema import Reason
from mmreason.shards.loader import reason_samples
from mmreason.store.store import EmbeddingStore

_SAMPLE = 64  # requests that a dry run measures, after as many to warm up

_DIGITS = 12  # of a digest, where a person may compare two


def generate(config: Config) -> str:
    """The ``generate`` stage: reasons for the requests, in ``generate/<job>/part-*.parquet``.

    Only requests that are new, or whose user, items, evidence, model or settings changed, are written again. Under
    several processes each writes its share of the parts.

    Raises:
        Unfinished: If ``generate.max_seconds`` are over before all is written.
        DataError: If too many requests fail, or the disk is full.
    """
    settings = config.generate
    ends = time.monotonic() + (settings.max_seconds or inf)
    asks = _Asks(config)
    outlook = on_main_process(lambda: _prepare(asks))
    left = asks.job.run(
        outlook,
        asks.behaviours.pair,
        asks.writer,
        ends,
        settings.max_failures,
        asks.tokens,
    )
    if left:
        raise Unfinished(
            f"stopped after generate.max_seconds, with {left:,} of {outlook.requests:,} requests left; run the same "
            "command again to go on"
        )
    return on_main_process(lambda: _finish(asks, outlook.there))


def dry_run(config: Config) -> str:
    """What ``generate`` would do, in lines: counts, settings that changed, time and memory; writes no row.

    Time and memory are those of the last run if no setting has changed since, else measured on some requests.
    """
    asks = _Asks(config)
    outlook = asks.job.look(asks.requests, asks.made_of)
    lines = [
        f"requests       {outlook.requests:>13,}",
        f"there already  {outlook.there:>13,}",
        f"to be written  {outlook.to_write:>13,}",
        *asks.changes(),
    ]
    if outlook.to_write:
        noted = read_progress(asks.job.folder)
        speed, memory = noted.get("reasons_per_second"), noted.get("memory_mb")
        how = "as in the last run"
        if not (speed and memory) or noted.get("settings") != asks.made_by:
            speed, memory = _measured(asks), _peak_memory()
            how = "measured on a few requests"
        lines += [
            f"time           {_clock(outlook.to_write / speed):>13} ({speed:,.1f} reasons/s, {how})",
            f"memory         {memory / 1000:>10,.1f} GB ({how})",
        ]
    return "\n".join(lines)


def _measured(asks: _Asks) -> float:
    """Reasons a second of a few requests, when others have warmed up what is read and kept."""
    good = (asks.behaviours.pair(asked) for asked in asks.requests() if not asked.error)
    attempts, first = Attempts(asks.writer()), list(islice(good, _SAMPLE))
    attempts(first)
    sample = list(islice(good, _SAMPLE)) or first
    began = time.monotonic()
    attempts(sample)
    return max(len(sample), 1) / max(time.monotonic() - began, 1e-9)


class _Asks:
    """What a configuration asks for, and by whom it is written."""

    def __init__(self, config: Config) -> None:
        self.config, settings = config, config.generate
        self.job = Job(config.path("generate", settings.job), settings.part_size)
        self.catalogue = read_catalogue(config.path("catalogue"))
        self.behaviours = Behaviours(self.catalogue)
        self.by_model = settings.trains_lm and config.path("reason", "config.json").is_file()
        self.made_by = _made_by(config, self.by_model)
        self._reasoner: Reasoner | None = None

    @property
    def made_of(self) -> str:
        """Digest of all that the requests and their keys follow from."""
        whole = [stage_identity(self.config, "generate"), self.made_by]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def requests(self) -> Iterator[Asked]:
        """The requests, with their keys."""
        config = self.config
        evidence = EvidenceStore.open(config.path("evidence"))
        store = EmbeddingStore.open(config.path("embed")) if self.by_model else None
        keys = Keys(self.catalogue.items, evidence, store, self.made_by)
        yield from keys.keyed(read_requests(config, self.catalogue, self.behaviours), self.behaviours)

    def writer(self) -> Write:
        """The reasoner as a writer."""
        reasoner, batch_size = load_reasoner(self.config, self.catalogue), self.config.generate.batch_size
        self._reasoner = reasoner
        collect_rarely()

        def write(pairs: list[Any]) -> list[Reason | str]:
            found = reasoner.try_many(pairs, batch_size)
            return [each if isinstance(each, str) else each.reason for each in found]

        return write

    def tokens(self) -> int:
        """How many tokens the language model has written so far; 0 where none takes part."""
        lm = self._reasoner.lm if self._reasoner else None
        return lm.tokens if lm else 0

    def changes(self) -> list[str]:
        """What differs from what the rows that are there were made by, a line each."""
        before = read_progress(self.job.folder).get("settings", self.made_by)
        return changed_settings(before, json.loads(json.dumps(self.made_by)))


def _prepare(asks: _Asks) -> Outlook:
    """Have the job ready, and say what changed and what it costs before anything is written again."""
    changes = asks.changes()
    outlook = asks.job.prepare(asks.requests, asks.made_of)
    for line in changes:
        print(f"generate: {line}", file=sys.stderr)
    if changes:
        rows = f"{outlook.to_write:,} of {outlook.requests:,} rows"
        print(f"generate: {rows} are to be written for it", file=sys.stderr, flush=True)
    note_progress(asks.job.folder, settings=asks.made_by)
    return outlook


def _finish(asks: _Asks, there: int) -> str:
    """Have the reasons ready for :class:`mmreason.bulk.store.ReasonStore`; one line on all rows of the job."""
    summary = _summary(asks, there)
    note_progress(asks.job.folder, memory_mb=round(_peak_memory()))
    index.update(asks.config.path())
    return summary


def _summary(asks: _Asks, there: int) -> str:
    levels: Counter[str] = Counter()
    total = failed = strangers = nobody = 0
    for table in stream_parts(asks.job.folder):
        levels.update(level for level in table["level"].to_pylist() if level)
        total, failed = total + len(table), failed + len(table) - table["error"].null_count
        for user, error in zip(table["user_id"].to_pylist(), table["error"].to_pylist(), strict=True):
            if error is None:
                nobody += not user
                strangers += bool(user) and user not in asks.behaviours
    rungs = ", ".join(f"{levels[rung]:,} {rung}" for rung in RUNGS if levels[rung])
    people = [(strangers, "of users without a history"), (nobody, "without a user")]
    told = [
        f"{total:,} requests ({there:,} were answered already): {rungs or 'no reasons'}",
        f"{failed:,} failed" if failed else "",
        ""
        if asks.by_model or not asks.config.generate.trains_lm
        else "no language model took part, as none was trained",
        ", ".join(f"{count:,} {what}" for count, what in people if count),
    ]
    return "; ".join(filter(None, told))


def _made_by(config: Config, by_model: bool) -> dict[str, Any]:
    """The settings that decide what is written, and digests of the models and of the wording files."""
    settings = config.generate
    made: dict[str, Any] = {
        "generate.writers": settings.writers,
        "generate.candidates": settings.candidates,
        "generate.language": settings.language,
        "seed": config.seed,
        "wording files": wording_files(settings.packs)[:_DIGITS],
    }
    if by_model:
        made |= {
            "reason model": combined(fingerprint("reason model", config))[:_DIGITS],
            "language model": combined(fingerprint("language model", config))[:_DIGITS],
            "generate.backend.name": settings.backend.name,
            "generate.max_new_tokens": settings.max_new_tokens,
            "dtype": config.dtype,
        }
    if config.verify.nli:
        made |= {
            "verify.nli": combined(fingerprint("inference model", config))[:_DIGITS],
            "verify.entailment": config.verify.entailment,
            "dtype": config.dtype,
        }
    return made


def wording_files(packs: Sequence[str]) -> str:
    """Digest of the grammars, of the verifier's words and of the compliance packs."""
    names = [
        ("mmreason.wording", "grammars"),
        ("mmreason.generate", "packs"),
        ("mmreason.generate", "verify"),
    ]
    folders = [files(package) / folder for package, folder in names]
    found = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".yaml")]
    texts = [file.read_bytes() for file in sorted(found, key=lambda file: file.name)]
    return hashlib.sha256(b"\0".join([*texts, *(Path(pack).read_bytes() for pack in packs)])).hexdigest()


def load_reasoner(config: Config, catalogue: Catalogue) -> Reasoner:
    """The reasoner over a run's catalogue, evidence and store.

    What a language model learned its wording from licenses that wording, where it was made from facts.
    """
    settings = config.generate
    reasoner = Reasoner.from_pretrained(
        config.path(),
        items=catalogue.items,
        device=config.device,
        dtype=config.dtype,
        max_new_tokens=settings.max_new_tokens,
        writers=settings.writers,
        packs=settings.packs,
        nli=config.verify.nli,
        entailment=config.verify.entailment,
        seed=config.seed,
        language=settings.language,
        candidates=settings.candidates,
        backend=settings.backend,
    )
    if reasoner.lm is not None:
        learn_wording(
            reasoner.ladder.verifier,
            reason_samples(config.path("shards"), "train"),
            lambda sample: reasoner.cases([(sample.user, catalogue.items[sample.reason.item_id])])[0],
        )
    return reasoner


def read_job(config: Config, name: str = "") -> pa.Table:
    """All rows of a job of a run, in the order of the requests; of no name, that of ``generate``.

    Raises:
        DataError: If there is no such job, or rows are missing or there twice.
    """
    return read_parts(config.path("generate", name or config.generate.job))


def collect(config: Config) -> str:
    """Write all rows of the job into ``reasons.parquet`` in the run's folder; returns a line that says so."""
    folder, path = config.path("generate", config.generate.job), config.path("reasons.parquet")
    with atomic_write(path) as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for part in parts(folder):
            writer.write_table(pq.read_table(part, schema=SCHEMA))
    return f"reasons: {path.resolve()}"


def _peak_memory() -> float:
    """The most that this process has held so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
