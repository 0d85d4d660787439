"""The bulk job: one row a request, whatever kills it; what is there already is not written again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from encoders.errors import MediaError
from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.checkpoint import read_json, write_json
from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.files import atomic_write, remove, remove_leftovers
from mmreason.generate.ladder import RUNGS
from mmreason.generate.reasoner import Reasoner
from mmreason.generate.requests import BadRequest, Pair, Request, read_requests, request_keys, strangers
from mmreason.processes import collect_rarely, on_main_process, share_of, wait_for_others
from mmreason.products import combined, fingerprint
from mmreason.progress import Progress
from mmreason.schema import DataError, Reason, to_record
from mmreason.shards.loader import reason_samples
from mmreason.store.store import EmbeddingStore

Write = Callable[[list[Pair]], list[Reason]]
Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("request", pa.int64()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("text", pa.string()),
        ("evidence", pa.string()),
        ("score", pa.float64()),
        ("verified", pa.bool_()),
        ("level", pa.string()),
        ("writer", pa.string()),
        ("cause", pa.string()),
        ("plan", pa.string()),
        ("stopped", pa.string()),
        ("error", pa.string()),
        ("key", pa.string()),
    ]
)
"""``request`` is the number of the request, ``key`` a digest of all that the row depends on."""


MOST_LEARNT = 300
"""Training reasons that the verifier learns wording from."""


def generate(config: Config) -> str:
    """The ``generate`` stage: reasons for the requests, in ``generate/<job>/part-*.parquet``.

    Only requests that are new, or whose user, items, evidence, model or settings changed, are written again. Under
    several processes each writes its share of the parts.
    """
    catalogue = read_catalogue(config.path("catalogue"))
    evidence = EvidenceStore.open(config.path("evidence"))
    requests = list(read_requests(config, catalogue))
    by_model = config.generate.trains_lm and config.path("reason", "config.json").is_file()
    store = EmbeddingStore.open(config.path("embed")) if by_model else None
    keys = request_keys(requests, catalogue.items, evidence, store, _made_by(config, by_model))
    reasoner: list[Reasoner] = []

    def write(part: list[Pair]) -> list[Reason]:
        if not reasoner:
            reasoner.append(load_reasoner(config, catalogue))
            collect_rarely()
        return list(reasoner[0].explain_many(part, config.generate.batch_size))

    folder = config.path("generate", config.generate.job)
    done_before = run_job(requests, keys, write, folder, config.generate.part_size)
    table = read_parts(folder)
    levels = Counter(level for level in table["level"].to_pylist() if level)
    rungs = ", ".join(f"{levels[rung]:,} {rung}" for rung in RUNGS if levels[rung])
    failed = len(table) - table["error"].null_count
    told = [
        f"{len(table):,} requests ({done_before:,} were answered already): {rungs or 'no reasons'}",
        f"{failed:,} failed" if failed else "",
        ""
        if by_model or not config.generate.trains_lm
        else "no language model took part, as none was trained",
        strangers(requests, catalogue),
    ]
    return "; ".join(filter(None, told))


def _made_by(config: Config, by_model: bool) -> str:
    """Digest of the models, settings and wording files that decide what is written."""
    settings = config.generate
    made: list[Any] = [settings.writers, settings.language, config.seed, wording_files(settings.packs)]
    if by_model:
        models = combined(fingerprint("reason model", config) | fingerprint("language model", config))
        made += [models, settings.max_new_tokens, config.dtype]
    if config.verify.nli:
        made += [fingerprint("inference model", config), config.verify.entailment, config.dtype]
    return json.dumps(made)


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
    )
    if reasoner.lm is not None:
        samples = (s for s in reason_samples(config.path("shards"), "train") if _made_from_facts(s.reason))
        for sample in islice(samples, MOST_LEARNT):
            case = reasoner.cases([(sample.user, catalogue.items[sample.reason.item_id])])[0]
            reasoner.ladder.verifier.learn(sample.reason.text, case)
    return reasoner


def _made_from_facts(reason: Reason) -> bool:
    return bool(reason.evidence) and all(e.source in ("attribute", "picture") for e in reason.evidence)


def run_job(
    requests: Sequence[Request], keys: Sequence[str], write: Write, folder: Path, part_size: int
) -> int:
    """Write one row per request, part by part; rows whose keys are there already are taken over.

    A part is written to a temporary name and renamed, so a kill loses at most the part at work. Parts of other
    requests, or of another size, are set aside first, and go when all rows are there.

    Args:
        requests: In a fixed order; row ``request`` is the index in it.
        keys: Of each request, what its row depends on.
        write: Reasons for some requests, in order.
        folder: Where the parts go.
        part_size: Requests per part.

    Returns:
        How many rows were there already.
    """
    done = on_main_process(lambda: _set_aside(folder, keys, part_size))
    known = _KnownRows(folder)
    number, of = share_of()
    starts = range(0, len(requests), part_size)[number - 1 :: of]
    with Progress(
        sum(len(keys[s : s + part_size]) for s in starts), "generate", "reason", shown=number == 1
    ) as bar:
        for start in starts:
            path = _part(folder, start // part_size)
            wanted = keys[start : start + part_size]
            if not path.exists():
                rows = _rows(requests[start : start + part_size], wanted, known, write)
                table = pa.Table.from_pylist(
                    [row | {"request": start + n} for n, row in enumerate(rows)], SCHEMA
                )
                with atomic_write(path) as file:
                    pq.write_table(table, file)
            bar.add(len(wanted))
    wait_for_others()
    on_main_process(lambda: remove(_aside(folder)))
    return done


def read_job(config: Config, name: str = "") -> pa.Table:
    """All rows of a job of a run, in the order of the requests; of no name, that of ``generate``.

    Raises:
        DataError: If there is no such job, or rows are missing or there twice.
    """
    return read_parts(config.path("generate", name or config.generate.job))


def read_parts(folder: Path) -> pa.Table:
    """All rows of a job's folder, in the order of the requests.

    Raises:
        DataError: If rows are missing or there twice.
    """
    tables = [pq.read_table(path, schema=SCHEMA) for path in sorted(folder.glob("part-*.parquet"))]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    expected = read_json(folder / "progress.json")["requests"]
    if table["request"].to_pylist() != list(range(expected)):
        raise DataError(
            f"{folder}: not exactly one row per request ({len(table)} of {expected}); run generate again"
        )
    return table


def collect(config: Config) -> str:
    """Write all rows of the job into ``reasons.parquet`` in the run's folder; returns a line that says so."""
    folder, path = config.path("generate", config.generate.job), config.path("reasons.parquet")
    with atomic_write(path) as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for part in sorted(folder.glob("part-*.parquet")):
            writer.write_table(pq.read_table(part, schema=SCHEMA))
    return f"reasons: {path.resolve()}"


