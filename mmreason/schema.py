"""What flows through everything: items, users, interactions and reasons.

Plain dataclasses with a JSON form each, importable without torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from numbers import Real
from typing import Any, Literal, cast, get_args
from urllib.parse import quote, unquote

from mmreason.arguments import (
    amount,
    are_facts,
    are_paths,
    is_text,
    needed_id,
    number,
    pictures,
    unix_seconds,
    video,
    whole,
)
from mmreason.coercion import DataError, coerce, is_amount, is_time
from mmreason.links import links
from mmreason.values import facts, identifier, is_nothing, text

EVENTS = ("impression", "click", "view", "watch", "read", "cart", "purchase", "rating", "review")
"""The events a history may hold; an interaction with another one is quarantined."""

NESTED = frozenset({"images", "attributes", "hidden", "links", "evidence", "plan", "stopped"})
"""Fields that are JSON in a table's cell."""

Split = Literal["train", "valid", "test"]
SPLITS = frozenset(get_args(Split))
Attributes = dict[str, list[str]]


_EVENTS = frozenset(EVENTS)


@dataclass(slots=True)
class Item:
    """One thing that can be recommended.

    Attributes:
        id: Unique key, any text.
        title: Short name shown to people.
        text: Longer description, plain text.
        images: Picture paths (or PIL images, bytes or tensors when used through the Python API).
        video: Video path, if any.
        attributes: Facts that the texts may tell, name → values (``{"material": ["cotton"]}``).
        hidden: Facts that only the picture tells; kept for checking, never given to a text input.
        domain: ``shop``, ``video``, ``news`` or the caller's own word.
        links: Items that the source shows beside this one, kind (one of :data:`mmreason.links.LINKS`) → ids.
        group: Variants of one product share a group; splits and false negatives go by it. Default: the id.
        split: Which side of the split the item is on.

    Example:
        >>> Item(id="a/1", title="Rain coat").key
        'a%2F1'
    """

    id: str
    title: str = ""
    text: str = ""
    images: list[Any] = field(default_factory=list)
    video: Any = None
    attributes: Attributes = field(default_factory=dict)
    hidden: Attributes = field(default_factory=dict)
    links: dict[str, list[str]] = field(default_factory=dict)
    domain: str = ""
    group: str = ""
    split: Split = "train"

    def __post_init__(self) -> None:
        if type(self.id) is not str:
            coerce(self, "id", needed_id)
        if not (is_text(self.title) and is_text(self.text) and is_text(self.domain)):
            for name in ("title", "text", "domain"):
                if not is_text(getattr(self, name)):
                    coerce(self, name, text)
        if are_paths(self.images):
            self.images = self.images[:]
        else:
            coerce(self, "images", pictures)
        if self.video is not None and not (type(self.video) is str and self.video and is_text(self.video)):
            coerce(self, "video", video)
        if not are_facts(self.attributes):
            coerce(self, "attributes", facts)
        if not are_facts(self.hidden):
            coerce(self, "hidden", facts)
        if type(self.links) is not dict or self.links:
            coerce(self, "links", links)
        if type(self.group) is not str:
            coerce(self, "group", identifier)
        self.group = self.group or self.id
        if self.split and self.split not in SPLITS:
            coerce(self, "split", _split)

    @property
    def key(self) -> str:
        """The id percent-encoded so that it holds no dot and no slash (a WebDataset key)."""
        return item_key(self.id)

    def facts(self) -> Attributes:
        """All attributes, hidden ones included: for checking a reason, never for a model's text input."""
        return {**self.attributes, **self.hidden}


def item_key(item_id: str) -> str:
    """Percent-encode an id so that it holds no dot and no slash."""
    return quote(item_id, safe="").replace(".", "%2E")


def item_id_of(key: str) -> str:
    """The inverse of :func:`item_key`."""
    return unquote(key)


