"""What a text claims of a person: which items of their history would have to show it, and how many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mmreason.evidence.pairs import pair_id
from mmreason.evidence.schema import Fact
from mmreason.generate.verify.reading import Reading, Token, is_predicate
from mmreason.generate.verify.tables import ItemTable, UserTable

_LEAST = {"": 1, "two": 2, "three": 3, "often": 3, "most": 2, "all": 3}
_RANK = {name: rank for rank, name in enumerate(_LEAST)}
_RATED = ("rating", "review", "rated high")  # nobody rates a film that they have not watched
_EVENTS = {
    "watch": ("watch", "view", "finished", *_RATED),
    "read": ("read", "finished"),
    "rating": _RATED,
}
_EXACT = frozenset(["finished", "rated high"])  # more than the event beside it: "watched to the end"
_SHARE = 0.03  # of a history; less is not a habit
_PARTED = frozenset(["and", "or", "than", "you", "your", "with"])
_WITHIN = frozenset(["with", "in", "of", "a", "an", "something"])  # a noun phrase, beside what it names
_ONE = frozenset(["a", "an", "the", "one", "another", "your"])


@dataclass(slots=True)
class Claim:
    """One thing said of the person.

    Attributes:
        what: As it is written.
        span: Where it stands.
        concepts: What the history's items would have to show.
        stems: The words that say so.
        holders: The history's items that show it.
        done: Those of them with which the told event happened.
        events: Events of which one is told.
        quantity: The strongest word of quantity: ``two``, ``often`` …
        least: How many items it needs at least.
        often: Whether "often" is true of it.
        link: The relation between the recommended item and the one that it names, if there is one.
        named: Whether it names an item of the history by its title.
        loose: Whether it is true only of items that are not called as this one is.
    """

    what: str
    span: tuple[int, int]
    concepts: frozenset[str]
    stems: tuple[str, ...]
    holders: tuple[str, ...]
    done: tuple[str, ...]
    events: tuple[str, ...]
    quantity: str
    least: int
    often: bool
    link: Fact | None = None
    named: bool = False
    loose: bool = False


def claims_of(reading: Reading, item: ItemTable, user: UserTable) -> list[Claim]:
    """All that a text says of the person, in reading order."""
    found: list[Claim] = []
    for clause in _clauses(reading.tokens):
        named = list(_groups(clause))
        cue = next(
            (t for t in clause if t.expression and not t.is_claim and t.expression.cue == "user"), None
        )
        if named:
            likened = _likened(reading, clause)
            made = [_claim(reading.text, group, clause, likened, item, user) for group in named]
            found += _of_the_named(made)
        elif cue is not None:
            found += _shared(reading, clause, cue, user)
    return found


def _of_the_named(claims: list[Claim]) -> list[Claim]:
    """What is said beside a title is said of that item: "you chose *cream* with your Retro Toaster"."""
    titled = {holder for claim in claims if claim.named for holder in claim.holders}
    for claim in claims if titled else ():
        if not claim.named and not claim.quantity and titled & set(claim.holders):
            claim.least = 1
    return claims


def _clauses(tokens: Sequence[Token]) -> list[list[Token]]:
    """Tokens that speak of the person, parted where the text speaks of the item or a sentence ends."""
    found: list[list[Token]] = [[]]
    for place, token in enumerate(tokens):
        if token.mark == "stop":
            found.append([])
        elif token.subject == "user" or _leads_to_user(tokens, place):
            found[-1].append(token)
        elif found[-1]:
            found.append([])
    return [clause for clause in found if clause]


def _leads_to_user(tokens: Sequence[Token], place: int) -> bool:
    """Whether a word of the item's clause belongs to the cue behind it: *several of* your picks."""
    for token in tokens[place:]:
        if token.is_claim or token.mark:
            return False
        if token.expression and token.expression.cue in ("user", "item"):
            return token.expression.cue == "user"
    return False


def _groups(clause: Sequence[Token]) -> Iterable[list[Token]]:
    """Claims that one thing must have all of: *red wool* hats; "red and wool" are two."""
    group: list[Token] = []
    for token in clause:
        if token.is_claim:
            group.append(token)
        elif group and (token.mark or token.words[0] in _PARTED):
            yield group
            group = []
    if group:
        yield group


def _likened(reading: Reading, clause: Sequence[Token]) -> list[frozenset[str]]:
    """What was said of the item before "like …": the items behind it show that too."""
    if clause[0].expression is None or clause[0].expression.cue != "open" or clause[0].is_claim:
        return []
    before = [t for t in reading.tokens if t.is_claim and not t.naming and t.end <= clause[0].start]
    return [frozenset(e.concept for e in t.of_item) for t in before if t.subject == "item" and t.of_item]


def _claim(
    text: str,
    group: Sequence[Token],
    clause: Sequence[Token],
    likened: Sequence[frozenset[str]],
    item: ItemTable,
    user: UserTable,
) -> Claim:
    span = group[0].start, group[-1].end
    concepts = [frozenset(entry.concept for entry in token.of_user) for token in group]
    named = any(entry.kind == "name" for token in group for entry in token.of_user)
    holders = _held(concepts if named else [*concepts, *likened], user)
    link = next((found for holder in holders if (found := _link(holder, item, user))), None)
    made = _strength(clause, holders, concepts, user, singular=named or _is_singular(group, clause))
    if named:  # of the "others" beside it nothing more is said
        done, events, quantity, _, often = made
        made = done, events, quantity if quantity in ("most", "all") else "", 1, often
    return Claim(
        text[slice(*span)],
        span,
        frozenset().union(*concepts),
        tuple(stem for token in group for stem in token.stems),
        holders,
        *made,
        link,
        named,
    )


