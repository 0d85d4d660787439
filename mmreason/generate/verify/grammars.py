"""What the writers' grammar files license: their shapes, and the texts by which they say values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import yaml

from mmreason.wording.attributes import Attribute, Forms
from mmreason.wording.grammar import Grammar, grammar_of

_SLOT = re.compile(r"\{(\w+)\}")
_NUMBER = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")
_ITS = {"v": "{V}", "v_one": "{V}", "v_many": "{V}", "verb": "{V}", "name": "{A}", "a": "a", "measure": ""}
_SLOTS = {
    **{"this": "{N}", "this_one": "{N}", "does": "{D}", "does_two": "{D}", "after": "{W}", "praised": "{V}"},
    **{
        "one": "{P}",
        "a_one": "{P}",
        "one_bare": "{P}",
        "one_and": "{P} {W}",
        "things": "{X}",
        "likes": "{X}",
    },
    **{"group": "{ts}", "kinds": "{ts}", "title": "{O}", "title_two": "{O}", "thing": "{t}"},
}
_HABITS = {"habit_things": "{X}", "habit_likes": "{X}", "habit_bare": "", "habit_them": "{them}"}
_MOST = 400  # ways of filling one shape's words for what people did


@dataclass(frozen=True, slots=True)
class Wording:
    """What grammars license, in the notation of the lexicon's own file.

    Attributes:
        shapes: Sentences with the lexicon's slots.
        kinds: ``=`` and the attribute's name in the grammar → its texts, as ``kinds`` of ``en.yaml`` has them.
        things: Domain → the words for its items.
        domains: Other names of domains.
    """

    shapes: Sequence[str] = ()
    kinds: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
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
    kinds: dict[str, dict[str, dict[str, None]]] = {}
    things: dict[str, Mapping[str, Sequence[str]]] = {}
    domains: Mapping[str, str] = {}
    for name in names:
        domain = name.partition("-")[2]
        grammar = grammar_of(language, domain)
        if grammar is None:
            continue
        things[domain] = _things(grammar)
        for attribute in grammar.attributes.values():
            parts = kinds.setdefault(f"={attribute.name}", {})
            for part, text in _said(attribute):
                parts.setdefault(part, {})[text] = None
        for texts in grammar.shapes.values():
            for text in texts or ():
                shapes.update(dict.fromkeys(_filled(text, grammar)))
    if language in names:
        read = files("mmreason.wording").joinpath("grammars", f"{language}.yaml").read_text(encoding="utf-8")
        domains = yaml.safe_load(read).get("domains", {})
    told = {kind: {part: tuple(texts) for part, texts in parts.items()} for kind, parts in kinds.items()}
    return Wording(tuple(shapes), told, things, domains)


def _things(grammar: Grammar) -> Mapping[str, Sequence[str]]:
    every = [grammar.words["thing"], *grammar.words.get("things", {}).values()]
    return {number: [of.get(number) or of["one"] for of in every] for number in ("one", "many")}


def _said(attribute: Attribute) -> Iterator[tuple[str, str]]:
    """(part of the lexicon's kinds, text) of all the ways in which an attribute's values are said."""
    every = [attribute.forms, attribute.among, attribute.adjective]
    for forms in every:
        if forms is not None:
            yield from _of_forms(forms)
    for word in filter(None, [attribute.called]):
        yield "x", f"a {word}"


def _of_forms(forms: Forms) -> Iterator[tuple[str, str]]:
    if forms.before:
        before = _own(forms.before)
        yield from (
            ("x", f"{before} {{ts}}"),
            ("p", f"a {before} {{t}}"),
            ("p", f"{before} {{t}}"),
            ("p", before),
        )
    if forms.after:
        after = _own(forms.after)
        yield from (
            ("w", after),
            ("x", f"{{ts}} {after}"),
            ("p", f"a {{t}} {after}"),
            ("p", f"{{t}} {after}"),
        )
    for text in (forms.likes, forms.many, forms.praised):
        if text:
            yield "x", _own(text)
    if forms.one:
        yield from (("p", _own(forms.one)), ("p", f"a {_own(forms.one)}"))
    if forms.does:
        for number in (r"\1", r"\2"):
            yield "d", _own(_NUMBER.sub(number, forms.does))


def _own(text: str) -> str:
    """A form's text in the lexicon's notation; its article may be missing, of a plural."""
    return _SLOT.sub(lambda slot: _ITS.get(slot.group(1), "{V}"), text)


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
    if name in _SLOTS:
        return [_SLOTS[name]]
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
