"""The stage ``generate``: what a run's configuration asks for, written by the bulk job (:mod:`mmreason.bulk`)."""

from __future__ import annotations

import gc
import hashlib
import json
import resource
import sys
import time
from collections import Counter
from itertools import islice
from math import inf

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.bulk import index
from mmreason.bulk.attempts import Attempts, Pair
from mmreason.bulk.job import Outlook
from mmreason.bulk.parts import SCHEMA, note_progress, parts, read_parts, read_progress, stream_parts
from mmreason.bulk.windows import Spent
from mmreason.config import Config
from mmreason.files import atomic_write
from mmreason.generate.asks import Asks
from mmreason.generate.ladder import RUNGS
from mmreason.generate.on_ray import write_on_ray
from mmreason.generate.sharing import expected_share, seconds_when_shared, told_of_sharing
from mmreason.processes import on_main_process
from mmreason.records import Unfinished

_SAMPLE = 64  # requests that a dry run measures, after as many to warm up


def generate(config: Config) -> str:
    """The ``generate`` stage: reasons for the requests, in ``generate/<job>/part-*.parquet``.

    Only requests that are new, or whose user, items, evidence, model or settings changed, are written again. Under
    several processes each writes its share of the parts; with ``engine: ray`` the workers of a cluster do.

    Raises:
        Unfinished: If ``generate.max_seconds`` are over before all is written.
        DataError: If too many requests fail, or the disk is full.
    """
    summary = _write(config)
    gc.collect()  # what wrote, a language model perhaps, is not held while the index is made
    on_main_process(lambda: index.update(config.path()))
    return summary


def _write(config: Config) -> str:
    """Write all that is missing; one line on all rows of the job."""
    settings = config.generate
    ends = time.monotonic() + (settings.max_seconds or inf)
    asks = Asks(config)
    outlook = on_main_process(lambda: _prepare(asks))
    if config.engine == "ray":
        left = write_on_ray(asks, outlook, ends)
    else:
        left = asks.job.run(
            outlook, asks.behaviours.pair, asks.writer, ends, settings.max_failures, asks.spent, asks.window
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
    asks = Asks(config)
    asks.keeps_words = False
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
        how, share = "as in the last run", None
        if asks.by_plan and config.generate.share:
            share = expected_share(asks, outlook.requests, outlook.to_write)
            lines.append(f"shared         {share:>13.0%} (plans that have words already, estimated)")
        if not (speed and memory) or noted.get("settings") != asks.made_by:
            if asks.config.generate.asks_server:
                return "\n".join([*lines, "time           not known: the server would have to be asked"])
            speed, memory = _measured(asks, share), _peak_memory()
            how = "measured on a few requests"
        lines += [
            f"time           {_clock(outlook.to_write / speed):>13} ({speed:,.1f} reasons/s, {how})",
            f"memory         {memory / 1000:>10,.1f} GB ({how})",
        ]
    return "\n".join(lines)


def _measured(asks: Asks, share: float | None) -> float:
    """Reasons a second of a few requests, when others have warmed up what is read and kept.

    Where plans share words, few requests share less than many: the same ones once more tell what those cost that do.
    """
    good = (asks.behaviours.pair(asked) for asked in asks.requests() if not asked.error)
    attempts, first = Attempts(asks.writer()), list(islice(good, _SAMPLE))
    attempts(first)
    sample = list(islice(good, _SAMPLE)) or first
    before, seconds = asks.spent(), _seconds(attempts, sample)
    if share is not None:
        after = asks.spent()
        spent = Spent(0, after.plans - before.plans, after.worded - before.worded)
        seconds = seconds_when_shared(seconds, _seconds(attempts, sample), spent, share)
    return max(len(sample), 1) / seconds


def _seconds(attempts: Attempts, sample: list[Pair]) -> float:
    began = time.monotonic()
    attempts(sample)
    return max(time.monotonic() - began, 1e-9)


def _prepare(asks: Asks) -> Outlook:
    """Have the job ready, and say what changed and what it costs before anything is written again."""
    changes = asks.changes()
    asks.take_words_in()
    outlook = asks.job.prepare(asks.requests, asks.made_of)
    for line in changes:
        print(f"generate: {line}", file=sys.stderr)
    if changes:
        rows = f"{outlook.to_write:,} of {outlook.requests:,} rows"
        print(f"generate: {rows} are to be written for it", file=sys.stderr, flush=True)
    note_progress(asks.job.folder, settings=asks.made_by, sensitive=_sensitive(asks.config))
    return outlook


def _sensitive(config: Config) -> str:
    """Digest of the concepts that are sensitive now; :mod:`mmreason.bulk.index` keeps no row over a change of it."""
    path = config.path("evidence", "concepts.parquet")
    if not path.is_file():
        return ""
    found = pq.read_table(path, columns=["id", "sensitive"], filters=[("sensitive", "!=", "")])
    return hashlib.sha256(json.dumps(found.to_pylist()).encode()).hexdigest()


def _finish(asks: Asks, there: int) -> str:
    """Note what the job took; one line on all its rows."""
    asks.take_words_in()
    note_progress(asks.job.folder, memory_mb=round(_peak_memory()))
    return _summary(asks, there)


def _summary(asks: Asks, there: int) -> str:
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
        told_of_sharing(asks.job.folder),
        ""
        if asks.by_model or not asks.config.generate.trains_lm
        else "no language model took part, as none was trained",
        ", ".join(f"{count:,} {what}" for count, what in people if count),
        asks.cost(),
    ]
    return "; ".join(filter(None, told))


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
