"""Training reasons as plans in words and the texts that say them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path

from mmreason.evidence.schema import Case
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.verify import Verifier
from mmreason.generate.verify.said import plan_said
from mmreason.schema import DataError, Item, Reason
from mmreason.shards.loader import reason_samples
from mmreason.shards.samples import ReasonSample
from mmreason.wording.brief import brief_of

MOST_LEARNT = 300
"""Training reasons that the verifier learns wording from."""


def learn_wording(
    verifier: Verifier, samples: Iterable[ReasonSample], case_of: Callable[[ReasonSample], Case]
) -> None:
    """Let the first training reasons that were made from facts license their wording.

    Args:
        verifier: Takes it up.
        samples: The training reasons.
        case_of: What is known of one.
    """
    made = (sample for sample in samples if _made_from_facts(sample.reason))
    for sample in islice(made, MOST_LEARNT):
        named = [each.value for each in sample.reason.evidence]
        verifier.learn(sample.reason.text, case_of(sample), named)


@dataclass(frozen=True, slots=True)
class WordedPlan:
    """A plan in words, and a text that says it, with places for the titles of the reader's items."""

    words: str
    text: str


@dataclass
class PlanReader:
    """Reads off training reasons the plans that they say; picklable, for loader workers.

    Args:
        evidence: Folder of what is known of the items.
        shards: Folder of the training reasons.
        items: Catalogue by id.
    """

    evidence: Path
    shards: Path
    items: Mapping[str, Item]
    _read: dict[tuple[str, str, str], WordedPlan | None] = field(default_factory=dict, repr=False)

    def read(self, sample: ReasonSample) -> WordedPlan | None:
        """The plan of a training reason; None if its text says what is not known, or what has no words in a plan."""
        reason = sample.reason
        key = reason.user_id, reason.item_id, reason.text
        if key not in self._read:
            self._read[key] = self._look(sample)
        return self._read[key]

    def in_place_of_others(self, samples: Sequence[ReasonSample]) -> list[ReasonSample]:
        """As many rows, of which those that say no plan are replaced by others that do."""
        good = [sample for sample in samples if self.read(sample)] or [self.first]
        others = cycle(good)
        return [sample if self.read(sample) else next(others) for sample in samples]

    @cached_property
    def first(self) -> ReasonSample:
        """The first training reason that says a plan.

        Raises:
            DataError: If none does.
        """
        for sample in reason_samples(self.shards, "train"):
            if self.read(sample):
                return sample
        raise DataError(
            "reason.inputs=plan: no training reason says only what is known of its item and person, so that none can "
            "be learnt from; choose other inputs"
        )

    def _look(self, sample: ReasonSample) -> WordedPlan | None:
        case, text = self._case(sample), sample.reason.text
        verdict = self._verifier.check(text, case)
        plan = plan_said(verdict, case) if verdict.passed else None
        brief = brief_of(plan, case) if plan and (plan.facts or plan.tie) else None
        emptied = brief.emptied(text, verdict.evidence) if brief else ""
        return WordedPlan(brief.words, emptied) if brief and emptied else None

    def _case(self, sample: ReasonSample) -> Case:
        return self._store.case(sample.user, self.items[sample.reason.item_id], self.items)

    @cached_property
    def _store(self) -> EvidenceStore:
        return EvidenceStore.open(self.evidence)

    @cached_property
    def _verifier(self) -> Verifier:
        verifier = Verifier()
        learn_wording(verifier, reason_samples(self.shards, "train"), self._case)
        return verifier

    def __getstate__(self) -> dict[str, object]:
        return {"evidence": self.evidence, "shards": self.shards, "items": self.items, "_read": {}}


def _made_from_facts(reason: Reason) -> bool:
    return bool(reason.evidence) and all(e.source in ("attribute", "picture") for e in reason.evidence)
