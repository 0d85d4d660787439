"""What reasons are asked for: (user, item) pairs, and what of each of them a reason depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmreason.catalogue.catalogue import Catalogue
from mmreason.config import Config
from mmreason.schema import DataError, Item, Reason, User
from mmreason.shards.histories import by_user, history_before
from mmreason.shards.loader import reason_samples
from mmreason.store.store import EmbeddingStore

Request = tuple[User, Item]

_TOLD = ("id", "title", "text", "attributes", "domain")
"""Fields of an item that a reason may depend on, beside its embedding; hidden facts are never looked at."""


def read_requests(config: Config, catalogue: Catalogue) -> Iterator[Request]:
    """(user, item) pairs: of the requests file if one is configured, else of the test split.

    A user's history ends before the item, just as in training: the item itself is left out and all that came after
    it, and what is left is added up.

    Raises:
        DataError: If the file is missing, has no ``user_id`` and ``item_id``, or names an unknown item.
    """
    limit = config.generate.limit or None
    if not config.generate.requests:
        samples = list(reason_samples(config.path("shards"), "test"))[:limit]
        yield from ((s.user, catalogue.items[s.reason.item_id]) for s in samples)
        return
    path = Path(config.generate.requests)
    rows = _request_rows(path)[:limit]
    users = {str(row.get("user_id") or "") for row in rows}
    histories = by_user(i for i in catalogue.interactions if i.user_id in users)
    for number, row in enumerate(rows, start=1):
        user_id, item_id = str(row.get("user_id") or ""), str(row.get("item_id") or "")
        if item_id not in catalogue.items:
            raise DataError(
                f"{path}: row {number}: item {item_id!r} is not in the catalogue; add it or drop the row"
            )
        history = history_before(histories.get(user_id, []), Reason(user_id, item_id, ""))
        yield User(user_id, history), catalogue.items[item_id]


def _request_rows(path: Path) -> list[dict[str, Any]]:
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


def request_keys(
    requests: Iterable[Request], items: Mapping[str, Item], store: EmbeddingStore, model: str
) -> list[str]:
    """A digest of all that each request's reason depends on: a row with the same key is the same reason.

    Args:
        requests: Users with their histories, and items.
        items: Catalogue by id, for the items of histories.
        store: Embeddings; an item is known by the content that it was embedded from.
        model: Digest of the model and of the settings that change what it writes.
    """
    known: dict[str, str] = {}
    made_by = json.dumps([model, store.meta], sort_keys=True)

    def item_digest(item_id: str, item: Item | None) -> str:
        if item_id not in known:
            told = {name: getattr(item, name) for name in _TOLD} if item else {}
            content = store.content(item_id) if item_id in store else ""
            known[item_id] = _digest([told, content])
        return known[item_id]

    return [
        _digest(
            [
                made_by,
                user.id,
                item_digest(item.id, item),
                [
                    [
                        *(step.event, step.count, step.seconds, step.rating, step.timestamp),
                        item_digest(step.item_id, step.item or items.get(step.item_id)),
                    ]
                    for step in user.history
                ],
            ]
        )
        for user, item in requests
    ]


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
