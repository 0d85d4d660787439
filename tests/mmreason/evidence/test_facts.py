"""Facts of an item's attributes."""

from __future__ import annotations

from mmreason.evidence.facts import facts_of, language_of
from mmreason.schema import Item


def test_category_levels_are_facts_of_their_own() -> None:
    item = Item("a", attributes={"category": ["Apparel > Men > Shirts"], "fit": ["slim>wide"]})
    assert [(f.name, f.value) for f in facts_of(item)] == [
        ("category", "Apparel"),
        ("category", "Men"),
        ("category", "Shirts"),
        ("fit", "slim>wide"),
    ]


def test_a_year_has_a_decade_and_a_size_has_not() -> None:
    item = Item("a", attributes={"Year": ["1994"], "size": ["1994"], "released": ["94"]})
    assert [f.concept for f in facts_of(item) if f.name == "decade"] == ["decade=1990s"]


def test_hidden_attributes_and_descriptions_are_no_facts() -> None:
    item = Item("a", attributes={"note": ["x" * 61], "color": ["  "]}, hidden={"color": ["red"]})
    assert list(facts_of(item)) == []


def test_a_text_is_read_only_by_rules_of_its_language() -> None:
    german = Item(
        "a", text="Die Jacke ist aus Wolle und hat zwei Taschen.", attributes={"material": ["Wolle"]}
    )
    assert language_of(german) == "de" and [fact.value for fact in facts_of(german)] == ["Wolle"]
    assert language_of(Item("b", text="ткань очень мягкая")) == "und"
    assert language_of(Item("c", title="La Strada", text="A drama about two acrobats.")) == "en"
    assert language_of(Item("d", title="面", text="")) == "zh"
