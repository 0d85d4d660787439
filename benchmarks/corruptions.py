"""Corruptions of true reasons: what a verifier is to stop, and what a checker could learn from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mmreason.evidence.schema import Case, Fact, Plan, Tie
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.verify.building import lexicon
from mmreason.schema import Item, Reason, User
from mmreason.wording.grammar import grammar_of
from mmreason.wording.slots import said_of, sentence, thing_slots
from mmreason.wording.titles import name_of

Rng = np.random.Generator
Corrupt = Callable[[Rng, "True_", "Shop"], Iterator[tuple[str, Case]]]


@dataclass
class Shop:
    """A catalogue with its evidence, its users, and true reasons."""

    name: str
    items: Mapping[str, Item]
    users: list[User]
    store: EvidenceStore
    references: list[Reason]
    values: dict[str, list[str]]


@dataclass
class True_:
    """A reason that is true of its case."""

    text: str
    case: Case
    plan: Plan


def other_fact(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """A value of the item in the text becomes one that the item does not have."""
    for fact in each.case.facts:
        others = [v for v in shop.values.get(fact.name, ()) if not _says(each.case.item, each.case.facts, v)]
        spot = _find(each.text, fact.value)
        if spot and others and fact.source == "attribute":
            value = others[int(rng.integers(len(others)))].split(" > ")[-1]
            if not _says(each.case.item, each.case.facts, value):
                yield each.text.replace(spot.group(), value.lower()), each.case
                return


def other_taste(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """The reason of one user shown to another one, whose history has nothing of it."""
    if each.plan.level != "personal":
        return
    for place in rng.permutation(len(shop.users))[:20]:
        case = shop.store.case(shop.users[place], each.case.item, shop.items)
        held = [fact for facts in case.history_facts.values() for fact in facts]
        said = {fact.concept for fact in each.plan.facts}
        titles = any(name_of(item) in each.text for item in case.history_items.values())
        if said and not titles and not any(fact.concept in said for fact in held):
            yield each.text, case
            return


def stronger(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """More is said of the person than the history shows: "often" becomes "always"."""
    del rng, shop
    taste = each.plan.tie and each.plan.tie.taste
    if not taste or len(taste.item_ids) == len(each.case.history_facts):
        return
    for weak, strong in _STRONGER:
        if re.search(weak, each.text):
            yield re.sub(weak, strong, each.text, count=1), each.case
            return


_STRONGER = (
    (r"\b([Yy])ou often\b", r"\1ou always"),
    (r"\b([Yy])ou keep\b", r"\1ou always keep"),
    (r"\blike (?:two|several)\b(?: of)?", "like all"),
    (r"\b([Ss])everal of your\b", "All of your"),
    (r"\bSome\b", "All"),
    (r"\byou (?=bought|liked|chose|watched|read|rated|looked)", "you always "),
    (r"\bagain and again\b", "every time"),
)


def never_together(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """Two facts that make one noun, each of which several items of the history have, and at most one of them both.

    What the item is called is none of them: that "a brown kite" is like several brown clips was judged showable.
    """
    del rng, shop
    case, grammar = each.case, grammar_of(each.case.language, each.case.item.domain)
    if grammar is None or case.language != "en":
        return
    held = [{fact.concept for fact in facts} for facts in case.history_facts.values()]
    kind = lexicon(case.language).kind
    several = [
        fact
        for fact in case.facts
        if kind(fact.name) != "category"
        and (words := grammar.say(fact))
        and not words.one
        and sum(fact.concept in some for some in held) > 1
    ]
    thing = grammar.thing(case.item)
    for facts in combinations(several, 2):
        if sum(all(fact.concept in some for fact in facts) for some in held) < 2:
            said = said_of(grammar, Plan(facts, Tie("taste", both=True)), case, thing)[1]
            name = thing_slots(grammar, thing, said)["one"] if said else ""
            if name:
                yield f"{sentence(name)}, just like several of your recent picks.", case
                return


def other_event(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """The person did something else with these items."""
    del rng, shop
    happened = {step.event for step in each.case.user.history}
    happened |= {"finished" for step in each.case.user.history if (step.share or 0) >= 0.9}
    for told in (
        "bought",
        "buy",
        "buying",
        "chose",
        "choose",
        "choosing",
        "looked at",
        "rated highly",
        "watched",
        "read",
    ):
        if re.search(rf"\byou\b.*\b{told}\b", each.text, re.IGNORECASE):
            for event, did in (
                ("purchase", "bought"),
                ("read", "read"),
                ("review", "reviewed"),
                ("finished", "finished"),
            ):
                if event not in happened:
                    yield re.sub(rf"\b{told}\b", did, each.text, count=1), each.case
                    return


def inverted(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """The item is said not to be so."""
    del rng, shop
    for plain, inverse in _INVERSE:
        if re.search(plain, each.text):
            yield re.sub(plain, inverse, each.text, count=1), each.case
            return


_INVERSE = (
    (r"\b(is|are) (?=made|about|from|by|[a-z]+)", r"\1 not "),
    (r"\bcomes in\b", "does not come in"),
    (r"\bcome in\b", "do not come in"),
    (r"\b(has|have)\b", r"\1 no"),
    (r"\b[Ww]ith\b", "without"),
    (r"\b[Ii]n (?=\w+\b)", "not in "),
    (r"\b[Mm]ade of\b", "not made of"),
)


def added(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """A clause of which nothing is known."""
    del shop
    clause = _ADDED[int(rng.integers(len(_ADDED)))]
    if clause.split()[-1] not in each.case.item.text:
        yield f"{each.text.rstrip('.!')} {clause}.", each.case


_ADDED = (
    "and is waterproof",
    "and cures colds",
    "and lasts a lifetime",
    ", and it is the best of its kind",
    "with free delivery",
    "and was made by hand",
    ", which doctors recommend",
    "and suits your children",
    "and is on sale today",
    ", as seen on television",
    "and keeps its value",
    ", and you will never want another",
)


def doubled(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """The whole said twice."""
    del rng, shop
    text = each.text.rstrip(".!")
    yield f"{text}, and {text[0].lower()}{text[1:]}.", each.case


def unlinked(rng: Rng, each: True_, shop: Shop) -> Iterator[tuple[str, Case]]:
    """A taste that the person has, and an item that has nothing of it."""
    del shop
    mine = {fact.concept for fact in each.case.facts}
    strange = [taste for taste in each.case.tastes if taste.liked and taste.concept not in mine]
    if not strange or each.plan.level == "personal" or not each.text.startswith("This"):
        return
    concept = each.case.concepts[strange[int(rng.integers(len(strange)))].concept]
    if not _says(each.case.item, each.case.facts, concept.value):
        yield (
            f"You keep choosing {concept.value.lower()}, and {each.text[0].lower()}{each.text[1:]}",
            each.case,
        )


CORRUPTIONS: Mapping[str, Corrupt] = {
    "another item's fact": other_fact,
    "another user's taste": other_taste,
    "stronger quantity": stronger,
    "two facts, never together": never_together,
    "another event": other_event,
    "inverted polarity": inverted,
    "added clause": added,
    "doubled clause": doubled,
    "broken link": unlinked,
}


def _find(text: str, value: str) -> re.Match[str] | None:
    stem = re.escape(value[:-1] if value.endswith("s") else value)
    return re.search(rf"(?i)\b{stem}(?:s|es)?\b", text)


def _says(item: Item, facts: Sequence[Fact], value: str) -> bool:
    """Whether an item says a value anywhere, in whatever form."""
    told = " ".join([item.title, item.text, *(fact.value for fact in facts)]).lower()
    return any(word[:4] in told for word in re.findall(r"\w+", value.lower()))
