"""The wording of reference reasons: sentence shapes that are filled with what an item and a history share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmreason.evidence.schema import Fact
from mmreason.language import singulars
from mmreason.schema import Interaction, Item
from mmreason.wording.english import article
from mmreason.wording.grammar import fill, grammar_of

Pair = tuple[str, str]
WORDS = (10, 22)
"""Shortest and longest reason in words."""

THINGS = {"video": ("clip", "clips"), "news": ("story", "stories"), "shop": ("piece", "pieces")}

# (what one likes, the things that have it, what this one does), by domain and attribute. {v} is the value,
# {a} its article, {s} the domain's things, {kind} what the item is.
Phrase = tuple[str, str, str]
PHRASES: dict[str, dict[str, Sequence[Phrase]]] = {
    "shop": {
        "color": [
            ("{v}", "{v} {s}", "is {v}"),
            ("the color {v}", "{s} in {v}", "comes in {v}"),
            ("{v} {s}", "{v} {s}", "is {v}"),
        ],
        "pattern": [("{v} patterns", "{s} with {a} {v} pattern", "has {a} {v} pattern")],
        "material": [("{v}", "{s} made of {v}", "is made of {v}"), ("{v} {s}", "{v} {s}", "is made of {v}")],
        "use": [("{s} for {v}", "{s} made for {v}", "is made for {v}")],
        "activity": [("{s} for {v}", "{s} meant for {v}", "is meant for {v}")],
        "climate": [("{v} conditions", "{s} for {v} conditions", "suits {v} conditions")],
        "style": [("the {v} style", "{s} in the {v} style", "comes in the {v} style")],
        "category": [("the {v} section", "{s} from the {v} section", "comes from the {v} section")],
    },
    "video": {
        "color": [
            ("{s} with something {v}", "{s} with something {v}", "shows {a} {v} {kind}"),
            ("{s} that show something {v}", "{s} that show something {v}", "follows {a} {v} {kind}"),
        ],
        "category": [("{s} about {a} {v}", "{s} about {a} {v}", "is about {a} {v}")],
        "action": [("{s} with {a} {v} motion", "{s} with {a} {v} motion", "has {a} {v} motion")],
        "scene": [("{s} with {a} {v} setting", "{s} with {a} {v} setting", "has {a} {v} setting")],
        "mood": [("{a} {v} mood", "{s} with {a} {v} mood", "has {a} {v} mood")],
    },
    "news": {
        "color": [
            ("{s} with {a} {v} picture", "{s} with {a} {v} picture", "has {a} {v} picture"),
            ("{s} pictured in {v}", "{s} pictured in {v}", "is pictured in {v}"),
        ],
        "category": [("{v} news", "{s} about {v}", "is about {v}")],
        "region": [("news from {v}", "{s} from {v}", "comes from {v}")],
        "tone": [("{a} {v} tone", "{s} in {a} {v} tone", "has {a} {v} tone")],
        "format": [("the {v} format", "{s} in {v} form", "comes as {a} {v}")],
    },
}
ANY: Sequence[Phrase] = [("{s} listed under {v}", "{s} listed under {v}", "is listed under {v}")]
"""For what neither :data:`PHRASES` nor the writers' grammar has words."""

# {like} {things} {does}: the phrase; {n}: this item. No numbers: a model that has not counted must not learn to count.
ONE_CLAIM = (
    "You keep coming back to {things}, and {n} {does} too.",
    "{n} {does}, just like several of your recent picks.",
    "Since you often go for {like}, {n} should please you: it {does}.",
    "Your history leans towards {things}, so {n}, which {does}, fits right in.",
    "Some {things} are already in your history, and {n} {does} as well.",
    "You clearly have a taste for {like}, so we chose {n}, which {does}.",
    "We picked {n} because it {does}, like others in your history.",
    "As someone drawn to {like}, you may enjoy that {n} {does}.",
    "Among your recent choices, {things} stand out, and {n} {does} too.",
    "{n} {does}, in line with the {things} you chose before.",
    "{n} answers your fondness for {like}: once again, it {does}.",
    "Several of your latest picks were {things}; {n} {does} as well.",
    "For a fan of {like}, {n} is an easy choice because it {does}.",
    "Because {things} show up in your history again and again, we suggest {n}: it {does}.",
)
TWO_CLAIMS = (
    "You keep choosing {like} and {like2}, and {n} {does} and {does2}.",
    "{n} {does} and {does2}, two things you go for again and again.",
    "Your picks lean towards {like} and {like2}; {n} {does} and {does2}.",
    "We chose {n} because it {does} and {does2}, much like your earlier picks.",
    "Given your taste for {like} and {like2}, {n} fits: it {does} and {does2}.",
    "You often stop for {like} and {like2}, and {n} {does} and {does2}.",
    "{n} {does} and {does2}, like several of your picks.",
)
# What may be said when two sharing items have the event.
BY_EVENT = {
    "purchase": (
        "You bought {things} before, and {n} {does} too.",
        "After buying several {things}, you may well enjoy {n}, which {does}.",
    ),
    "cart": ("You put several {things} in your cart, and {n} {does} as well.",),
    "rating": ("You gave several {things} high ratings, and {n} {does} too.",),
    "click": ("You kept clicking on {things}, and {n} {does} too.",),
}


