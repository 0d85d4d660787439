"""What the slots of a grammar's shapes hold for a plan: words for the item, its facts, and what its reader did."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from mmreason.evidence.schema import Case, Fact, Plan, Tie
from mmreason.language import phrase, stem_of_plural
from mmreason.schema import Item
from mmreason.wording import english
from mmreason.wording.attributes import Attribute
from mmreason.wording.done import LATEST, Done
from mmreason.wording.grammar import Grammar, Said, Thing, fill
from mmreason.wording.ties import same_kind
from mmreason.wording.titles import name_of

T = TypeVar("T")

_PARTED = re.compile(r"[&,/>]| and ")
_MADE = re.compile(r"\bmade\b")
_MOST_BEHIND = 5  # words of two facts behind a noun
_TRADEMARK, _BRANDED = re.compile("[™®]"), re.compile(r"\w[™®]")
_SHORT = 24  # characters of what may be said twice, of the history and of the item


def said_facts(grammar: Grammar, plan: Plan, case: Case) -> list[tuple[Fact, Said]]:
    """The plan's facts in words; a second one without them is left out, a first one takes the plan with it."""
    found: list[tuple[Fact, Said]] = []
    for fact in plan.facts:
        words = sayable(grammar, fact, case)
        if words is None and not found:
            return []
        first = found[0][1] if found else None
        if words and not (first and first.attribute is words.attribute and not _are_one(first, words)):
            found.append((fact, words))
    return found


def said_of(grammar: Grammar, plan: Plan, case: Case, thing: Thing) -> tuple[tuple[Fact, ...], list[Said]]:
    """The facts of a plan that can be said, and their words; two that a tie is of together are one: *wool jacket*.

    Returns:
        Both empty if the plan cannot be said.
    """
    found = said_facts(grammar, plan, case)
    facts, said = tuple(fact for fact, _ in found), [words for _, words in found]
    if plan.tie and plan.tie.kind == "likeness" and not all(one.one or one.attribute.alone for one in said):
        return (), []  # one blue jacket that was liked is no reason for another
    if plan.tie is None or not plan.tie.both:
        return facts, said
    one = together(grammar, thing, *said) if len(said) > 1 else None
    return (facts, [one]) if one else ((), [])


def together(grammar: Grammar, thing: Thing, first: Said, second: Said) -> Said | None:
    """Two facts as one name of a thing: crime thriller, wool jacket, comedy from the 1990s; None if they make none."""
    nouns = sorted(
        (one for one in (first, second) if one.one), key=lambda one: (bool(one.before), -one.place)
    )
    noun = nouns[0] if nouns else None  # a crime film that is a thriller: a crime thriller
    if noun is None and not (thing.known or grammar.words.get("generic_phrase")):
        return None
    slots = {"before": "", "after": ""}
    for other in (first, second):
        if other is noun:
            continue
        place = "before" if other.before and not slots["before"] else "after"
        if slots[place] or not getattr(other, place) or (nouns and other.one and place == "after"):
            return None
        slots[place] = getattr(other, place)
    phrase_of = grammar.words["things_phrase"]
    one = fill(phrase_of, {**slots, "things": noun.one if noun else thing.one})
    many = fill(phrase_of, {**slots, "things": noun.many if noun else thing.many})
    attributes = first.attribute, second.attribute
    about = replace(
        noun.attribute if noun else attributes[0], shapes="pair_", across=1 if noun else 0, alone=True
    )
    return Said(one=one, many=many, likes=many, attribute=about, parts=attributes)


def sayable(grammar: Grammar, fact: Fact, case: Case) -> Said | None:
    """A fact in words; None of a phrase that is the thing itself, or a color of its own beside the item's."""
    if fact.source == "text":
        colors = grammar.attributes.get("color")
        words = frozenset(phrase(fact.value).split())
        if not words.isdisjoint(_kind_words(grammar, case.item) | english.PAIRS):
            return None
        colored = colors is not None and not words.isdisjoint(colors.known)
        if colored and any(_is_of(grammar, other, colors) for other in case.facts):
            return None
    if _TRADEMARK.search(fact.value) and _is_contradicted(fact.value, case.item):
        return None
    attribute = grammar.attribute(fact.name, fact.value)
    if attribute is not None and attribute.is_untold(fact.value, case.item.text):
        return None
    among = _is_among(grammar, fact, case)
    told = f"{case.item.title}\n{case.item.text}"
    single = attribute if attribute is not None and attribute.single else None
    if single and among and not single.is_named(fact.value, told):
        return None
    if single and single.is_partly(fact.value, told):
        return None
    return grammar.say(fact, among)


def _is_contradicted(value: str, item: Item) -> bool:
    """Whether a trademark is not the one that the item's title and text name."""
    text = f"{item.title} {item.text}"
    return _BRANDED.search(text) is not None and value.split()[0].strip("™®").lower() not in text.lower()


