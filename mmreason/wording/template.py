"""Plans in the sentences of a grammar: no model, no training."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from mmreason.evidence.schema import Candidate, Case, Fact, Plan, Tie
from mmreason.evidence.sensitive import sensitive_kind
from mmreason.schema import Interaction, Item
from mmreason.wording import english
from mmreason.wording.grammar import Grammar, Said, Thing, fill, grammar_of, slots_of

MOST_CANDIDATES = 4
GOOD_LENGTH, LONGEST = 110, 150
"""Characters: a longer text comes last; an even longer one is not said."""

_YEAR = re.compile(r"\s*\((?:1[89]|20)\d\d(?:[-–]\d*)?\)\s*$")
_ARTICLE_BEHIND = re.compile(r"^(.*), (The|A|An|Le|La|Les|El|Il|Der|Die|Das)$")
_ODD_IN_TITLE = re.compile(r"[:;|?!()\[\]{}<>@#\"“”\n]|\s[-–]\s|https?|\.\s")
_TITLE_LENGTH, _TITLE_WORDS = 36, 6


def write(plan: Plan, case: Case, seed: int = 0) -> list[Candidate]:
    """Sentences that say a plan, the best first; none if the grammar has no words for it.

    Args:
        plan: What to say; a second fact that cannot be said is left out.
        case: The user and the item.
        seed: Which of the shapes that fit comes first.

    Returns:
        Candidates with the plan that each of them says.

    Example:
        >>> from mmreason.evidence.schema import Taste
        >>> from mmreason.schema import User
        >>> navy = Fact("a", "color", "Navy")
        >>> taste = Taste(navy.concept, ("b", "c", "d"), {"purchase": 3}, p_value=0.001)
        >>> user = User("u", [Interaction("u", item, "purchase") for item in "bcd"])
        >>> case = Case(user, Item("a", "Alder", attributes={"type": ["Mugs"]}, domain="shop"), [navy])
        >>> write(Plan((navy,), Tie("taste", ("b", "c", "d"), taste)), case)[0].text
        'You often buy navy pieces, and this mug comes in navy too.'
    """
    grammar = grammar_of(case.language, case.item.domain)
    said = _said(grammar, plan, case) if grammar else []
    if not grammar or (plan.facts and not said):
        return []
    thing = grammar.thing(case.item)
    slots = _thing_slots(grammar, thing, [words for _, words in said])
    slots |= _tie_slots(grammar, plan.tie, case, thing, [words for _, words in said])
    told = replace(plan, facts=tuple(fact for fact, _ in said))
    found: list[Candidate] = []
    for key in _shape_keys(plan.tie, [words for _, words in said]):
        shapes = [
            shape for shape in grammar.shapes.get(key, ()) if all(slots.get(s) for s in slots_of(shape))
        ]
        for shape in _turned(shapes, seed):
            text = _sentence(fill(shape, slots))
            facts = told.facts if _says_second(shape) else told.facts[:1]
            if len(text) <= LONGEST:
                found.append(Candidate(text, replace(told, facts=facts), "template"))
    found.sort(key=lambda candidate: len(candidate.text) > GOOD_LENGTH)
    return found[:MOST_CANDIDATES]


def general_line(case: Case) -> str:
    """A line that claims nothing but the item's category; empty if that is not known, or the title says it."""
    grammar = grammar_of(case.language, case.item.domain)
    thing = grammar.thing(case.item) if grammar else None
    if not grammar or not thing or not thing.known or thing.one.lower() in case.item.title.lower():
        return ""
    shapes = [*grammar.shapes.get("general", ())]
    return _sentence(fill(shapes[0], {"kinds": thing.many})) if shapes else ""


def can_say(case: Case, fact: Fact) -> bool:
    """Whether the grammar of a case has words for a fact."""
    grammar = grammar_of(case.language, case.item.domain)
    return grammar is not None and grammar.say(fact) is not None


def name_of(item: Item) -> str:
    """An item's title as a sentence can name it; empty if it is too long, a sentence, or tells something protected.

    Example:
        >>> [name_of(Item("a", title)) for title in ("Firm, The (1993)", "Really? Yes! 10 ways to sleep", "Mug")]
        ['The Firm', '', 'Mug']
    """
    return _name(item.title)


@lru_cache(maxsize=65_536)
def _name(title: str) -> str:
    title = _ARTICLE_BEHIND.sub(r"\2 \1", _YEAR.sub("", title).strip())
    odd = _ODD_IN_TITLE.search(title) or len(title) > _TITLE_LENGTH or title.count(" ") >= _TITLE_WORDS
    return "" if odd or not title or sensitive_kind(title) else title


def _said(grammar: Grammar, plan: Plan, case: Case) -> list[tuple[Fact, Said]]:
    """The plan's facts that have words, the first one always among them."""
    found: list[tuple[Fact, Said]] = []
    for place, fact in enumerate(plan.facts):
        among = sum(other.name == fact.name for other in case.facts) > 1
        words = grammar.say(fact, among)
        if words:
            found.append((fact, words))
        elif place == 0:
            return []
    return found


def _shape_keys(tie: Tie | None, said: Sequence[Said]) -> list[str]:
    if tie is None:
        return ["point_two", "point"] if len(said) > 1 else ["point"]
    if tie.kind == "popular":
        return ["popular"]
    if tie.kind == "complement":
        return ["bought_with" if tie.fact and tie.fact.name == "bought with" else "complement"]
    kind = "kind_" if said and said[0].one else ""
    number = len(tie.item_ids)
    often = ["often"] if tie.taste and tie.taste.often and number >= 3 else []
    return [
        f"{kind}{strength}"
        for strength in [*often, *(["two"] if number > 1 else []), *(["one"] if number == 1 else [])]
    ]


