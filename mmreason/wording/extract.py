"""The catalogue's own clauses as reasons: what an item's text says of it, shortened, and tied to the taste.

A plan's first fact is said by the clause itself ("a throw in wool that gets softer with use"), or, where it ties the
item to its reader, in the grammar's words, the clause telling more: "You often buy wool pieces, and this wool throw
gets softer with use." The words of a clause keep their order, so that their place in the text is their evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from mmreason.evidence.plan import STANDARD_RULE
from mmreason.evidence.schema import Candidate, Case, Fact, Plan
from mmreason.language import UNSPACED, is_chinese, phrase, stem_of_plural
from mmreason.safety.untrusted import safe_item
from mmreason.schema import Item
from mmreason.wording import english
from mmreason.wording.chinese import chinese_clauses
from mmreason.wording.clauses import Clause, clauses
from mmreason.wording.grammar import Grammar, Said, Thing, fill, grammar_of, slots_of
from mmreason.wording.slots import sentence, shape_keys, thing_slots, tie_slots, turned
from mmreason.wording.template import GOOD_LENGTH, MOST_CANDIDATES
from mmreason.wording.titles import name_of
from mmreason.wording.told import told_of

_WORD = re.compile(r"[^\W_]+")
_LONGEST = 125  # characters
_NEW_WORDS = 2  # that a clause must add to title and attributes
# fmt: off
_SAYS_LITTLE = frozenset([
    "a", "an", "the", "is", "are", "of", "in", "from", "and", "to", "with", "for", "it", "its", "this", "that", "by",
    "on", "at", "has", "have", "as", "released", "film", "movie",
])
# fmt: on
_MADE_BY = re.compile(r"is (?:directed|written|produced|based|adapted)\b")  # no more of what is liked
_SEVERAL = re.compile(r"\s*(?:&|/|,|\band\b)\s*")
_SECOND_VERB = re.compile(r" and \w+s\b")


def write(plan: Plan, case: Case, seed: int = 0) -> list[Candidate]:
    """Sentences out of the item's own text that say a plan, the best first; none if no clause fits.

    Args:
        plan: What to say.
        case: The user and the item.
        seed: Which of the clauses and shapes that fit comes first.

    Returns:
        Candidates; their plan holds the clause as a fact of the text, with its span.

    Example:
        >>> from mmreason.schema import User
        >>> item = Item("a", "Alva Throw", "The Alva Throw is a throw in wool that gets softer with use.")
        >>> wool = Fact("a", "material", "Wool")
        >>> write(Plan((wool,)), Case(User("u"), item, [wool]))[0].text
        'A throw in wool that gets softer with use.'
    """
    grammar = grammar_of(case.language, case.item.domain)
    found = _clauses_that_fit(grammar, case) if grammar and plan.facts else []
    if not grammar or not found or is_chinese(found[0].text) != (grammar.language == "zh"):
        return []
    told = (
        _points(grammar, plan, case, found, seed)
        if plan.tie is None
        else _ties(grammar, plan, case, found, seed)
    )
    candidates = [Candidate(sentence(text), said, "extract") for text, said in told if len(text) <= _LONGEST]
    candidates.sort(key=lambda candidate: len(candidate.text) > GOOD_LENGTH)
    return candidates[:MOST_CANDIDATES]


def clauses_alone(case: Case) -> Iterator[Candidate]:
    """The clauses of an item's text as sentences of their own, in reading order.

    Args:
        case: The user, of whom nothing is said, and the item.
    """
    grammar = grammar_of(case.language, case.item.domain)
    found = _clauses_that_fit(grammar, case) if grammar else []
    if not grammar or not found or is_chinese(found[0].text) != (grammar.language == "zh"):
        return
    thing = grammar.thing_of_text(case.item)
    slots = _subject_slots(grammar, thing, case.item)
    for clause in found:
        slots |= {"clause": clause.text, "tells": _tells(grammar, clause, thing)}
        for text in _filled(grammar, f"extract_{clause.form}", slots, 0):
            if len(text) <= _LONGEST:
                yield Candidate(sentence(text), _with(Plan(()), (), clause, case), "extract")


def _clauses_that_fit(grammar: Grammar, case: Case) -> list[Clause]:
    """The clauses of the case's item that tell something of this one, and do not call it something else."""
    others = _other_names(grammar, case.item)
    return [
        clause
        for clause in clauses_of(case.item)
        if not _is_common(clause, case)
        and (clause.form != "does" or others.isdisjoint(_WORD.findall(clause.text.lower())))
    ]


