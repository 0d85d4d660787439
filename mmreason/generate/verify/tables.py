"""What can be said of an item and of a history, found by the first word of how it is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mmreason.evidence.schema import Case, Fact
from mmreason.evidence.tastes import engagement
from mmreason.generate.verify.lexicon import FORMS, Lexicon, expanded
from mmreason.generate.verify.words import breaks, stems_of, words_of
from mmreason.schema import Item
from mmreason.wording.clauses import Clause
from mmreason.wording.extract import clauses_of
from mmreason.wording.grammar import grammar_of
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
        fact: What it rests on; None of a title.
        whole: False for a title's last words alone.
    """

    stems: tuple[str, ...]
    kind: str
    concept: str
    names: frozenset[str] = frozenset()
    fact: Fact | None = None
    whole: bool = True
    clause: bool = False


Index = dict[str, list[Entry]]


@dataclass(slots=True)
class ItemTable:
    """What can be said of an item.

    Attributes:
        entries: First word → ways of saying a fact or the title, the longest first.
        concepts: All its concepts.
        words: Of title and text, clauses parted by None.
        places: Word → where it is in ``words``.
        linked: Other items that it is bought with or related to → the concept of that fact.
    """

    entries: Index
    concepts: frozenset[str]
    words: list[str | None] = field(default_factory=list)
    places: dict[str, list[int]] = field(default_factory=dict)
    linked: dict[str, Fact] = field(default_factory=dict)


@dataclass(slots=True)
class UserTable:
    """What can be said of a history.

    Attributes:
        entries: First word → ways of saying what its items are, the longest first.
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


def item_table(case: Case, lexicon: Lexicon) -> ItemTable:
    """The table of a case's item."""
    entries = [entry for fact in case.facts for entry in _of_fact(fact, case, lexicon)]
    entries += _of_title(case.item, f"item:{case.item.id}", in_parts=True)
    entries += _of_thing(case.item, case)
    entries += [_of_clause(clause, lexicon) for clause in clauses_of(case.item)]
    table = ItemTable(
        _indexed(entries),
        frozenset(fact.concept for fact in case.facts),
        linked={fact.value: fact for fact in case.facts if fact.source == "relation"},
    )
    for line in (case.item.title, *case.item.text.split("\n")):
        for word in words_of(line):
            if not word.is_mark:
                table.places.setdefault(word.stem, []).append(len(table.words))
                table.words.append(word.stem)
            elif breaks(word):
                table.words.append(None)
        table.words.append(None)
    return table


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
    entries: dict[tuple[tuple[str, ...], str], Entry] = {}
    for item_id in told:
        if told[item_id] == 0:
            continue
        for fact in case.history_facts.get(item_id, ()):
            holders.setdefault(fact.concept, {})[item_id] = None
            for entry in _of_fact(fact, case, lexicon):
                entries.setdefault((entry.stems, entry.concept), entry)
        item = case.history_items.get(item_id)
        if item is not None:
            for entry in (*_of_title(item, f"item:{item_id}"), *_of_thing(item, case)):
                holders.setdefault(entry.concept, {})[item_id] = None
                entries.setdefault((entry.stems, entry.concept), entry)
    return UserTable(
        _indexed(entries.values()),
        {concept: tuple(ids) for concept, ids in holders.items()},
        {item_id: frozenset(events) for item_id, events in done.items()},
        disliked,
        {taste.concept: taste.often for taste in case.tastes if taste.liked},
    )


def _of_fact(fact: Fact, case: Case, lexicon: Lexicon) -> Iterable[Entry]:
    """A fact's own spelling, those of its concept, and the words that the writers' grammar has for it."""
    if fact.source == "relation":
        return
    kind = lexicon.kind(fact.name, is_phrase=fact.source in ("title", "text", "review"))
    names = frozenset(stems_of(fact.name)) if kind not in FORMS else frozenset()
    concept = case.concepts.get(fact.concept)
    spellings = [s.partition("=")[2] for s in concept.spellings] if concept else []
    said = [(kind, value) for value in (fact.value, *spellings)]
    grammar = grammar_of(case.language, case.item.domain)
    for among in (False, True):
        words = grammar.say(fact, among) if grammar else None
        if words:
            said += [("=before", words.before), ("=after", words.after), ("=one", words.one)]
            said += [("=does", words.does), ("=does", words.does_many), ("=likes", words.likes)]
            said += [("=likes", words.many), ("praise", words.praised)]
            said += [("=rest", _rest(does)) for does in (words.does, words.does_many)]
    for how, text in dict.fromkeys(said):
        stems = _stems(text, lexicon)
        if 0 < len(stems) <= _LONGEST_PHRASE:
            yield Entry(stems, how, fact.concept, names, fact)


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
    for title in dict.fromkeys([item.title, short, name_of(item)]):
        stems = stems_of(title)
        if stems:
            yield Entry(stems, "name", concept)
    stems = stems_of(short)
    if in_parts and len(stems) > 1:
        yield Entry(stems[-1:], "name", concept, whole=False)


def _indexed(entries: Iterable[Entry]) -> Index:
    made: dict[str, list[Entry]] = {}
    for entry in entries:
        made.setdefault(entry.stems[0], []).append(entry)
    for same in made.values():
        same.sort(key=lambda entry: -len(entry.stems))
    return made


def longest(
    index: Mapping[str, list[Entry]], stems: list[str], place: int, most: int = _LONGEST_PHRASE
) -> tuple[list[Entry], int]:
    """The entries of the longest phrase that begins at a word, and its number of words, ``most`` at most."""
    found: list[Entry] = []
    size = 0
    for entry in index.get(stems[place], ()):
        n = len(entry.stems)
        if n < size:
            break
        if n <= most and (n == 1 or tuple(stems[place : place + n]) == entry.stems):
            found.append(entry)
            size = n
    return found, size
