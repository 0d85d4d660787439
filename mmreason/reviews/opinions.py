"""Who is judged, and how: the aspects that a sentence names and the polarity of what it says of each.

Lexicon and rules, no model: an opinion word judges the nearest aspect in its clause (Hu and Liu, KDD 2004), negation
turns it round, and after a contrast ("but") only what follows decides what the sentence says as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mmreason.language import stem_of_plural
from mmreason.reviews.aspects import WORD_KINDS, Lexicon

GENERAL = ""
"""The aspect of an opinion that judges nothing in particular."""

USE = "use"
"""The aspect of praise that says what the item is good for, if the lexicon has it."""

Role = Literal["main", "conceded", "supposed"]


@dataclass(frozen=True, slots=True)
class Token:
    """A word or mark: as written, the key that it is looked up by, and its place in the sentence."""

    text: str
    key: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a sentence says of one aspect.

    Attributes:
        aspect: Name in the lexicon; :data:`GENERAL` if nothing in particular is judged.
        term: The words that name the aspect, as written.
        opinion: The words that judge it, as written.
        polarity: 1 for, -1 against.
        span: Start and end of both, in characters.
        conceded: Said before a "but" or after an "although", so that it does not decide what the sentence says.
    """

    aspect: str
    term: str
    opinion: str
    polarity: int
    span: tuple[int, int]
    conceded: bool = False