def _part(folder: Path, index: int) -> Path:
    return folder / f"part-{index:06d}.parquet"


def _aside(folder: Path) -> Path:
    return folder / "before"


def _set_aside(folder: Path, keys: Sequence[str], part_size: int) -> int:
    """Move the parts that are not just what is wanted out of the way; returns how many wanted rows are there."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    write_json(folder / "progress.json", {"requests": len(keys)})
    wanted = {
        _part(folder, n // part_size): [*keys[n : n + part_size]] for n in range(0, len(keys), part_size)
    }
    for path in sorted(folder.glob("part-*.parquet")):
        if _keys_of(path) != wanted.get(path):
            _aside(folder).mkdir(exist_ok=True)
            number = len(list(_aside(folder).iterdir()))
            path.replace(_aside(folder) / f"{number:06d}-{path.name}")
    known = _KnownRows(folder)
    return sum(key in known for key in keys)


def _keys_of(path: Path) -> list[str]:
    try:
        return pq.read_table(path, columns=["key"])["key"].to_pylist()
    except (OSError, pa.ArrowException):
        return []  # of an older version, or damaged: its rows are written again


class _KnownRows:
    """Rows by key of all parts in a job's folder, those set aside too; read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        for path in (*_aside(folder).glob("*.parquet"), *folder.glob("part-*.parquet")):
            self._places |= {key: (path, row) for row, key in enumerate(_keys_of(path))}
        self._read = lru_cache(maxsize=4)(lambda path: pq.read_table(path, schema=SCHEMA).to_pylist())

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def get(self, key: str) -> Row | None:
        """The row of a key, if there is one."""
        if key not in self._places:
            return None
        path, row = self._places[key]
        return dict(self._read(path)[row])


def _rows(part: Sequence[Request], keys: Sequence[str], known: _KnownRows, write: Write) -> list[Row]:
    """The rows of a part: those known, and the others written."""
    rows = [known.get(key) for key in keys]
    missing = [place for place, row in enumerate(rows) if row is None]
    for place, row in zip(missing, _written([part[p] for p in missing], write), strict=True):
        rows[place] = row | {"key": keys[place]}
    return [row for row in rows if row is not None]


def _written(part: list[Request], write: Write) -> list[Row]:
    """New rows; where they fail together, each request alone, so that one bad item costs one row."""
    pairs = [request for request in part if not isinstance(request, BadRequest)]
    try:
        reasons: list[Reason | str] = [*write(pairs)] if pairs else []
    except (DataError, MediaError):
        reasons = [_alone(request, write) for request in pairs]
    made = iter(reasons)
    return [
        _row(request.user_id, request.item_id, request.error)
        if isinstance(request, BadRequest)
        else _row(request[0].id, request[1].id, next(made))
        for request in part
    ]


def _row(user_id: str, item_id: str, reason: Reason | str) -> Row:
    """A reason's row; an empty one with its error, if the reason is that."""
    failed = isinstance(reason, str)
    record = to_record(Reason(user_id, item_id, "") if isinstance(reason, str) else reason)
    row = {name: record[name] for name in SCHEMA.names if name in record}
    return row | {"error": reason if failed else None}


def _alone(request: Pair, write: Write) -> Reason | str:
    try:
        return write([request])[0]
    except (DataError, MediaError) as error:
        return str(error)
