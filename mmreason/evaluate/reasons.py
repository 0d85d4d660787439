"""The rows of a generate job with what they are measured against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mmreason.bulk.parts import read_parts
from mmreason.catalogue.catalogue import Catalogue
from mmreason.config import Config
from mmreason.schema import DataError, Item, Reason, User, from_record
from mmreason.shards.histories import by_user, history_before
from mmreason.shards.loader import ReasonSample, reason_samples


@dataclass
class EvaluatedReason:
    """One generated reason and what it is measured against.

    Attributes:
        user: The user with the history that the reason saw.
        item: The item.
        reason: What the model wrote.
        reference: What the simulation or a person wrote, if anybody did.
        text_only: What the text-only LM wrote, if it was asked.
        other_user: The reason for the same item and another user, if asked.
        other_picture: The reason with another item's picture in place of its own, if asked.
        other_item: The item whose picture was shown.
    """

    user: User
    item: Item
    reason: Reason
    reference: Reason | None = None
    text_only: str | None = None
    other_user: str | None = None
    other_picture: str | None = None
    other_item: Item | None = None


@dataclass
class GeneratedReasons:
    """What a generate job wrote.

    Attributes:
        rows: The reasons that there are.
        failures: Error → requests that got no reason because of it.
        gone: Reasons for items that the catalogue no longer has.
    """

    rows: list[EvaluatedReason] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    gone: int = 0

    @property
    def requests(self) -> int:
        """How many requests the job had."""
        return len(self.rows) + self.failures.total() + self.gone


def read_reasons(config: Config, catalogue: Catalogue) -> GeneratedReasons:
    """The reasons of a generate job, each with its user's history and the test split's reference.

    Nothing is left out in silence: what failed and what is gone is counted. Without a job there are no rows.

    Raises:
        DataError: If the job is not finished, or ``evaluate.job`` names one that is not there.
    """
    job = config.evaluate.job or config.generate.job
    folder = config.path("generate", job)
    found = GeneratedReasons()
    if not (folder / "progress.json").exists():
        if config.evaluate.job:
            jobs = sorted(path.parent.name for path in config.path("generate").glob("*/progress.json"))
            raise DataError(
                f"evaluate.job: there is no generate job {job!r} in {config.path()}; "
                f"there is {', '.join(jobs) or 'none'}"
            )
        return found
    references: dict[tuple[str, str], ReasonSample] = {}
    if config.path("shards", "manifest.json").exists():
        samples = reason_samples(config.path("shards"), "test")
        references = {(s.reason.user_id, s.reason.item_id): s for s in samples}
    histories = by_user(catalogue.interactions)
    for record in read_parts(folder).to_pylist():
        if record["error"] is not None:
            found.failures[record["error"]] += 1
        elif (item := catalogue.items.get(record["item_id"])) is None:
            found.gone += 1
        else:
            reason = from_record(Reason, record)
            if sample := references.get((reason.user_id, reason.item_id)):
                found.rows.append(EvaluatedReason(sample.user, item, reason, sample.reason))
            else:
                user = User(reason.user_id, history_before(histories.get(reason.user_id, []), reason))
                found.rows.append(EvaluatedReason(user, item, reason))
    return found


def draw_over_users(rows: Sequence[EvaluatedReason], count: int, seed: int = 0) -> list[EvaluatedReason]:
    """Rows at random, spread over as many users as possible: one of each user in turn.

    Args:
        rows: To draw from.
        count: How many; 0 for all.
        seed: Of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    turns: Counter[str] = Counter()
    ranked = []
    for place, row in enumerate(order.tolist()):
        user = rows[row].user.id
        ranked.append((turns[user], place, row))
        turns[user] += 1
    return [rows[row] for _, _, row in sorted(ranked)[: count or None]]
