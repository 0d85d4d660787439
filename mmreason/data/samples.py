"""From raw WebDataset samples to the project's types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mmreason.schema import DataError, Interaction, Item, Reason, User, from_record, item_id_of


class SampleError(DataError):
    """A sample that cannot be used; ``cause`` is what the loader counts it under."""

    def __init__(self, key: str, cause: str) -> None:
        super().__init__(f"sample {key!r}: {cause}; run pack again")
        self.cause = cause


@dataclass(slots=True)
class ReasonSample:
    """A target with its reference reason, and the user whose history ends before it."""

    reason: Reason
    user: User


def decode_item(sample: dict[str, Any]) -> Item:
    """An item with its media as bytes.

    Args:
        sample: A WebDataset sample: ``__key__``, ``json``, ``0.jpg``, ``1.png``, ``mp4``.

    Returns:
        The item; ``images`` are bytes in order, ``video`` is bytes or None.

    Raises:
        SampleError: If the JSON is not that item's or a member is missing.
    """
    key = sample["__key__"]
    record = _record(sample)
    images, video = {}, None
    for name, data in sample.items():
        if name == "json" or name.startswith("__"):
            continue
        position = name.partition(".")[0]
        if name != position and position.isdecimal():
            images[int(position)] = data
        else:
            video = data
    item = _build(Item, record, key)
    if item.id != item_id_of(key):
        raise SampleError(key, "json of another item")
    if sorted(images) != list(range(len(item.images))) or (video is None) != (item.video is None):
        raise SampleError(key, "member missing")
    item.images, item.video = [images[position] for position in sorted(images)], video
    return item


def decode_reason(sample: dict[str, Any]) -> ReasonSample:
    """A target and the user's history before it, oldest first.

    Raises:
        SampleError: If the JSON is not a reason's.
    """
    key = sample["__key__"]
    record = _record(sample)
    history = record.pop("history", None)
    reason = _build(Reason, record, key)
    if not isinstance(history, list):
        raise SampleError(key, "bad json")
    return ReasonSample(reason, User(reason.user_id, [_build(Interaction, row, key) for row in history]))


def _record(sample: dict[str, Any]) -> dict[str, Any]:
    try:
        record = json.loads(sample["json"])
    except KeyError:
        raise SampleError(sample["__key__"], "no json") from None
    except ValueError:
        raise SampleError(sample["__key__"], "bad json") from None
    if not isinstance(record, dict):
        raise SampleError(sample["__key__"], "bad json")
    return record


def _build(kind: type, record: Any, key: str) -> Any:
    try:
        return from_record(kind, record)
    except (DataError, TypeError, AttributeError, KeyError):
        raise SampleError(key, "bad json") from None
