"""A text read into facts and glue: which words name what is known, what the others are, and of whom they speak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mmreason.generate.verify.lexicon import COMMA, NAME, Expression, Lexicon, act_or_thing, expanded
from mmreason.generate.verify.tables import Entry, Index, ItemTable, UserTable, longest
from mmreason.generate.verify.words import breaks, words_of
from mmreason.language import UNSPACED

Subject = Literal["item", "user"]
_PREDICATES = frozenset(["=does", "=rest", "does"])
_DETERMINERS = frozenset(["this", "these", "the"])
_BEFORE_NOUNS = _DETERMINERS | {"a", "an", "another", "of"}
_BEFORE_VERBS = frozenset(["to", "who", "may", "might", "will", "would", "should", "clearly", "really"])
_NO_COPY = frozenset(["is", "are", "was", "has", "have", "you", "your", "i", "my", "we", "our", "us", "me"])


@dataclass(slots=True)
class Token:
    """One word, expression or named value of a text.

    Attributes:
        start: Where it begins, in characters.
        end: Where it ends.
        words: In lower case.
        stems: The same without plurals.
        expression: What the lexicon knows of it.
        of_item: The item's entries that it names.
        of_user: The history's entries that it names.
        said: Where the item's own words say it, start and end in them; None if it is not copied from there.
        subject: Of whom it speaks.
        naming: Whether it only says what the item is called: "this *jacket*".
        tags: What it can stand for in a shape; none if it may stand anywhere.
        mark: Whether it is punctuation, and which.
        is_claim: Whether it names something known.
    """

    start: int
    end: int
    words: tuple[str, ...]
    stems: tuple[str, ...]
    expression: Expression | None = None
    of_item: Sequence[Entry] = ()
    of_user: Sequence[Entry] = ()
    said: tuple[int, int] | None = None
    subject: Subject = "item"
    naming: bool = False
    tags: tuple[str, ...] = ()
    mark: str = ""
    is_claim: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """Where it stands."""
        return self.start, self.end


@dataclass(slots=True)
class Reading:
    """A text as tokens."""

    text: str
    tokens: list[Token] = field(default_factory=list)


def read(text: str, item: ItemTable, user: UserTable, lexicon: Lexicon, in_clauses: bool = False) -> Reading:
    """Read a text beside what is known of an item and a history.

    Args:
        text: A reason.
        item: What can be said of the item.
        user: What can be said of the history.
        lexicon: Of the language.
        in_clauses: Whether the item's clauses are known as wholes too.
    """
    reading = Reading(text, _Reader(text, item, user, lexicon, in_clauses).read())
    _attribute_names(reading.tokens, lexicon)
    _subjects(reading.tokens, lexicon.commas_end)
    _namings(reading.tokens)
    before = ""
    for token in reading.tokens:
        token.tags = _tags(token)
        if token.tags and not token.is_claim:
            token.tags = (act_or_thing(before, token.tags[0]), *token.tags[1:])
        before = token.tags[0] if token.tags else before
    return reading


class _Reader:
    """Takes the longest thing that is known to begin at each word in turn."""

    def __init__(
        self, text: str, item: ItemTable, user: UserTable, lexicon: Lexicon, in_clauses: bool
    ) -> None:
        self.text, self.item, self.user, self.lexicon = text, item, user, lexicon
        self.of_item = item.with_clauses if in_clauses else item.entries
        self.words = list(expanded(words_of(text), lexicon.contractions))
        self.stems = [word.stem for word in self.words]
        # Without commas, so that a clause is found whatever marks it is written with; a mark that ends one stays.
        self.plain = [i for i, word in enumerate(self.words) if not word.is_mark or breaks(word)]
        self.plain_stems = [self.stems[i] for i in self.plain]
        self.place_in_plain = {i: n for n, i in enumerate(self.plain)}
        self.tokens: list[Token] = []
        self.of_user = False  # the last cue was of the person: no copy of the item's text speaks of them

    def read(self) -> list[Token]:
        place = 0
        while place < len(self.words):
            token = self._token(place)
            self.tokens.append(token)
            place += len(token.words)
            if token.expression and not token.is_claim and token.expression.cue in ("item", "user"):
                self.of_user = token.expression.cue == "user"
        return self.tokens

    def _token(self, place: int) -> Token:
        word = self.words[place]
        if word.is_mark:
            kind = "stop" if breaks(word) else "comma" if word.lower in ",，、" else "other"
            return Token(word.start, word.end, (word.lower,), (word.stem,), mark=kind)
        expression = self.lexicon.longest(self.words, place)
        of_item, size_item = self._longest(self.of_item, place)
        of_user, size_user = self._longest(self.user.entries, place)
        if size_item and self._takes_noun(of_item, place + size_item):
            of_item, size_item = [], 0
        if size_user and self._takes_noun(of_user, place + size_user):
            of_user, size_user = [], 0
        said, size_said = (None, 0) if self.of_user else self._copied(place)
        size = max(size_item, size_user)
        size_glue = len(expression.words) if expression and expression.licensed else 0
        if size_said > max(size, size_glue):
            return self._make(
                place, size_said, said=said, of_item=self._inside(place, size_said), is_claim=True
            )
        if size > size_glue or (
            size and size == size_glue and self._is_value(place, size, [*of_item, *of_user])
        ):
            if size_item == size and of_item[0].clause:
                of_item = [*of_item, *self._inside(place, size)]
            return self._make(
                place,
                size,
                of_item=of_item if size_item == size else (),
                of_user=of_user if size_user == size else (),
                is_claim=True,
            )
        return self._make(place, len(expression.words) if expression else 1, expression=expression)

    def _longest(self, entries: Index, place: int) -> tuple[list[Entry], int]:
        """The entries of the longest phrase that begins at a word, and its number of words and commas."""
        found, size = longest(entries, self.plain_stems, self.place_in_plain[place])
        return found, self.plain[self.place_in_plain[place] + size - 1] - place + 1 if size else 0

    def _takes_noun(self, entries: Sequence[Entry], behind: int) -> bool:
        """Whether the value in what is said has a noun of its own: "suits spring" of "suits spring *conditions*"."""
        entry = entries[0]
        if not entry.kind.startswith("=") or not entry.name or behind >= len(self.words):
            return False
        noun, sequences = self.words[behind].lower, self.lexicon.sequences
        own = (f"<{self.lexicon.kind(entry.name)}>", noun) in sequences
        return own and len(entry.stems) > 1 and not any((f"<{e.kind}>", noun) in sequences for e in entries)

    def _inside(self, place: int, size: int) -> list[Entry]:
        """The facts that a clause says."""
        stems = self.stems[place : place + size]
        found = [longest(self.of_item, stems, at, size - 1)[0] for at in range(size)]
        return [entry for those in found for entry in those if entry.whole and not entry.clause]

    def _make(self, place: int, size: int, **known: Any) -> Token:
        those = self.words[place : place + size]
        lower, stems = tuple(w.lower for w in those), tuple(w.stem for w in those)
        return Token(those[0].start, those[-1].end, lower, stems, **known)

    def _is_value(self, place: int, size: int, entries: Sequence[Entry]) -> bool:
        """Whether a value that is an ordinary word too ("One", "basket") is meant: beside its name, or as a noun."""
        if place and self.text[self.words[place].start].isupper() and any(e.kind == "name" for e in entries):
            return True
        behind = self.tokens[-1] if self.tokens and self.words[place].lower != "one" else None
        if behind is not None and (behind.is_claim or behind.words[-1] in _BEFORE_NOUNS):
            return True
        around = {self.stems[i] for i in (place - 1, place + size) if 0 <= i < len(self.stems)}
        return any(entry.names & around for entry in entries)

    def _copied(self, place: int) -> tuple[tuple[int, int] | None, int]:
        """The longest run of words that the item's own title or text has too, from one word of content to another."""
        best, size = None, 0
        words, item, licensed = self.words, self.item, self.lexicon.licensed
        if self.stems[place] not in item.places or words[place].lower in licensed:
            return best, size
        least = 4 if UNSPACED.match(words[place].lower) else 2
        for start in item.places[self.stems[place]]:
            n, told, content, end = place, start, 0, (place, start)
            while n < len(words) and told < len(item.words):
                if words[n].lower == ",":
                    n += 1
                    continue
                if item.words[told] != self.stems[n] or words[n].lower in _NO_COPY:
                    break
                n, told = n + 1, told + 1
                if words[n - 1].lower not in licensed:
                    content += 1
                    end = (n, told)
            if content >= least and end[0] - place > size and not self._is_denied(start):
                best, size = (start, end[1]), end[0] - place
        return best, size

    def _is_denied(self, start: int) -> bool:
        """Whether the item's text says that it is not so."""
        for word in reversed(self.item.words[max(0, start - 3) : start]):
            if word is None:
                return False
            if any(e.negates and len(e.words) == 1 for e in self.lexicon.by_first.get(word, ())):
                return True
        return False


