from mmreason.evidence.schema import Case, Fact
from mmreason.generate.verify.building import lexicon
from mmreason.generate.verify.tables import Entry, Index, ItemTable, longest
from mmreason.schema import Item, User


def test_the_longest_way_comes_first_and_one_wording_of_one_concept_counts_once() -> None:
    wool, merino = Entry(("wool",), "material", "wool"), Entry(("wool", "blend"), "material", "blend")
    again = Entry(("wool",), "=before", "wool")
    ways = [{"wool": [wool]}, {"wool": [merino]}, {"wool": [again]}]

    assert list(Index(ways)["wool"]) == [merino, wool, again]
    assert list(Index(ways, once=True)["wool"]) == [merino, wool]
    assert list(Index(ways)["silk"]) == []
    assert longest(Index(ways), ["wool", "hat"], 0) == ([wool, again], 1)


def test_what_two_items_share_is_made_once_and_names_neither() -> None:
    tables = [
        ItemTable(Case(User("u"), Item(item_id), [Fact(item_id, "material", "Oak")]), lexicon("en"))
        for item_id in ("a", "b")
    ]
    first, second = (table.entries["oak"][0] for table in tables)

    assert first is second and (first.name, first.value, first.source) == ("material", "Oak", "attribute")


def test_words_of_a_text_are_found_by_their_place() -> None:
    item = Item("a", "Oak stools", "Two shelves. Solid oak")
    table = ItemTable(Case(User("u"), item, []), lexicon("en"))

    assert table.words == ["oak", "stool", None, "two", "shelf", None, "solid", "oak", None]
    assert table.places["oak"] == [0, 7]