def _link(holder: str, item: ItemTable, user: UserTable) -> Fact | None:
    """What links the item to one of the history; things of one kind do not go with each other."""
    link = item.linked.get(holder)
    if (
        link
        and link.name != "bought with"
        and any(holder in user.holders.get(kind, ()) for kind in item.kinds)
    ):
        return None
    return link


def _held(concepts: Sequence[frozenset[str]], user: UserTable) -> tuple[str, ...]:
    """The items, not turned away from, that show one concept of each set."""
    sets = [{i for c in options for i in user.holders.get(c, ())} for options in concepts]
    both = set.intersection(*sets) if sets else set()
    return tuple(i for i in user.done if i in both and i not in user.disliked)


def _strength(
    clause: Sequence[Token],
    holders: tuple[str, ...],
    concepts: Sequence[frozenset[str]],
    user: UserTable,
    singular: bool,
) -> tuple[tuple[str, ...], tuple[str, ...], str, int, bool]:
    """(items with the told event, these events, the strongest quantity, how many it needs, whether it is often)."""
    expressions = [t.expression for t in clause if t.expression and not t.is_claim]
    quantity = max((e.quantity for e in expressions), key=_RANK.__getitem__, default="")
    told = {e.event for e in expressions if e.event}
    told = (told & _EXACT) or told
    ways = [frozenset(_EVENTS.get(event, (event,))) for event in sorted(told)]
    events = tuple(sorted({name for way in ways for name in way}))
    # "bought" and "read" must both be true, where both are told.
    done = tuple(i for i in holders if all(user.done[i] & way for way in ways))
    least = max(_LEAST[quantity], 1 if singular else 2)
    if quantity and quantity != "two":
        least = max(least, round(_SHARE * len(user.done)))
    return done, events, quantity, least, _is_often(done, concepts, user)


def _is_often(done: Sequence[str], concepts: Sequence[frozenset[str]], user: UserTable) -> bool:
    """Whether "often" is true: of two concepts together by a taste for both, where one was found."""
    of_both = [pair_id(a, b) for first, second in pairwise(concepts) for a in first for b in second]
    known = [user.often[c] for c in of_both if c in user.often]
    known = known or [user.often[c] for options in concepts for c in options if c in user.often]
    return any(known) if known else len(done) >= 3


def _is_singular(group: Sequence[Token], clause: Sequence[Token]) -> bool:
    """Whether one item is spoken of: "the wool hat you bought"."""
    plural = any("THINGS" in t.tags and not t.is_claim for t in clause)
    plural = plural or any(
        word != stem for t in group for word, stem in zip(t.words[-1:], t.stems[-1:], strict=True)
    )
    place = clause.index(group[0])
    return not plural and place > 0 and clause[place - 1].words[-1] in _ONE


def _shared(reading: Reading, clause: Sequence[Token], cue: Token, user: UserTable) -> list[Claim]:
    """What a clause without a value claims: that what is said of the item, their items show too.

    What makes one noun, the same items must show. Whether they must be called so, readers do not agree on: a *bouncing
    car* is like several bouncing clips to some.
    """
    said = [t for t in reading.tokens if t.is_claim and t.subject == "item"]
    told = [t for t in said if not t.naming] or said
    nouns = [([t for t in noun if not _is_category(t)], noun) for noun in _nouns(reading.tokens, told)]
    nouns = [(how, noun) for how, noun in nouns if how] or [(noun, noun) for _, noun in nouns]
    singular = not any(
        "THINGS" in t.tags or "PICKS" in t.tags or (t.expression and t.expression.quantity) for t in clause
    ) and any("THING" in t.tags for t in clause)
    claims = []
    for how, noun in nouns:
        concepts = [frozenset(entry.concept for entry in token.of_item) for token in how]
        holders = _held(concepts, user)
        made = _strength(clause, holders, concepts, user, singular)
        what = reading.text[how[0].start : how[-1].end]
        stems = tuple(stem for token in how for stem in token.stems)
        span = clause[0].start, clause[-1].end
        claim = Claim(what, span, frozenset().union(*concepts), stems, holders, *made)
        called = [frozenset(entry.concept for entry in token.of_item) for token in noun]
        claim.loose = len(how) < len(noun) and len(_held(called, user)) < claim.least
        claims.append(claim)
    return claims


def _nouns(tokens: Sequence[Token], told: Sequence[Token]) -> Iterable[list[Token]]:
    """Claims that one thing must have all of: a *bouncing car*, a *dreamy* clip *with sliding motion*."""
    noun: list[Token] = []
    for token in tokens:
        if any(token is each for each in told):
            if noun and is_predicate(token):
                yield noun
                noun = []
            noun.append(token)
        elif noun and not (token.naming or "THING" in token.tags or token.words[-1] in _WITHIN):
            yield noun
            noun = []
    if noun:
        yield noun


def _is_category(token: Token) -> bool:
    return any(entry.kind == "category" for entry in token.of_item)
