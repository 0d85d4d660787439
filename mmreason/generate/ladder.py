"""The ladder: the best verified personal reason, else a selling point, else a general line, else nothing.

Whoever wrote a text, it is checked the same way: the whole text is verified against the case, and the compliance packs
hold on every rung; where there is a second check, it is asked of what passed these, for many cases at once. What is
stopped is kept with its kind, so that the reason's ``cause`` can be told.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from mmreason.evidence.schema import Candidate, Case, Fact, Plan
from mmreason.generate.choice import Passed, best_of, opener, seed_of_plan
from mmreason.generate.compliance import Compliance
from mmreason.generate.verify import Claimed, Verdict, Verifier
from mmreason.generate.verify.said import plan_said
from mmreason.generate.writers import Writer, find_writers
from mmreason.safety.terms import TermFinder
from mmreason.schema import DataError, Evidence, Item, Reason
from mmreason.wording.general import general_lines
from mmreason.wording.template import is_no_reason

PERSONAL, SELLING_POINT, TEMPLATE, NOTHING = RUNGS = ("personal", "selling point", "template", "nothing")
"""From the top to the bottom."""

_CATEGORIES = ("category", "categories", "type", "genre", "genres")

MOST_TRIED = 12
"""Candidates of one rung that are checked before the rung is given up."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that was stopped.

    Attributes:
        candidate: What was written.
        kind: Of the verifier's rejections, or of the compliance pack's.
        why: In words.
    """

    candidate: Candidate
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Climbed:
    """What became of one case.

    Attributes:
        reason: With its level, writer, evidence and cause.
        plan: What it says; None on the lowest two rungs.
        rejected: What was stopped before it, in the order of the checks.
    """

    reason: Reason
    plan: Plan | None = None
    rejected: list[Rejected] = field(default_factory=list)


Climb = Generator[Claimed, Verdict, "Climbed"]
"""A case on its way: gives what the second check is to look at, and is sent its verdict."""


class SecondCheck(Protocol):
    """What looks again at texts that passed, many at once: slower than the rules, and stricter."""

    def check_all(self, claimed: Sequence[Claimed]) -> list[Verdict]:
        """A verdict for each, in order."""


@dataclass(frozen=True)
class Request:
    """One case to find a reason for.

    Attributes:
        case: One user and one item.
        plans: Best first.
        written: Candidates that there are already, a language model's for instance; checked first.
        seed: Of what a model draws for it alone.
        openers: First words that the page has used: a text that begins so is taken only if no other passes.
    """

    case: Case
    plans: Sequence[Plan]
    written: Sequence[Candidate] = ()
    seed: int = 0
    openers: Iterable[str] = ()


@dataclass(frozen=True)
class Ladder:
    """Chooses among candidates.

    Args:
        writers: Of single plans, in the order of preference for the first; they take turns by the seed.
        verifier: Accounts for a whole text.
        compliance: What no reason may hold.
        general: Writes lines for the rung ``template``, the most telling first.
        second: Looks again at what passed; None for nothing.
        seed: Of the writers' choices; with the plan it decides them, whoever it is said to.
        candidates: Texts of each writer that must pass before one is chosen; of 1 the first that passes is taken.
    """

    writers: Mapping[str, Writer]
    verifier: Verifier
    compliance: Compliance
    general: Callable[[Case], Iterable[Candidate]]
    second: SecondCheck | None = None
    candidates: int = 1
    seed: int = 0

    def climb(
        self,
        case: Case,
        plans: Sequence[Plan],
        written: Sequence[Candidate] = (),
        seed: int = 0,
        openers: Iterable[str] = (),
    ) -> Climbed:
        """The reason of one case, with what was stopped; the arguments are those of a :class:`Request`."""
        return self.climb_all([Request(case, plans, written, seed, openers)])[0]

    def climb_all(self, requests: Sequence[Request]) -> list[Climbed]:
        """The reason of each case, with what was stopped.

        Where there is a second check, the cases climb together: each stops at a text that passed the rules, and the
        texts of all are looked at in one call.

        Args:
            requests: In the order of the result.
        """
        found: list[Climbed | None] = [None] * len(requests)
        climbs = [self._climb(request) for request in requests]
        answers: dict[int, Verdict | None] = dict.fromkeys(range(len(requests)))
        while answers:
            asked: dict[int, Claimed] = {}
            for n, answer in answers.items():
                try:
                    asked[n] = next(climbs[n]) if answer is None else climbs[n].send(answer)
                except StopIteration as done:
                    found[n] = done.value
            verdicts = self.second.check_all(list(asked.values())) if self.second and asked else []
            answers = dict(zip(asked, verdicts, strict=True))
        return [climbed for climbed in found if climbed is not None]

    def _climb(self, request: Request) -> Climb:
        case, plans = request.case, request.plans
        rejected: list[Rejected] = []
        used = set(request.openers)
        written = yield from self._written(request, rejected)
        for level in (PERSONAL, SELLING_POINT):
            found = [each for each in written if each.candidate.plan.level == level]
            if self.candidates > 1 or all(each.loose for each in found):
                fitting = [plan for plan in plans if plan.level == level]
                found += yield from self._passing(fitting, case, used, rejected)
            if found:
                first = min(found, key=lambda each: each.loose)
                best = best_of(found, used) if self.candidates > 1 else first
                cause = "" if level == PERSONAL else _cause(case, plans, rejected, level)
                return _climbed(case, best.candidate, best.evidence, rejected, cause)
        cause = _cause(case, plans, rejected)
        for line in islice(self.general(case), MOST_TRIED):
            verdict = (yield from self._check(line, case, rejected)) if line.plan.facts else None
            if verdict or not (line.plan.facts or self._breaches(line, case, rejected)):
                level = SELLING_POINT if line.writer == "extract" else TEMPLATE
                return _climbed(case, line, verdict.evidence if verdict else [], rejected, cause, level)
        nothing = Reason(
            case.user.id,
            case.item.id,
            "",
            verified=False,
            level=NOTHING,
            cause=cause,
            stopped=_kinds(rejected),
        )
        return Climbed(nothing, None, rejected)

    def _written(
        self, request: Request, rejected: list[Rejected]
    ) -> Generator[Claimed, Verdict, list[Passed]]:
        """What passes of the texts that there are already; up to a personal one where no choice is asked for."""
        case, passed = request.case, []
        for candidate in request.written:
            verdict = yield from self._check(candidate, case, rejected)
            if verdict is None:
                continue
            candidate = replace(candidate, plan=_plan_of(candidate, case, verdict))
            # Of a picture nothing is told in passing either; a year beside a genre may be.
            told = [f for n, f in enumerate(candidate.plan.facts) if not n or f.source == "picture"]
            idle = next((fact for fact in told if is_no_reason(case, fact)), None)
            if idle:
                why = f"nobody chooses by {idle.name} {idle.value!r}"
                rejected.append(Rejected(candidate, "no reason", why))
                continue
            passed.append(Passed(candidate, verdict.evidence, verdict.loose))
            if candidate.plan.level == PERSONAL and self.candidates == 1 and not verdict.loose:
                break
        return passed

    def _passing(
        self, plans: Sequence[Plan], case: Case, used: set[str], rejected: list[Rejected]
    ) -> Generator[Claimed, Verdict, list[Passed]]:
        """What passes of a rung: the first of all writers, or of each as many as are asked for."""
        names = list(self.writers)
        passed: list[Passed] = []
        for some in [names] if self.candidates == 1 else [[name] for name in names]:
            texts = (candidate for plan in plans for candidate in self._said(plan, case, some))
            passed += yield from self._first(texts, case, used, rejected)
        return passed

    def _said(self, plan: Plan, case: Case, names: list[str]) -> Iterator[Candidate]:
        """What writers say of a plan; they take turns."""
        seed = seed_of_plan(plan, case, self.seed)
        turn = seed % len(names) if names else 0
        for name in names[turn:] + names[:turn]:
            yield from self.writers[name](plan, case, seed)

    def _first(
        self, candidates: Iterable[Candidate], case: Case, used: set[str], rejected: list[Rejected]
    ) -> Generator[Claimed, Verdict, list[Passed]]:
        """The first candidates that pass; one with an opener that was used only if there is no other."""
        fresh: list[Passed] = []
        again: list[Passed] = []
        for candidate in islice(candidates, MOST_TRIED):
            verdict = yield from self._check(candidate, case, rejected)
            if verdict is not None:
                kept = again if opener(candidate.text) in used else fresh
                kept.append(Passed(candidate, verdict.evidence, verdict.loose))
            if len(fresh) == self.candidates:
                break
        return fresh or again[:1]

    def _check(
        self, candidate: Candidate, case: Case, rejected: list[Rejected]
    ) -> Generator[Claimed, Verdict, Verdict | None]:
        verdict = self.verifier.check(candidate.text, case)
        if verdict.passed and self._breaches(candidate, case, rejected):
            return None
        if verdict.passed and self.second is not None:
            verdict = yield candidate.text, case, verdict
        if not verdict.passed:
            rejected.append(Rejected(candidate, verdict.kind, verdict.why))
            return None
        return verdict

    def _breaches(self, candidate: Candidate, case: Case, rejected: list[Rejected]) -> bool:
        for breach in self.compliance.breaches(candidate.text, case.language, _category(case.item)):
            rejected.append(Rejected(candidate, breach.kind, breach.why))
            return True
        return False


def make_ladder(
    writers: Sequence[str],
    packs: Sequence[str] = (),
    sensitive: TermFinder | None = None,
    second: SecondCheck | None = None,
    candidates: int = 1,
    seed: int = 0,
) -> Ladder:
    """The ladder of the writers and compliance packs that a configuration names.

    Args:
        writers: Names in the registry; ``lm`` brings its candidates by itself.
        packs: Files of compliance packs, beside those of language and domain.
        sensitive: Finds further terms that nobody may infer of a person.
        second: Looks again at what passed the rules.
        candidates: Texts of each writer to choose from.
        seed: Of the writers' choices.

    Raises:
        DataError: If a writer is unknown, a pack cannot be read, or there are no candidates.
    """
    if candidates < 1:
        raise DataError(f"generate.candidates is {candidates}; give 1 or more")
    compliance = Compliance(packs, sensitive)
    return Ladder(find_writers(writers), Verifier(), compliance, general_lines, second, candidates, seed)


def seed_of(case: Case, seed: int) -> int:
    """The seed of one request: the same in every batch and on every machine."""
    digest = hashlib.blake2b(f"{seed}\0{case.user.id}\0{case.item.id}".encode("utf-8", "replace"))
    return int.from_bytes(digest.digest()[:4], "big")


def plan_record(plan: Plan) -> dict[str, Any]:
    """A plan as a reason keeps it: the facts, and what the tie rests on.

    Example:
        >>> plan_record(Plan((Fact("a", "material", "wool"),)))
        {'facts': [{'name': 'material', 'value': 'wool', 'source': 'attribute'}]}
    """
    record: dict[str, Any] = {"facts": [_fact_record(fact) for fact in plan.facts]}
    if plan.tie is not None:
        record["tie"] = {"kind": plan.tie.kind, "items": list(plan.tie.item_ids)}
        if plan.tie.taste is not None:
            taste = asdict(plan.tie.taste)
            record["tie"] |= {name: taste[name] for name in ("concept", "events", "share", "lift", "p_value")}
        if plan.tie.fact is not None:
            record["tie"]["fact"] = _fact_record(plan.tie.fact)
    return record


def _fact_record(fact: Fact) -> dict[str, Any]:
    record: dict[str, Any] = {"name": fact.name, "value": fact.value, "source": fact.source}
    if fact.probability < 1:
        record["probability"] = round(fact.probability, 4)
    if fact.supporters:
        record |= {"supporters": fact.supporters, "asked": fact.asked}
    return record


def _climbed(
    case: Case,
    candidate: Candidate,
    evidence: list[Evidence],
    rejected: list[Rejected],
    cause: str = "",
    level: str = "",
) -> Climbed:
    plan = candidate.plan if candidate.plan.facts or candidate.plan.tie else None
    if candidate.plan.level != PERSONAL:  # what the history shares is no part of what the text says
        evidence = [replace(each, item_ids=[]) for each in evidence]
    reason = Reason(
        case.user.id,
        case.item.id,
        candidate.text,
        evidence,
        candidate.score,
        verified=bool(evidence),
        level=level or candidate.plan.level,
        writer=candidate.writer,
        cause=cause,
        plan=plan_record(plan) if plan else {},
        stopped=_kinds(rejected),
    )
    return Climbed(reason, plan, rejected)


def _category(item: Item) -> str:
    """Domain and categories of an item, in words."""
    named = [value for name, values in item.attributes.items() if name in _CATEGORIES for value in values]
    return " ".join([item.domain, *named])


def _kinds(rejected: Sequence[Rejected]) -> list[str]:
    return [f"{each.candidate.writer}: {each.kind}" for each in rejected]


def _plan_of(candidate: Candidate, case: Case, verdict: Verdict) -> Plan:
    """The plan that a model was told to say, if its text says that; else the one that it says."""
    known, said = candidate.plan, plan_said(verdict, case)
    told = {fact.concept for fact in known.facts} <= {fact.concept for fact in said.facts}
    return known if (known.facts or known.tie) and known.level == verdict.level and told else said


def _cause(case: Case, plans: Sequence[Plan], rejected: Sequence[Rejected], level: str = "") -> str:
    """Why a reason is not personal, or why it tells nothing of the item either."""
    if stopped := Counter(each.kind for each in rejected):
        kinds = ", ".join(f"{kind} ({count})" for kind, count in stopped.most_common())
        return f"stopped: {kinds}"
    if level != SELLING_POINT and not plans:
        return "no fact worth telling" if case.facts else "no fact of the item"
    if not case.user.history:
        return "no history"
    if not case.tastes:
        return "no taste in the history"
    personal = any(plan.level == PERSONAL for plan in plans)
    return "no wording" if personal else "no taste that the item answers"
