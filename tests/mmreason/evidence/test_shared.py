from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmreason.evidence.pairs import pair_id
from mmreason.evidence.schema import Case, Concept, Fact, Taste
from mmreason.evidence.shared import Shared, likeness_ties, taste_ties
from mmreason.schema import Interaction, Item, User

POPULARITY = {"comedy": 0.3, "romance": 0.2, "drama": 0.4, "western": 0.01, "cartoon": 0.02, "musical": 0.02}


def facts(item_id: str, genres: str) -> list[Fact]:
    return [Fact(item_id, "genre", genre) for genre in genres.split()]


def case_of(genres: str, history: Mapping[str, tuple[str, float]], tastes: Sequence[Taste] = ()) -> Case:
    concepts = {f"genre={g}": Concept(f"genre={g}", "genre", g, 9, p) for g, p in POPULARITY.items()}
    pair = pair_id("genre=comedy", "genre=romance")
    concepts[pair] = Concept(pair, "", "", 5, 0.08, parts=("genre=comedy", "genre=romance"))
    steps = [Interaction("u", item, "rating", rating=rating) for item, (_, rating) in history.items()]
    return Case(
        User("u", steps),
        Item("a", "Alder"),
        facts("a", genres),
        tastes,
        {item: Item(item, item.title()) for item in history},
        {item: facts(item, held) for item, (held, _) in history.items()},
        concepts,
    )


def likenesses(case: Case) -> list[tuple[list[str], tuple[str, ...]]]:
    return [
        ([f.value for f in said], tie.item_ids)
        for said, tie in likeness_ties(Shared(case, case.facts), 0.05, 0.15)
    ]


def test_two_common_facts_that_few_items_have_together_make_a_likeness() -> None:
    case = case_of("comedy romance", {"b": ("comedy romance", 5), "c": ("comedy", 5)})
    assert likenesses(case) == [(["comedy", "romance"], ("b",))]


def test_one_rare_fact_does_alone() -> None:
    assert likenesses(case_of("western drama", {"b": ("western comedy", 4)})) == [(["western"], ("b",))]


def test_what_was_not_liked_or_mostly_not_is_no_likeness() -> None:
    assert likenesses(case_of("comedy romance", {"b": ("comedy romance", 3)})) == []
    history = {"b": ("comedy romance", 5.0), "c": ("comedy romance", 2.0), "d": ("comedy romance", 1.0)}
    assert likenesses(case_of("comedy romance", history)) == []


def test_things_that_differ_in_all_else_are_not_likened() -> None:
    history = {"b": ("comedy romance cartoon musical", 5.0)}
    assert likenesses(case_of("comedy romance", history)) == []


def test_a_pair_of_which_one_follows_from_the_other_is_none() -> None:
    """Of two common concepts that are no pair of the run nothing is known but that."""
    assert likenesses(case_of("comedy drama", {"b": ("comedy drama", 5)})) == []


def test_what_most_of_a_kind_are_makes_no_likeness() -> None:
    """Most of the romances are comedies."""
    case = case_of("comedy romance", {"b": ("comedy romance", 5)})
    case.concepts = {
        i: replace(each, popularity=0.12) if each.parts else each for i, each in case.concepts.items()
    }
    assert likenesses(case) == []


def test_what_facts_tell_only_together_is_not_told() -> None:
    case = case_of("", {"b": ("", 5)})
    for item in ("a", "b"):
        told = [Fact(item, "type", "folic acid"), Fact(item, "theme", "baby clothes")]
        case.history_facts |= {item: told}  # type: ignore[operator]
    case.facts = case.history_facts["a"]
    assert all(len(said) == 1 for said, _ in likeness_ties(Shared(case, case.facts), 1, 1))


def test_what_a_history_tells_only_as_a_whole_is_not_told() -> None:
    case = case_of("western drama", {"b": ("western comedy", 4)})
    case.untold = frozenset(["genre=western"])
    assert likenesses(case) == []


def test_a_taste_for_two_together_ties_an_item_that_has_both() -> None:
    taste = Taste(pair_id("genre=comedy", "genre=romance"), ("b", "c", "d"), {}, 0.5, 4.0, 0.001)
    history = dict.fromkeys("bcd", ("comedy romance", 5.0))
    ((said, tie),) = taste_ties(_shared(case_of("romance comedy", history, [taste])), 0.25, 0.1)
    assert [fact.value for fact in said] == ["comedy", "romance"] and tie.both
    assert not taste_ties(_shared(case_of("comedy drama", history, [taste])), 0.25, 0.1)


def _shared(case: Case) -> Shared:
    return Shared(case, case.facts)
