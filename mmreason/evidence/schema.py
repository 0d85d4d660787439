"""What flows from evidence to reasons: facts, concepts, tastes, plans, and the case of one user and one item.

Plain dataclasses, importable without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from mmreason.language import phrase
from mmreason.safety.terms import TermFinder
from mmreason.schema import Item, User

FactSource = Literal["attribute", "title", "text", "picture", "review", "relation"]
TieKind = Literal["taste", "likeness", "complement", "popular"]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something true of an item, with where it stands.

    Attributes:
        item_id: The item.
        name: The attribute that says it (``material``); ``decade`` for that of a year; of a phrase its form (``thing``,
            ``is``, ``does``, ``about``); of reviewers ``praise``; of a relation its kind, as in :mod:`mmreason.links`.
        value: As the catalogue writes it; of a relation the other item's id.
        source: Where it stands: an ``attribute``, the ``title`` or ``text``, what the ``picture`` or video shows, what
            several people's ``review`` says, or a ``relation`` to another item.
        span: Start and end in the title or text, in characters.
        probability: That it is true; below 1 only of what is read off a picture.
        supporters: People who say so in reviews, or who bought both items of a relation; none of a link of the source.
        asked: People who speak of it at all, or who took one of the two items.
        concept_id: The concept that it shares with facts that mean the same; empty is its own spelling.
    """

    item_id: str
    name: str
    value: str
    source: FactSource = "attribute"
    span: tuple[int, int] | None = None
    probability: float = 1.0
    supporters: int = 0
    asked: int = 0
    concept_id: str = ""

    @property
    def spelling(self) -> str:
        """Attribute and value in one spelling: facts with the same one mean the same.

        Example:
            >>> Fact("a", "Material", "Merino Wool").spelling, Fact("b", "material", "merino  wool").spelling
            ('material=merino wool', 'material=merino wool')
        """
        return _spelling(self.name, self.value)

    @property
    def concept(self) -> str:
        """Id of its concept."""
        return self.concept_id or self.spelling


@lru_cache(maxsize=65_536)
def _spelling(name: str, value: str) -> str:
    return f"{phrase(name)}={phrase(value)}"


@dataclass(frozen=True, slots=True)
class Concept:
    """What all facts that mean the same have in common.

    Attributes:
        id: Stable when items are added.
        name: The attribute, or the form of a phrase, of most of its facts.
        value: A readable name: the commonest spelling of its facts.
        items: How many items show it.
        popularity: Share of everybody's steps that are on items that show it; of the items, without behaviours.
        sensitive: What it would tell of a person (``health`` …); empty if nothing that is protected.
        spellings: The facts' spellings that belong to it.
        parts: Of two concepts together (:mod:`mmreason.evidence.pairs`): these two.
    """

    id: str
    name: str
    value: str
    items: int = 1
    popularity: float = 0.0
    sensitive: str = ""
    spellings: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taste:
    """A concept that a history shows.

    Attributes:
        concept: Its id.
        item_ids: The items that show it, the oldest first.
        events: Event → on how many of these items it happened; ``finished`` for what was watched or read to the end,
            ``rated high`` for four stars or more.
        share: Weighted share of the history, drawn towards everybody's.
        lift: ``share`` over everybody's.
        p_value: Chance of so many items with it in a history that follows popularity.
        liked: False for what the person turns away from.
    """

    concept: str
    item_ids: tuple[str, ...]
    events: Mapping[str, int] = field(default_factory=dict)
    share: float = 0.0
    lift: float = 1.0
    p_value: float = 1.0
    liked: bool = True

    @property
    def often(self) -> bool:
        """Whether "often" is true: three items or more, and hardly by chance."""
        return len(self.item_ids) >= 3 and self.p_value <= 0.01


@dataclass(frozen=True, slots=True)
class Tie:
    """What ties an item to its reader.

    Attributes:
        kind: A ``taste`` of theirs, a ``likeness`` to an item that they liked, an item that they took and that this one
            goes with (``complement``), or that many people take it (``popular``).
        item_ids: The history's items that it rests on; empty if ``popular``.
        taste: Of a ``taste``: which. It is of the concept of the plan's first fact.
        fact: Of a ``complement`` or ``popular``: the relation, or the praise.
        both: Whether taste or likeness is of the plan's two facts together: romantic comedies.
        popularity: Of a ``likeness``: share of everybody's steps that are on items of which the same is true.
    """

    kind: TieKind
    item_ids: tuple[str, ...] = ()
    taste: Taste | None = None
    fact: Fact | None = None
    both: bool = False
    popularity: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to say: at most two facts of the item, and what ties it to the person.

    Attributes:
        facts: The first is the one that the tie is about.
        tie: None for a selling point, which says nothing of the person.
        score: The larger the better; comparable within a case.
        parts: Name of a part of the score → its value.
    """

    facts: tuple[Fact, ...]
    tie: Tie | None = None
    score: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def level(self) -> Literal["personal", "selling point"]:
        """The rung of the ladder that a reason with this plan stands on."""
        return "personal" if self.tie and self.tie.kind != "popular" else "selling point"


@dataclass(slots=True)
class Case:
    """One user and one item with all that is known of them: what plans, writers and verification look at.

    Attributes:
        user: With their history, oldest first.
        item: The item to be recommended.
        facts: Of the item; ``Item.hidden`` is never looked at, only what a picture was read to show.
        tastes: Of the history, the strongest first.
        history_items: Item id → the history's items that are known.
        history_facts: Item id → their facts.
        concepts: Concept id → concept, of all facts and tastes of the case.
        language: Of the reason: ``en``, ``zh`` …
        sensitive: Finds the run's own terms that nobody may infer of a person, beside those of the toolkit.
        untold: Concepts of the history that together would tell such a thing: nobody is said to like them.
        disliked: Concepts of items that the person turned away from, and of no other item of the history.
    """

    user: User
    item: Item
    facts: Sequence[Fact]
    tastes: Sequence[Taste] = ()
    history_items: Mapping[str, Item] = field(default_factory=dict)
    history_facts: Mapping[str, Sequence[Fact]] = field(default_factory=dict)
    concepts: Mapping[str, Concept] = field(default_factory=dict)
    language: str = "en"
    sensitive: TermFinder | None = None
    untold: frozenset[str] = frozenset()
    disliked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may become a reason.

    Attributes:
        text: What a writer wrote.
        plan: What it says; of a language model, read off the text.
        writer: Its name in the registry: ``template``, ``extract``, ``lm``.
        score: Mean log-probability of its tokens, where a model wrote it.
    """

    text: str
    plan: Plan
    writer: str
    score: float | None = None
