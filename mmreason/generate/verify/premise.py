"""The evidence of a case in words, as a model of natural language inference reads it beside a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files

from mmreason.evidence.schema import Case, Fact, Taste
from mmreason.generate.verify.lexicon import FORMS
from mmreason.generate.verify.verdict import Verdict
from mmreason.packaged import packaged_yaml
from mmreason.schema import Evidence
from mmreason.wording.grammar import Grammar, grammar_of
from mmreason.wording.slots import sentence, thing_slots

_MOST_ITEMS, _MOST_TASTES, _MOST_VALUES = 12, 6, 6  # of a history; values of one of its items


def premise(case: Case, verdict: Verdict) -> str:
    """What is known of a person and an item in sentences, what a text was found to rest on first.

    Args:
        case: The person and the item.
        verdict: Of the text that is to be inferred.

    Example:
        >>> from mmreason.schema import Interaction, Item, User
        >>> user = User("u", [Interaction(item_id="rug", event="purchase")])
        >>> rug, hat = Item("rug", "Holt Rug", domain="shop"), Item("hat", "Fjord Hat", domain="shop")
        >>> held = {"rug": [Fact("rug", "material", "wool")]}
        >>> case = Case(user, hat, [Fact("hat", "material", "wool")], history_items={"rug": rug}, history_facts=held)
        >>> premise(case, Verdict(True))
        'This is Fjord Hat. You bought Holt Rug: wool. This one is made of wool.'
    """
    words = _words(case.language)
    grammar = grammar_of(case.language, case.item.domain)
    said = [words["item"].format(title=case.item.title)] if case.item.title else []
    if grammar is not None:
        said += _of_history(case, verdict.evidence, grammar, words)
        said += _of_tastes(case, grammar, words)
    said += _of_item(case, verdict.evidence, grammar, words)
    return " ".join([*dict.fromkeys(said), case.item.text]).strip()


@cache
def _words(language: str) -> dict[str, str]:
    """The frames of a language; the English ones where there are none."""
    name = f"{language.lower().partition('-')[0].partition('_')[0]}.yaml"
    found = files("mmreason.generate.verify").joinpath(name).is_file()
    frames: dict[str, str] = packaged_yaml("mmreason.generate.verify", name if found else "en.yaml")[
        "premise"
    ]
    return frames


def _of_history(
    case: Case, evidence: Sequence[Evidence], grammar: Grammar, words: dict[str, str]
) -> Iterator[str]:
    """What was done with single items, those that the text rests on first, then the latest."""
    bound = [item_id for each in evidence for item_id in each.item_ids]
    latest = [step.item_id for step in reversed(case.user.history)]
    known = [item_id for item_id in dict.fromkeys([*bound, *latest]) if item_id in case.history_items]
    for item_id in known[:_MOST_ITEMS]:
        did = _did(case, [item_id], grammar)
        values = [
            fact.value
            for fact in case.history_facts.get(item_id, ())
            if fact.source in ("attribute", "picture")
        ]
        if did:
            told = ", ".join(dict.fromkeys(values[:_MOST_VALUES]))
            title = case.history_items[item_id].title
            yield words["history" if told else "bare history"].format(did=did, title=title, values=told)


def _of_tastes(case: Case, grammar: Grammar, words: dict[str, str]) -> Iterator[str]:
    """How many items show a taste."""
    liked: list[Taste] = [taste for taste in case.tastes if taste.liked and taste.concept in case.concepts]
    for taste in liked[:_MOST_TASTES]:
        did = _did(case, taste.item_ids, grammar)
        if did:
            value = case.concepts[taste.concept].value
            yield words["taste"].format(did=did, n=len(taste.item_ids), value=value)


def _did(case: Case, item_ids: Iterable[str], grammar: Grammar) -> str:
    """The first of the grammar's words for what was done that is true of all these items; empty if none is."""
    done: dict[str, set[str]] = {item_id: set() for item_id in item_ids}
    for step in case.user.history:
        if step.item_id in done:
            high, to_the_end = (step.rating or 0) >= 4, (step.share or 0) >= 0.9
            done[step.item_id] |= {step.event, "rated high" if high else "", "finished" if to_the_end else ""}
    for event, of in grammar.events.items():
        if all(not events.isdisjoint(of.get("of", (event,))) for events in done.values()):
            return str(of["did"])
    return ""


def _of_item(
    case: Case, evidence: Sequence[Evidence], grammar: Grammar | None, words: dict[str, str]
) -> Iterator[str]:
    bound = {(each.attribute, each.value) for each in evidence}
    for fact in sorted(case.facts, key=lambda fact: (fact.name, fact.value) not in bound):
        if fact.source == "relation":
            other = case.history_items.get(fact.value)
            if other is not None:
                yield words["relation"].format(title=other.title)
        elif fact.source == "review":
            yield words["praise"].format(value=fact.value, supporters=fact.supporters, asked=fact.asked)
        else:
            yield from _sentence(fact, case, grammar, words)


def _sentence(fact: Fact, case: Case, grammar: Grammar | None, words: dict[str, str]) -> Iterator[str]:
    """A fact as the writers' grammar says it; what it has no words for, by the attribute's name."""
    said = grammar.say(fact) if grammar else None
    if grammar is not None and said is not None and said.does:
        thing = grammar.thing(case.item)
        this = thing_slots(grammar, thing, [])["this"]
        yield sentence(words["fact"].format(this=this, does=said.does_many if thing.paired else said.does))
    elif fact.name not in FORMS:  # a phrase of the text, which comes whole at the end
        yield words["plain"].format(name=fact.name, value=fact.value)