def _other_names(grammar: Grammar, item: Item) -> frozenset[str]:
    """What a category of several kinds calls those that the item is not: *hoodie*, of a sweatshirt."""
    own, found = grammar.thing(item).one, frozenset[str]()
    for name in grammar.words["called_by"]:
        for value in item.attributes.get(name, ()):
            nouns = [grammar.noun(part) for part in _SEVERAL.split(value.rpartition(" > ")[2])]
            if own in {noun.one for noun in nouns if noun}:
                found |= {
                    word for noun in nouns if noun and noun.one != own for word in (noun.one, noun.many)
                }
    return found


def _subject_slots(grammar: Grammar, thing: Thing, item: Item) -> dict[str, str]:
    """What stands for the item alone; one of which nobody knows what it is is called by its title, as its text does."""
    slots = thing_slots(grammar, thing, [])
    if not thing.one and grammar.language == "en":
        title = name_of(item)
        named = re.search(rf"(\b[Tt]he )?{re.escape(title)}\b", item.text) if title else None
        by_title = "{title}" if named and not named[1] else grammar.words["named"]
        slots["this"] = fill(by_title, {"title": title}) if title else ""
    return slots


def _is_common(clause: Clause, case: Case) -> bool:
    """Whether the catalogue says the same of many items: it says nothing of this one."""
    facts = [fact for fact in case.facts if fact.source == "text" and fact.span and _says(clause, fact)]
    concepts = [case.concepts[fact.concept] for fact in facts if fact.concept in case.concepts]
    return any(concept.popularity > STANDARD_RULE.most_common_text for concept in concepts)


def clauses_of(item: Item) -> tuple[Clause, ...]:
    """The clauses of an item's text that tell more than its title and attributes do; places are in the text."""
    return _clauses_of(
        item.title, item.text, tuple(value for some in item.attributes.values() for value in some)
    )


@lru_cache(maxsize=8192)
def _clauses_of(title: str, text: str, values: tuple[str, ...]) -> tuple[Clause, ...]:
    item = safe_item(Item("", title, text))
    if is_chinese(item.text):
        return chinese_clauses(item.text)
    known = frozenset(_stems(" ".join([title, *values])))
    names = frozenset(word for word in known if len(word) > 2) - _SAYS_LITTLE
    return tuple(
        clause
        for clause in clauses(item.text, name_of(Item("", title)) or title, names)
        if len(set(_stems(clause.text)) - known - _SAYS_LITTLE) >= _NEW_WORDS
    )


def _points(
    grammar: Grammar, plan: Plan, case: Case, found: Sequence[Clause], seed: int
) -> Iterator[tuple[str, Plan]]:
    """Clauses that say the plan's first fact, of the item alone."""
    thing = grammar.thing_of_text(case.item)
    slots = _subject_slots(grammar, thing, case.item)
    for clause in turned(found, seed):
        if _says(clause, plan.facts[0]):
            slots |= {"clause": clause.text, "tells": _tells(grammar, clause, thing)}
            facts = tuple(fact for fact in plan.facts if _says(clause, fact))
            for text in _filled(grammar, f"extract_{clause.form}", slots, seed):
                yield text, _with(plan, facts, clause, case)