def _is_of(grammar: Grammar, fact: Fact, attribute: Attribute | None) -> bool:
    return grammar.attribute(fact.name, fact.value) is attribute


def _kind_words(grammar: Grammar, item: Item) -> frozenset[str]:
    """What the item is called in its title and its categories, in singular and plural."""
    values = [value for name in grammar.words["called_by"] for value in item.attributes.get(name, ())]
    return _last_words((item.title, *values))


@lru_cache(maxsize=16_384)
def _last_words(names: tuple[str, ...]) -> frozenset[str]:
    parts = (part.split() for name in names for part in _PARTED.split(name.lower()))
    lasts = {part[-1] for part in parts if part}
    forms = (english.singular, english.plural, stem_of_plural)
    return frozenset(lasts.union(form(last) for last in lasts if not last.isdecimal() for form in forms))


def _are_one(first: Said, second: Said) -> bool:
    """Whether two values of one attribute make a noun: a crime thriller."""
    return bool(first.one and second.one and (first.before or second.before))


def _is_among(grammar: Grammar, fact: Fact, case: Case) -> bool:
    """Whether the item has another value of the fact's attribute."""
    attribute = grammar.attribute(fact.name, fact.value)
    return any(
        grammar.attribute(other.name, other.value) is attribute and phrase(other.value) != phrase(fact.value)
        for other in case.facts
    )


def shape_keys(tie: Tie | None, said: Sequence[Said], done: Done | None) -> list[str]:
    """The lists of shapes that may say a tie; the first one that has a fitting shape is to be taken.

    Args:
        tie: Of the plan.
        said: Its facts in words.
        done: What the person did with the tie's items.
    """
    if tie is None:
        return ["point_two", "point"] if len(said) > 1 else ["point"]
    if tie.kind == "popular":
        return ["popular"]
    if done is None:
        return []
    if tie.kind == "complement":
        if tie.fact is None or tie.fact.name != "bought with":
            return ["complement"]
        return ["bought_with" if tie.fact.supporters else "bought_beside"]
    keys = {3: ["often", "two", "two_unnamed"], 2: ["two", "two_unnamed"], 1: ["one"]}
    return [f"{said[0].attribute.shapes}{key}" for key in keys[done.strength]]


def turned(several: Sequence[T], seed: int) -> Sequence[T]:
    """All of them, from one that the seed chooses onwards."""
    start = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest()) % max(len(several), 1)
    return [*several[start:], *several[:start]]


