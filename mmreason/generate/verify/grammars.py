"""What the writers' grammar files license: their shapes, and the texts by which they say values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from mmreason.packaged import packaged_yaml
from mmreason.wording.grammar import Grammar, grammar_of

_SLOT = re.compile(r"\{(\w+)\}")
_SLOTS = {
    **{slot: ["{N}"] for slot in ("this", "this_one", "this_with")},
    "this_like": ["{N}", "these"],
    **{slot: ["{D}"] for slot in ("does", "does_two", "tells", "tells_more")},
    **{slot: ["{P}"] for slot in ("one", "a_one", "one_bare")},
    **{slot: ["{X}"] for slot in ("things", "likes")},
    **{slot: ["{ts}"] for slot in ("group", "kinds")},
    **{slot: ["{O}"] for slot in ("title", "title_two")},
    **{slot: ["{V}"] for slot in ("praised", "clause")},
    **{"after": ["{W}"], "thing": ["{t}"], "a_thing": ["a {t}"], "one_and": ["{P} {W}", "{P}"]},
}
_SECOND = ("{D}", "{W}", "{V}")
_HABITS = {"habit_things": "{X}", "habit_likes": "{X}", "habit_bare": "", "habit_them": "{them}"}
_MOST = 400  # ways of filling one shape's words for what people did


@dataclass(frozen=True, slots=True)
class Wording:
    """What grammars license, in the notation of the lexicon's own file.

    Attributes:
        shapes: Sentences with the lexicon's slots.
        things: Domain → the words for its items.
        domains: Other names of domains.
    """

    shapes: Sequence[str] = ()
    things: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)


def wording_of(language: str) -> Wording:
    """What a language's grammars license, those of all its domains together."""
    names = sorted(
        file.name.removesuffix(".yaml")
        for file in files("mmreason.wording").joinpath("grammars").iterdir()
        if file.name.partition(".")[0].partition("-")[0] == language
    )
    shapes: dict[str, None] = {}
    things: dict[str, Mapping[str, Sequence[str]]] = {}
    domains: Mapping[str, str] = {}
    for name in names:
        domain = name.partition("-")[2]
        grammar = grammar_of(language, domain)
        if grammar is None:
            continue
        things[domain] = _things(grammar)
        for texts in grammar.shapes.values():
            for text in texts or ():
                shapes.update(dict.fromkeys(_filled(text, grammar)))
    if language in names:
        domains = packaged_yaml("mmreason.wording", "grammars", f"{language}.yaml").get("domains", {})
    return Wording(tuple(shapes), things, domains)


def _things(grammar: Grammar) -> Mapping[str, Sequence[str]]:
    every = [grammar.words["thing"], *grammar.words.get("things", {}).values()]
    return {number: [of.get(number) or of["one"] for of in every] for number in ("one", "many")}


def _filled(shape: str, grammar: Grammar) -> Iterator[str]:
    """A grammar's shape in the lexicon's notation, once for everything that people do."""
    done = [shape]
    for _ in range(6):  # slots within what a slot stands for
        opened = [text for each in done for text in _opened(each, grammar)]
        if opened == done:
            break
        done = list(dict.fromkeys(opened))[:_MOST]
    yield from done


def _opened(text: str, grammar: Grammar) -> Sequence[str]:
    """A shape with its first slot that is not the lexicon's own filled, in every way."""
    for slot in _SLOT.finditer(text):
        name = slot.group(1)
        if f"{{{name}}}" in ("{N}", "{D}", "{W}", "{V}", "{P}", "{X}", "{O}", "{A}", "{ts}", "{t}"):
            continue
        return [f"{text[: slot.start()]}{said}{text[slot.end() :]}" for said in _options(name, grammar)]
    return [text]


def _options(name: str, grammar: Grammar) -> Sequence[str]:
    if name == "does_and":  # a verb that both share is said once
        return [grammar.words["and"].replace("{does}", "{D}").replace("{does_two}", two) for two in _SECOND]
    if name in _SLOTS:
        return _SLOTS[name]
    if name == "did":
        return list(dict.fromkeys(event["did"] for event in grammar.events.values()))
    if name in _HABITS:
        said = _HABITS[name].replace("{them}", grammar.words.get("them", ""))
        return list(dict.fromkeys(e["habit"].replace("{x}", said) for e in grammar.events.values()))
    if name == "does_too":
        return [grammar.words["too"].replace("{does}", "{D}")]
    if name == "a_called":
        called = {
            f"a {attribute.called}": None for attribute in grammar.attributes.values() if attribute.called
        }
        return list(called)
    if name == "called":
        return list(dict.fromkeys(a.called for a in grammar.attributes.values() if a.called))
    template = grammar.words.get(name)
    return [template] if isinstance(template, str) else ["{X}"]
