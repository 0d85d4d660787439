"""The verifier in Chinese: found by characters, with the writers' grammar."""

from __future__ import annotations

import pytest

from mmreason.evidence.schema import Case, Fact
from mmreason.generate.verify import Rejection, Verifier
from mmreason.schema import Interaction, Item, User


@pytest.fixture(scope="module")
def case() -> Case:
    """A wool hat for someone who bought three woollen things and looked at a cup."""
    held = {
        "scarf": [("材质", "羊毛"), ("颜色", "红色")],
        "gloves": [("材质", "羊毛"), ("颜色", "蓝色")],
        "socks": [("材质", "羊毛"), ("颜色", "蓝色")],
        "cup": [("材质", "陶瓷")],
    }
    titles = {"scarf": "暖阳围巾", "gloves": "晨雾手套", "socks": "冬日袜子", "cup": "陶杯"}
    steps = [Interaction("u", i, "click" if i == "cup" else "purchase") for i in held]
    facts = [Fact("hat", "材质", "羊毛"), Fact("hat", "颜色", "蓝色"), Fact("hat", "类别", "帽子")]
    return Case(
        User("u", steps),
        Item("hat", "远山帽", domain="shop", attributes={"类别": ["帽子"]}),
        facts,
        history_items={i: Item(i, title, domain="shop") for i, title in titles.items()},
        history_facts={i: [Fact(i, *fact) for fact in told] for i, told in held.items()},
        language="zh",
    )


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("您常买羊毛单品，这顶帽子同样采用羊毛材质。", "personal"),
        ("您喜欢蓝色，这顶帽子是蓝色的。", "personal"),
        ("和您买过的“冬日袜子”和“晨雾手套”一样，这顶帽子采用羊毛材质。", "personal"),
        ("采用羊毛材质，和您买过的不少单品一样。", "personal"),
        ("一顶羊毛帽子。", "selling point"),
    ],
)
def test_true_words_pass(case: Case, text: str, level: str) -> None:
    verdict = Verifier().check(text, case)
    assert (verdict.passed, verdict.level, verdict.why) == (True, level, "")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("这顶帽子防水防火，能治感冒。", "left-over words"),
        ("您喜欢羊毛，这顶帽子是羊毛的，防水。", "left-over words"),
        ("这顶帽子采用真丝材质。", "left-over words"),
        ("这顶帽子不采用羊毛材质。", "polarity"),
        ("您总是买羊毛单品，这顶帽子采用羊毛材质。", "strength"),
        ("您读过羊毛单品，这顶帽子采用羊毛材质。", "event"),
        ("您常买陶瓷单品，这顶帽子采用羊毛材质。", "event"),
        ("您买过蓝色单品，这顶帽子采用羊毛材质。", "does not follow"),
        ("您喜欢红色，这顶帽子是红色的。", "untrue of the item"),
        ("这顶帽子采用羊毛材质，采用羊毛材质。", "twice"),
    ],
)
def test_faults_are_named(case: Case, text: str, kind: Rejection) -> None:
    verdict = Verifier().check(text, case)
    assert (verdict.passed, verdict.kind) == (False, kind), verdict.why