def sentence(text: str) -> str:
    """A text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def thing_slots(grammar: Grammar, thing: Thing, said: Sequence[Said]) -> dict[str, str]:
    """What is said of the item."""
    words = grammar.words
    this = words["these" if thing.paired else "this"] if thing.one else words["this_one"]
    slots = {
        "this": fill(this, {"thing": thing.many if thing.paired else thing.one, "measure": thing.measure}),
        "measure": thing.measure,
        "this_like": words.get("these", "").partition(" ")[0] if thing.paired else words["this_one"],
        "a_thing": _a_thing(grammar, thing),
    }
    if not said:
        return slots
    first = said[0]
    if first.one:
        slots["measure"] = grammar.measure(first.one)
    does = [one.does_many if thing.paired else one.does for one in said]
    if not words.get("space", " "):  # 这副耳机 + 耳机佩戴舒适
        does = [each.removeprefix(thing.one) for each in does]
    slots |= {
        "does": does[0],
        "does_too": fill(words["too"], {"does": does[0]}) if 0 < len(does[0]) <= _SHORT else "",
        "does_two": said[1].does if len(said) > 1 else "",
        "does_and": _both(words["and"], *does) if len(does) > 1 else "",
        "after": first.after,
        "one": _noun_phrase(grammar, thing, said[:1]),
        "one_and": _noun_phrase(grammar, thing, said) if len(said) > 1 else "",
        "kind_and": _noun_phrase(grammar, thing, said)
        if len(said) > 1 and all(one.one for one in said)
        else "",
    }
    return slots


def _a_thing(grammar: Grammar, thing: Thing) -> str:
    """The thing with its article; empty if what it is is not known."""
    if not thing.one or not (thing.known or grammar.words.get("things")):
        return ""
    if grammar.language != "en":
        return thing.one
    return thing.many if thing.paired or thing.uncountable else f"{english.article(thing.one)} {thing.one}"


def _both(join: str, first: str, second: str) -> str:
    """Two predicates as one; a verb that they share is said once: "is light and made of wool".

    What holds an "and" already is not joined to more.
    """
    if not (first and second) or any(" and " in each for each in (first, second)):
        return ""
    verb, space, _ = first.partition(" ")
    if space and second.startswith(verb + space):
        second = second.removeprefix(verb + space)
    if _MADE.search(first) and _MADE.search(second):
        return ""
    return fill(join, {"does": first, "does_two": second})


def _noun_phrase(grammar: Grammar, thing: Thing, said: Sequence[Said]) -> str:
    """The thing with its facts: "a navy mug with a lid"; empty if a fact cannot stand there, or it has no name."""
    kinds = sorted(
        (one for one in said if one.one), key=lambda one: (bool(one.before), -one.place), reverse=True
    )
    noun = kinds[-1].one if kinds else ""
    before = [kinds[0].before] if len(kinds) > 1 else []  # a crime film that is a thriller: a crime thriller
    after: list[str] = []
    others = [one for one in said if not one.one]
    for one in sorted(others, key=lambda one: grammar.order[one.attribute.name]):
        if one.before and not before:
            before = [one.before]
        elif one.after:
            after.append(one.after)
        else:
            return ""
    if not noun and (thing.known or grammar.words.get("generic_phrase")):
        noun = thing.many if thing.paired else thing.one
    if not noun:
        return ""
    space = grammar.words.get("space", " ")
    behind = space.join(after)
    if len(after) > 1 and (behind.count(" ") >= _MOST_BEHIND or len(_MADE.findall(behind)) > 1):
        return ""
    slots = {"before": space.join(before), "thing": noun, "after": behind, "measure": grammar.measure(noun)}
    text = fill(grammar.words["noun_phrase"], slots)
    of_several = thing.paired or thing.uncountable
    bare = grammar.language != "en" or (of_several and (noun != said[0].one or thing.one in noun))
    return text if bare else f"{english.article(text)} {text}"


def tie_slots(
    grammar: Grammar, tie: Tie | None, case: Case, thing: Thing, said: Sequence[Said], done: Done | None
) -> dict[str, str]:
    """What is said of the person: what they did, with which items; and of several people, what they praise."""
    if tie is not None and tie.kind == "popular":
        praise = grammar.say(tie.fact) if tie.fact else None
        return {"praised": praise.praised} if praise else {}
    if tie is None or done is None:
        return {}
    words = done.words
    slots = {"did": words["did"]}
    slots |= _named(grammar, done.item_ids, case, words["did"])
    if not said:
        return slots
    first = said[0]
    group = _group(grammar, tie, case, thing)
    alike = all(
        i in case.history_items and same_kind(grammar, case.item, case.history_items[i]) for i in tie.item_ids
    )
    if grammar.language == "en" and not (first.one or alike):
        slots["one"] = ""  # "a navy candle, like the lamp" would make a candle of the lamp
    things = first.many
    if not things and (first.before or first.after):
        parts = {"before": first.before, "things": group, "after": "" if first.before else first.after}
        things = fill(grammar.words["things_phrase"], parts)
    slots |= {"group": group, "things": things, "likes": first.likes}
    objects = {"things": things, "them": grammar.words.get("them", "")}
    if not words.get("vague"):
        objects |= {"likes": first.likes, "bare": ""}
    for name, what in objects.items():
        slots[f"habit_{name}"] = fill(words["habit"], {"x": what}) if what or name == "bare" else ""
    if first.attribute.called and grammar.language == "en":
        slots["a_called"] = f"{english.article(first.attribute.called)} {first.attribute.called}"
    if first.one:
        slots["one_bare"] = first.one
    return slots


def _named(grammar: Grammar, item_ids: Sequence[str], case: Case, did: str) -> dict[str, str]:
    """The history's items by their titles, the latest first."""
    known = [case.history_items[item_id] for item_id in reversed(item_ids) if item_id in case.history_items]
    titles = list(dict.fromkeys(name for item in known if (name := name_of(item))))
    titles.sort(key=lambda title: " and " in title or "&" in title)  # which read badly beside another
    of_works = grammar.words.get("works", {})
    are_works = bool(of_works) and all(grammar.thing(item).one in of_works["things"] for item in known)
    words = of_works if are_works else grammar.words
    if not titles or "theirs" not in words:
        return {}
    slots = {"title": titles[0], "title_two": titles[1] if len(titles) > 1 else "", "did": did}
    names = ("named", "theirs", "theirs_two", *(["theirs_more"] if len(titles) > 3 else []))[
        : len(titles) + 1
    ]
    return {"title": titles[0], **{name: fill(words[name], slots) for name in names if name in words}}


def _group(grammar: Grammar, tie: Tie, case: Case, thing: Thing) -> str:
    """What the tie's items (of many the latest) are called together: as the item, if all are, else by the domain."""
    latest = [case.history_items[i] for i in tie.item_ids[-LATEST:] if i in case.history_items]
    same = (
        bool(latest)
        and bool(thing.one)
        and not thing.paired
        and all(grammar.thing(item).many == thing.many for item in latest)
    )
    return thing.many if same else grammar.words["thing"]["many"]
