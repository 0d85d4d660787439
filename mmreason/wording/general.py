"""What may be said of an item where no selling point is: a clause of its text, its kind, or where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, islice

from mmreason.evidence.plan import in_title
from mmreason.evidence.schema import Candidate, Case, Fact, Plan, Tie
from mmreason.wording.extract import clauses_alone
from mmreason.wording.grammar import Grammar, Thing, fill, grammar_of
from mmreason.wording.slots import said_of, sayable, sentence, thing_slots
from mmreason.wording.template import fits

_MOST_FACTS = 8  # of which names for the item are made


def general_lines(case: Case) -> Iterator[Candidate]:
    """Lines about an item that need no fact to decide by, the most telling first; none in a language without grammar.

    What its title says comes late. The last ones name its category, or no more than the catalogue; their plans hold no
    fact.

    Args:
        case: The user, of whom nothing is said, and the item.

    Example:
        >>> from mmreason.schema import Item, User
        >>> film = Item("a", "Alder", attributes={"genre": ["Comedy"]}, domain="video")
        >>> case = Case(User("u"), film, [Fact("a", "genre", "Comedy"), Fact("a", "year", "1994")])
        >>> [candidate.text for candidate in general_lines(case)]
        ['A comedy from 1994.', 'A comedy.', 'A film from 1994.', 'From our catalog.']
    """
    grammar = grammar_of(case.language, case.item.domain)
    if not grammar:
        return
    yield from clauses_alone(case)
    thing = grammar.thing(case.item)
    names = list(_names(grammar, thing, case))
    for says_more in (True, False):  # than the title
        for facts, text in names:
            if says_more != all(in_title(fact, case.item) for fact in facts):
                yield from _lines(grammar, "name", {"one": text}, facts)
        if thing.known and says_more != (thing.one.lower() in case.item.title.lower()):
            yield from _lines(grammar, "general", {"kinds": thing.many})
        yield from _lines(grammar, "section", {"section": _section(grammar, case, says_more)})
    yield from _lines(grammar, "anything", {})


def _names(grammar: Grammar, thing: Thing, case: Case) -> Iterator[tuple[tuple[Fact, ...], str]]:
    """Names of what the item is, by two facts, then by one."""
    told: dict[str, Fact] = {}
    for fact in case.facts:
        if fact.source in ("attribute", "picture") and sayable(grammar, fact, case):
            told.setdefault(fact.concept, fact)
    known = list(islice(told.values(), _MOST_FACTS))
    for size in (2, 1):
        for facts in combinations(known, size):
            plan = Plan(facts, Tie("taste", both=True) if size > 1 else None)
            said = said_of(grammar, plan, case, thing)[1]
            name = thing_slots(grammar, thing, said).get("one", "")
            if name:
                yield facts, name


def _section(grammar: Grammar, case: Case, says_more: bool) -> str:
    """The item's category as the catalogue writes it, if it can be said: one that says more than the title, or not."""
    for fact in reversed(case.facts):
        is_category = fact.name.lower() in grammar.words["called_by"]
        if is_category and says_more != in_title(fact, case.item) and grammar.can_be_named(fact.value):
            return fact.value
    return ""


def _lines(
    grammar: Grammar, key: str, slots: Mapping[str, str], facts: tuple[Fact, ...] = ()
) -> Iterator[Candidate]:
    shapes = (shape for shape in grammar.shapes.get(key, ()) if fits(shape, slots))
    for shape in islice(shapes, 1):
        yield Candidate(sentence(fill(shape, slots)), Plan(facts), "template")
