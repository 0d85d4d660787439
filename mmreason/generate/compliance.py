"""What no reason may say, whoever wrote it: packs of rules by language and category, and what is always forbidden.

The packs stand in ``packs/`` as YAML, and a caller's own files add to them. Beside them hold the rules for untrusted
text (:mod:`mmreason.safety.untrusted`) and that nothing protected is said of a person
(:mod:`mmreason.safety.sensitive`). The rules follow China's advertising law (article 9 on superlatives, 16 to 18 on
health, 25 on investments), the EU's regulation on health claims (1924/2006) and what shops require of such texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from mmreason.packaged import packaged_yaml
from mmreason.safety.patterns import Patterns
from mmreason.safety.sensitive import sensitive_kind
from mmreason.safety.terms import TermFinder
from mmreason.safety.untrusted import refusals
from mmreason.schema import DataError

_EMOJI = re.compile("[\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff]")
_CAPITALS = re.compile("[A-Z]{4}")
_PERSON = re.compile(r"\b(?:you|your|yours|yourself)\b|[你您]", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?。！？;；]+")
_UNTRUSTED = "it speaks to a machine, leads away or pretends, as an attack on the catalogue would"
_VERIFIED = frozenset(["fake evidence"])  # of a reason: "because you bought" is checked against the history
_LISTS = ("words", "safe", "patterns", "cased")
_LIMITS = ("characters", "words", "emoji")


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a text breaks.

    Attributes:
        kind: ``price``, ``superlative``, ``health``, ``characters`` …
        span: Start and end in the text, in characters.
        why: The rule's reason.
    """

    kind: str
    span: tuple[int, int]
    why: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Words and patterns that are forbidden for one reason.

    Args:
        kind: Of a breach.
        why: What is told to who wrote it.
        words: Terms, found as whole words in singular and plural, whatever their case; Chinese ones anywhere.
        safe: Longer terms that hold one of them and are allowed.
        patterns: Regular expressions in lower case, for the text in lower case. One that begins with ``\\b`` is looked
            for where a Latin word begins, others where neither a Latin letter nor a space stands.
        cased: Regular expressions for the text as it is, which four capitals in a row must be part of.
    """

    kind: str
    why: str
    words: tuple[str, ...] = ()
    safe: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    cased: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pack:
    """Rules that hold for some languages and categories.

    Args:
        languages: For which; empty for all.
        categories: For which, as words of an item's domain or category; empty for all.
        but: Categories that it does not hold for.
        limits: The most ``characters``, ``words`` and ``emoji``; of several packs the last one counts.
        rules: What is forbidden.
        allow: Kinds of the packs before this one that are allowed.
    """

    languages: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    allow: tuple[str, ...] = ()

    def holds(self, language: str, category: str) -> bool:
        """Whether it is for texts of a language about things of a category."""
        said = {kind for kind, _ in _categories(self.categories, self.but).find(category)}
        return (
            (not self.languages or language in self.languages)
            and (not self.categories or "for" in said)
            and "but" not in said
        )


@cache
def _categories(categories: tuple[str, ...], but: tuple[str, ...]) -> TermFinder:
    return TermFinder({"for": categories, "but": but})


class Compliance:
    """Checks texts against the packs.

    Args:
        packs: The caller's own files, which add to the ones that come with the toolkit.
        sensitive: Finds further terms that nobody may infer of the reader.

    Raises:
        DataError: If a file is no pack; the message names the file and the key.

    Example:
        >>> [b.kind for b in Compliance().breaches("The best hat, only $5!")]
        ['superlative', 'price']
        >>> Compliance().breaches("You keep choosing wool, and this hat is merino.")
        []
    """

    def __init__(self, packs: Sequence[str | Path] = (), sensitive: TermFinder | None = None) -> None:
        self.sensitive = sensitive
        self.packs = (*_standard(), *(read_pack(Path(path)) for path in packs))
        self._holding = lru_cache(maxsize=16_384)(self._that_hold)
        self._compiled = lru_cache(maxsize=64)(self._compile)

    def breaches(
        self, text: str, language: str = "en", category: str = "", names: Iterable[str] = ()
    ) -> list[Breach]:
        """The rules that a text breaks, in the order of the text; nothing if it may be shown.

        Args:
            text: A reason.
            language: Of the text, ``en``, ``zh`` …; ``en-GB`` counts as ``en``.
            category: Domain and category of the item, in words.
            names: Titles of works that it cites (a film called "The Best Man"), which claim nothing. Not titles of
                goods: these are written to sell.
        """
        compiled = self._compiled(self._holding(language.split("-")[0].lower(), category))
        cited = [(at, at + len(name)) for name in names if name and (at := text.find(name)) >= 0]
        found = compiled.limits_of(text)
        found += [
            each
            for each in compiled.forbidden(text)
            if not any(start <= each.span[0] and each.span[1] <= end for start, end in cited)
        ]
        found += [
            Breach(each.kind, each.span, _UNTRUSTED) for each in refusals(text) if each.kind not in _VERIFIED
        ]
        return sorted(found + _of_the_person(text, self.sensitive), key=lambda each: each.span)

    def _that_hold(self, language: str, category: str) -> tuple[int, ...]:
        """Numbers of the packs for a language and a category."""
        return tuple(number for number, pack in enumerate(self.packs) if pack.holds(language, category))

    def _compile(self, numbers: Sequence[int]) -> _Compiled:
        rules: list[Rule] = []
        limits: dict[str, int] = {}
        for pack in (self.packs[number] for number in numbers):
            rules = [rule for rule in rules if rule.kind not in pack.allow] + list(pack.rules)
            limits |= pack.limits
        return _Compiled(rules, limits)


class _Compiled:
    """The rules of one language and category, ready to be looked for."""

    def __init__(self, rules: Sequence[Rule], limits: Mapping[str, int]) -> None:
        self.rules, self.limits = rules, limits
        self.terms = TermFinder(
            {str(number): rule.words for number, rule in enumerate(rules)},
            [s for rule in rules for s in rule.safe],
        )
        self.patterns = Patterns({str(number): rule.patterns for number, rule in enumerate(rules)})
        self.cased = [(rule, re.compile("|".join(rule.cased))) for rule in rules if rule.cased]

    def forbidden(self, text: str) -> list[Breach]:
        lower = text.lower() if len(text.lower()) == len(text) else text  # of a few letters it is longer
        found = [(self.rules[int(number)], span) for number, span in self.terms.find(lower)]
        found += [(self.rules[int(number)], span) for number, span in self.patterns.find(lower)]
        if _CAPITALS.search(text):
            found += [(rule, each.span()) for rule, pattern in self.cased for each in pattern.finditer(text)]
        return [Breach(rule.kind, span, rule.why) for rule, span in found]

    def limits_of(self, text: str) -> list[Breach]:
        found = []
        most = self.limits
        if len(text) > most["characters"]:
            over = (most["characters"], len(text))
            found.append(Breach("characters", over, f"{len(text)} characters, at most {most['characters']}"))
        # A word has a space behind it, but not where none are written.
        if text.count(" ") >= most["words"]:
            found.append(Breach("words", (0, len(text)), f"more than {most['words']} words"))
        if not text.isascii():
            signs = [sign.span() for sign in _EMOJI.finditer(text)]
            found += [
                Breach("emoji", span, f"at most {most['emoji']} emoji") for span in signs[most["emoji"] :]
            ]
        return found


def _of_the_person(text: str, sensitive: TermFinder | None) -> list[Breach]:
    """Sentences that speak to the reader and hold what nobody may infer of them."""
    lower = text.lower()
    if not any(map(lower.__contains__, ("you", "你", "您"))) or not sensitive_kind(lower, sensitive):
        return []
    return [
        Breach("sensitive", found.span(), f"it would tell of the reader's {kind}")
        for found in _SENTENCE.finditer(text)
        if _PERSON.search(found.group()) and (kind := sensitive_kind(found.group(), sensitive))
    ]


@cache
def _standard() -> tuple[Pack, ...]:
    names = ("all", "en", "goods.en", "zh", "goods.zh", "health", "finance")
    return tuple(_pack(packaged_yaml("mmreason.generate", "packs", f"{name}.yaml"), name) for name in names)


def read_pack(path: Path) -> Pack:
    """A pack of a YAML file.

    Raises:
        DataError: If it cannot be read or is no pack; the message names the file and the key.
    """
    try:
        return _pack(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            f"{path}: cannot be read as a compliance pack ({' '.join(str(error).split())})"
        ) from None


def _pack(read: Any, where: str) -> Pack:
    known = {"for": dict, "limits": dict, "rules": list, "allow": list}
    _check(read, known, where)
    for_whom = read.get("for", {})
    _check(for_whom, dict.fromkeys(("languages", "categories", "except"), list), f"{where}: for")
    limits = read.get("limits", {})
    _check(limits, dict.fromkeys(_LIMITS, int), f"{where}: limits")
    return Pack(
        tuple(for_whom.get("languages", ())),
        tuple(for_whom.get("categories", ())),
        tuple(for_whom.get("except", ())),
        limits,
        tuple(_rule(each, f"{where}: rule {number}") for number, each in enumerate(read.get("rules", ()), 1)),
        tuple(read.get("allow", ())),
    )


def _rule(read: Any, where: str) -> Rule:
    _check(read, {"kind": str, "why": str} | dict.fromkeys(_LISTS, list), where)
    if not {"kind", "why"} <= read.keys():
        raise DataError(f"{where}: needs kind and why")
    for pattern in (*read.get("patterns", ()), *read.get("cased", ())):
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise DataError(f"{where}: {pattern!r} is no regular expression ({error})") from None
    lists = {name: tuple(map(str, read.get(name, ()))) for name in _LISTS}
    return Rule(read["kind"], read["why"], **lists)


def _check(read: Any, known: Mapping[str, type], where: str) -> None:
    """Every key is known and of its type."""
    if not isinstance(read, dict):
        raise DataError(f"{where}: must be a mapping with some of {', '.join(known)}")
    for key, value in read.items():
        if key not in known:
            raise DataError(f"{where}: unknown key {key!r}; there are {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise DataError(f"{where}: {key} must be a {known[key].__name__}")
