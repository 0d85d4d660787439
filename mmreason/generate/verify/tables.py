"""What can be said of an item and of a history, found by the first word of how it is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from mmreason.evidence.schema import Case, Fact
from mmreason.evidence.tastes import engagement
from mmreason.generate.verify.lexicon import FORMS, Lexicon, expanded
from mmreason.generate.verify.words import clauses_in_stems, people_of, stems_of, words_of
from mmreason.schema import Item
from mmreason.wording.clauses import Clause
from mmreason.wording.extract import clauses_of
from mmreason.wording.grammar import Grammar, grammar_of
from mmreason.wording.titles import name_of

_TITLE_END = re.compile(r"\s+[-–—|:]\s+|\s*[(\[,|]")
_CLAUSES = {"does": "=does", "about": "about"}
_LONGEST_PHRASE = 24  # words


@dataclass(frozen=True, slots=True)
class Entry:
    """One way of saying one thing.

    Attributes:
        stems: Its words.
        kind: How it is said: see :meth:`Lexicon.kind`; ``=does`` and the like as the grammar says it, ``name`` of a
            title.
        clause: Whether it is a clause of the item's text, which may say several facts.
        concept: What it means.
        names: The words of its attribute's name.
        name: Of the fact that it says; empty of a title, a category or a clause.
        value: Likewise.
        source: Likewise.
        whole: False for a title's last words alone.
    """

    stems: tuple[str, ...]
    kind: str
    concept: str
    names: frozenset[str] = frozenset()
    name: str = ""
    value: str = ""
    source: str = ""
    whole: bool = True
    clause: bool = False


Ways = Mapping[str, Sequence[Entry]]
"""First word → ways of saying one thing."""


class Index(dict[str, Sequence[Entry]]):
    """First word → ways of saying several things, the longest first.

    They are joined when a word is asked for: a text has few of the words that what is known could begin with.

    Args:
        ways: Of everything that can be said.
        once: Whether one wording of one concept counts once.
    """

    def __init__(self, ways: Iterable[Ways], once: bool = False) -> None:
        self._ways = tuple({id(each): each for each in ways}.values())
        self._once = once

    def __missing__(self, first: str) -> Sequence[Entry]:
        found = [entry for each in self._ways if first in each for entry in each[first]]
        if self._once:
            found = list({(entry.stems, entry.concept): entry for entry in reversed(found)}.values())[::-1]
        found.sort(key=lambda entry: -len(entry.stems))
        self[first] = found
        return found

    def every(self) -> Iterator[Entry]:
        """All of them."""
        for first in dict.fromkeys(word for each in self._ways for word in each):
            yield from self[first]


class ItemTable:
    """What can be said of an item.

    Attributes:
        entries: Ways of saying a fact, or the title.
        concepts: All its concepts.
        linked: Other items that it is bought with or related to → that fact.
        kinds: Concepts of what it is called.
    """

    def __init__(self, case: Case, lexicon: Lexicon) -> None:
        things = [*_of_thing(case.item, case)]
        own = [*_of_title(case.item, f"item:{case.item.id}", in_parts=True), *things]
        self._ways = [*_of_facts(case.facts, case, lexicon), _by_first(own)]
        self._item, self._lexicon = case.item, lexicon
        self.entries = Index(self._ways)
        self.concepts = frozenset(fact.concept for fact in case.facts)
        self.kinds = frozenset(entry.concept for entry in things)
        self.linked: dict[str, Fact] = {}
        for fact in case.facts:
            if fact.source == "relation" and fact.name != "alternative":
                self.linked.setdefault(fact.value, fact)
        self._text = f"{case.item.title}\n{case.item.text}"

    @cached_property
    def with_clauses(self) -> Index:
        """The entries, and clauses of the text as wholes: made when asked for, as few texts need them."""
        clauses = [_of_clause(clause, self._lexicon) for clause in clauses_of(self._item)]
        return Index([*self._ways, _by_first(clauses)]) if clauses else self.entries

    @cached_property
    def words(self) -> Sequence[str | None]:
        """Of title and text, clauses parted by None."""
        return clauses_in_stems(self._text)

    @cached_property
    def places(self) -> Mapping[str, Sequence[int]]:
        """Word → where it is in :attr:`words`."""
        places: dict[str, list[int]] = {}
        for place, word in enumerate(self.words):
            if word is not None:
                places.setdefault(word, []).append(place)
        return places


@dataclass(slots=True)
class UserTable:
    """What can be said of a history.

    Attributes:
        entries: Ways of saying what its items are.
        holders: Concept → the items that show it and that were not turned away from, the oldest first.
        done: Item id → what was done with it.
        disliked: Items that were turned away from.
        often: Concept → whether its taste may be called frequent, of what a taste was found for.
    """

    entries: Index
    holders: dict[str, tuple[str, ...]]
    done: dict[str, frozenset[str]]
    disliked: frozenset[str]
    often: dict[str, bool]


def user_table(case: Case, lexicon: Lexicon) -> UserTable:
    """The table of a case's history."""
    done: dict[str, set[str]] = {}
    told: dict[str, float] = {}
    for step in case.user.history:
        events = done.setdefault(step.item_id, set())
        events.add(step.event)
        if (step.share or 0) >= 0.9:
            events.add("finished")
        if (step.rating or 0) >= 4:
            events.add("rated high")
        told[step.item_id] = engagement(step)
    disliked = frozenset(item_id for item_id, weight in told.items() if weight < 0)
    holders: dict[str, dict[str, None]] = {}
    ways: list[Ways] = []
    for item_id in told:
        if told[item_id] == 0:
            continue
        facts = case.history_facts.get(item_id, ())
        for fact in facts:
            holders.setdefault(fact.concept, {})[item_id] = None
        ways += _of_facts(facts, case, lexicon)
        item = case.history_items.get(item_id)
        if item is not None:
            own = [*_of_title(item, f"item:{item_id}"), *_of_thing(item, case)]
            for entry in own:
                holders.setdefault(entry.concept, {})[item_id] = None
            ways.append(_by_first(own))
    return UserTable(
        Index(ways, once=True),
        {concept: tuple(ids) for concept, ids in holders.items()},
        {item_id: frozenset(events) for item_id, events in done.items()},
        disliked,
        {taste.concept: taste.often for taste in case.tastes if taste.liked},
    )


