"""A plan in words, for writers that are models: what to say of the item and of its reader, and nothing else.

Two readers of whom the same is to be said have the same words, so that one text serves both. Items of a reader that
are to be named are places (``[1]``), which are filled with their titles afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from mmreason.evidence.schema import Case, Fact, Plan, Tie
from mmreason.language import phrase
from mmreason.schema import Evidence
from mmreason.wording.grammar import Grammar, grammar_of
from mmreason.wording.titles import name_of
from mmreason.wording.told import Told, told_of

PLACES = ("[1]", "[2]")
"""Where the titles of the reader's items go."""

_PLACE = re.compile("|".join(map(re.escape, PLACES)))
_QUANTITIES = {3: "often", 2: "several", 1: "one"}


@dataclass(frozen=True, slots=True)
class Brief:
    """A plan in words, and what fills its places.

    Attributes:
        words: Lines of text; the same for every reader of whom the same is to be said.
        titles: Of the reader's items, as many as the words have places.
    """

    words: str
    titles: tuple[str, ...] = ()

    def filled(self, text: str) -> str:
        """A text with the titles in its places; empty if it has another one.

        Example:
            >>> Brief("", ("Cove Blanket",)).filled("Warm wool, like the [1] you bought.")
            'Warm wool, like the Cove Blanket you bought.'
        """
        if any(place in text for place in PLACES[len(self.titles) :]):
            return ""
        titles = dict(zip(PLACES, self.titles, strict=False))
        return _PLACE.sub(lambda place: titles[place[0]], text)  # at once: a title may hold a place

    def emptied(self, text: str, evidence: Sequence[Evidence]) -> str:
        """A text with places where it names the reader's items; empty if it names one that the words do not.

        Args:
            text: Of a person or a model, verified.
            evidence: What it rests on.
        """
        named = [each.span for each in evidence if each.source == "title" and each.item_ids and each.span]
        for start, end in sorted(named, reverse=True):
            if text[start:end] not in self.titles:
                return ""
            text = text[:start] + PLACES[self.titles.index(text[start:end])] + text[end:]
        return text


def brief_of(plan: Plan, case: Case) -> Brief | None:
    """A plan in words; None if it has none, or does not follow.

    Args:
        plan: What to say.
        case: The user and the item.

    Example:
        >>> from mmreason.evidence.schema import Fact, Taste
        >>> from mmreason.schema import Interaction, Item, User
        >>> navy = Fact("a", "color", "Navy")
        >>> taste = Taste(navy.concept, ("b", "c", "d"), {"purchase": 3}, p_value=0.001)
        >>> user = User("u", [Interaction("u", item, "purchase") for item in "bcd"])
        >>> case = Case(user, Item("a", "Alder", attributes={"type": ["Mugs"]}, domain="shop"), [navy])
        >>> brief = brief_of(Plan((navy,), Tie("taste", ("b", "c", "d"), taste)), case)
        >>> print(brief.words)
        Thing: mug
        Say: color Navy
        Tie: taste, often, purchase
        Style: en, shop
    """
    grammar = grammar_of(case.language, case.item.domain)
    told = told_of(grammar, plan, case) if grammar else None
    if grammar is None or told is None:
        return None
    tie = told.plan.tie
    if tie is not None and tie.kind != "popular" and told.done is None:
        return None
    titles = _titles(told, case)
    lines = {
        "Thing": told.thing.one or case.item.title,
        "Say": ", ".join(f"{phrase(fact.name)} {fact.value}" for fact in _facts(told, grammar)),
        "Tie": ", ".join(_tie_words(tie, told, case)) if tie else "",
        "Name": ", ".join(PLACES[: len(titles)]),
        "Style": ", ".join(filter(None, (grammar.language, case.item.domain))),
    }
    words = (f"{name}: {' '.join(value.split())}" for name, value in lines.items() if value)
    return Brief("\n".join(words), titles)


def _facts(told: Told, grammar: Grammar) -> list[Fact]:
    """The facts that are told; what the thing is called is said by that alone."""
    named = [grammar.noun(fact.value) for fact in told.facts]
    more = [
        f for f, noun in zip(told.facts, named, strict=True) if noun is None or noun.one != told.thing.one
    ]
    return more or list(told.facts)


def _tie_words(tie: Tie, told: Told, case: Case) -> list[str]:
    """The tie's kind and what it is about, how much may be said of it, and what the reader did."""
    words: list[str] = [tie.kind]
    if tie.fact is not None:
        words.append(tie.fact.value if tie.kind == "popular" else tie.fact.name)
    concept = case.concepts.get(tie.taste.concept) if tie.taste else None
    if concept and phrase(concept.value) not in [phrase(fact.value) for fact in told.facts]:
        words.append(concept.value)
    if told.done is not None:
        words += [_QUANTITIES[told.done.strength], told.done.event]
    return words


def _titles(told: Told, case: Case) -> tuple[str, ...]:
    """Titles of the reader's items that are to be named, the latest first: none where a taste of several is told."""
    tie, done = told.plan.tie, told.done
    if done is None or tie is None or (tie.kind == "taste" and done.strength > 1):
        return ()
    known = (case.history_items.get(item_id) for item_id in reversed(done.item_ids))
    titles = dict.fromkeys(name for item in known if item is not None and (name := name_of(item)))
    return tuple(titles)[: done.strength]


def seed_of_words(words: str) -> int:
    """The seed of what a model draws for a plan in words: the same for every reader; 24 bits, as a server takes."""
    return int.from_bytes(blake2b(words.encode("utf-8", "replace"), digest_size=3).digest())
