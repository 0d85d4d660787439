"""What reasons are asked for: (user, item) pairs as they come, and what of each of them a reason depends on."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import astuple, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mmreason.bulk.asked import Asked
from mmreason.bulk.attempts import Pair
from mmreason.catalogue.catalogue import Catalogue
from mmreason.cleaning import private_user
from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.recommend import MOST_REQUESTS, PER_USER, recommend
from mmreason.readers.columns import has_gaps
from mmreason.readers.mapping import FIELDS
from mmreason.readers.rows import read_rows, sample
from mmreason.readers.source import SourceRow
from mmreason.schema import DataError, Interaction, Item, Reason, User
from mmreason.shards.histories import by_user, history_before
from mmreason.shards.loader import reason_samples
from mmreason.shops.guess import find
from mmreason.store.store import EmbeddingStore
from mmreason.values import NO_USER, identifier

_GAP = re.compile(r"(?<=\d)\.0+$")

_TOLD = ("id", "title", "text", "attributes", "domain")
"""Fields of an item that a reason may depend on, beside its embedding; hidden facts are never looked at."""

_PEOPLE = 64  # whose histories are prepared at a time
_ITEMS = 65_536  # whose digests are remembered


class Behaviours:
    """What users did, by user.

    Args:
        catalogue: Its interactions are not copied.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._items = catalogue.items
        self._steps: dict[str, list[Interaction]] = {}
        for step in catalogue.interactions:
            self._steps.setdefault(step.user_id, []).append(step)
        self._begun = lru_cache(maxsize=_PEOPLE)(self._with_beginnings)

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._steps

    def pair(self, asked: Asked) -> Pair:
        """The user of a request, with the history before its item, and the item.

        A history ends before the item, just as in training: the item itself is left out and all that came after it,
        and what is left is added up. A user that the catalogue does not know, or none, has no history.
        """
        target = Reason(asked.user_id, asked.item_id, "")
        history = history_before(self._begun(asked.user_id), target)
        return User(asked.user_id, history), self._items[asked.item_id]

    def _with_beginnings(self, user_id: str) -> list[Interaction]:
        return by_user(self._steps.get(user_id, ())).get(user_id, [])


def read_requests(
    config: Config, catalogue: Catalogue, behaviours: Behaviours | None = None
) -> Iterator[Asked]:
    """The requests, as they come: of the file if one is configured, ``generate.top_k`` items of every user, the test
    split, or a few made up.

    Args:
        config: The run.
        catalogue: Items and behaviours.
        behaviours: Those of the catalogue, by user, if they are at hand.

    Raises:
        DataError: If the file is missing or cannot be read, or has no columns of users and items.
    """
    settings, limit = config.generate, config.generate.limit or None
    if settings.requests and settings.top_k:
        raise DataError(
            "generate.requests and generate.top_k both say what to write reasons for; name one of them"
        )
    if settings.requests:
        users = behaviours or Behaviours(catalogue)
        yield from _of_file(Path(settings.requests), limit, users, catalogue.items)
        return
    if not settings.top_k:
        found = islice(_of_split(config, catalogue.items), limit)
        if (first := next(found, None)) is not None:
            yield from chain([first], found)
            return
    evidence = EvidenceStore.open(config.path("evidence"))
    folder = config.path("embed")
    store = EmbeddingStore.open(folder) if (folder / "index.json").is_file() else None
    best = recommend(catalogue, evidence, settings.top_k or PER_USER, store)
    most = limit if settings.top_k else limit or MOST_REQUESTS
    yield from (Asked(user.id, item.id) for user, item in islice(best, most))


def _of_split(config: Config, items: Container[str]) -> Iterator[Asked]:
    for found in reason_samples(config.path("shards"), "test"):
        yield _checked(Asked(found.user.id, found.reason.item_id), items)


def _of_file(path: Path, limit: int | None, users: Container[str], items: Container[str]) -> Iterator[Asked]:
    empty = True
    for row in islice(_rows(path), limit):
        empty = False
        row = replace(row, user_id=_known(row.user_id, users), item_id=_known(row.item_id, items))
        yield _checked(row, items)
    if empty:
        print(f"{path}: holds no request, so there is no reason to write", file=sys.stderr)


def _checked(asked: Asked, items: Container[str]) -> Asked:
    if asked.error or asked.item_id in items:
        return asked
    error = f"item {asked.item_id!r} is not in the catalogue" if asked.item_id else "no item id"
    return replace(asked, error=error)


def _known(found: str, known: Container[str]) -> str:
    """An id as the catalogue has it: ``12.0``, as a column with a gap writes it, may be ``12``."""
    whole = _GAP.sub("", found)
    return whole if found not in known and whole in known else found


def _rows(path: Path) -> Iterator[Asked]:
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
            yield Asked(private_user(value(row, "user_id")), value(row, "item_id"), row.problem)
        except ValueError as error:
            yield Asked("", "", str(error))


class Keys:
    """A digest of all that a request's reason depends on: a row with the same key is the same reason.

    Args:
        items: Catalogue by id, for the items of histories.
        evidence: What is known of each item.
        store: Embeddings, where a model reads them; an item is known by the content that it was embedded from.
        made_by: The models and the settings that change what is written.
    """

    def __init__(
        self,
        items: Mapping[str, Item],
        evidence: EvidenceStore,
        store: EmbeddingStore | None = None,
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        self._items, self._evidence, self._store = items, evidence, store
        self._made_by = _digest([made_by, None if store is None else store.meta])
        self._known = lru_cache(maxsize=_ITEMS)(lambda item_id: self._item(items.get(item_id), item_id))

    def keyed(self, requests: Iterable[Asked], behaviours: Behaviours) -> Iterator[Asked]:
        """Requests with their keys and with what their items say; a bad one's key is its own error."""
        for asked in requests:
            if asked.error:
                yield replace(asked, key=_digest([asked.user_id, asked.item_id, asked.error]))
            else:
                content = self._evidence.content(asked.item_id)
                yield replace(asked, key=self.of(behaviours.pair(asked)), content=content)

    def of(self, pair: Pair) -> str:
        """The key of a user with their history, and an item."""
        user, item = pair
        steps = [
            [
                *(step.event, step.count, step.seconds, step.rating, step.timestamp),
                self._known(step.item_id) if step.item is None else self._item(step.item, step.item_id),
            ]
            for step in user.history
        ]
        known = self._items.get(item.id) is item
        digest = self._known(item.id) if known else self._item(item, item.id)
        return _digest([self._made_by, user.id, digest, steps])

    def _item(self, item: Item | None, item_id: str) -> str:
        told = {name: getattr(item, name) for name in _TOLD} if item else {}
        content = self._store.content(item_id) if self._store is not None and item_id in self._store else ""
        evidence, facts = self._evidence, self._evidence.facts(item_id)
        ids = [fact.concept for fact in facts]
        shared = [concept and astuple(concept) for concept in map(evidence.concepts.get, ids)]
        pairs = [(pair.id, pair.items, pair.popularity) for pair in evidence.pairs.of(ids)]
        return _digest([told, content, evidence.content(item_id), [*map(astuple, facts)], shared, pairs])


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
