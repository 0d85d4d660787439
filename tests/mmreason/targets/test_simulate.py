"""Simulated shoppers: nothing leaks, and every reference reason is true of the item and of the history."""

import re
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.hide import hidden_words, hide_from
from mmreason.catalogue.ingest import ingest
from mmreason.catalogue.split import assign_splits
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.schema import DataError, Interaction, Item
from mmreason.targets.grammar import (
    BY_EVENT,
    ONE_CLAIM,
    TWO_CLAIMS,
    Claim,
    find_value,
    value_pattern,
    write_reason,
)
from mmreason.targets.simulate import _behave, simulate
from mmreason.targets.stage import simulate_shoppers

CONFIG = SimulateConfig(users=40, favour=["color"])
VALUES = {
    "shop": {
        "category": ["dress", "Tees", "Hoodies & Sweatshirts", "Pants"],
        "color": ["Red", "blue", "Light Blue", "green"],
        "material": ["wool", "organic wool", "LumaTech™", "¼ zip"],
        "style": ["tee", "Full-zip"],
    },
    "video": {"category": ["ball", "umbrella"], "color": ["red", "orange"], "mood": ["calm", "dreamy"]},
    "news": {"category": ["sport", "travel"], "color": ["red", "black"], "format": ["report", "interview"]},
    "books": {"color": ["red", "blue"], "shelf": ["poetry", "crime"]},
}


def make_items(seed: int, per_domain: int = 60) -> dict[str, Item]:
    rng = np.random.default_rng(seed)
    items = {}
    for domain, attributes in VALUES.items():
        for number in range(per_domain):
            facts = {name: [str(rng.choice(values))] for name, values in attributes.items()}
            if domain == "shop" and rng.random() < 0.3:
                facts["style"] = ["tee", "Full-zip"]
            item = Item(f"{domain}{number}", attributes=facts, domain=domain, group=f"{domain}{number // 2}")
            items[item.id] = item
    words = hidden_words((item.facts() for item in items.values()), ["color"])
    for item in items.values():
        hide_from(item, ["color"], words)
    splits = assign_splits((item.group for item in items.values()), 0.2, 0.1, seed)
    for item in items.values():
        item.split = splits[item.group]
    return items


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_nothing_leaks(seed: int) -> None:
    items = make_items(seed)
    interactions, reasons = simulate(items, CONFIG, seed)
    histories = defaultdict(list)
    for interaction in interactions:
        histories[interaction.user_id].append(interaction)
    groups = {user: [items[i.item_id].group for i in done] for user, done in histories.items()}
    assert all(items[i.item_id].split == "train" for i in interactions)
    assert all(len(set(names)) == len(names) >= 3 for names in groups.values())
    assert all(a.timestamp <= b.timestamp for h in histories.values() for a, b in pairwise(h))
    assert all(len({items[i.item_id].domain for i in h}) == 1 for h in histories.values())
    split_of = defaultdict(set)
    for reason in reasons:
        item = items[reason.item_id]
        assert item.split == reason.split and item.group not in groups[reason.user_id]
        assert item.domain == items[histories[reason.user_id][0].item_id].domain
        split_of[reason.user_id].add(reason.split)
    assert all(len(splits) == 1 for splits in split_of.values())
    assert len({(reason.user_id, reason.item_id) for reason in reasons}) == len(reasons)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_every_reference_reason_is_true(seed: int) -> None:
    items = make_items(seed)
    interactions, reasons = simulate(items, CONFIG, seed)
    assert len(reasons) > 60
    history = defaultdict(list)
    for interaction in interactions:
        history[interaction.user_id].append(interaction)
    for reason in reasons:
        item, done = items[reason.item_id], history[reason.user_id]
        assert 10 <= len(reason.text.split()) <= 22 and reason.verified
        assert 1 <= len(reason.evidence) <= 2
        for claim in reason.evidence:
            assert claim.value in item.facts()[claim.attribute]
            assert claim.source == ("picture" if claim.attribute == "color" else "attribute")
            sharing = [i for i in done if claim.value in items[i.item_id].facts().get(claim.attribute, [])]
            assert claim.item_ids == [i.item_id for i in sharing] and len(sharing) >= 2
            start, end = claim.span
            assert reason.text[start:end] == claim.value.lower()
        domain = [i for i in items.values() if i.domain == item.domain]
        known = value_pattern(v for i in domain for values in i.facts().values() for v in values)
        claimed = {claim.value.lower() for claim in reason.evidence}
        category = {value.lower() for value in item.facts().get("category", [])}
        assert set(known.findall(reason.text.lower())) <= claimed | category, reason.text
        check_events(reason.text, [i for i in done if i.item_id in reason.evidence[0].item_ids])


def check_events(text: str, sharing: list[Interaction]) -> None:
    """What a sentence says the user did, they did with at least two of the sharing items; it counts nothing."""
    events = Counter(i.event for i in sharing)
    liked = sum(i.event == "rating" and i.rating >= 4 for i in sharing)
    for pattern, times in (
        (r"You bought|After buying", events["purchase"]),
        (r"in your cart", events["cart"]),
        (r"You kept clicking", events["click"]),
        (r"high ratings", liked),
    ):
        assert not re.search(pattern, text) or times >= 2, text
    assert not re.search(r"\d", text), text