def _of_facts(facts: Iterable[Fact], case: Case, lexicon: Lexicon) -> Iterator[Ways]:
    """How each fact can be said; nothing of a relation, which only its tie names."""
    grammar = grammar_of(case.language, case.item.domain)
    for fact in facts:
        if fact.source != "relation":
            concept = case.concepts.get(fact.concept)
            spellings = concept.spellings if concept else ()
            yield _of_fact(fact.name, fact.value, fact.source, fact.concept, spellings, grammar, lexicon)


@lru_cache(maxsize=16_384)
def _of_fact(
    name: str,
    value: str,
    source: str,
    concept: str,
    spellings: Sequence[str],
    grammar: Grammar | None,
    lexicon: Lexicon,
) -> Ways:
    """A fact's own spelling, those of its concept, and the words that the writers' grammar has for it."""
    kind = lexicon.kind(name, is_phrase=source in ("title", "text", "review"))
    names = frozenset(stems_of(name)) if kind not in FORMS else frozenset()
    said = [(kind, value), *((kind, spelling.partition("=")[2]) for spelling in spellings)]
    for among in (False, True):
        words = grammar.say(Fact("", name, value), among) if grammar else None
        if words:
            said += [("=before", words.before), ("=after", words.after), ("=one", words.one)]
            said += [("=does", words.does), ("=does", words.does_many), ("=likes", words.likes)]
            said += [("=likes", words.many), ("praise", words.praised)]
            said += [("=rest", _rest(does)) for does in (words.does, words.does_many)]
    said += [("=likes", person) for person in people_of(value)]
    read = ((how, _stems(text, lexicon)) for how, text in dict.fromkeys(said))
    return _by_first(
        Entry(stems, how, concept, names, name, value, source)
        for how, stems in read
        if 0 < len(stems) <= _LONGEST_PHRASE
    )


def _stems(text: str, lexicon: Lexicon) -> tuple[str, ...]:
    """The stems of a text's words as a reason is read: with "that's" as two."""
    if "'" not in text and "’" not in text:
        return stems_of(text)
    return tuple(w.stem for w in expanded(words_of(text), lexicon.contractions) if not w.is_mark)


def _rest(does: str) -> str:
    """A predicate behind a verb that two may share: "is light and *made of wool*"."""
    verb, _, rest = does.partition(" ")
    return rest if verb in ("is", "are", "comes", "come") else ""


def _of_thing(item: Item, case: Case) -> Iterable[Entry]:
    """What the writers call an item, if its attributes tell it."""
    grammar = grammar_of(case.language, case.item.domain)
    thing = grammar.thing(item) if grammar else None
    if thing and thing.known:
        for stems in {stems_of(thing.one): 0, stems_of(thing.many): 0}:
            if stems:
                yield Entry(stems, "category", f"thing:{' '.join(stems_of(thing.one))}")


def _of_clause(clause: Clause, lexicon: Lexicon) -> Entry:
    """A clause of the item's text that may stand alone, shortened."""
    return Entry(
        _stems(clause.text, lexicon), _CLAUSES.get(clause.form, "said"), f"text:{clause.span[0]}", clause=True
    )


def _of_title(item: Item, concept: str, in_parts: bool = False) -> Iterable[Entry]:
    """The title, the title without what it adds behind a dash or in brackets, and the word that names the thing."""
    short = _TITLE_END.split(item.title, maxsplit=1)[0]
    named = [name_of(item)] if "(" in item.title or "," in item.title else []  # else it is the title, or none
    for title in dict.fromkeys([item.title, short, *named, *_without_maker(item, short)]):
        stems = stems_of(title)
        if stems:
            yield Entry(stems, "name", concept)
    stems = stems_of(short)
    if in_parts and len(stems) > 1:
        yield Entry(stems[-1:], "name", concept, whole=False)


def _without_maker(item: Item, title: str) -> Iterator[str]:
    """A title that begins with the item's brand or maker, without it."""
    for values in item.attributes.values():
        for value in values:
            rest = title.removeprefix(f"{value} ")
            if rest != title and " " in rest:
                yield rest


def _by_first(entries: Iterable[Entry]) -> Ways:
    made: dict[str, list[Entry]] = {}
    for entry in entries:
        made.setdefault(entry.stems[0], []).append(entry)
    return made


def longest(
    index: Index, stems: Sequence[str], place: int, most: int = _LONGEST_PHRASE
) -> tuple[list[Entry], int]:
    """The entries of the longest phrase that begins at a word, and its number of words, ``most`` at most."""
    found: list[Entry] = []
    size = 0
    for entry in index[stems[place]]:
        n = len(entry.stems)
        if n < size:
            break
        if n <= most and (n == 1 or tuple(stems[place : place + n]) == entry.stems):
            found.append(entry)
            size = n
    return found, size
