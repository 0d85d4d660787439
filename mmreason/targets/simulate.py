"""Reference reasons that are true of item and history: for simulated shoppers with known tastes, and for real users."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from mmreason.catalogue.split import assign_splits
from mmreason.config import SimulateConfig
from mmreason.progress import track
from mmreason.schema import DataError, Evidence, Interaction, Item, Reason, Split
from mmreason.targets.grammar import Claim, Pair, find_value, value_pattern, write_reason

MIN_HISTORY = 3
MIN_SUPPORT = 2
"""A reason names nothing that fewer engaged history items than this share."""

FAVOUR_HISTORY, FAVOUR_TARGET = 2.5, 4.0
"""How much likelier a favoured taste decides on an item than another one."""

START = 1_700_000_000.0
DAY = 86_400.0
_LONGEST_VALUE = 40  # characters; a longer one is a description, not a value a sentence can name


@dataclass(slots=True)
class Domain:
    """What shoppers of one domain choose from.

    Attributes:
        pools: Items by split.
        having: Split → pair → the items that have it.
        pairs: Item id → its (attribute, value) pairs that a taste or a reason may name.
        tastes: Attribute → values that at least :data:`MIN_HISTORY` products to train on have.
        frequency: How many items have a pair.
        known: Pattern of all values, to keep a sentence from naming another one by accident.
    """

    pools: dict[Split, list[Item]]
    having: dict[Split, dict[Pair, list[Item]]]
    pairs: dict[str, frozenset[Pair]]
    tastes: dict[str, list[str]]
    frequency: Counter[Pair]
    known: re.Pattern[str]


@dataclass(slots=True)
class Shopper:
    """One simulated user."""

    id: str
    split: Split
    tastes: list[Pair]
    history: list[Interaction]
    engaged: list[str]


def simulate(
    items: Mapping[str, Item], config: SimulateConfig, seed: int
) -> tuple[list[Interaction], list[Reason]]:
    """Make shoppers, their histories and reference reasons.

    Histories hold train items only. Targets come from the shopper's own split of the items, so no test item
    and no test shopper is in a train row; a target is not in the shopper's history. A reason names one or two
    (attribute, value) pairs that the target shares with at least two items the shopper engaged with.

    Args:
        items: With ``split``, ``attributes`` and ``hidden`` set.
        config: See :class:`mmreason.config.SimulateConfig`.
        seed: Same items, configuration and seed, same result.

    Returns:
        Interactions, oldest first per shopper, and reasons.

    Raises:
        DataError: If no domain has enough items to make a history of.
    """
    domains = _domains(items.values(), config)
    weights = np.array([len(domain.pools["train"]) for domain in domains], dtype=float)
    names = [f"shopper-{number:05d}" for number in range(config.users or 0)]
    splits = assign_splits(names, config.test_users, config.valid_users, seed)
    interactions: list[Interaction] = []
    reasons: list[Reason] = []
    for number, name in enumerate(track(names, "simulate", "shopper")):
        rng = np.random.default_rng([seed, number])
        domain = domains[rng.choice(len(domains), p=weights / weights.sum())]
        shopper = Shopper(name, splits[name], _draw_tastes(rng, domain, config), [], [])
        _draw_history(rng, shopper, domain, config)
        interactions += shopper.history
        reasons += _draw_reasons(rng, shopper, domain, config, items)
    return interactions, reasons


def reasons_for_users(
    items: Mapping[str, Item],
    histories: Mapping[str, Sequence[Interaction]],
    config: SimulateConfig,
    seed: int,
) -> list[Reason]:
    """Reference reasons for real users: a taste is a value that several of what they took share, and few others have.

    Args:
        items: As for :func:`simulate`.
        histories: User → what they did.
        config: See :class:`mmreason.config.SimulateConfig`.
        seed: Same items, histories, configuration and seed, same reasons.

    Raises:
        DataError: If no domain has items that share a value.
    """
    domains = {
        name: d for d in _domains(items.values(), config) for name in {i.domain for i in d.pools["train"]}
    }
    splits = assign_splits(sorted(histories), config.test_users, config.valid_users, seed)
    reasons: list[Reason] = []
    for number, (user, history) in enumerate(sorted(histories.items())):
        took = {items[i.item_id].group: i for i in history if i.event != "impression" and i.item_id in items}
        here = Counter(items[i.item_id].domain for i in took.values())
        domain = domains.get(here.most_common(1)[0][0]) if here else None
        if domain is not None:
            engaged = [i.item_id for i in took.values() if i.item_id in domain.pairs]
            kept = [i for i in took.values() if i.item_id in domain.pairs]
            shopper = Shopper(user, splits[user], _tastes_of(engaged, domain, config.tastes), kept, engaged)
            reasons += _draw_reasons(np.random.default_rng([seed, number]), shopper, domain, config, items)
    return reasons


def _tastes_of(engaged: Sequence[str], domain: Domain, most: int) -> list[Pair]:
    """The pairs that a history shares more often than the catalogue, those of the largest lift first."""
    support = Counter(pair for item in engaged for pair in domain.pairs[item])
    share = {
        pair: n / len(engaged) / (domain.frequency[pair] / len(domain.pairs)) for pair, n in support.items()
    }
    likely = [pair for pair, n in support.items() if n >= MIN_SUPPORT and share[pair] > 1]
    return sorted(likely, key=lambda pair: (-share[pair], pair))[:most]


def _domains(items: Iterable[Item], config: SimulateConfig) -> list[Domain]:
    by_name: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_name[item.domain].append(item)
    made = [_domain(by_name[name], config) for name in sorted(by_name)]
    usable = [domain for domain in made if domain.tastes]
    if not usable:
        wanted = f" among {', '.join(config.attributes)}" if config.attributes else ""
        raise DataError(
            f"simulate: no domain has {MIN_HISTORY} train items that share an attribute value{wanted}; "
            "add items or attributes, or set simulate.users=0"
        )
    return usable


def _domain(items: Sequence[Item], config: SimulateConfig) -> Domain:
    pairs = {item.id: _pairs(item, config.attributes) for item in items}
    having: dict[Split, dict[Pair, list[Item]]] = {split: defaultdict(list) for split in get_args(Split)}
    for item in items:
        for pair in pairs[item.id]:
            having[item.split][pair].append(item)
    tastes: dict[str, list[str]] = defaultdict(list)
    for (attribute, value), found in sorted(having["train"].items(), key=lambda entry: entry[0]):
        if len({item.group for item in found}) >= MIN_HISTORY:
            tastes[attribute].append(value)
    return Domain(
        pools={split: [item for item in items if item.split == split] for split in get_args(Split)},
        having=having,
        pairs=pairs,
        tastes=dict(tastes),
        frequency=Counter(pair for item in items for pair in pairs[item.id]),
        known=value_pattern(v for item in items for values in item.facts().values() for v in values),
    )


def _pairs(item: Item, attributes: Sequence[str]) -> frozenset[Pair]:
    facts = item.facts()
    names = [name for name in facts if not attributes or name in attributes]
    return frozenset((name, v) for name in names for v in facts[name] if 0 < len(v.strip()) <= _LONGEST_VALUE)


def _draw_tastes(rng: np.random.Generator, domain: Domain, config: SimulateConfig) -> list[Pair]:
    """One or two values of each favoured attribute, so that the target must be looked at, then others."""
    tastes: list[Pair] = []
    favoured = [name for name in config.favour if name in domain.tastes]
    for name in favoured:
        values = domain.tastes[name]
        held = rng.permutation(len(values))[: 1 + int(rng.random() < 0.5)]
        tastes += [(name, values[i]) for i in held]
    others = [name for name in domain.tastes if name not in favoured]
    for index in rng.permutation(len(others))[: max(config.tastes - len(tastes), 0 if tastes else 1)]:
        values = domain.tastes[others[index]]
        tastes.append((others[index], values[rng.integers(len(values))]))
    return tastes


def _draw_history(rng: np.random.Generator, shopper: Shopper, domain: Domain, config: SimulateConfig) -> None:
    """Train items, liked ones by taste and the rest at random; a product at most once."""
    time = START + DAY * rng.uniform(0, 60)
    used: set[str] = set()
    favour = dict.fromkeys(config.favour, FAVOUR_HISTORY)
    for _ in range(max(MIN_HISTORY, int(rng.poisson(config.history)))):
        tastes = [] if rng.random() < config.noise else shopper.tastes
        item = _draw_item(rng, "train", tastes, domain, used, favour)
        if item is None:
            continue
        used.add(item.group)
        liked = bool(domain.pairs[item.id] & set(shopper.tastes))
        time += max(60.0, rng.exponential(2 * DAY))
        done = _behave(rng, item.domain, liked)
        shopper.history.append(
            replace(done, user_id=shopper.id, item_id=item.id, timestamp=float(round(time)))
        )
        if liked:
            shopper.engaged.append(item.id)


def _draw_item(
    rng: np.random.Generator,
    split: Split,
    tastes: Sequence[Pair],
    domain: Domain,
    used: set[str],
    favour: Mapping[str, float],
) -> Item | None:
    """An unused item: first a taste, by favour, then an item of it, likelier with more matches."""
    pool = domain.pools[split]
    if tastes:
        weights = np.array([favour.get(name, 1.0) for name, _ in tastes])
        wanted = tastes[rng.choice(len(tastes), p=weights / weights.sum())]
        pool = domain.having[split].get(wanted, [])
    free = [item for item in pool if item.group not in used]
    if not free:
        return None
    matches = np.array([1.0 + len(domain.pairs[item.id] & set(tastes)) for item in free]) ** 2
    return free[rng.choice(len(free), p=matches / matches.sum())]


def _behave(rng: np.random.Generator, domain: str, liked: bool) -> Interaction:
    """What a shopper does with an item: more often, longer and better rated if they like it."""
    low, high = (2, 7) if liked else (1, 2)
    count = int(rng.integers(low, high))
    if domain == "video":
        seconds = count * rng.uniform(*(3.0, 12.0) if liked else (0.5, 2.0))
        return Interaction(event="view", count=count, seconds=round(float(seconds), 1))
    if domain == "news":
        if rng.random() < 0.3:
            return Interaction(event="click", count=count)
        seconds = rng.uniform(*(40.0, 240.0) if liked else (2.0, 15.0))
        return Interaction(event="read", count=min(count, 2), seconds=round(float(seconds), 1))
    odds = (0.35, 0.1, 0.2, 0.2, 0.15) if liked else (0.02, 0.03, 0.15, 0.5, 0.3)
    event = str(rng.choice(["purchase", "cart", "rating", "click", "view"], p=odds))
    if event == "rating":
        return Interaction(event=event, rating=float(rng.integers(4, 6) if liked else rng.integers(1, 4)))
    if event == "view":
        seconds = rng.uniform(*(30.0, 180.0) if liked else (2.0, 15.0))
        return Interaction(event=event, count=count, seconds=round(float(seconds), 1))
    return Interaction(event=event, count=count if event == "click" else 1)


def _draw_reasons(
    rng: np.random.Generator,
    shopper: Shopper,
    domain: Domain,
    config: SimulateConfig,
    items: Mapping[str, Item],
) -> list[Reason]:
    """Targets of the shopper's split that share a supported value with the history, each with its reason."""
    used = {items[interaction.item_id].group for interaction in shopper.history}
    support = Counter(pair for item_id in shopper.engaged for pair in domain.pairs[item_id])
    tastes = [taste for taste in shopper.tastes if support[taste] >= MIN_SUPPORT]
    favour = dict.fromkeys(config.favour, FAVOUR_TARGET)
    reasons: list[Reason] = []
    while tastes and len(reasons) < config.reasons_per_user:
        item = _draw_item(rng, shopper.split, tastes, domain, used, favour)
        if item is None:
            having = domain.having[shopper.split]
            tastes = [taste for taste in tastes if any(i.group not in used for i in having.get(taste, ()))]
            continue
        used.add(item.group)
        claims = _choose_claims(rng, item, shopper, domain, config, support)
        for told in (claims, claims[:1]) if len(claims) > 1 else (claims,):
            text = write_reason(rng, item, told, domain.known)
            if text is not None:
                reasons.append(_reason(shopper, item, told, text))
                break
    return reasons