@dataclass(slots=True)
class Interaction:
    """What one user did with one item: one event, or several of a kind added up.

    Attributes:
        user_id: The user.
        item_id: The item.
        event: One of :data:`EVENTS`.
        count: How often.
        seconds: Seconds watched or read in all, if known.
        rating: 1 to 5, if given.
        timestamp: Unix seconds of the last time.
        text: What the user wrote, of a review.
        share: Share of the item's length that was watched or read, if the length is known.
        helpful: How many people found the review helpful, if known.
        first: Unix seconds of the first time, where several were added up; 0 if it is the last.
        item: The item itself, when it is in no catalogue (Python API only).
    """

    user_id: str = ""
    item_id: str = ""
    event: str = "click"
    count: int = 1
    seconds: float | None = None
    rating: float | None = None
    timestamp: float = 0.0
    text: str = ""
    share: float | None = None
    helpful: int | None = None
    first: float = 0.0
    item: Item | None = None

    def __post_init__(self) -> None:
        if self.item is not None and type(self.item) is not Item:
            coerce(self, "item", _item)
        if self.item is not None and not self.item_id:
            self.item_id = self.item.id
        if not (type(self.user_id) is str and type(self.item_id) is str and type(self.text) is str):
            for name, convert in (("user_id", identifier), ("item_id", identifier), ("text", text)):
                coerce(self, name, convert)
        if type(self.event) is not str or self.event not in _EVENTS:
            coerce(self, "event", _event)
        if not (
            type(self.count) is int
            and self.count >= 0
            and is_time(self.timestamp)
            and is_time(self.first)
            and (self.seconds is None or is_amount(self.seconds))
            and (self.rating is None or is_amount(self.rating))
            and (self.share is None or is_amount(self.share))
            and (self.helpful is None or (type(self.helpful) is int and self.helpful >= 0))
        ):
            for name, read in _NUMBERS.items():
                coerce(self, name, read)


@dataclass(slots=True)
class User:
    """A user is what they did, oldest first.

    Attributes:
        id: Unique key; empty for a visitor of whom nothing is known.
        history: What they did, also as dicts.
    """

    id: str
    history: list[Interaction] = field(default_factory=list)

    def __post_init__(self) -> None:
        if type(self.id) is not str:
            coerce(self, "id", identifier)
        if type(self.history) is not list or not all(type(step) is Interaction for step in self.history):
            coerce(self, "history", _history)


@dataclass(slots=True)
class Evidence:
    """What makes one claim of a reason true.

    Attributes:
        attribute: The attribute claimed, e.g. ``color``.
        value: The value claimed, e.g. ``red``.
        source: ``attribute`` (the catalogue says so), ``picture`` (only the picture shows it), ``review`` (the
            user wrote so) or ``none``.
        item_ids: History items that share the value.
        span: Start and end of the claim in the reason's text, in characters.
        opinion: Of a review: the words that judge the attribute, as written.
        polarity: Of a review: 1 for, -1 against.
    """

    attribute: str
    value: str
    source: str = "attribute"
    item_ids: list[str] = field(default_factory=list)
    span: tuple[int, int] | None = None
    opinion: str = ""
    polarity: int | None = None


@dataclass(slots=True)
class Reason:
    """Why this user would want this item.

    Attributes:
        text: The sentence shown to the user.
        evidence: One entry per claim found in the text.
        score: Mean log-probability of the generated tokens (0 is certain; not comparable across models).
        verified: True if every claim has evidence and there is at least one claim.
        profile: What the source says of the user in words, if it does (XRec's user summaries).
        level: Rung of the ladder: ``personal``, ``selling point``, ``template`` or ``nothing``; empty of a reference.
        writer: Who wrote it: ``template``, ``extract``, ``lm``.
        cause: Why it stands no higher on the ladder.
        plan: What it says, as a JSON object of facts and tie.
        stopped: What was written before it and did not pass, ``writer: kind of rejection`` each.
    """

    user_id: str
    item_id: str
    text: str
    evidence: list[Evidence] = field(default_factory=list)
    score: float | None = None
    verified: bool | None = None
    split: Split = "train"
    profile: str = ""
    level: str = ""
    writer: str = ""
    cause: str = ""
    plan: dict[str, Any] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)