def _attribute_names(tokens: Sequence[Token], lexicon: Lexicon) -> None:
    """Words that are the name of the attribute beside whose value they stand: a dotted *pattern*."""
    for place, token in enumerate(tokens):
        if not token.is_claim or token.said:
            continue
        for beside in (place - 1, place + 1):
            if not 0 <= beside < len(tokens) or tokens[beside].is_claim or tokens[beside].mark:
                continue
            name = tokens[beside].stems[0]
            for entry in (*token.of_item, *token.of_user):
                if name in entry.names or name in lexicon.names.get(entry.kind, ()):
                    tokens[beside].tags = (NAME, *_tags(tokens[beside]))
                    break


def _subjects(tokens: Sequence[Token], commas_end: bool) -> None:
    """Of whom each token speaks: of whom the last cue before it does, or the next one where none stands before."""
    subject: Subject | None = None
    for place, token in enumerate(tokens):
        if token.mark == "stop" or (commas_end and token.mark == "comma" and token.words != ("、",)):
            subject = None
        cue = token.expression.cue if token.expression and not token.is_claim else ""
        if cue == "open" and place and _is_verb(token, tokens[place - 1]):
            cue = ""
        if cue == "item" or cue == "user":
            subject = cue
        elif _is_relative(tokens, place):
            subject = "user"
        elif cue == "open" and subject == "user" and _joins(tokens, place):
            pass
        elif cue == "open" or (token.expression and token.expression.links and not token.is_claim):
            subject = _ahead(tokens, place + 1, past="which") or ("user" if cue != "open" else subject)
        elif token.words == ("and",) and _goes_on(tokens, place):
            subject = "item"
        if subject is None:
            subject = _ahead(tokens, place + 1)
        if subject == "user" and _is_its_own(tokens, place):
            subject = "item"
        token.subject = _named_subject(token) or subject or "item"


