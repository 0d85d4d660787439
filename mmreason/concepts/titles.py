"""What titles say that no attribute does: "Men's Merino Wool Crew Socks" of socks without a material.

Which words of a title mean what is found out in the catalogue, not configured: a value of an attribute is read off a
title only if titles that name values of this attribute are hardly ever against it, where it is known. So a brand called
*Cotton Bay* costs the catalogue its cotton. Only what describes a thing is looked for, and only of goods: a film called
*Steel Magnolias* is not made of steel.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mmreason.catalogue.index import read_index
from mmreason.config import Config
from mmreason.evidence.schema import Fact
from mmreason.evidence.stories import tells_story
from mmreason.language import HAN, phrase
from mmreason.safety.untrusted import refusal

SURE = 0.97
"""Share of the products whose title names a value, and whose attribute is known, that must have the value."""

ENOUGH = 20
"""Such products, of an attribute."""

_DESCRIBES = re.compile(
    r"(?:\w+ )?(?:materials?|fabrics?|colou?rs?|patterns?|flavou?rs?|scents?|fragrance|finish|closure|neckline|"
    r"sleeves?|sleeve length|shape|fit)|材质|材料|面料|颜色|图案|口味|香味|款式"
)
_GOODS = ("", "shop")
_MOST_VALUES = 2_000  # of an attribute; of one with more, those seen later are not looked for
_LONGEST = 4  # words of a value, or signs of one in Chinese
_WORD = re.compile(rf"[{HAN}]|[^\W{HAN}]+(?:['’-][^\W{HAN}]+)*")
_COLUMNS = ("id", "title", "text", "attributes", "hidden", "domain", "group")


@dataclass(slots=True)
class _Attribute:
    """One attribute over the catalogue.

    Attributes:
        name: As the catalogue has it.
        values: What it can be, as its words → how the catalogue writes it.
        groups: Value → products whose title names it → whether their attribute has it.
    """

    name: str
    values: dict[tuple[str, ...], Counter[str]] = field(default_factory=dict)
    groups: dict[tuple[str, ...], dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, values: Iterable[str]) -> None:
        """Take in the values of one item."""
        for value in values:
            words = tuple(_words(value))
            if 0 < len(words) <= _LONGEST and (words in self.values or len(self.values) < _MOST_VALUES):
                self.values.setdefault(words, Counter())[value] += 1

    def compare(self, row: Mapping[str, Any]) -> None:
        """Hold the title of an item against its values; variants count as one product."""
        own = [_words(value) for value in row["attributes"][self.name]]
        for words, _ in _named(row["title"], self.values):
            agrees = any(_holds(value, words) for value in own)
            groups = self.groups[words]
            groups[row["group"]] = groups.get(row["group"], False) or agrees

    def sure(self) -> dict[tuple[str, ...], str]:
        """The values that may be read off a title; none if the attribute is not one that titles tell."""
        told = [agrees for groups in self.groups.values() for agrees in groups.values()]
        if len(told) < ENOUGH or sum(told) < SURE * len(told):
            return {}
        agreed = [
            words for words, groups in self.groups.items() if sum(groups.values()) >= SURE * len(groups)
        ]
        written = {words: self.values[words].most_common(1)[0][0] for words in agreed}
        return {words: value for words, value in written.items() if not refusal(value)}


def title_facts(config: Config) -> Iterator[Fact]:
    """What titles tell of goods that lack the attribute, with its place in the title."""
    path = read_index(config.path("catalogue")).paths["items"]
    known: dict[str, _Attribute] = {}
    for row in _goods(path):
        for name, values in row["attributes"].items():
            if _describes(name):
                known.setdefault(name, _Attribute(name)).add(values)
    for row in _goods(path) if known else ():
        for name in known.keys() & row["attributes"].keys():
            known[name].compare(row)
    sure = {name: values for name, attribute in known.items() if (values := attribute.sure())}
    for row in _goods(path) if sure else ():
        for name, values in sure.items():
            if name not in row["attributes"] and name not in row["hidden"] and not refusal(row["title"]):
                for words, span in _named(row["title"], values):
                    yield Fact(row["id"], name, values[words], "title", span)


@cache
def _describes(name: str) -> bool:
    return _DESCRIBES.fullmatch(phrase(name)) is not None


def _goods(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(2048, columns=list(_COLUMNS)):
            for row in batch.to_pylist():
                if row["domain"] in _GOODS and not tells_story(row["text"]):
                    yield row | {name: json.loads(row[name]) for name in ("attributes", "hidden")}


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _holds(words: list[str], some: tuple[str, ...]) -> bool:
    """Whether words hold others in a row: *merino wool* is *wool*."""
    return any(tuple(words[n : n + len(some)]) == some for n in range(len(words)))


def _named(
    title: str, values: Mapping[tuple[str, ...], object]
) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """The values that a title names, the longest at each place, with their places."""
    found = [*_WORD.finditer(title)]
    words = [each.group().lower() for each in found]
    place = 0
    while place < len(words):
        size = next(
            (
                n
                for n in range(min(_LONGEST, len(words) - place), 0, -1)
                if tuple(words[place : place + n]) in values
            ),
            0,
        )
        if size:
            yield tuple(words[place : place + size]), (found[place].start(), found[place + size - 1].end())
        place += size or 1
