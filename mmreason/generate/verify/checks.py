"""The faults that a text can have, each found by one function: the first of :data:`CHECKS` that finds one decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from mmreason.generate.verify.claims import Claim
from mmreason.generate.verify.lexicon import END, FREE, NAME, START, Lexicon
from mmreason.generate.verify.licence import Licence
from mmreason.generate.verify.reading import Reading, Token, pieces
from mmreason.generate.verify.tables import ItemTable, UserTable
from mmreason.generate.verify.verdict import Rejection
from mmreason.language import UNSPACED


class Fault(NamedTuple):
    """One fault: its kind, where it is, and what it is in one line."""

    kind: Rejection
    span: tuple[int, int]
    why: str


@dataclass(slots=True)
class Checked:
    """A text with all that it is checked against.

    Attributes:
        reading: The text's tokens.
        item: What can be said of the item.
        user: What can be said of the history.
        lexicon: Of the text's language.
        domain: Of the item.
        claims: What the text claims of the person.
        steps: Different items of the history.
        licence: What references of the item's domain add to the lexicon.
    """

    reading: Reading
    item: ItemTable
    user: UserTable
    lexicon: Lexicon
    domain: str
    claims: list[Claim]
    steps: int
    licence: Licence

    @property
    def tokens(self) -> list[Token]:
        """The text's tokens."""
        return self.reading.tokens

    def words(self, token: Token) -> str:
        """A token as it is written."""
        return self.reading.text[token.start : token.end]


def polarity(text: Checked) -> Fault | None:
    """A claim that is turned round: "not waterproof", "unlike the wool you bought"."""
    for token in text.tokens:
        if token.expression and token.expression.negates and not token.is_claim:
            return Fault("polarity", token.span, f"{text.words(token)!r} turns a claim round")
    return None


def left_over(text: Checked) -> Fault | None:
    """A word that names nothing known and that no shape has."""
    for token in text.tokens:
        if token.mark or token.tags[:1] == (NAME,):
            continue
        if token.is_claim:
            if (
                not token.said
                and not token.naming
                and not token.of_user
                and not any(e.whole for e in token.of_item)
            ):
                return Fault("left-over words", token.span, f"{text.words(token)!r} says nothing by itself")
        elif not (token.expression and token.expression.licensed) and (
            not text.licence.allows(token.words) or text.lexicon.refused.intersection(token.words)
        ):
            return Fault(
                "left-over words", token.span, f"nothing is known that {text.words(token)!r} would say"
            )
    return None


def untrue_of_item(text: Checked) -> Fault | None:
    """A value that the item does not have, or a thing that it is not."""
    for place, token in enumerate(text.tokens):
        if token.is_claim:
            if token.subject == "item" and not token.of_item and not token.said:
                return Fault("untrue of the item", token.span, f"the item is not {text.words(token)!r}")
        elif text.lexicon.are_strange(token.words, text.domain) or _names_the_item(text, place):
            return Fault("untrue of the item", token.span, f"the item is no {text.words(token)!r}")
    return None


def _names_the_item(text: Checked, place: int) -> bool:
    """Whether a noun that claims nothing elsewhere is what the item is called: *this shelf*, of a chair."""
    if not place or text.tokens[place].tags != (f"{FREE}noun",):
        return False
    before = text.tokens[place - 1]
    begins = place == 1 or text.tokens[place - 2].mark == "stop"
    return before.words[0] in ("this", "these") or (begins and before.words[0] in ("a", "an"))


def untrue_of_person(text: Checked) -> Fault | None:
    """A value that no item of the history has, or of too few."""
    for claim in text.claims:
        if not claim.holders:
            return Fault("untrue of the person", claim.span, f"no item of the history shows {claim.what!r}")
    spoken = [token for token in text.tokens if token.tags]
    for who, did, what in zip(spoken, spoken[1:], spoken[2:], strict=False):
        is_act = did.expression is not None and (did.expression.tag == "VERB" or did.expression.event)
        if who.words == ("you",) and is_act and what.words[0] in ("this", "these", "it"):
            return Fault("untrue of the person", did.span, "the history does not hold the item itself")
    return None


def event(text: Checked) -> Fault | None:
    """Something else was done with these items."""
    for claim in text.claims:
        if claim.events and len(claim.done) < min(claim.least, len(claim.holders)):
            return Fault(
                "event",
                claim.span,
                f"{claim.what!r}: {claim.events[0]} is not what was done with these items",
            )
    return None


