"""What reasons are asked for: (user, item) pairs, and what of each of them a reason depends on."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmreason.catalogue.catalogue import Catalogue
from mmreason.cleaning import private_user
from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.recommend import MOST_REQUESTS, recommend
from mmreason.readers.columns import has_gaps
from mmreason.readers.mapping import FIELDS
from mmreason.readers.rows import read_rows, sample
from mmreason.readers.source import SourceRow
from mmreason.schema import DataError, Item, Reason, User
from mmreason.shards.histories import by_user, history_before
from mmreason.shards.loader import reason_samples
from mmreason.shops.guess import find
from mmreason.store.store import EmbeddingStore
from mmreason.values import NO_USER, identifier

Pair = tuple[User, Item]


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A row of a requests file that no reason can be written for; its own row says why."""

    user_id: str
    item_id: str
    error: str


Request = Pair | BadRequest

_GAP = re.compile(r"(?<=\d)\.0+$")

_TOLD = ("id", "title", "text", "attributes", "domain")
"""Fields of an item that a reason may depend on, beside its embedding; hidden facts are never looked at."""


def read_requests(config: Config, catalogue: Catalogue) -> Iterator[Request]:
    """(user, item) pairs: of the requests file if one is configured, else of the test split, else made up.

    A user's history ends before the item, just as in training: the item itself is left out and all that came after
    it, and what is left is added up. A user that the catalogue does not know, or none, has no history.

    Raises:
        DataError: If the file is missing or cannot be read, or has no columns of users and items.
    """
    limit = config.generate.limit or None
    if not config.generate.requests:
        samples = list(reason_samples(config.path("shards"), "test"))[:limit]
        yield from ((s.user, catalogue.items[s.reason.item_id]) for s in samples)
        if not samples:
            evidence = EvidenceStore.open(config.path("evidence"))
            yield from islice(recommend(catalogue, evidence, config.generate.top_k), limit or MOST_REQUESTS)
        return
    rows = list(islice(_rows(Path(config.generate.requests)), limit))
    if not rows:
        print(
            f"{config.generate.requests}: holds no request, so there is no reason to write", file=sys.stderr
        )
    known = {step.user_id for step in catalogue.interactions}
    rows = [
        replace(row, user_id=_known(row.user_id, known), item_id=_known(row.item_id, catalogue.items))
        for row in rows
    ]
    users = {row.user_id for row in rows}
    histories = by_user(i for i in catalogue.interactions if i.user_id in users)
    for row in rows:
        if row.error:
            yield row
        elif row.item_id not in catalogue.items:
            missing = f"item {row.item_id!r} is not in the catalogue" if row.item_id else "no item id"
            yield replace(row, error=missing)
        else:
            history = history_before(histories.get(row.user_id, []), Reason(row.user_id, row.item_id, ""))
            yield User(row.user_id, history), catalogue.items[row.item_id]


def _known(found: str, known: Container[str]) -> str:
    """An id as the catalogue has it: ``12.0``, as a column with a gap writes it, may be ``12``."""
    whole = _GAP.sub("", found)
    return whole if found not in known and whole in known else found


def _rows(path: Path) -> Iterator[BadRequest]:
    """Each row of a requests file, with an error if it cannot be read."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; generate.requests is a table of user_id and item_id")
    columns = sample(path)
    names = {field: find(columns, FIELDS["reasons"][field]) for field in ("user_id", "item_id")}
    missing = [field for field, column in names.items() if column is None]
    if columns and missing:
        raise DataError(f"{path}: no column looks like {missing[0]}; there are {', '.join(columns)}")
    gaps = {column for column in names.values() if column and has_gaps(columns[column])}

    def value(row: SourceRow, field: str) -> str:
        column = names[field]
        found = identifier(row.record.get(column)) if column else ""
        if field == "user_id" and found in NO_USER:
            return ""
        return found.partition(".")[0] if column in gaps else found

    for row in read_rows(path):
        try:
            yield BadRequest(private_user(value(row, "user_id")), value(row, "item_id"), row.problem)
        except ValueError as error:
            yield BadRequest("", "", str(error))


def strangers(requests: Iterable[Request], catalogue: Catalogue) -> str:
    """How many requests are of users that the catalogue does not know, or of none; empty if there are no such."""
    known = {step.user_id for step in catalogue.interactions}
    users = [request[0].id for request in requests if not isinstance(request, BadRequest)]
    unknown = sum(user not in known for user in users if user)
    parts = [(unknown, "of users without a history"), (sum(not user for user in users), "without a user")]
    return ", ".join(f"{count:,} {what}" for count, what in parts if count)


def request_keys(
    requests: Iterable[Request],
    items: Mapping[str, Item],
    evidence: EvidenceStore,
    store: EmbeddingStore | None,
    made_by: str,
) -> list[str]:
    """A digest of all that each request's reason depends on: a row with the same key is the same reason.

    Args:
        requests: Users with their histories, and items; a bad one's key is its own error.
        items: Catalogue by id, for the items of histories.
        evidence: What is known of each item.
        store: Embeddings, where a model reads them; an item is known by the content that it was embedded from.
        made_by: Digest of the models and of the settings that change what is written.
    """
    known: dict[str, str] = {}
    if store is not None:
        made_by = json.dumps([made_by, store.meta], sort_keys=True)

    def item_digest(item_id: str, item: Item | None) -> str:
        if item_id not in known:
            told = {name: getattr(item, name) for name in _TOLD} if item else {}
            content = store.content(item_id) if store is not None and item_id in store else ""
            facts = evidence.facts(item_id)
            concepts = [evidence.concepts.get(fact.concept) for fact in facts]
            seen = [(astuple(f), c and (c.items, c.popularity)) for f, c in zip(facts, concepts, strict=True)]
            known[item_id] = _digest([told, content, seen])
        return known[item_id]

    def digest(request: Request) -> str:
        if isinstance(request, BadRequest):
            return _digest([request.user_id, request.item_id, request.error])
        user, item = request
        steps = [
            [
                *(step.event, step.count, step.seconds, step.rating, step.timestamp),
                item_digest(step.item_id, step.item or items.get(step.item_id)),
            ]
            for step in user.history
        ]
        return _digest([made_by, user.id, item_digest(item.id, item), steps])

    return [digest(request) for request in requests]


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