def _named_subject(token: Token) -> Subject | None:
    """A title speaks of what it is the title of, wherever it stands."""
    if token.is_claim and any(e.kind == "name" and len(e.stems) > 1 for e in token.of_user):
        return "user"
    is_own = token.is_claim and any(e.kind == "name" and e.whole and len(e.stems) > 1 for e in token.of_item)
    return "item" if is_own and not token.of_user else None


def _is_its_own(tokens: Sequence[Token], place: int) -> bool:
    """Whether a part of the item begins a sentence, or what is behind a comma with *the*: *the mesh upper* …"""
    token = tokens[place]
    if not token.is_claim or token.of_user or not (token.of_item or token.said):
        return False
    before = tokens[place - 1] if place else None
    if before is not None and before.words in (("the",), ("its",), ("a",), ("an",)):
        behind = tokens[place - 2] if place > 1 else None
        return behind is None or behind.mark == "stop" or (behind.mark == "comma" and before.words != ("a",))
    return before is None or before.mark == "stop"


def _is_relative(tokens: Sequence[Token], place: int) -> bool:
    """Whether "the" begins what a relative clause tells the person did: *the toaster you bought*."""
    if tokens[place].words != ("the",):
        return False
    rest = tokens[place + 1 :]
    behind = next((n for n, token in enumerate(rest) if not token.is_claim), len(rest))
    return 0 < behind < len(rest) and rest[behind].words[0] == "you"


