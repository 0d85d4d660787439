"""How far up the ladder reasons stand, what each writer gave, and what of it was stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mmreason.generate.ladder import RUNGS
from mmreason.schema import Reason


@dataclass
class WriterRecord:
    """What became of one writer's texts.

    Attributes:
        name: Of the writer.
        chosen: Reasons that are its.
        stopped: Kind of rejection → its texts that were checked and did not pass.
    """

    name: str
    chosen: int = 0
    stopped: Counter[str] = field(default_factory=Counter)


@dataclass
class LadderRecord:
    """Of all reasons of a job.

    Attributes:
        rungs: Rung → reasons on it, from the top to the bottom.
        causes: Why reasons stand no higher → how many.
        writers: The writers, the one with the most reasons first.
        shared: What of the words was shared, in a sentence; empty where none were.
    """

    rungs: dict[str, int] = field(default_factory=dict)
    causes: Counter[str] = field(default_factory=Counter)
    writers: list[WriterRecord] = field(default_factory=list)
    shared: str = ""

    def to_record(self) -> dict[str, Any]:
        """For ``metrics.json``."""
        writers = {w.name: {"chosen": w.chosen, "stopped": dict(w.stopped)} for w in self.writers}
        return {"rungs": self.rungs, "causes": dict(self.causes), "writers": writers, "shared": self.shared}


def ladder_record(reasons: Iterable[Reason], shared: str = "") -> LadderRecord:
    """Count rungs, causes and writers; empty where no reason has a level.

    Args:
        reasons: Of a job.
        shared: As of :class:`LadderRecord`.

    Example:
        >>> record = ladder_record([Reason("u", "a", "Warm.", level="personal", writer="lm", stopped=["lm: twice"])])
        >>> record.rungs, record.writers[0].chosen, dict(record.writers[0].stopped)
        ({'personal': 1, 'selling point': 0, 'template': 0, 'nothing': 0}, 1, {'twice': 1})
    """
    levels: Counter[str] = Counter()
    record = LadderRecord(shared=shared)
    writers: dict[str, WriterRecord] = {}
    for reason in reasons:
        if not reason.level:
            continue
        levels[reason.level] += 1
        if reason.cause:
            record.causes[reason.cause] += 1
        if reason.writer:
            writers.setdefault(reason.writer, WriterRecord(reason.writer)).chosen += 1
        for stopped in reason.stopped:
            name, _, kind = stopped.partition(": ")
            writers.setdefault(name, WriterRecord(name)).stopped[kind] += 1
    record.rungs = {rung: levels[rung] for rung in RUNGS} if levels else {}
    record.writers = sorted(writers.values(), key=lambda writer: (-writer.chosen, writer.name))
    return record
