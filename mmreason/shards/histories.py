"""A user's history as a model reads it: cut before its target, added up, and stored by column.

Events are added up only after the cut, so that a count holds nothing of the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

from mmreason.schema import Interaction, Reason

_FIELDS = {f.name: f.default for f in fields(Interaction) if f.name not in ("user_id", "item")}


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


def aggregate(history: Iterable[Interaction]) -> list[Interaction]:
    """One user's events added up per item and event, ordered by their last time.

    Counts and seconds are summed, the share of the length is the largest, rating and text are the last given,
    ``first`` and ``timestamp`` are the first and the last time. An impression that was clicked is an impression
    and a click; one that was not has no click beside it.

    Args:
        history: Events, oldest first, already cut before the target.

    Example:
        >>> twice = aggregate([Interaction("u", "a", "watch", seconds=s, timestamp=t) for s, t in ((5, 1), (9, 2))])
        >>> [(i.count, i.seconds, i.first, i.timestamp) for i in twice]
        [(2, 14.0, 1.0, 2.0)]
    """
    sums: dict[tuple[str, str], Interaction] = {}
    for event in history:
        key = (event.item_id, event.event)
        begun = event.first or event.timestamp
        if key in sums:
            sums[key] = _add(sums[key], event, begun)
        else:
            sums[key] = event if event.first == begun else replace(event, first=begun)
    return sorted(sums.values(), key=lambda interaction: interaction.timestamp)


def _add(total: Interaction, event: Interaction, begun: float) -> Interaction:
    firsts = [time for time in (total.first, begun) if time > 0]
    return replace(
        total,
        count=total.count + event.count,
        seconds=_both(sum, total.seconds, event.seconds),
        share=_both(max, total.share, event.share),
        rating=total.rating if event.rating is None else event.rating,
        text=event.text or total.text,
        helpful=_both(max, total.helpful, event.helpful),
        timestamp=max(total.timestamp, event.timestamp),
        first=min(firsts, default=0.0),
    )


def _both(join: Callable[[list[Any]], Any], *values: Any) -> Any:
    known = [value for value in values if value is not None]
    return join(known) if known else None


def history_columns(user: str, history: list[Interaction]) -> dict[str, Any]:
    """A history by column, without the columns that hold nothing but a field's default."""
    columns: dict[str, Any] = {"user_id": user, "events": len(history)}
    for name, default in _FIELDS.items():
        values = [getattr(interaction, name) for interaction in history]
        if any(value != default for value in values):
            columns[name] = values
    return columns


def read_history(columns: Any, user: str) -> list[Interaction]:
    """The inverse of :func:`history_columns`.

    Raises:
        ValueError: If it is another user's, or its columns are not of one length.
    """
    values = {name: columns[name] for name in _FIELDS if name in columns}
    if columns["user_id"] != user or any(len(column) != columns["events"] for column in values.values()):
        raise ValueError(user)
    rows = zip(*values.values(), strict=True) if values else ((),) * columns["events"]
    history = [Interaction(user, **dict(zip(values, row, strict=True))) for row in rows]
    for interaction in history:  # as `aggregate` would, which then need not copy each
        interaction.first = interaction.first or interaction.timestamp
    return history


def by_user(interactions: Iterable[Interaction]) -> dict[str, list[Interaction]]:
    """Each user's interactions, with the time at which each began, for :func:`history_before`."""
    users: dict[str, list[Interaction]] = {}
    for interaction in interactions:
        begun = interaction.first or interaction.timestamp  # here once, else once a target
        users.setdefault(interaction.user_id, []).append(replace(interaction, first=begun))
    return users
