"""Kinds of links between items, whatever a source calls them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmreason.links import LINKS, item_ids, link_kind, links
from mmreason.schema import DataError, Item


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Cross-sells", "goes with"),
        ("crosssell_skus", "goes with"),
        ("Complementary products", "goes with"),
        ("goes with", "goes with"),
        ("bought_together", "bought with"),
        ("frequently bought together", "bought with"),
        ("related_skus", "related"),
        ("relatedProducts", ""),  # not parted into words
        ("Up-sells", "alternative"),
        ("similar_items", "alternative"),
        ("related_position", ""),
        ("accessories", ""),  # may be words: "a strap, a case"
        ("material", ""),
    ],
)
def test_the_kind_is_known_by_its_name(name: str, kind: str) -> None:
    assert link_kind(name) == kind


def test_each_kind_is_a_name_of_itself() -> None:
    assert [link_kind(kind) for kind in LINKS] == list(LINKS)


def test_an_items_links_are_ids_once_each_by_kind() -> None:
    item = Item("a", links={"related_ids": "b, c;b", "related": ["d", None], "upsells": ""})
    assert item.links == {"related": ["b", "c", "d"]}
    assert Item("a", links='{"goes with": [7]}').links == {"goes with": ["7"]}  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no kind of link; there are goes with"):
        Item("a", links={"next to": ["b"]})
    with pytest.raises(DataError, match="links is"):
        Item("a", links=["b"])  # type: ignore[arg-type]


@given(
    st.lists(st.text(alphabet="aZ09-_:./ ", min_size=1, max_size=8).map(str.strip).filter(bool), max_size=5)
)
def test_a_list_in_a_cell_is_read_as_it_was_written(ids: list[str]) -> None:
    ids = [i for i in ids if i[0] not in "[{" and links({"related": [i]})]  # not what stands for nothing
    assert item_ids(", ".join(ids)) == item_ids("|".join(ids)) == item_ids(list(ids)) == ids
