"""Which items of a history a fact ties to its reader: a link must follow, and not be a coincidence of words.

A color that two unlike things have is no link; one that several things have may be, and one of the same kind of thing
is. What is made for other people (a women's tee, a men's jacket) never is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from mmreason.evidence.schema import Case, Tie
from mmreason.schema import Item
from mmreason.wording.attributes import Attribute
from mmreason.wording.grammar import Grammar, Said

_WORD = re.compile(r"[^\W_]+")


def tie_that_follows(grammar: Grammar, tie: Tie, first: Said, case: Case) -> Tie | None:
    """The tie with those of its items that the item may be likened to; None if too few are left.

    Args:
        grammar: Its attributes say how many items of other kinds make a link (``across``).
        tie: Of a plan; only a taste or a likeness is looked at.
        first: The fact that the tie is about, in words.
        case: The user and the item.
    """
    if tie.kind not in ("taste", "likeness"):
        return tie
    unknown = [item_id for item_id in tie.item_ids if item_id not in case.history_items]
    known = [item_id for item_id in tie.item_ids if item_id in case.history_items]
    meant = [i for i in known if not _for_others(grammar, case.item, case.history_items[i])]
    for attribute in first.parts or (first.attribute,):
        if attribute.single:
            meant = [i for i in meant if _is_so(grammar, attribute, i, case)]
    across = first.attribute.across
    same = [i for i in meant if same_kind(grammar, case.item, case.history_items[i])]
    often = tie.taste is not None and tie.taste.often
    titles = {case.history_items[i].title for i in meant}
    if across == 0:
        kept = same
    elif across == 1:
        kept = [*unknown, *meant]
    elif len(same) > 1 and not often:
        kept = same
    else:
        kept = [*unknown, *meant] if len(titles) + len(unknown) >= across else same
    return replace(tie, item_ids=tuple(kept)) if kept else None


def goes_together(grammar: Grammar, tie: Tie, case: Case) -> bool:
    """Whether "goes with" is true of a complement that the source links; of any other tie nothing is asked.

    Things of one kind do not go with each other, nor what is made for other people. Of ``related`` items only those
    of which it is known that they are unlike do: sources call alternatives so, too.
    """
    if tie.kind != "complement" or tie.fact is None or tie.fact.name == "bought with":
        return True
    other = case.history_items[tie.fact.value]
    if same_kind(grammar, case.item, other) or _for_others(grammar, case.item, other):
        return False
    return tie.fact.name != "related" or (grammar.thing(case.item).known and grammar.thing(other).known)


def _is_so(grammar: Grammar, attribute: Attribute, item_id: str, case: Case) -> bool:
    """Whether a history's item may be said to be as the item is: of that value alone, or naming it, and no mixture."""
    facts = case.history_facts.get(item_id, ())
    values = {f.concept: f.value for f in facts if grammar.attribute(f.name, f.value) is attribute}
    mine = {fact.concept for fact in case.facts}
    item = case.history_items[item_id]
    told = f"{item.title}\n{item.text}"
    shared = [value for concept, value in values.items() if concept in mine]
    if any(attribute.is_partly(value, told) for value in shared):
        return False
    return len(values) < 2 or any(attribute.is_named(value, told) for value in shared)


def same_kind(grammar: Grammar, item: Item, other: Item) -> bool:
    """Whether two items are called the same; not of those of which nothing is known but that they are things."""
    thing = grammar.thing(item)
    return bool(thing.one) and thing.one == grammar.thing(other).one


def _for_others(grammar: Grammar, item: Item, other: Item) -> bool:
    """Whether both tell for whom they are made, and have nobody in common."""
    first, second = _audience(grammar, item), _audience(grammar, other)
    return bool(first and second) and first.isdisjoint(second)


def _audience(grammar: Grammar, item: Item) -> frozenset[str]:
    """For whom an item is made, by its audience attributes and its categories."""
    settings = grammar.words.get("audiences")
    if not settings:
        return frozenset()
    values = tuple(
        value
        for name, some in item.attributes.items()
        if name.lower() in settings["told_by"]
        for value in some
    )
    return _people(grammar, values)


@lru_cache(maxsize=16_384)
def _people(grammar: Grammar, values: tuple[str, ...]) -> frozenset[str]:
    people = grammar.words["audiences"]["people"]
    words = {word for value in values for word in _WORD.findall(value.lower())}
    found = frozenset(who for who, names in people.items() if not words.isdisjoint(names))
    return frozenset() if "everybody" in found else found