def _ties(
    grammar: Grammar, plan: Plan, case: Case, found: Sequence[Clause], seed: int
) -> Iterator[tuple[str, Plan]]:
    """The plan's first fact and its tie in the grammar's words, and a clause that tells more."""
    told = told_of(grammar, plan, case)
    if told is None or not told.said or told.plan.tie is None:
        return
    plan, thing, said, done = told.plan, told.thing, told.said[:1], told.done
    facts = told.facts if plan.tie and plan.tie.both else told.facts[:1]
    slots = thing_slots(grammar, thing, said) | tie_slots(grammar, plan.tie, case, thing, said, done)
    for clause in turned(found, seed):
        says = any(_says(clause, fact) for fact in facts)
        if (
            clause.form == "part"
            or _MADE_BY.match(clause.text)
            or (clause.form == "is" and (said[0].one or not says))
        ):
            continue
        slots["tells"] = _tells(grammar, clause, thing)
        slots["tells_more"] = "" if says else slots["tells"]
        slots["this_with"] = _this_with(grammar, clause, thing, said[0], slots["this"], says)
        for key in shape_keys(plan.tie, said, done):
            for text in _filled(grammar, f"extract_{key}", slots, seed):
                yield text, _with(plan, facts, clause, case)


def _this_with(grammar: Grammar, clause: Clause, thing: Thing, first: Said, this: str, says: bool) -> str:
    """The item as the subject of a clause, with the first fact if the clause does not say it; empty if it cannot be."""
    if clause.form == "is":
        return grammar.words.get("this_is", "")
    if says:
        return this
    if not first.before or not thing.one or not first.attribute.alone:
        return ""
    words = grammar.words["these" if thing.paired else "this"]
    space = grammar.words.get("space", " ")
    named = f"{first.before}{space}{thing.many if thing.paired else thing.one}"
    return fill(
        words,
        {"thing": named, "measure": thing.measure},
    )


def _tells(grammar: Grammar, clause: Clause, thing: Thing) -> str:
    """A clause behind the item as its subject, in the number of what the item is called; empty if it cannot be."""
    if clause.form == "part":
        return ""
    if clause.form == "about":
        words = grammar.say(Fact("", "about", clause.text))
        return (words.does_many if thing.paired else words.does) if words else ""
    text = clause.text if clause.form == "does" else f"is {clause.text}"
    if not grammar.words.get("space", " "):
        return text.removeprefix(thing.one)  # 这副耳机 + 耳机佩戴舒适
    if grammar.language != "en" or thing.paired == clause.plural or clause.form == "is":
        return text
    return "" if clause.plural or _SECOND_VERB.search(text) else english.verb_of_many(text)


def _filled(grammar: Grammar, key: str, slots: Mapping[str, str], seed: int) -> Iterator[str]:
    for shape in turned(grammar.shapes.get(key, ()), seed):
        if all(slots.get(slot) for slot in slots_of(shape)):
            yield fill(shape, slots)


def _with(plan: Plan, facts: tuple[Fact, ...], clause: Clause, case: Case) -> Plan:
    """The plan with what is said of it, and the clause as a fact."""
    return replace(plan, facts=(*facts, Fact(case.item.id, clause.form, clause.text, "text", clause.span)))


def _says(clause: Clause, fact: Fact) -> bool:
    """Whether a clause says a fact: by its place in the text, else by its value's words in a row."""
    if fact.source == "text" and fact.span is not None:
        return clause.span[0] <= fact.span[0] and fact.span[1] <= clause.span[1]
    if UNSPACED.search(fact.value):
        return fact.value in clause.text
    value = " ".join(_stems(fact.value))
    return bool(value) and f" {value} " in f" {' '.join(_stems(clause.text))} "


@lru_cache(maxsize=65_536)
def _stems(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, without a plural's s."""
    return tuple(stem_of_plural(word) for word in _WORD.findall(phrase(text)))