def test_same_seed_same_rows_and_another_seed_others() -> None:
    items = make_items(0)
    assert simulate(items, CONFIG, 5) == simulate(items, CONFIG, 5)
    assert simulate(items, CONFIG, 5) != simulate(items, CONFIG, 6)


def test_favoured_colour_is_named_most_often_and_must_be_looked_up() -> None:
    _, reasons = simulate(make_items(1, per_domain=120), SimulateConfig(users=150, favour=["color"]), 1)
    named = defaultdict(set)
    for reason in reasons:
        for claim in reason.evidence:
            if claim.attribute == "color":
                named[reason.user_id].add(claim.value)
    share = sum(any(c.attribute == "color" for c in reason.evidence) for reason in reasons) / len(reasons)
    assert share >= 0.6
    assert (
        sum(len(values) > 1 for values in named.values()) / len(named) > 0.2
    )  # the history alone does not tell


@pytest.mark.parametrize("domain", ["shop", "video", "news", "books"])
def test_liked_items_get_more_of_everything(domain: str) -> None:
    rng = np.random.default_rng(0)
    liked, not_liked = ([_behave(rng, domain, liked) for _ in range(400)] for liked in (True, False))
    for field in ("seconds", "rating", "count"):
        more, less = (
            [v for i in done if (v := getattr(i, field)) is not None] for done in (liked, not_liked)
        )
        assert not more or np.mean(more) > 1.3 * np.mean(less), field


def test_only_the_attributes_asked_for() -> None:
    config = SimulateConfig(users=30, attributes=["material", "color"])
    _, reasons = simulate(make_items(0), config, 0)
    assert {claim.attribute for reason in reasons for claim in reason.evidence} == {"material", "color"}


@pytest.mark.parametrize("items", [{}, {"a": Item("a", attributes={"color": ["red"]})}])
def test_nothing_to_simulate_with(items: dict[str, Item]) -> None:
    with pytest.raises(DataError, match=r"no domain has 3 train items that share an attribute value"):
        simulate(items, CONFIG, 0)


def test_real_users_get_reasons_that_are_true_of_what_they_took(tmp_path: Path) -> None:
    rows = [f"i{n},Lamp {n},{['oak', 'steel'][n % 2]},{['red', 'blue', 'grey'][n % 3]}" for n in range(60)]
    (tmp_path / "items.csv").write_text("\n".join(["id,title,material,color", *rows]))
    took = [(f"c{n}", f"i{(n + 2 * k) % 60}", f"2026-01-{k + 1:02d}") for n in range(20) for k in range(4)]
    orders = [",".join(order) for order in [*took, ("lone", "i1", "2026-01-01")]]
    (tmp_path / "orders.csv").write_text("\n".join(["customer,sku,date", *orders]))
    config = Config(run_dir=str(tmp_path / "run"), catalogue=CatalogueConfig("tables", str(tmp_path)))
    ingest(config)
    said = simulate_shoppers(config)
    assert said.startswith(
        "no shoppers: the catalogue has 81 interactions and 0 reasons of its own; reasons worded for"
    )
    catalogue = read_catalogue(config.path("catalogue"))
    assert {i.user_id for i in catalogue.interactions} == {*(f"c{n}" for n in range(20)), "lone"}
    assert len(catalogue.reasons) > 20 and "lone" not in {reason.user_id for reason in catalogue.reasons}
    for reason in catalogue.reasons:
        bought = {i.item_id for i in catalogue.interactions if i.user_id == reason.user_id}
        assert reason.item_id not in bought and len(reason.evidence) >= 1
        for claim in reason.evidence:
            assert claim.value in catalogue.items[reason.item_id].attributes[claim.attribute]
            assert set(claim.item_ids) <= bought and len(set(claim.item_ids)) >= 2
    assert simulate_shoppers(config) == said
    config.simulate.users = 0
    assert (
        simulate_shoppers(config) == "no shoppers: the catalogue has 81 interactions and 0 reasons of its own"
    )
    assert read_catalogue(config.path("catalogue")).reasons == []
    config.simulate.users = 5
    assert (
        "5 simulated shoppers" in (said := simulate_shoppers(config))
        and "in place of the catalogue's own 81" in said
    )


def test_wording_is_varied() -> None:
    assert len(ONE_CLAIM) >= 12 and len(TWO_CLAIMS) >= 6 and len(BY_EVENT) >= 4
    _, reasons = simulate(make_items(3), SimulateConfig(users=100, favour=["color"]), 3)
    assert len({reason.text for reason in reasons}) > 0.7 * len(reasons)
    openings = Counter(" ".join(reason.text.split()[:2]) for reason in reasons)
    assert openings.most_common(1)[0][1] < 0.2 * len(reasons)


def test_a_sentence_that_would_name_something_else_is_not_written() -> None:
    item = Item("a", attributes={"color": ["red"]}, domain="shop")
    clicks = [Interaction("u", str(n), "click") for n in range(2)]
    claim = Claim("color", "red", clicks)
    rng = np.random.default_rng(0)
    assert write_reason(rng, item, [claim], value_pattern(["red"]))
    assert write_reason(rng, item, [claim], value_pattern(["red", "this piece", "piece"])) is None


def test_find_value_takes_whole_words() -> None:
    assert find_value("You starred red things, red ones.", "Red") == (12, 15)
    assert find_value("It has the ¼ zip, with lumatech™.", "LumaTech™") == (23, 32)
