"""Plans: what is worth saying, what may tie it to a person, and that a page does not repeat itself."""

from __future__ import annotations

from collections.abc import Sequence

from mmreason.evidence.plan import PlanRule, choose_page, in_title, plans
from mmreason.evidence.schema import Case, Concept, Fact, Plan, Taste, Tie
from mmreason.schema import Interaction, Item, User

WOOL, RED, DRY = (
    Fact("a", "material", "wool"),
    Fact("a", "color", "red"),
    Fact("a", "does", "keeps you dry", "text"),
)


def case_of(facts: Sequence[Fact], *tastes: Taste, title: str = "Alva", **concepts: Concept) -> Case:
    history = [Interaction("u", item_id, "purchase") for taste in tastes for item_id in taste.item_ids]
    items = {step.item_id: Item(step.item_id, f"Old {step.item_id}") for step in history}
    known = {concept.id: concept for concept in concepts.values()}
    return Case(User("u", history), Item("a", title), facts, tastes, items, concepts=known)


def taste(fact: Fact, items: str = "bcd", lift: float = 3.0) -> Taste:
    return Taste(fact.concept, tuple(items), lift=lift, p_value=0.001)


def test_a_tie_is_about_the_first_fact_and_each_level_has_plans() -> None:
    found = plans(case_of([WOOL, RED, DRY], taste(WOOL), taste(RED, "be")))
    for plan in found:
        if plan.tie:
            assert plan.tie.taste is not None and plan.tie.taste.concept == plan.facts[0].concept
        assert len(plan.facts) <= 2
    assert {plan.level for plan in found} == {"personal", "selling point"}
    assert found[0].level == "personal"
    assert [plan.score for plan in found] == sorted((plan.score for plan in found), reverse=True)


def test_the_stronger_taste_comes_first() -> None:
    strong, weak = taste(WOOL, lift=6), taste(RED, lift=1.3)
    assert plans(case_of([RED, WOOL], weak, strong))[0].facts[0] == WOOL


def test_a_sensitive_concept_is_no_tie() -> None:
    fact = Fact("a", "topic", "weight loss")
    marked = Concept(RED.concept, "color", "red", 5, 0.2, sensitive="health")
    for each, concepts in ((fact, {}), (RED, {"red": marked})):
        found = plans(case_of([each], taste(each), **concepts))
        assert found and all(plan.tie is None for plan in found)


def test_disliked_concepts_and_variants_of_the_item_are_no_ties() -> None:
    disliked = Taste(WOOL.concept, ("b", "c"), liked=False)
    assert all(plan.tie is None for plan in plans(case_of([WOOL], disliked)))
    variant = case_of([WOOL], taste(WOOL, "b"), title="Old b")
    assert all(plan.tie is None for plan in plans(variant))


def test_what_the_title_says_or_most_items_have_is_no_selling_point() -> None:
    common = Concept(RED.concept, "color", "red", 90, 0.9)
    assert plans(case_of([WOOL], title="Wool throw")) == []
    assert plans(case_of([RED], red=common)) == []
    told = plans(case_of([WOOL, RED], taste(WOOL), title="Wool throw"))
    assert told and all(len(plan.facts) == 2 for plan in told if plan.facts[0] == WOOL)


def test_what_has_no_words_is_in_no_plan() -> None:
    found = plans(case_of([WOOL, RED], taste(RED)), tells=lambda case, fact: float(fact == WOOL))
    assert found and all(plan.facts == (WOOL,) for plan in found)


def test_items_of_the_history_that_this_one_goes_with_are_ties() -> None:
    goes_with = Fact("a", "goes with", "b", "relation")
    found = plans(case_of([goes_with, Fact("a", "related", "x", "relation")], taste(RED, "b")))
    assert [plan.tie for plan in found] == [Tie("complement", ("b",), fact=goes_with)]


def test_bought_with_ties_to_a_purchase_only() -> None:
    together = Fact("a", "bought with", "b", "relation", supporters=3, asked=6)
    case = case_of([together], taste(RED, "b"))
    assert [plan.level for plan in plans(case)] == ["personal"]
    case.user.history = [Interaction("u", "b", "click")]
    assert plans(case) == []


def test_what_reviewers_praise_is_a_selling_point() -> None:
    found = plans(case_of([Fact("a", "praise", "straps", "review", supporters=4, asked=5)]))
    assert [(plan.level, plan.tie.kind if plan.tie else "") for plan in found] == [
        ("selling point", "popular")
    ]


def test_the_score_can_be_replaced() -> None:
    def reverse(case: Case, facts: Sequence[Fact], tie: Tie | None) -> dict[str, float]:
        return {"short": -sum(len(fact.value) for fact in facts)}

    found = plans(case_of([DRY, RED]), score=reverse)
    assert found[0].facts == (RED,) and found[0].score == -3 and found[0].parts == {"short": -3}


def test_there_are_as_many_plans_as_asked_and_of_both_levels() -> None:
    facts = [Fact("a", f"part{n}", f"value{n}") for n in range(30)]
    found = plans(case_of(facts, *(taste(fact) for fact in facts)), rule=PlanRule(most=9))
    assert len(found) == 9
    assert sum(plan.level == "selling point" for plan in found) >= 3


def test_a_page_does_not_repeat_a_fact_while_there_is_another() -> None:
    page = choose_page([[Plan((WOOL,), score=1.0), Plan((RED,), score=0.9)]] * 4)
    firsts = [ordered[0].facts[0] for ordered in page]
    assert firsts[0] == WOOL and firsts.count(WOOL) == firsts.count(RED) == 2
    assert all(sorted(p.score for p in ordered) == [0.9, 1.0] for ordered in page)
    assert choose_page([[], [Plan((WOOL,))]])[0] == []


def test_a_title_says_plurals_decades_and_chinese() -> None:
    assert in_title(Fact("a", "type", "Hoodies"), Item("a", "Teton Pullover Hoodie"))
    assert in_title(Fact("a", "decade", "1990s"), Item("a", "Heat (1995)"))
    assert in_title(Fact("a", "材质", "羊毛"), Item("a", "羊毛围巾"))
    assert not in_title(WOOL, Item("a", "Woollen days")) and not in_title(WOOL, Item("a"))