class Language(Protocol):
    """What the rules need to know of a language; see ``english.py`` and ``chinese.py``. Words in lower case."""

    negators: frozenset[str]
    contrasts: frozenset[str]
    concessions: frozenset[str]
    suppositions: frozenset[str]
    pointers: frozenset[str]  # what comes before a word for the item itself
    joiners: frozenset[str]  # a negation reaches no further than one of these
    window: int  # tokens between an aspect and what judges it
    reach: int  # tokens between a negation and what it turns round
    carry: int  # clauses back in which an opinion without an aspect looks for one

    def tokens(self, text: str) -> list[Token]:
        """Words and marks."""

    def breaks(self, tokens: list[Token], i: int) -> bool:
        """Whether a new clause starts at token i."""

    def valence(self, tokens: list[Token], i: int) -> int:
        """1, 0 or -1: what a word that the lexicon does not hold says."""

    def stands(self, tokens: list[Token], start: int, stop: int) -> bool:
        """Whether tokens start to stop, a word of the lexicon, mean here what they mean there ("pretty bag", but
        not "pretty heavy")."""

    def purpose(self, tokens: list[Token], i: int) -> bool:
        """Whether the praise that ends before token i goes on to say for what use."""

    def excess(self, tokens: list[Token], i: int) -> bool:
        """Whether the word at i is said to be too much of it."""

    def nouns(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Nouns that may name an aspect, with their spans."""


@dataclass(frozen=True, slots=True)
class _Hit:
    """Words that the lexicon holds, or that the language knows to judge."""

    start: int
    stop: int
    aspects: tuple[str, ...]  # none of an opinion that judges nothing in particular
    kind: str  # terms, good, bad


@dataclass(frozen=True, slots=True)
class _Clause:
    start: int
    stop: int
    role: Role
    block: int  # number of contrasts before it


@dataclass(frozen=True, slots=True)
class _Entry:
    """A word or phrase of the lexicon: the keys of its tokens, as written, and what it stands for."""

    keys: tuple[str, ...]
    text: str
    aspects: tuple[str, ...]
    kind: str


@dataclass
class OpinionFinder:
    """Finds opinions in sentences of one language.

    Example:
        >>> from mmreason.reviews.english import English
        >>> find = OpinionFinder(Lexicon.seed(), English()).find
        >>> [(o.aspect, o.opinion, o.polarity) for o in find("Not warm, but the straps are great.")]
        [('warmth', 'warm', -1), ('function', 'great', 1)]
    """

    lexicon: Lexicon
    language: Language
    _entries: dict[str, list[_Entry]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._entries = {}
        named = [
            (w, kind, name)
            for name, a in self.lexicon.aspects.items()
            for kind in WORD_KINDS
            for w in getattr(a, kind)
        ]
        named += [(word, "good", GENERAL) for word in self.lexicon.good]
        named += [(word, "bad", GENERAL) for word in self.lexicon.bad]
        named += [(word, "terms", GENERAL) for word in self.lexicon.ignore]
        aspects: dict[tuple[str, str], list[str]] = {}
        for word, kind, name in named:
            aspects.setdefault((word.lower(), kind), []).append(name)
        for (word, kind), names in aspects.items():
            keys = tuple(token.key for token in self.language.tokens(word))
            if keys:
                entry = _Entry(keys, word, tuple(name for name in names if name), kind)
                self._entries.setdefault(keys[0], []).append(entry)
        for entries in self._entries.values():
            entries.sort(key=lambda entry: -len(entry.keys))  # stable: the first of equals wins

    def find(self, sentence: str) -> list[Opinion]:
        """Every opinion of a sentence, in reading order."""
        return self._judge(sentence, self.language.tokens(sentence))

    def mentions(self, sentence: str) -> set[str]:
        """The aspects that a sentence names, judged or not."""
        return {aspect for hit in self._hits(self.language.tokens(sentence)) for aspect in hit.aspects}

    def nouns(self, sentence: str) -> Iterator[tuple[str, bool, bool]]:
        """Nouns of a sentence: each with whether an opinion of nothing in particular stands near it in its
        clause, and whether it is pointed at ("this shirt"), as only the item is."""
        tokens = self.language.tokens(sentence)
        judges = [hit for hit in self._hits(tokens) if hit.kind != "terms" and not hit.aspects]
        clauses = self._clauses(tokens)
        for noun, start, end in self.language.nouns(sentence):
            inside = [i for i, token in enumerate(tokens) if start <= token.start and token.end <= end]
            if not inside:
                continue
            hit = _Hit(inside[0], inside[-1] + 1, (noun,), "terms")
            clause = next(c for c in clauses if c.start <= hit.start < c.stop)
            near = [j for j in judges if clause.start <= j.start < clause.stop and _gap(hit, j) <= 3]
            yield (
                noun,
                bool(near),
                hit.start > 0 and tokens[hit.start - 1].text.lower() in self.language.pointers,
            )

    def _hits(self, tokens: list[Token]) -> list[_Hit]:
        hits, i = [], 0
        while i < len(tokens):
            hit = self._longest(tokens, i)
            if hit is not None and not self.language.stands(tokens, hit.start, hit.stop):
                hit = None
            if hit is None and (valence := self.language.valence(tokens, i)):
                hit = _Hit(i, i + 1, (), "good" if valence > 0 else "bad")
            if hit is not None and (hit.aspects or hit.kind != "terms"):
                hits.append(hit)
            i = hit.stop if hit is not None else i + 1
        return hits

    def _longest(self, tokens: list[Token], i: int) -> _Hit | None:
        """The longest phrase that starts at i; of equals one spelt just so ("comfort" is not "comfortable")."""
        best: _Entry | None = None
        for entry in self._entries.get(tokens[i].key, ()):
            size = len(entry.keys)
            if best is not None and size < len(best.keys):
                break
            if size > 1 and entry.keys != tuple(token.key for token in tokens[i : i + size]):
                continue
            word = tokens[i].text.lower()
            if size == 1 and entry.kind == "terms" and stem_of_plural(word) != stem_of_plural(entry.text):
                continue  # a noun: "storage" is not "store", nor "runs" "running"
            if best is None or (size == 1 and best.text != word == entry.text):
                best = entry
        return None if best is None else _Hit(i, i + len(best.keys), best.aspects, best.kind)

    def _clauses(self, tokens: list[Token]) -> list[_Clause]:
        language, clauses = self.language, []
        start, block = 0, 0
        role: Role = "main"
        for i in range(len(tokens) + 1):
            word = tokens[i].text.lower() if i < len(tokens) else ""
            last = i + 1 >= len(tokens) or not any(t.text[0].isalnum() for t in tokens[i + 1 :])
            turn = word in language.contrasts and not last  # "Comfy though." contrasts with nothing here
            aside = word in language.concessions and not last
            supposed = word in language.suppositions
            if i == len(tokens) or turn or aside or supposed or language.breaks(tokens, i):
                if i > start:
                    clauses.append(_Clause(start, i, role, block))
                if role != "main" and i > start and not (turn or aside or supposed):
                    role = "main"  # an "although …" or "if …" ends where its clause does
                start, block = i, block + turn
                role = "conceded" if aside else "supposed" if supposed else "main" if turn else role
        return clauses

    def _judge(self, sentence: str, tokens: list[Token]) -> list[Opinion]:
        hits, clauses = self._hits(tokens), self._clauses(tokens)
        last_block = max((clause.block for clause in clauses), default=0)
        opinions: list[Opinion] = []
        earlier: list[list[_Hit]] = []  # the terms of the clauses before
        for clause in clauses:
            inside = [hit for hit in hits if clause.start <= hit.start < clause.stop]
            terms = [hit for hit in inside if hit.kind == "terms"]
            conceded = clause.role == "conceded" or clause.block < last_block
            for aspects, term, judge in self._pairs(tokens, inside, earlier):
                polarity = self._polarity(tokens, clause, inside, judge)
                if clause.role == "supposed":
                    aspects, polarity = (), min(polarity, 0)
                for aspect in (aspects or (GENERAL,)) if polarity else ():
                    opinions.append(_opinion(sentence, tokens, aspect, term, judge, polarity, conceded))
            earlier.append(terms)
        return sorted(opinions, key=lambda opinion: (opinion.span, opinion.aspect))

    def _pairs(
        self, tokens: list[Token], inside: list[_Hit], earlier: list[list[_Hit]]
    ) -> Iterator[tuple[tuple[str, ...], _Hit, _Hit]]:
        """Aspects, the words that name them, and the words that judge them."""
        terms = [hit for hit in inside if hit.kind == "terms"]
        judges = [hit for hit in inside if hit.kind != "terms"]
        used: set[_Hit] = set()
        for term in terms:
            near = [
                judge
                for judge in judges
                if _gap(term, judge) <= (1 if judge.aspects else self.language.window)
            ]
            if near:
                judge = min(near, key=lambda judge: (_gap(term, judge), bool(judge.aspects)))
                used.add(judge)
                yield term.aspects, term, judge
        for judge in judges:
            if judge.aspects:
                yield judge.aspects, judge, judge
            elif (
                judge.kind == "good"
                and USE in self.lexicon.aspects
                and self.language.purpose(tokens, judge.stop)
            ):
                yield (USE,), judge, judge
            elif judge not in used:
                before = [] if terms else next((t for t in earlier[::-1][: self.language.carry] if t), [])
                for term in before:
                    yield term.aspects, term, judge
                if not before:
                    yield (), judge, judge

    def _polarity(self, tokens: list[Token], clause: _Clause, inside: list[_Hit], judge: _Hit) -> int:
        excess = self.language.excess(tokens, judge.start)
        polarity = 1 if judge.kind == "good" and not excess else -1
        others = {hit.stop - 1 for hit in inside if hit.kind != "terms"}
        for i in range(judge.start - 1, max(clause.start, judge.start - self.language.reach) - 1, -1):
            word = tokens[i].text.lower()
            # "doesn't itch and never rips"; "not great on slippery grass", but "not warm or soft"
            if word in self.language.joiners or (
                i in others and tokens[i + 1].text.lower() not in ("or", "nor")
            ):
                break
            if word in self.language.negators and tokens[i + 1].text.lower() not in ("only", "just"):
                return -polarity
        return polarity


def _gap(one: _Hit, other: _Hit) -> int:
    """Tokens between two hits."""
    return max(one.start - other.stop, other.start - one.stop, 0)


def _opinion(
    sentence: str, tokens: list[Token], aspect: str, term: _Hit, judge: _Hit, polarity: int, conceded: bool
) -> Opinion:
    spans = [(tokens[hit.start].start, tokens[hit.stop - 1].end) for hit in (term, judge)]
    words = [sentence[start:end] for start, end in spans]
    span = (min(start for start, _ in spans), max(end for _, end in spans))
    return Opinion(aspect, words[0], words[1], polarity, span, conceded)
