"""Checks shared by all readers: a bad row or file is counted and set aside with its reason, never dropped.

Items and reasons are checked here one by one; interactions, of which there are many more, are checked a frame
at a time in :mod:`mmreason.catalogue.behaviours`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from mmreason.catalogue.media import Media
from mmreason.catalogue.quarantine import Quarantine
from mmreason.cleaning import plain_text, private_user, without_contacts
from mmreason.links import links
from mmreason.readers.source import SourceRow, batches
from mmreason.schema import Attributes, DataError, Item, Reason, Split, from_record
from mmreason.values import identifier
from mmreason.values import text as one_text


def check_items(
    rows: Iterable[SourceRow], media: Media, quarantine: Quarantine, batch: int = 512
) -> Iterator[tuple[SourceRow, Item]]:
    """The good ones of the items, each with its row; duplicates are not looked for.

    An item whose picture or video is bad stays, without it. ``item.split`` is empty where the row gives none.
    """
    for some in batches(rows, batch):
        media.fetch(some)
        for row in some:
            quarantine.read["items"] += 1
            item = _parse(row, "items", quarantine, _item)
            if item is None:
                continue
            for name, value in row.unreadable:
                record = {"id": item.id, "field": name, "value": repr(value)[:200]}
                quarantine.add("fields", SourceRow(row.file, row.number, record), f"{name} cannot be read")
            if media.check(item, row, quarantine):
                yield row, item


def check_reasons(rows: Iterable[SourceRow], quarantine: Quarantine) -> Iterator[tuple[SourceRow, Reason]]:
    """The good ones of the reasons; ``reason.split`` is empty where the row gives none."""
    for row in rows:
        quarantine.read["reasons"] += 1
        reason = _parse(row, "reasons", quarantine, lambda row: _reason(row.record))
        if reason is not None:
            yield row, reason


def _parse(row: SourceRow, kind: str, quarantine: Quarantine, parse: Callable[[SourceRow], Any]) -> Any:
    """The row's value, or None after setting the row aside."""
    try:
        if row.problem:
            raise DataError(row.problem)
        if not _is_unicode(row.record):
            if kind != "items" or not _is_unicode(row.record.get("id")):
                raise DataError("text is not valid Unicode")
            for name in row.record:
                row.read(name, _unicode, None)
        return parse(row)
    except DataError as error:
        quarantine.add(kind, row, str(error))
        return None


def _is_unicode(value: Any) -> bool:
    """Whether every text in a value can be encoded; not of one that is nested without end."""
    try:
        _encode_texts(value)
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _encode_texts(value: Any) -> None:
    if isinstance(value, str):
        if not value.isascii():
            value.encode()
    elif isinstance(value, dict):
        for name, each in value.items():
            _encode_texts(name)
            _encode_texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _encode_texts(each)


def _unicode(value: Any) -> Any:
    if not _is_unicode(value):
        raise ValueError("not valid Unicode")
    return value


def _item(row: SourceRow) -> Item:
    record = row.record
    item_id = _id_of(row, "id")
    if not item_id:
        raise DataError("no id")
    title, text, video, domain = (_text_of(row, name) for name in ("title", "text", "video", "domain"))
    return Item(
        id=item_id,
        title=plain_text(title),
        text=without_contacts(plain_text(text)),
        images=[str(path) for path in record.get("images") or []],
        video=video or None,
        attributes=_facts(record, "attributes"),
        hidden=_facts(record, "hidden"),
        links=row.read("links", links, {}),
        domain=domain,
        group=_id_of(row, "group"),
        split=_split(record),
    )


def _id_of(row: SourceRow, name: str) -> str:
    value = row.record.get(name)
    return value.strip() if type(value) is str else str(row.read(name, identifier, ""))


def _text_of(row: SourceRow, name: str) -> str:
    value = row.record.get(name)
    return one_text(value) if type(value) is str else str(row.read(name, one_text, ""))


def _facts(record: Mapping[str, Any], name: str) -> Attributes:
    facts = record.get(name) or {}
    return {key: [plain_text(value) for value in values] for key, values in facts.items()}


def _reason(record: Mapping[str, Any]) -> Reason:
    values = {name: _text(record, name) for name in ("user_id", "item_id", "text", "profile")}
    values["user_id"] = private_user(values["user_id"])
    if not values["user_id"]:
        raise DataError("no user id")
    if not values["item_id"]:
        raise DataError("no item id")
    if not values["text"]:
        raise DataError("no text")
    try:
        reason: Reason = from_record(Reason, {**values, "evidence": record.get("evidence") or []})
    except (DataError, TypeError, KeyError, AttributeError):
        raise DataError("evidence is not a list of evidence") from None
    reason.split = _split(record)
    return reason


def _split(record: Mapping[str, Any]) -> Split:
    split = _text(record, "split")
    if split and split not in get_args(Split):
        raise DataError(f"unknown split; known are {', '.join(get_args(Split))}")
    return split  # type: ignore[return-value]


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return "" if value is None else str(value).strip()
