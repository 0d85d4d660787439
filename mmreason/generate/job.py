"""The bulk job: one row a request, whatever kills it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from encoders.errors import MediaError
from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.checkpoint import read_json, write_json
from mmreason.config import Config
from mmreason.embed.job import fingerprint
from mmreason.files import remove, remove_leftovers, whole_file
from mmreason.generate.reasoner import Reasoner
from mmreason.schema import DataError, Item, Reason, User, to_record
from mmreason.shards.loader import reason_samples
from mmreason.store.store import EmbeddingStore

Request = tuple[User, Item]
Write = Callable[[list[Request]], list[Reason]]

SCHEMA = pa.schema(
    [
        ("request", pa.int64()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("text", pa.string()),
        ("evidence", pa.string()),
        ("score", pa.float64()),
        ("verified", pa.bool_()),
        ("error", pa.string()),
    ]
)


def generate(config: Config) -> str:
    """The ``generate`` stage: reasons for the requests, in ``generate/part-*.parquet``."""
    catalogue = read_catalogue(config.path("catalogue"))
    requests = list(read_requests(config, catalogue))
    folder = config.path("generate")
    checkpoint = config.path("reason")
    identity = {
        "model": fingerprint(checkpoint),
        "requests": _digest(requests),
        "max_new_tokens": config.generate.max_new_tokens,
        "batch_size": config.generate.batch_size,
        "part_size": config.generate.part_size,
    }
    reasoner: list[Reasoner] = []

    def write(part: list[Request]) -> list[Reason]:
        if not reasoner:
            reasoner.append(load_reasoner(config, catalogue, checkpoint))
        return list(reasoner[0].explain_many(part, config.generate.batch_size))

    done_before = run_job(requests, write, folder, config.generate.part_size, identity)
    table = read_parts(folder)
    verified = sum(bool(v) for v in table["verified"].to_pylist())
    failed = len(table) - table["error"].null_count
    return (
        f"{len(table):,} reasons for {len(requests):,} requests ({done_before:,} were there already), "
        f"{verified:,} verified, {failed:,} failed"
    )


def load_reasoner(config: Config, catalogue: Catalogue, checkpoint: Path) -> Reasoner:
    """The reasoner over a run's catalogue and store."""
    return Reasoner.from_pretrained(
        checkpoint,
        items=catalogue.items,
        store=EmbeddingStore.open(config.path("embed")),
        device=config.device,
        dtype=config.dtype,
        max_new_tokens=config.generate.max_new_tokens,
    )


def read_requests(config: Config, catalogue: Catalogue) -> Iterator[Request]:
    """(user, item) pairs: of the requests file if one is configured, else of the test split.

    Raises:
        DataError: If the file is missing, has no ``user_id`` and ``item_id``, or names an unknown item.
    """
    limit = config.generate.limit or None
    if not config.generate.requests:
        samples = list(reason_samples(config.path("shards"), "test"))[:limit]
        yield from ((s.user, catalogue.items[s.reason.item_id]) for s in samples)
        return
    histories: dict[str, User] = {}
    for interaction in catalogue.interactions:
        histories.setdefault(interaction.user_id, User(interaction.user_id)).history.append(interaction)
    path = Path(config.generate.requests)
    for number, row in enumerate(_request_rows(path)[:limit], start=1):
        user_id, item_id = str(row.get("user_id") or ""), str(row.get("item_id") or "")
        if item_id not in catalogue.items:
            raise DataError(
                f"{path}: row {number}: item {item_id!r} is not in the catalogue; add it or drop the row"
            )
        yield histories.get(user_id, User(user_id)), catalogue.items[item_id]


def _request_rows(path: Path) -> list[dict]:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; generate.requests is a .parquet or .jsonl of user_id and item_id"
        )
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, columns=["user_id", "item_id"]).to_pylist()
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except (pa.ArrowInvalid, json.JSONDecodeError, KeyError) as error:
        raise DataError(
            f"{path}: cannot be read as requests: {error}; give columns user_id and item_id"
        ) from None


def run_job(requests: list[Request], write: Write, folder: Path, part_size: int, identity: dict) -> int:
    """Write one row per request, part by part; parts that are there already are kept.

    A part is written to a temporary name and renamed, so a kill loses at most the part at work. With
    another ``identity`` (model, requests, settings) the parts are another job's and are removed.

    Args:
        requests: In a fixed order; row ``request`` is the index in it.
        write: Reasons for one part's requests, in order.
        folder: Where the parts go.
        part_size: Requests per part.
        identity: JSON values that the output depends on.

    Returns:
        How many rows were there already.
    """
    progress = folder / "progress.json"
    if not progress.exists() or read_json(progress).get("identity") != identity:
        for stale in folder.glob("part-*.parquet"):
            remove(stale)
        write_json(progress, {"identity": identity, "requests": len(requests)})
    remove_leftovers(folder)
    done = 0
    with tqdm(total=len(requests), desc="generate", unit="reason", disable=None) as bar:
        for index, start in enumerate(range(0, len(requests), part_size)):
            part = requests[start : start + part_size]
            path = folder / f"part-{index:06d}.parquet"
            if path.exists():
                done += len(part)
            else:
                rows = _rows(part, start, write)
                with whole_file(path) as file:
                    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
            bar.update(len(part))
    return done


def _rows(part: list[Request], start: int, write: Write) -> list[dict]:
    """Output rows of a part; where it fails as a whole, each request alone, so that one bad item costs one row."""
    try:
        reasons: list[Reason | str] = [*write(part)]
    except (DataError, MediaError):
        reasons = [_alone(request, write) for request in part]
    rows = []
    for offset, ((user, item), reason) in enumerate(zip(part, reasons, strict=True)):
        failed = isinstance(reason, str)
        record = to_record(Reason(user.id, item.id, "") if isinstance(reason, str) else reason)
        row = {name: record[name] for name in SCHEMA.names if name in record}
        rows.append(row | {"request": start + offset, "error": reason if failed else None})
    return rows


def _alone(request: Request, write: Write) -> Reason | str:
    try:
        return write([request])[0]
    except (DataError, MediaError) as error:
        return str(error)


def read_parts(folder: Path) -> pa.Table:
    """All rows of a job, in the order of the requests.

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


def _digest(requests: list[Request]) -> str:
    digest = hashlib.sha256()
    for user, item in requests:
        steps = [(i.item_id, i.event, i.count, i.seconds, i.rating, i.timestamp) for i in user.history]
        digest.update(json.dumps([user.id, item.id, steps]).encode())
    return digest.hexdigest()