def _choose_claims(
    rng: np.random.Generator,
    item: Item,
    shopper: Shopper,
    domain: Domain,
    config: SimulateConfig,
    support: Counter[Pair],
) -> list[Claim]:
    """One or two supported pairs: favoured first, then what only the picture tells, then the most shared."""
    shared = [pair for pair in domain.pairs[item.id] if support[pair] >= MIN_SUPPORT]
    shared.sort(
        key=lambda pair: (
            pair[0] not in config.favour,
            pair[0] not in item.hidden,
            -support[pair],
            domain.frequency[pair],
            pair,
        )
    )
    others = [
        pair for pair in shared[1:] if pair[0] != shared[0][0] and pair[1].lower() != shared[0][1].lower()
    ]
    chosen = shared[:1] + (others[:1] if rng.random() < 0.4 else [])
    return [
        Claim(*pair, shared_by=[i for i in shopper.history if pair in domain.pairs[i.item_id]])
        for pair in chosen
    ]


def _reason(shopper: Shopper, item: Item, claims: Sequence[Claim], text: str) -> Reason:
    evidence = [
        Evidence(
            attribute=claim.attribute,
            value=claim.value,
            source="picture" if claim.attribute in item.hidden else "attribute",
            item_ids=[interaction.item_id for interaction in claim.shared_by],
            span=find_value(text, claim.value),
        )
        for claim in claims
    ]
    return Reason(shopper.id, item.id, text, evidence, verified=True, split=shopper.split)