def _is_verb(token: Token, before: Token) -> bool:
    """Whether "like" is what somebody does: behind "you", "who", "to"."""
    is_subject = before.expression is not None and before.expression.cue == "user"
    return token.words == ("like",) and (is_subject or before.words[-1] in _BEFORE_VERBS)


def _joins(tokens: Sequence[Token], place: int) -> bool:
    """Whether a word stands between two values, and joins them: 和 is "like", and "and"."""
    before = next((t for t in reversed(tokens[:place]) if t.mark != "other"), None)
    behind = next((t for t in tokens[place + 1 :] if t.mark != "other"), None)
    return before is not None and before.is_claim and behind is not None and behind.is_claim


def _goes_on(tokens: Sequence[Token], place: int) -> bool:
    """Whether ", and" goes back to the item: "…, like the mug you bought, *and* keeps drinks hot"."""
    if not 0 < place < len(tokens) - 1 or tokens[place - 1].mark != "comma":
        return False
    entries = tokens[place + 1].of_item
    return bool(entries) and entries[0].kind in ("=does", "does")


def _ahead(tokens: Sequence[Token], place: int, past: str = "") -> Subject | None:
    """Of whom the next cue of the sentence speaks; another open one ends the search, but for one that it may pass."""
    for token in tokens[place:]:
        if token.mark == "stop" or (token.mark == "comma" and not past):
            return None
        if token.expression and not token.is_claim:
            if token.expression.cue == "item" or token.expression.cue == "user":
                return token.expression.cue
            if (token.expression.cue == "open" and token.words[0] != past) or token.expression.links:
                return None
    return None


def _namings(tokens: Sequence[Token]) -> None:
    """What the item is called, behind "this" and what says how it is: this wool *hat*.

    At the beginning of a sentence "a" will do where the word is of the title and tells nothing else.
    """
    for place, token in enumerate(tokens):
        begins = not place or tokens[place - 1].mark == "stop"
        named = token.words[0] in _DETERMINERS and token.subject == "item" and not token.is_claim
        if not named and not (begins and (token.words[0] in ("a", "an") or token.is_claim)):
            continue
        last = place - token.is_claim
        while last + 1 < len(tokens) and _describes(tokens[last + 1]):
            last += 1
        entries = tokens[last].of_item if last >= place else ()
        if any(e.kind in ("category", "name") for e in entries) and (
            named or not any(e.whole for e in entries)
        ):
            tokens[last].naming = True


def _describes(token: Token) -> bool:
    """Whether it can stand before the thing's name, or be that name."""
    return bool(token.of_item) and not token.said and not is_predicate(token)


def is_predicate(token: Token) -> bool:
    """Whether it can only stand behind what the item is called: *is made of wool*."""
    return bool(token.of_item) and all(entry.kind in _PREDICATES for entry in token.of_item)


def _tags(token: Token) -> tuple[str, ...]:
    if token.tags:
        return token.tags
    if token.mark:
        return (COMMA,) if token.mark == "comma" else ()
    if token.said:
        return ("<said>",)
    if token.is_claim:
        kinds = dict.fromkeys(f"<{entry.kind}>" for entry in (*token.of_item, *token.of_user))
        if "<category>" in kinds or "<name>" in kinds or token.naming:
            kinds |= dict.fromkeys(["THING", "THINGS"])
        return tuple(kinds)
    if token.expression:
        return (token.expression.tag,) if token.expression.tag else ()
    return (token.words[0],)


def pieces(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Tokens that stand in a row, cut where a mark parts them; what may stand anywhere is left out."""
    piece: list[Token] = []
    for token in tokens:
        if token.mark == "stop":
            if piece:
                yield piece
            piece = []
        elif token.tags:
            piece.append(token)
    if piece:
        yield piece