def _split(value: Any) -> str:
    found = identifier(value) or "train"
    if found not in SPLITS:
        raise ValueError(f"one of {', '.join(get_args(Split))}")
    return found


def _event(value: Any) -> str:
    found = text(value).lower() or "click"
    if found not in _EVENTS:
        raise ValueError(f"one of {', '.join(EVENTS)}")
    return found


_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "count": lambda value: 1 if (found := whole(value)) is None else found,
    "seconds": amount,
    "rating": number,
    "timestamp": lambda value: unix_seconds(value) or 0.0,
    "share": amount,
    "helpful": whole,
    "first": lambda value: unix_seconds(value) or 0.0,
}


def _history(value: Any) -> list[Interaction]:
    if is_nothing(value):
        return []
    if isinstance(value, str | Mapping | Real):
        raise ValueError("give a list of interactions")
    return [_step(each) for each in value]


def _step(value: Any) -> Interaction:
    if isinstance(value, Mapping):
        return cast(Interaction, _of_fields(Interaction, value))
    if not isinstance(value, Interaction):
        raise ValueError("give interactions, or dicts of their fields")
    return value


def _item(value: Any) -> Item:
    if isinstance(value, Mapping):
        return cast(Item, _of_fields(Item, value))
    if not isinstance(value, Item):
        raise ValueError("give an Item, or a dict of its fields; an id alone is item_id")
    return value


def _of_fields(kind: type, record: Mapping[str, Any]) -> Any:
    known = _field_names(kind)
    unknown = [str(name) for name in record if name not in known]
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is no field of {kind.__name__}; there are {', '.join(sorted(known))}"
        )
    if kind is Item and "id" not in record:
        raise ValueError("an Item needs an id")
    return kind(**record)


def to_record(value: Item | Interaction | Reason) -> dict[str, Any]:
    """A flat row for Parquet, CSV or JSONL: nested fields become JSON text.

    Example:
        >>> to_record(Item(id="a", attributes={"material": ["wool"]}))["attributes"]
        '{"material": ["wool"]}'
    """
    row = _by_field(value)
    if isinstance(value, Interaction):
        del row["item"]
    return {
        name: json.dumps(v, ensure_ascii=False, default=_by_field) if isinstance(v, list | dict) else v
        for name, v in row.items()
    }


def _by_field(value: Any) -> dict[str, Any]:
    """A dataclass by field, without the copies that `asdict` makes of all that is in them."""
    kind: type = type(value)
    return {name: getattr(value, name) for name in _in_order(kind)}


@cache
def _in_order(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def from_record(kind: type, row: Mapping[str, Any]) -> Any:
    """The inverse of :func:`to_record`.

    Raises:
        DataError: If a nested field is not JSON.
    """
    names = _field_names(kind)
    values = {name: value for name, value in row.items() if value is not None and name in names}
    for name in NESTED & values.keys():
        if isinstance(values[name], str):
            try:
                values[name] = json.loads(values[name])
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{kind.__name__} {row.get('id', '')!r}: {name} is not JSON: {error}"
                ) from None
        if name == "evidence":
            values[name] = [
                Evidence(**{**e, "span": tuple(e["span"]) if e.get("span") else None}) for e in values[name]
            ]
    return kind(**values)


@cache
def _field_names(kind: type) -> frozenset[str]:
    return frozenset(f.name for f in fields(kind))


def item_text(item: Item) -> str:
    """What a text encoder reads of an item: title, description and the visible attributes."""
    facts = "; ".join(f"{name}: {', '.join(values)}" for name, values in item.attributes.items())
    return ". ".join(part.strip().rstrip(".") for part in (item.title, item.text, facts) if part.strip())


# Control characters, and those that turn the direction of writing.
_UNPRINTABLE = dict.fromkeys(
    [*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], " "
)


def printable(text: str) -> str:
    """Text of unknown origin as one line that cannot move a terminal's cursor or change its colours.

    Example:
        >>> printable("a\\x1b[31mb")
        'a [31mb'
    """
    return text.translate(_UNPRINTABLE)
