"""From catalogue rows to WebDataset samples, and from those to the project's types."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from encoders.media.errors import NamedBytes
from mmreason.readers.source import inside
from mmreason.schema import DataError, Interaction, Item, Reason, User, from_record, item_id_of
from mmreason.shards.histories import history_before, history_columns, read_history
from mmreason.shards.tars import Sample, SampleError

HISTORY = "history.json"
"""Extension of the member that holds what a user did; with the first of the user's targets in a shard."""


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
    del record["links"]  # no model reads them
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
    """Targets, with the first of each user all that the user did; :func:`decode_reason` cuts it before a target.

    Keys are made of the user, the item and the place among the targets of this pair.

    Args:
        reasons: In order, a user's one after another.
        interactions: All that the reasons' users did, oldest first.
    """
    histories: dict[str, list[Interaction]] = {}
    for interaction in interactions:
        histories.setdefault(interaction.user_id, []).append(interaction)
    seen: Counter[str] = Counter()
    user = None
    for reason in reasons:
        pair = json.dumps([reason.user_id, reason.item_id])
        key = hashlib.md5(pair.encode(), usedforsecurity=False).hexdigest()
        seen[key] += 1
        members = {"json": to_json(asdict(reason))}
        if reason.user_id != user:
            user = reason.user_id
            members[HISTORY] = to_json(history_columns(user, histories.get(user, [])))
        yield f"{key}-{seen[key]}", members


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
    names = item.images, item.video
    item.images = [NamedBytes(images[place], name) for place, name in enumerate(names[0])]
    item.video = None if video is None else NamedBytes(video, names[1])
    return item


def decode_reason(sample: dict[str, Any]) -> ReasonSample:
    """A target and the user's history before it, oldest first.

    Args:
        sample: A WebDataset sample: ``__key__``, ``json`` and, its own or from :func:`with_histories`,
            ``history.json``.

    Raises:
        SampleError: If the JSON is not a reason's, or the history is missing or another user's.
    """
    key = sample["__key__"]
    reason = _build(Reason, _record(sample), key)
    try:
        events = read_history(json.loads(sample[HISTORY]), reason.user_id)
    except KeyError:
        raise SampleError(key, "no history") from None
    except (ValueError, TypeError, RecursionError):
        raise SampleError(key, "bad history") from None
    return ReasonSample(reason, User(reason.user_id, history_before(events, reason)))


def with_histories(samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Samples of reasons in packed order, each with its user's history, which the tar holds once a user.

    For programs that read a tar with stock ``webdataset``; use it before any shuffle.

    Example:
        >>> first, second = {"__key__": "a-1", "json": b"{}", "history.json": b"[]"}, {"__key__": "b-1", "json": b"{}"}
        >>> [sample["history.json"] for sample in with_histories([first, second])]
        [b'[]', b'[]']
    """
    history = None
    for sample in samples:
        history = sample.get(HISTORY, history)
        yield {**sample, HISTORY: history}


def to_json(record: Any) -> bytes:
    """UTF-8 JSON on one line."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")


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
