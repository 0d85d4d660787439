"""Grammar files: all that ship are whole, and words agree, are spelled and are left out as they should be."""

from __future__ import annotations

import inspect
from importlib.resources import files

import pytest

from mmreason.evidence.schema import Fact
from mmreason.schema import DataError, Item
from mmreason.wording import extract, general, slots, template
from mmreason.wording.grammar import grammar_of, parse_grammar, slots_of

SHIPPED = sorted(
    p.name.removesuffix(".yaml") for p in files("mmreason.wording").joinpath("grammars").iterdir()
)
FILLED = "".join(inspect.getsource(module) for module in (slots, extract, template, general))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shapes_of_every_file_name_slots_that_there_are(name: str) -> None:
    language, _, domain = name.partition("-")
    grammar = grammar_of(language, domain)
    assert grammar is not None
    for shapes in grammar.shapes.values():
        for slot in {slot for shape in shapes for slot in slots_of(shape)}:
            assert f'"{slot}"' in FILLED or f'"{slot.partition("_")[0]}_' in FILLED, f"nothing fills {slot}"
    assert all("{x}" in event["habit"] and event["did"] for event in grammar.events.values())


@pytest.mark.parametrize(
    ("name", "value", "does"),
    [
        ("Colour", "Forest Green", "comes in forest green"),
        ("fabric_type", "Merino Wool", "is made of merino wool"),
        ("tags", "Organic Linen", "is made of organic linen"),
        ("vendor", "Hollow & Pine", "is by Hollow & Pine"),
        ("neckline", "Crew", "has a crew neckline"),
        ("feature", "Waterproof", "is waterproof"),
        ("feature", "Laptop Sleeve", "has a laptop sleeve"),
        ("thing", "two zip pockets", "has two zip pockets"),
        ("thing", "moisture-wicking fabric", "has moisture-wicking fabric"),
        ("pattern", "Color-Blocked", "has a color-blocked pattern"),
        ("does", "keeps you dry", "keeps you dry"),
    ],
)
def test_facts_read_well(name: str, value: str, does: str) -> None:
    grammar = grammar_of("en", "shop")
    said = grammar.say(Fact("a", name, value)) if grammar else None
    assert said is not None and said.does == does


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("condition", "new"),
        ("mpn", "AX-9"),
        ("color", "multi"),
        ("material", "cotton; 5% elastane"),
        ("material", "http://x.y"),
        ("pattern", "Solid"),
        ("thing", "the perfect fit"),
        ("tags", "sale"),
        ("category", "Home & Garden"),
        ("use", ""),
    ],
)
def test_what_does_not_read_well_has_no_words(name: str, value: str) -> None:
    grammar = grammar_of("en", "shop")
    assert grammar is not None and grammar.say(Fact("a", name, value)) is None


@pytest.mark.parametrize(
    ("category", "title", "one"),
    [
        ("Home > Kitchen > Mugs", "Alder", "mug"),
        ("Hoodies & Sweatshirts", "Teton Pullover Hoodie", "hoodie"),
        ("Hoodies & Sweatshirts", "Teton", ""),
        ("Women's Running Shoes", "Fell", "running shoes"),
        ("New Arrivals", "Alder", ""),
        ("Sale", "Alder", ""),
        ("Tea", "Alder", "tea"),
    ],
)
def test_what_a_thing_is_called(category: str, title: str, one: str) -> None:
    grammar = grammar_of("en", "shop")
    assert grammar is not None
    assert grammar.thing(Item("a", title, attributes={"category": [category]})).one == one


def test_what_nothing_tells_the_kind_of_is_called_as_its_text_calls_it() -> None:
    grammar = grammar_of("en", "shop")
    assert grammar is not None
    texts = ("A jump rope for small rooms.", "For small rooms.", "Two ropes in one.")
    items = [Item("a", "Loop Jump Rope", text) for text in texts]
    assert [grammar.thing_of_text(item).one for item in items] == ["rope", "", ""]
    assert not grammar.thing(items[0]).one


def test_one_of_several_values_is_not_the_whole() -> None:
    grammar = grammar_of("en", "shop")
    assert grammar is not None
    wool = grammar.say(Fact("a", "material", "Wool"), among=True)
    assert wool is not None and wool.does == "is made with wool"
    cold = Fact("a", "climate", "Cold")
    assert grammar.say(cold) is not None and grammar.say(cold, among=True) is None


def test_a_grammar_that_is_not_whole_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="no 'attributes'"):
        parse_grammar({"language": "en"})
    whole = {"language": "en", "shapes": {}, "events": {}, "thing": {"one": ""}, "called_by": []}
    with pytest.raises(DataError, match="attribute 'color': unknown 'befor'"):
        parse_grammar({**whole, "attributes": {"color": {"befor": "{v}"}}})
