"""``mmreason explain``: a reason with its plan and evidence, and what was stopped before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.evidence.schema import Fact, Plan
from mmreason.generate.asks import load_reasoner
from mmreason.generate.ladder import Climbed
from mmreason.generate.reasoner import Reasoner
from mmreason.generate.recommend import recommend
from mmreason.schema import DataError, Item, User, printable
from mmreason.settings import NAME as SAVED
from mmreason.shards.histories import aggregate

PAGE = 8
"""Items of a page for which none are named."""


def explain(
    run_dir: str = "runs/quickstart", user: str = "", item: str = "", page: list[str] | None = None
) -> str:
    """Why a user would want an item, and how the reason came about: with the run's writers and compliance packs.

    Args:
        run_dir: The run's folder.
        user: Id of the user; empty is a visitor of whom nothing is known.
        item: Id of the item; empty explains a page.
        page: Ids of the items of a page, from the top; empty takes those that answer the user's tastes.

    Raises:
        DataError: If there is no such user or item.
    """
    from mmreason.cli import read_config

    folder = Path(run_dir)
    catalogue = read_catalogue(folder / "catalogue")
    history = aggregate(
        sorted((s for s in catalogue.interactions if s.user_id == user), key=lambda step: step.timestamp)
    )
    if user and not history:
        raise DataError(f"{run_dir}: user {user!r} has no history; leave --user out for a visitor")
    reasoner = load_reasoner(read_config(folder / SAVED, run_dir=run_dir), catalogue)
    person = User(user, history)
    if item:
        climbed = next(reasoner.climb_many([(person, _find(item, catalogue.items))]))
        return "\n".join(_lines(climbed, reasoner))
    wanted = [_find(each, catalogue.items) for each in page or ()]
    if not wanted:
        catalogue.interactions = [step for step in catalogue.interactions if step.user_id == user]
        wanted = [one for _, one in recommend(catalogue, reasoner.evidence, PAGE)][:PAGE]
    found = reasoner.climb_page(person, wanted)
    return "\n\n".join("\n".join(_lines(climbed, reasoner)) for climbed in found)


def _find(item_id: str, items: dict[str, Item]) -> Item:
    if item_id not in items:
        raise DataError(
            f"item {item_id!r} is not in the catalogue; there is {next(iter(items), 'none')!r}, …"
        )
    return items[item_id]


def _lines(climbed: Climbed, reasoner: Reasoner) -> Iterator[str]:
    reason = climbed.reason
    title = reasoner.items[reason.item_id].title
    yield printable(f"{title} ({reason.item_id})")
    yield printable(f"  {reason.text or '(nothing)'}")
    about = [f"level: {reason.level}", f"writer: {reason.writer}" if reason.writer else "", reason.cause]
    yield printable("  " + "; ".join(filter(None, about)))
    yield from (printable(f"  {line}") for line in _plan_lines(climbed.plan, reasoner))
    for each in climbed.rejected:
        yield printable(
            f"  stopped ({each.candidate.writer}, {each.kind}): {each.candidate.text}  [{each.why}]"
        )


def _people(fact: Fact) -> str:
    return f", {fact.supporters} of {fact.asked} people" if fact.asked else ""


def _told_by(fact: Fact | None) -> str:
    """What a tie rests on that is no taste: praise, or a relation."""
    return f", {fact.name}{_people(fact)}" if fact else ""


def _plan_lines(plan: Plan | None, reasoner: Reasoner) -> Iterator[str]:
    if plan is None:
        return
    for fact in plan.facts:
        sure = f", {fact.probability:.0%} sure" if fact.probability < 1 else ""
        yield f"fact: {fact.name} = {fact.value} ({fact.source}{sure}{_people(fact)})"
    if plan.tie is not None:
        taste = plan.tie.taste
        lift = f", {taste.lift:.1f} times as much as everybody" if taste else ""
        yield f"tie: {plan.tie.kind}{lift}{_told_by(plan.tie.fact)}"
        for item_id in plan.tie.item_ids[:5]:
            known = reasoner.items.get(item_id)
            yield f"  {item_id}: {known.title if known else 'not in the catalogue'}"
