"""Terms of a list in a text, as whole words: what is sensitive of a person, what no reason may say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from mmreason.language import CJK, plurals

_TOKEN = re.compile(rf"[{CJK}\u0e00-\u0e7f]|[^\W_{CJK}\u0e00-\u0e7f]+")


class TermFinder:
    """Finds terms by their first word, so that the time does not grow with the list.

    A term stands for its plural too; case, hyphens and slashes make no difference; Chinese terms are found anywhere.
    Of terms that begin at the same word the longest counts, and no two overlap.

    Args:
        terms: Kind → its terms.
        safe: Longer ones that hold a term and are none (``best man``).

    Example:
        >>> terms = TermFinder({"superlative": ["best", "第一"]}, safe=["best man", "第一次"])
        >>> list(terms.find("The best man has the best hats")), list(terms.find("第一次用，全国第一"))
        ([('superlative', (21, 25))], [('superlative', (7, 9))])
    """

    def __init__(self, terms: Mapping[str, Iterable[str]], safe: Iterable[str] = ()) -> None:
        self._by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for kind, each in [*terms.items(), ("", safe)]:
            for term in each:
                self._add(str(term), kind)
        for found in self._by_first.values():
            found.sort(key=lambda one: -len(one[0]))

    def _add(self, term: str, kind: str) -> None:
        words = _TOKEN.findall(term.lower())
        for last in {words[-1], *plurals(words[-1])} if words else ():
            form = (*words[:-1], last)
            self._by_first.setdefault(form[0], []).append((form, kind))

    def find(self, text: str) -> Iterator[tuple[str, tuple[int, int]]]:
        """Each term in a text: its kind, start and end in characters."""
        lower = text.lower()
        if self._by_first.keys().isdisjoint(_TOKEN.findall(lower)):
            return
        found = [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(lower)]
        skip = 0
        for place, (word, start, _) in enumerate(found):
            if place < skip or word not in self._by_first:
                continue
            for form, kind in self._by_first[word]:
                stop = place + len(form)
                if stop <= len(found) and all(
                    found[place + i][0] == each for i, each in enumerate(form) if i
                ):
                    skip = stop
                    if kind:
                        yield kind, (start, found[stop - 1][2])
                    break
