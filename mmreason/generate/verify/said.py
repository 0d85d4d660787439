"""The plan that a verified text says, read off what it rests on."""

from __future__ import annotations

from mmreason.evidence.schema import Case, Fact, Plan, Tie
from mmreason.generate.verify.verdict import Verdict


def plan_said(verdict: Verdict, case: Case) -> Plan:
    """The facts that a text names, and the taste that it ties one of them to.

    Args:
        verdict: Of a text that passed.
        case: Its item and person.
    """
    facts = {fact.spelling: fact for fact in case.facts}
    spelled = [Fact(case.item.id, e.attribute, e.value).spelling for e in verdict.evidence]
    said = [facts[s] for s in dict.fromkeys(spelled) if s in facts]
    if verdict.level != "personal":
        return Plan(tuple(said))
    tastes = {taste.concept: taste for taste in case.tastes}
    said.sort(key=lambda fact: fact.concept not in tastes)
    taste = tastes.get(said[0].concept) if said else None
    ids = tuple(dict.fromkeys(i for e in verdict.evidence for i in e.item_ids))
    return Plan(tuple(said), Tie("taste", ids, taste))
