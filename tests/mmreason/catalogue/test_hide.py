"""No hidden value is left in anything that a text encoder reads."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.catalogue.hide import cut_words, drop_sentences, hidden_words, hide_from, vocabulary
from mmreason.schema import DataError, Item, item_text

COLORS = vocabulary("color", ["Color-Blocked"])


def hide(items: list[Item], *names: str) -> None:
    words = hidden_words((item.facts() for item in items), names)
    for item in items:
        hide_from(item, names, words)


@pytest.mark.parametrize(
    ("title", "cut"),
    [
        ("Stark Blue-Gray Hoodie (Red)", "Stark Hoodie"),
        ("Hoodie - black", "Hoodie"),
        ("Color blocked Tee, NAVY", "Tee"),
        ("color red-blocked tee", "tee"),  # cutting one value brings another together
        ("Blackout redline Evergreen", "Blackout redline Evergreen"),
        ("Cut-off - wide, soft", "Cut-off - wide, soft"),  # nothing to hide: untouched
        ("mh01_blue", "mh01_"),
        ("White", ""),
    ],
)
def test_titles(title: str, cut: str) -> None:
    assert cut_words(title, COLORS) == cut


def test_descriptions_lose_the_sentence_or_bullet() -> None:
    text = "Warm and dry. Two-tone gray heather hoodie.\nMachine wash\nComes in reds"
    assert drop_sentences(text, COLORS) == "Warm and dry. Machine wash"
    assert drop_sentences("No such word.\nTwo lines.", COLORS) == "No such word.\nTwo lines."


def test_values_in_scripts_without_spaces() -> None:
    words = vocabulary("color", ["红色"])
    assert drop_sentences("一件红色的裙子。棉质。", words) == "棉质。"


def test_hides_everywhere() -> None:
    item = Item(
        "a",
        "Grey Coat",
        "Wool. A gray coat.",
        attributes={"color": ["Gray"], "fabric": ["Gray wool", "wool"]},
    )
    item.attributes["red list"] = ["no"]
    other = Item("b", "Tee", attributes={"color": ["Puce"]})
    third = Item("c", "Puce tee", "Looks puce. Soft.", attributes={"pattern": ["Color-Blocked"]})
    hide([item, other, third], "color")
    assert (item.title, item.text) == ("Coat", "Wool.")
    assert item.attributes == {"fabric": ["wool"]} and item.hidden == {"color": ["Gray"]}
    assert (third.title, third.text, third.attributes) == ("tee", "Soft.", {"pattern": ["Color-Blocked"]})


def test_unknown_attribute_names_what_there_is() -> None:
    with pytest.raises(DataError, match=r"no item has the attribute 'colr'; there are color"):
        hidden_words([{"color": ["red"]}], ["colr"])


words = st.sampled_from(
    ["red", "Light Blue", "blue", "Solid-Highlight", "light", "coat", "solid", "Wool", "zip", "grey"]
)
texts = st.lists(
    st.tuples(words, st.sampled_from([" ", "-", ". ", ", ", "\n", " (", ") ", "! ", "_", "s "]))
).map(lambda parts: "".join(word + gap for word, gap in parts))
items = st.builds(
    lambda title, text, color, pattern, visible: Item(
        "x", title, text, attributes={"color": color, "pattern": pattern, "note": visible}
    ),
    title=texts,
    text=texts,
    color=st.lists(st.sampled_from(["red", "Light Blue", "Gray"]), min_size=1, max_size=2),
    pattern=st.just(["Solid-Highlight"]),
    visible=st.lists(texts, max_size=2),
)


@given(st.lists(items, min_size=1, max_size=3))
def test_no_hidden_value_is_readable(catalogue: list[Item]) -> None:
    hide(catalogue, "color", "pattern")
    hidden = {value for item in catalogue for values in item.hidden.values() for value in values} | {
        "grey",
        "blue",
    }
    for item in catalogue:
        read = item_text(item).lower()
        for value in hidden:
            whole_word = rf"(?<![^\W_]){value.lower()}(?![^\W_])".replace("-", r"[\s-]+").replace(
                " ", r"[\s-]+"
            )
            assert not re.search(whole_word.replace(r"[\s[\s-]+]+", r"[\s-]+"), read), (value, read)
