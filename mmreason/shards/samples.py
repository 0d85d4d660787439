"""From catalogue rows to WebDataset samples, and from those to the project's types."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from mmreason.catalogue.behaviours import aggregate
from mmreason.catalogue.check import inside
from mmreason.schema import DataError, Interaction, Item, Reason, User, from_record, item_id_of
from mmreason.shards.tars import Sample, SampleError

_INTERACTION_FIELDS = tuple(f.name for f in fields(Interaction) if f.name != "item")


@dataclass(slots=True)
class ReasonSample:
    """A target with its reference reason, and the user whose history ends before it."""

    reason: Reason
    user: User


def encode_item(item: Item, media_root: Path, lost: list[dict[str, str]]) -> Sample:
    """An item's JSON and the bytes of its media.

    Args:
        item: Its media are names relative to ``media_root``.
        media_root: Where its media lie.
        lost: Gets a line for each file that is gone, empty or unreadable; the sample goes without it.
    """
    record = asdict(item) | {"images": [], "video": None}
    members: dict[str, bytes] = {"json": b""}
    for name in item.images:
        data = _read_media(media_root, item, name, lost)
        if data:
            members[f"{len(record['images'])}.{_extension(name)}"] = data
            record["images"].append(name)
    if item.video:
        data = _read_media(media_root, item, item.video, lost)
        if data:
            members[_extension(item.video)] = data
            record["video"] = item.video
    members["json"] = to_json(record)
    return item.key, members


def encode_reasons(reasons: Iterable[Reason], interactions: Iterable[Interaction]) -> Iterator[Sample]:
    """Targets with the user's history before each; keys are made of user, item and place among their like.

    Args:
        reasons: In order.
        interactions: All that the reasons' users did, oldest first.
    """
    histories: dict[str, list[Interaction]] = {}
    for interaction in interactions:
        begun = interaction.first or interaction.timestamp  # here once, else once a target
        histories.setdefault(interaction.user_id, []).append(replace(interaction, first=begun))
    seen: Counter[str] = Counter()
    for reason in reasons:
        history = history_before(histories.get(reason.user_id, []), reason)
        pair = json.dumps([reason.user_id, reason.item_id])
        key = hashlib.md5(pair.encode(), usedforsecurity=False).hexdigest()
        seen[key] += 1
        record = asdict(reason) | {"history": [_interaction_record(one) for one in history]}
        yield f"{key}-{seen[key]}", {"json": to_json(record)}


def history_before(interactions: Iterable[Interaction], reason: Reason) -> list[Interaction]:
    """What a user did before the target, oldest first, so that the target cannot leak into its own reason.

    The target's time is that of the user's first interaction with the item. Interactions with the item
    itself are left out, and so is all that happened at that time or later; where a time is unknown (0),
    only the item itself is left out. What is left is added up per item and event.

    Args:
        interactions: All of the user's.
        reason: The target.
    """
    interactions = list(interactions)
    times = [i.first or i.timestamp for i in interactions if i.item_id == reason.item_id and i.timestamp > 0]
    limit = min(times, default=float("inf"))
    before = [i for i in interactions if i.item_id != reason.item_id and i.timestamp < limit]
    return aggregate(sorted(before, key=lambda interaction: interaction.timestamp))


def decode_item(sample: dict[str, Any], media: bool = True) -> Item:
    """An item with its media as bytes.

    Args:
        sample: A WebDataset sample: ``__key__``, ``json``, ``0.jpg``, ``1.png``, ``mp4``.
        media: Else the media are left out, whether or not the sample has them.

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
    if not media:
        item.images, item.video = [], None
        return item
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


def to_json(record: Any) -> bytes:
    """UTF-8 JSON on one line."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")


def _interaction_record(interaction: Interaction) -> dict[str, Any]:
    # As `to_record`, without its deep copy: a history is written for every target.
    return {name: getattr(interaction, name) for name in _INTERACTION_FIELDS}


def _read_media(root: Path, item: Item, name: str, lost: list[dict[str, str]]) -> bytes:
    """The bytes of a media file; of one that is gone or empty none, and a line for it."""
    try:
        path = inside(root, name)
        if path.exists() and not path.is_file():  # a pipe would wait for ever
            raise OSError("no file")
        data = path.read_bytes()
        cause = "" if data else "media file empty"
    except (OSError, DataError, ValueError) as error:  # ValueError: a name with a null byte
        data = b""
        cause = "media file missing" if isinstance(error, FileNotFoundError) else "media file unreadable"
    if cause:
        lost.append({"id": item.id, "file": str(name), "cause": cause})
    return data


def _extension(name: str) -> str:
    suffix = Path(name).suffix[1:].lower()
    return suffix if re.fullmatch(r"[a-z0-9]{1,8}", suffix) and suffix != "json" else "bin"


def _record(sample: dict[str, Any]) -> dict[str, Any]:
    try:
        record = json.loads(sample["json"])
    except KeyError:
        raise SampleError(sample["__key__"], "no json") from None
    except (ValueError, RecursionError):  # the latter of brackets without end
        raise SampleError(sample["__key__"], "bad json") from None
    if not isinstance(record, dict):
        raise SampleError(sample["__key__"], "bad json")
    return record


def _build(kind: type, record: Any, key: str) -> Any:
    try:
        return from_record(kind, record)
    except (DataError, TypeError, AttributeError, KeyError):
        raise SampleError(key, "bad json") from None