def strength(text: Checked) -> Fault | None:
    """More is said of a habit than the history shows."""
    for claim in text.claims:
        n = len(claim.done if claim.events else claim.holders)
        if n < claim.least:
            return Fault(
                "strength", claim.span, f"{claim.what!r}: {n} of {claim.least} items that it would need"
            )
        if claim.quantity in ("most", "all"):
            needed = text.steps if claim.quantity == "all" else text.steps // 2 + 1
            if n < needed:
                return Fault(
                    "strength",
                    claim.span,
                    f"{claim.what!r}: {n} of {text.steps} items is not {claim.quantity}",
                )
        if claim.quantity == "often" and not claim.often:
            return Fault("strength", claim.span, f"{claim.what!r}: too few items to call it often")
    return None


def twice(text: Checked) -> Fault | None:
    """One thing said of the item twice, or of the person, or many words in the same order again."""
    spoken = [(word, token) for token in text.tokens if not token.mark for word in token.words]
    if len(spoken) - len({word for word, _ in spoken}) < _REPEATED:
        return _concept_twice(text)
    seen: set[tuple[str, ...]] = set()
    for place in range(len(spoken) - _REPEATED + 1):
        run = tuple(word for word, _ in spoken[place : place + _REPEATED])
        if run in seen:
            return Fault("twice", spoken[place][1].span, f"{' '.join(run)!r} is said already")
        seen.add(run)
    return _concept_twice(text)


def _concept_twice(text: Checked) -> Fault | None:
    told: dict[str, set[str]] = {"item": set(), "user": set()}
    words: dict[str, set[str]] = {"item": set(), "user": set()}
    for token in text.tokens:
        if not token.is_claim:
            continue
        mine = token.of_user if token.subject == "user" else token.of_item
        concepts = {entry.concept for entry in mine}
        content = {stem for stem in token.stems if len(stem) > 3 and stem not in text.lexicon.licensed}
        if token.subject == "user" and any(entry.kind == "name" for entry in mine):
            content = set()  # two items may have a word of their titles in common
        if told[token.subject] & concepts or words[token.subject] & content:
            return Fault("twice", token.span, f"{text.words(token)!r} is said already")
        told[token.subject] |= concepts
        words[token.subject] |= content
    return None


def follows(text: Checked) -> Fault | None:
    """What is said of the person has nothing to do with the item, or is named as the cause of what it is."""
    said = [token for token in text.tokens if token.is_claim and token.subject == "item"]
    mine = {entry.concept for token in said for entry in token.of_item}
    if (
        all(token.naming or all(e.kind == "name" for e in token.of_item) for token in said)
        or _is_another(text)
        or _fits(text)
    ):
        mine |= text.item.concepts
    told = [token.expression for token in text.tokens if token.expression and not token.is_claim]
    links = any(expression.links for expression in told)
    others = any(expression.others for expression in told)
    for claim in text.claims:
        if claim.link and others and claim.link.name != "bought with":
            return Fault("does not follow", claim.span, f"nobody is known to take it with {claim.what!r}")
        if not claim.concepts or claim.link:
            continue
        shared = claim.concepts & mine or any(_overlaps(token, claim) for token in said)
        if (claim.named or claim.least == 1) and not links:
            shared = shared or any(set(claim.holders) & set(text.user.holders.get(c, ())) for c in mine)
        if not shared:
            why = f"what is said of the item has nothing of {claim.what!r}"
            return Fault("does not follow", claim.span, why)
    return _no_cause(text)


def _is_another(text: Checked) -> bool:
    """Whether the item is called one of what the person likes: "you often watch thrillers, and this *one* …"."""
    return any(
        token.words in (("one",), ("another",)) and before.words == ("this",) and token.subject == "item"
        for before, token in pairwise(text.tokens)
    )


def _fits(text: Checked) -> bool:
    """Whether the item is said to be for such a person, which says that it shows what they like."""
    return any(
        token.expression is not None
        and (token.expression.fits or token.expression.cue == "nobody")
        and not token.is_claim
        for token in text.tokens
    )


def _overlaps(token: Token, claim: Claim) -> bool:
    """Whether a clause of the item's own text says what is claimed of the person."""
    return bool(token.said) and set(claim.stems) <= set(token.stems)


