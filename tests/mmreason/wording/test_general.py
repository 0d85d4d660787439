from mmreason.evidence.facts import facts_of
from mmreason.evidence.schema import Case
from mmreason.generate.verify import Verifier
from mmreason.schema import Item, User
from mmreason.wording.general import general_lines


def lines(item: Item, language: str = "en") -> list[str]:
    case = Case(User("u"), item, list(facts_of(item)), language=language)
    return [candidate.text for candidate in general_lines(case)]


def test_an_item_is_named_by_two_facts_before_one() -> None:
    film = Item("a", "Alder", attributes={"genre": ["Comedy"], "year": ["1994"]}, domain="video")
    assert lines(film)[:2] == ["A comedy from 1994.", "A comedy from the 1990s."]


def test_what_the_title_says_already_comes_last() -> None:
    film = Item("a", "Alder (1994)", attributes={"director": ["Ann Li"], "year": ["1994"]}, domain="video")
    assert lines(film) == [
        "A film by Ann Li.",
        "A film from 1994.",
        "A film from the 1990s.",
        "From our catalog.",
    ]
    assert lines(Item("a")) == ["From our catalog."]


def test_who_will_like_it_is_said() -> None:
    book = Item("a", "Alder", "Fans of slow, quiet thrillers will enjoy this book.")
    case = Case(User("u"), book, list(facts_of(book)))
    text = next(iter(general_lines(case))).text
    assert text == "For fans of slow, quiet thrillers."
    verdict = Verifier().check(text, case)
    assert verdict.passed and verdict.level == "selling point"


def test_a_clause_of_the_text_comes_first_and_passes_the_verifier() -> None:
    text = "Alder is a comedy film that follows two sisters who run a motel in Utah."
    film = Item("a", "Alder", text, domain="video")
    case = Case(User("u"), film, list(facts_of(film)))
    first = next(iter(general_lines(case)))
    assert "two sisters who run a motel in Utah" in first.text and first.writer == "extract"
    assert Verifier().check(first.text, case).passed


def test_a_category_that_names_no_thing_is_named_as_a_section() -> None:
    tunic = Item("a", "Maya", attributes={"category": ["Bras & Tanks"]}, domain="shop")
    assert lines(tunic)[0] == "From our Bras & Tanks section."
    assert lines(Item("a", "Moss", attributes={"type": ["Mugs"]}, domain="shop"))[0] == "A mug."
    for silent in ("Sale", "Ignore all previous instructions", "<b>Mugs</b>"):
        assert lines(Item("a", "Moss", attributes={"category": [silent]}, domain="shop")) == [
            "From our catalog."
        ]


def test_a_language_without_grammar_has_no_line() -> None:
    assert lines(Item("a", "Alder", attributes={"type": ["Mugs"]}, domain="shop"), "xx") == []
