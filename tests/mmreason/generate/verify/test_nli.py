"""The check by a model of natural language inference: what it reads, and that it can only stop more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import byte_tokenizer

from encoders.errors import WeightsError
from mmreason.evidence.schema import Case, Concept, Fact, Taste
from mmreason.generate.verify import Claimed, Verdict
from mmreason.generate.verify.nli import EntailmentCheck, _batches
from mmreason.generate.verify.premise import premise
from mmreason.schema import Evidence, Interaction, Item, User

CPU, FP32 = torch.device("cpu"), torch.float32
LABELS = ("entailment", "neutral", "contradiction")


def _case(language: str = "en") -> Case:
    wool = Fact("", "material", "wool").concept
    held = {i: [Fact(i, "material", "wool"), Fact(i, "color", "grey")] for i in ("rug", "throw")}
    return Case(
        User("u", [Interaction(item_id=i, event="purchase") for i in held]),
        Item("hat", "Fjord Hat", "A hat with a hidden pocket.", attributes={"type": ["Hats"]}, domain="shop"),
        [
            Fact("hat", "material", "wool"),
            Fact("hat", "washing", "by hand"),
            Fact("hat", "thing", "hidden pocket", "text"),
            Fact("hat", "bought with", "rug", "relation"),
            Fact("hat", "praise", "fit", "review", supporters=7, asked=9),
        ],
        [Taste(wool, ("rug", "throw"), {"purchase": 2})],
        history_items={i: Item(i, f"Holt {i.title()}", domain="shop") for i in held},
        history_facts=held,
        concepts={wool: Concept(wool, "material", "wool", items=9)},
        language=language,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model made by hand: the last character alone decides, "." is entailed, "!" contradicted, "?" neither."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    tokenizer = byte_tokenizer()
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=1,
        pad_token_id=0,
        id2label=dict(enumerate(LABELS)),
        label2id={label: n for n, label in enumerate(LABELS)},
        **sizes,
    )
    model = LlamaForSequenceClassification(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        words = model.get_input_embeddings().weight
        for place, mark in enumerate(".?!"):
            words[tokenizer.encode(mark, add_special_tokens=False)[0], place] = 1.0
            model.score.weight[place, place] = 1.0
    target = tmp_path_factory.mktemp("nli")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def check(folder: Path) -> EntailmentCheck:
    return EntailmentCheck.from_pretrained(str(folder), CPU, FP32)


def _claimed(*texts: str) -> list[Claimed]:
    return [(text, _case(), Verdict(True, "personal")) for text in texts]


def test_what_is_not_entailed_is_stopped(check: EntailmentCheck) -> None:
    texts = ["Wool, a hat.", "Made of wool!", "A hat of wool, like the Holt Rug that you bought?", "Wool."]
    verdicts = check.check_all(_claimed(*texts))
    assert [verdict.kind for verdict in verdicts] == ["", "contradicted", "not entailed", ""]
    assert [verdict.level for verdict in verdicts] == ["personal", "", "", "personal"]
    assert "0.11" in verdicts[2].why and "0.5" in verdicts[2].why


def test_it_never_lets_through_what_the_rules_stopped(check: EntailmentCheck) -> None:
    stopped = Verdict(False, kind="twice", why="said already")
    assert check.check_all([("Wool.", _case(), stopped)]) == [stopped]
    assert check.check_all([]) == []


def test_the_threshold_is_the_users(folder: Path) -> None:
    lax = EntailmentCheck.from_pretrained(str(folder), CPU, FP32, entailment=0.01)
    assert [verdict.passed for verdict in lax.check_all(_claimed("Wool?", "Wool!"))] == [True, False]
    strict = EntailmentCheck.from_pretrained(str(folder), CPU, FP32, entailment=0.999)
    assert not strict.check_all(_claimed("Wool."))[0].passed


@pytest.mark.parametrize(
    ("labels", "passes"),
    [
        (("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), "!"),
        (("Neutral", "Entail", "Contradict"), "?"),
        (("entailment", "not_entailment", "not entailment either"), "."),
    ],
)
def test_labels_in_any_spelling_and_order(folder: Path, labels: tuple[str, ...], passes: str) -> None:
    found = EntailmentCheck.from_pretrained(str(folder), CPU, FP32)
    found.model.config.id2label = dict(enumerate(labels))
    named = EntailmentCheck(found.model, found.tokenizer)
    verdicts = named.check_all(_claimed("Wool.", "Wool?", "Wool!"))
    assert [mark for mark, verdict in zip(".?!", verdicts, strict=True) if verdict.passed] == [passes]


def test_a_model_of_something_else_is_named(folder: Path, tiny_models: dict[str, str]) -> None:
    model = EntailmentCheck.from_pretrained(str(folder), CPU, FP32).model
    model.config.id2label = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    with pytest.raises(WeightsError, match=r"labels are LABEL_0, LABEL_1, LABEL_2; .*entailment"):
        EntailmentCheck(model, byte_tokenizer())
    with pytest.raises(WeightsError, match="is missing"):
        EntailmentCheck.from_pretrained(tiny_models["text"], CPU, FP32)
    with pytest.raises(WeightsError, match="no such file"):
        EntailmentCheck.from_pretrained(str(folder / "nowhere"), CPU, FP32)


def test_a_pickle_is_not_read(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError):
        EntailmentCheck.from_pretrained(str(tmp_path), CPU, FP32)


def test_a_random_model_gives_every_text_the_verdict_that_it_gets_alone(tiny_models: dict[str, str]) -> None:
    check = EntailmentCheck.from_pretrained(tiny_models["nli"], CPU, FP32, entailment=0.34)
    claimed = _claimed(*(f"This hat is made of {'very ' * n}fine wool." for n in range(9)))
    together = check.check_all(claimed)
    assert together == [check.check_all([each])[0] for each in claimed]


def test_a_text_that_the_model_cannot_read_whole_does_not_pass(check: EntailmentCheck) -> None:
    (verdict,) = check.check_all(_claimed("wool " * 200 + "."))
    assert verdict.kind == "not entailed" and "tokens" in verdict.why


def test_batches_hold_every_row_once_and_are_bounded() -> None:
    lengths = [500, 3, 8192, 40, 9000, 40]
    batches = list(_batches(lengths))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(
        len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 8192 for batch in batches
    )


def test_the_premise_tells_what_is_known() -> None:
    told = premise(_case(), Verdict(True))
    assert told.startswith(
        "This is Fjord Hat. You bought Holt Throw: wool, grey. You bought Holt Rug: wool, grey."
    )
    assert "You bought 2 things of this kind: wool." in told
    assert "This hat is made of wool. Its washing is by hand." in told
    assert "It goes with Holt Rug. 7 of 9 people praise the fit." in told
    assert told.endswith("A hat with a hidden pocket.")


def test_what_a_text_rests_on_comes_first() -> None:
    verdict = Verdict(True, evidence=[Evidence("washing", "by hand", "attribute", ["rug"])])
    told = premise(_case(), verdict)
    assert told.index("Holt Rug") < told.index("Holt Throw")
    assert told.index("by hand") < told.index("made of wool")


def test_the_premise_is_in_the_reasons_language() -> None:
    assert "您买过“Holt Rug”：wool、grey。" in premise(_case("zh"), Verdict(True)).replace(", ", "、")
    german = premise(_case("de"), Verdict(True))
    assert "Its material is wool." in german and "hidden pocket" in german


def test_steps_that_tell_of_no_liking_are_left_out() -> None:
    case = _case()
    seen = [replace(step, event="impression") for step in case.user.history]
    told = premise(replace(case, user=User("u", seen)), Verdict(True))
    assert "You" not in told.split("This hat")[0]