def _no_cause(text: Checked) -> Fault | None:
    """ "You keep choosing orange, so this sneaker is orange": a taste does not make a thing what it is."""
    for place, token in enumerate(text.tokens):
        if token.words == ("so",) and place + 1 < len(text.tokens) and not token.is_claim:
            rest = _sentence(text.tokens, place + 1)
            subject = next((t for t in rest if t.tags or t.is_claim), None)
            if (
                subject is not None
                and subject.expression is not None
                and subject.expression.cue == "item"
                and not any(t.expression and t.expression.fits for t in rest)
            ):
                return Fault(
                    "does not follow", token.span, "what the item is does not come from a person's taste"
                )
    return None


def _sentence(tokens: Sequence[Token], place: int) -> list[Token]:
    stop = next((i for i in range(place, len(tokens)) if tokens[i].mark == "stop"), len(tokens))
    return list(tokens[place:stop])


def grammar(text: Checked) -> Fault | None:
    """Words in an order that no shape has, one word twice in a row, "a" before a vowel, or a capital out of place."""
    return _spelling(text) or _agreement(text) or _order(text)


def _agreement(text: Checked) -> Fault | None:
    """A form of "do" that stands for a verb that is a form of "be": "is purple, as do several"."""
    verb = ""
    for before, token in zip([None, *text.tokens], text.tokens, strict=False):
        word = token.words[0]
        if token.mark == "stop":
            verb = ""
        elif (
            before is not None
            and before.words[-1] == "as"
            and word in ("do", "does")
            and verb in ("is", "are")
        ):
            return Fault("broken grammar", token.span, f"{word!r} stands for {verb!r}")
        elif word in ("is", "are", "has", "have", "comes", "shows", "suits"):
            verb = word
    return None


def _spelling(text: Checked) -> Fault | None:
    begins = starts = True  # a clause, and a sentence, which needs a capital
    for before, token in zip([None, *text.tokens], text.tokens, strict=False):
        if before is not None and before.start == token.start:
            continue  # "you've" is two
        written = text.words(token)
        small = starts and written.isascii() and written.islower()
        if small or (not begins and not token.is_claim and token.words != ("i",) and written[0].isupper()):
            return Fault("broken grammar", token.span, f"{written!r} is not written so here")
        begins = token.mark == "stop" or (begins and bool(token.mark))
        starts = (token.mark == "stop" and written in ".!?") or (starts and bool(token.mark))
        if before is None or before.mark or token.mark:
            continue
        if before.words[-1] == token.words[0] and not UNSPACED.search(written):
            return Fault("broken grammar", token.span, f"{written!r} stands twice")
        article = before.words in (("a",), ("an",)) and not before.is_claim
        if article and (before.words == ("an",)) != _vowel(token.words[0]):
            return Fault("broken grammar", before.span, f"{text.words(before)!r} before {written!r}")
    return None


def _order(text: Checked) -> Fault | None:
    if not text.lexicon.sequences:
        return None
    for piece in pieces(text.tokens):
        tags = [(START,), *(token.tags for token in piece), (END,)]
        for place in range(len(tags) - 1):
            behind = tags[place + 2] if place + 2 < len(tags) else ()
            here = tags[place + 1]
            framed = place < 2 or text.lexicon.frames(*tags[place - 2 : place + 2])
            ordered = text.lexicon.follows(tags[place], here, behind) or text.licence.follows(
                tags[place], here, behind
            )
            if not (framed and ordered):
                token = piece[min(place, len(piece) - 1)]
                return Fault("broken grammar", token.span, f"{text.words(token)!r} does not read well here")
    return None


_REPEATED = 8  # words, or Chinese characters: more than person and item need in common
_SOUNDS_LIKE_YOU = ("uni", "use", "usu", "uti", "eu", "ute", "one", "once", "u-")
_SILENT = ("hour", "honest", "honor", "honour", "heir")


def _vowel(word: str) -> bool:
    if word[0] == "8" or word in ("11", "18"):
        return True
    if word.startswith(_SILENT):
        return True
    return word[0] in "aeiouáéíóúàèìòùâêîôûäëïöü" and not (
        word.startswith(_SOUNDS_LIKE_YOU) and not word.startswith(("unin", "unim"))
    )


def no_claim(text: Checked) -> Fault | None:
    """Nothing is said of the item."""
    if (
        any(token.is_claim and token.subject == "item" and not token.naming for token in text.tokens)
        or text.claims
    ):
        return None
    return Fault("no claim", (0, len(text.reading.text)), "nothing is said of the item")


CHECKS: Sequence[Callable[[Checked], Fault | None]] = (
    polarity,
    left_over,
    untrue_of_item,
    untrue_of_person,
    event,
    strength,
    follows,
    twice,
    grammar,
    no_claim,
)