@dataclass(slots=True)
class Claim:
    """One thing that an item and a history share.

    Attributes:
        attribute: The attribute.
        value: The value, as the catalogue writes it.
        shared_by: The history's interactions with items that have it.
    """

    attribute: str
    value: str
    shared_by: list[Interaction]


def value_pattern(values: Iterable[str]) -> re.Pattern[str]:
    """Finds values in lower-case text as whole words, the longest first."""
    ordered = sorted({value.lower() for value in values}, key=lambda value: (-len(value), value))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered)) or '(?!)'})(?!\w)")


def write_reason(
    rng: np.random.Generator, item: Item, claims: Sequence[Claim], known: re.Pattern[str]
) -> str | None:
    """A sentence that makes exactly these claims, or None if every shape is too long or names something else.

    Args:
        rng: Chooses among the shapes.
        item: The item recommended.
        claims: One or two.
        known: Pattern of all values of the domain: a shape that happens to name another one is not used.
    """
    allowed = {claim.value.lower() for claim in claims} | {
        v.lower() for v in item.facts().get("category", [])
    }
    shapes = list(TWO_CLAIMS if len(claims) > 1 else ONE_CLAIM)
    if len(claims) == 1 and (told := _event_shapes(claims[0])) and rng.random() < 0.2:
        shapes = told
    slots = {"n": f"this {_kind(item, known)}"}
    for order, claim in enumerate(claims):
        phrase = _phrase(rng, item, claim, known)
        slots |= {
            name + ("2" if order else ""): text
            for name, text in zip(("like", "things", "does"), phrase, strict=True)
        }
    for index in rng.permutation(len(shapes)):
        text = shapes[index].format(**slots)
        text = text[0].upper() + text[1:]
        if WORDS[0] <= len(text.split()) <= WORDS[1] and set(known.findall(text.lower())) <= allowed:
            return text
    return None


def find_value(text: str, value: str) -> tuple[int, int]:
    """Where a reason names a value first: start and end in characters."""
    match = re.search(rf"(?<!\w){re.escape(value.lower())}(?!\w)", text.lower())
    assert match, f"{value!r} is not in {text!r}"
    return match.span()


def _phrase(rng: np.random.Generator, item: Item, claim: Claim, known: re.Pattern[str]) -> list[str]:
    known_as = claim.attribute.lower().replace("colour", "color")
    options = (
        PHRASES.get(item.domain, PHRASES["shop"]).get(known_as) or _by_grammar(item.domain, claim) or ANY
    )
    value = claim.value.lower()
    category = next(iter(item.facts().get("category", [])), "")
    slots = {
        "v": value,
        "a": "an" if value[0] in "aeiou" else "a",
        "s": THINGS.get(item.domain, ("item", "items"))[1],
        "kind": category.lower() if " " not in category and category else "subject",
    }
    return [part.format(**slots) for part in options[int(rng.integers(len(options)))]]


def _by_grammar(domain: str, claim: Claim) -> Sequence[Phrase]:
    """The words that the writers' grammar has for a value, where what it does holds that as it is written."""
    grammar = grammar_of("en", domain)
    said = grammar.say(Fact("", claim.attribute, claim.value)) if grammar else None
    if not grammar or not said:
        return ()
    one = f"is {article(said.one)} {said.one}" if said.one else ""
    slots = {"before": said.before, "things": "{s}", "after": "" if said.before else said.after}
    things = said.many or (fill(grammar.words["things_phrase"], slots) if said.before or said.after else "")
    phrase = (things, things, said.does or one)
    value = re.compile(rf"(?<!\w){re.escape(claim.value.lower())}(?!\w)")
    return [phrase] if things and value.search(phrase[2].lower()) else ()


def _kind(item: Item, known: re.Pattern[str]) -> str:
    """What to call the item: its category in the singular, or a word that claims nothing."""
    thing = THINGS.get(item.domain, ("item", "items"))[0]
    categories = item.facts().get("category", [])
    if item.domain != "shop" or len(categories) != 1 or not categories[0].isalpha():
        return thing
    word = categories[0].lower()
    if word in ("pants", "shorts", "tights", "jeans"):
        return "pair"
    word = next(iter(singulars(word)), word)
    # "tee" may be a style of its own, which an item from the tees section need not have
    return thing if word != categories[0].lower() and known.search(word) else word


def _event_shapes(claim: Claim) -> list[str]:
    """Shapes that tell what the user did with at least two of the sharing items."""
    shapes: list[str] = []
    for event, told in BY_EVENT.items():
        done = [
            i for i in claim.shared_by if i.event == event and (event != "rating" or (i.rating or 0) >= 4)
        ]
        if len(done) >= 2:
            shapes += told
    return shapes