def _says_second(shape: str) -> bool:
    return any(slot in shape for slot in ("{one_and}", "{does_two}"))


def _turned(shapes: Sequence[str], seed: int) -> Sequence[str]:
    """The shapes from one that the seed chooses onwards."""
    start = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest()) % max(len(shapes), 1)
    return [*shapes[start:], *shapes[:start]]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _thing_slots(grammar: Grammar, thing: Thing, said: Sequence[Said]) -> dict[str, str]:
    """What is said of the item."""
    words = grammar.words
    this = words["these" if thing.paired else "this"] if thing.one else words["this_one"]
    slots = {
        "this": fill(this, {"thing": thing.many if thing.paired else thing.one, "measure": thing.measure})
    }
    if not said:
        return slots
    first = said[0]
    does = [one.does_many if thing.paired else one.does for one in said]
    slots |= {
        "does": does[0],
        "does_too": fill(words["too"], {"does": does[0]}) if does[0] else "",
        "does_two": does[1] if len(said) > 1 else "",
        "after": first.after,
        "called": first.called,
        "one": _noun_phrase(grammar, thing, said[:1]),
        "one_and": _noun_phrase(grammar, thing, said) if len(said) > 1 else "",
        "praised": first.praised,
    }
    return slots


def _noun_phrase(grammar: Grammar, thing: Thing, said: Sequence[Said], article: bool = True) -> str:
    """The thing with its facts: "a navy mug with a lid"; empty if a fact cannot stand there, or it has no name."""
    before: list[str] = []
    after: list[str] = []
    noun = thing.many if thing.paired else thing.one
    for one in said:
        if one.one:
            noun = one.one
        elif one.before and not before:
            before.append(one.before)
        elif one.after:
            after.append(one.after)
        else:
            return ""
    if not noun or (not thing.known and not said[0].one and not grammar.words.get("generic_phrase", False)):
        return ""
    slots = {
        "before": " ".join(before),
        "thing": noun,
        "after": " ".join(after),
        "measure": thing.measure,
        "a": "",
    }
    text = fill(grammar.words["noun_phrase"], slots)
    if article and grammar.language == "en" and not thing.paired and not thing.uncountable:
        return f"{english.article(text)} {text}"
    return text


def _tie_slots(
    grammar: Grammar, tie: Tie | None, case: Case, thing: Thing, said: Sequence[Said]
) -> dict[str, str]:
    """What is said of the person: what they did, with which items."""
    if tie is None or tie.kind == "popular":
        return {}
    strength = 3 if tie.taste and tie.taste.often and len(tie.item_ids) >= 3 else min(len(tie.item_ids), 2)
    event, item_ids = _event(grammar, tie, case, strength)
    words = grammar.events[event]
    slots = {"did": words["did"]}
    slots |= _named(grammar, item_ids, case, words["did"])
    if not said:
        return slots
    first = said[0]
    group = _group(grammar, tie, case, thing)
    things = first.many or fill(
        grammar.words["things_phrase"],
        {"before": first.before, "things": group, "after": "" if first.before else first.after},
    )
    slots |= {"group": group, "things": things, "likes": first.likes}
    for name, what in (
        ("things", things),
        ("likes", first.likes),
        ("bare", ""),
        ("them", grammar.words.get("them", "")),
    ):
        slots[f"habit_{name}"] = fill(words["habit"], {"x": what}) if what or name == "bare" else ""
    if first.called and grammar.language == "en":
        slots["a_called"] = f"{english.article(first.called)} {first.called}"
    if first.one:
        slots["one_bare"] = first.one
    return slots


def _event(grammar: Grammar, tie: Tie, case: Case, strength: int) -> tuple[str, tuple[str, ...]]:
    """The first event of the grammar that is true of enough of the tie's items, and these items."""
    happened = _events_of(case.user.history, frozenset(tie.item_ids))
    for event in grammar.events:
        items = tuple(item_id for item_id in tie.item_ids if event in happened.get(item_id, ()))
        if len(items) >= max(strength, 1):
            return event, items
    return "any", tie.item_ids


def _events_of(history: Sequence[Interaction], item_ids: frozenset[str]) -> Mapping[str, set[str]]:
    """Item → what was done with it."""
    happened: dict[str, set[str]] = {}
    for step in history:
        if step.item_id in item_ids:
            done = happened.setdefault(step.item_id, set())
            done.add(step.event)
            if (step.rating or 0) >= 4:
                done.add("rated high")
            if (step.share or 0) >= 0.9:
                done.add("finished")
    return happened


def _named(grammar: Grammar, item_ids: Sequence[str], case: Case, did: str) -> dict[str, str]:
    """The history's items by their titles, the latest first."""
    known = [case.history_items[item_id] for item_id in reversed(item_ids) if item_id in case.history_items]
    titles = list(dict.fromkeys(name for item in known if (name := name_of(item))))
    if not titles:
        return {}
    slots = {"title": titles[0], "title_two": titles[1] if len(titles) > 1 else "", "did": did}
    named = {"title": titles[0], "theirs": fill(grammar.words["theirs"], slots)}
    if len(titles) > 1:
        named["theirs_two"] = fill(grammar.words["theirs_two"], slots)
    return named


def _group(grammar: Grammar, tie: Tie, case: Case, thing: Thing) -> str:
    """What the tie's items are called together: as the item, if all are that, else by the domain's word."""
    things = [grammar.thing(case.history_items[i]) for i in tie.item_ids if i in case.history_items]
    same = bool(things) and thing.known and all(other.many == thing.many for other in things)
    return thing.many if same else grammar.words["thing"]["many"]
