"""The settings of the stages that make data: sources, splits, shoppers and shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SourceConfig:
    """One of several sources of a catalogue.

    Args:
        name: Stands before the ids of its items and users (``news:N1``), so that those of two sources never meet.
        source: Name of a reader.
        root: Folder that the reader reads.
        options: The reader's own options.
        weight: How often training draws its reasons, beside those of a source of weight 1 (``reason.balanced``).
    """

    name: str
    source: str
    root: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0


@dataclass
class CatalogueConfig:
    """Where items and behaviours come from.

    Args:
        source: Name of a reader: ``demo``, ``tables``, ``magento``, ``amazon``, ``mind``, ``microlens``,
            ``movielens``, ``xrec``, or one that an installed package adds.
        root: Folder that the reader reads (``demo`` makes one itself).
        options: The reader's own options, name → value; see the dataclass beside the reader.
        sources: Several sources in one catalogue, in place of the three above.
        allow_download: Fetch pictures and videos that are given by address, into ``<root>/downloads``.
        events: Events of the sources' own → the known one that each counts as (``{book: purchase}``).
        hidden: Attributes taken out of every text, so that only the picture can tell them.
        test_items: Share of item groups kept for testing.
        valid_items: Share of item groups kept for validation.
        max_quarantined: The ingest fails if a larger share of rows than this is bad; duplicates and rows of unknown
            items do not count.
        max_unknown_items: The ingest fails if a larger share of interactions or reasons names items that the
            catalogue does not have. A log outlives its items, so only nearly all (two kinds of ids) is a mistake.
    """

    source: str = "demo"
    root: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    sources: list[SourceConfig] = field(default_factory=list)
    allow_download: bool = False
    events: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    test_items: float = 0.2
    valid_items: float = 0.1
    max_quarantined: float = 0.5
    max_unknown_items: float = 0.99

    def each_source(self) -> list[SourceConfig]:
        """The sources: several, or the one, which has no name."""
        return self.sources or [SourceConfig("", self.source, self.root, self.options)]


@dataclass
class SplitConfig:
    """What the sides of the split share: nothing of what it is ``by``.

    Args:
        by: ``item`` (cold start; shares in ``catalogue.test_items``), ``user``, ``time``, two of them joined by ``+``
            (a target must be on one side by both, others are dropped and counted), or ``none``.
        test_users: Share of users kept for testing.
        valid_users: Share of users kept for validation.
        test_times: Share of user-item pairs, the latest, kept for testing.
        valid_times: Share of pairs, the latest before those, kept for validation.
    """

    by: str = "item"
    test_users: float = 0.2
    valid_users: float = 0.1
    test_times: float = 0.2
    valid_times: float = 0.1


@dataclass
class BalanceConfig:
    """Sampling weights of the training reasons, 1 on average; a power of 0 is no balance, 1 a full one.

    Args:
        items: Weight by (reasons of the item's group) to the power of minus this; 0.5 is inverse square root.
        users: By (reasons of the user's activity group), likewise.
        domains: By (reasons of the item's domain), likewise.
    """

    items: float = 0.5
    users: float = 0.5
    domains: float = 0.0


@dataclass
class SimulateConfig:
    """Simulated shoppers with known tastes.

    Args:
        users: How many shoppers, in place of the catalogue's own users; 0 takes interactions and reasons from the
            catalogue. Left empty, a catalogue that has users but no reasons gets reasons that are worded for its own
            users, from what they took.
        tastes: How many attribute values a shopper likes.
        history: Mean number of items in a history.
        noise: Share of the history drawn without regard to taste.
        reasons_per_user: Targets (item, reference reason) per shopper.
        attributes: Attributes that tastes are drawn from; empty for all.
        favour: Attributes that a taste holds for sure, when the catalogue has them (e.g. ``[color]``).
        test_users: Share of shoppers kept for testing.
        valid_users: Share of shoppers kept for validation.
    """

    users: int | None = None
    tastes: int = 3
    history: int = 8
    noise: float = 0.15
    reasons_per_user: int = 4
    attributes: list[str] = field(default_factory=list)
    favour: list[str] = field(default_factory=list)
    test_users: float = 0.2
    valid_users: float = 0.1


@dataclass
class PackConfig:
    """Shards.

    Args:
        shard_size: Mean number of samples per tar.
    """

    shard_size: int = 256
