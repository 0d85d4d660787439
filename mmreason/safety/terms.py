"""Terms of a list in a text, as whole words: what is sensitive of a person, what no reason may say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from mmreason.language import CJK, plurals

_TOKEN = re.compile(rf"[{CJK}\u0e00-\u0e7f]|[^\W_{CJK}\u0e00-\u0e7f]+")


class TermFinder:
    """Finds terms by their first two words, so that the time does not grow with the list.

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
        self._by_words: dict[str, dict[str, list[tuple[tuple[str, ...], str]]]] = {}
        for kind, each in [*terms.items(), ("", safe)]:
            for term in each:
                self._add(str(term), kind)
        for behind in self._by_words.values():
            for found in behind.values():
                found.sort(key=lambda one: -len(one[0]))

    def _add(self, term: str, kind: str) -> None:
        words = _TOKEN.findall(term.lower())
        for last in {words[-1], *plurals(words[-1])} if words else ():
            form = (*words[:-1], last)
            second = form[1] if len(form) > 1 else ""
            self._by_words.setdefault(form[0], {}).setdefault(second, []).append((form, kind))

    def find(self, text: str) -> Iterator[tuple[str, tuple[int, int]]]:
        """Each term in a text: its kind, start and end in characters."""
        lower = text.lower()
        if self._by_words.keys().isdisjoint(_TOKEN.findall(lower)):
            return
        found = [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(lower)]
        words = [word for word, _, _ in found]
        skip = 0
        for place, (word, start, _) in enumerate(found):
            behind = self._by_words.get(word)
            if place < skip or behind is None:
                continue
            longer = behind.get(words[place + 1], ()) if place + 1 < len(words) else ()
            for form, kind in (*longer, *behind.get("", ())):
                stop = place + len(form)
                if tuple(words[place:stop]) == form:
                    skip = stop
                    if kind:
                        yield kind, (start, found[stop - 1][2])
                    break
