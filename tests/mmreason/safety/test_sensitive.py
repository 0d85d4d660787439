"""Concepts that tell of a person what nobody may infer are known by kind; what only looks like them is not."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmreason.safety.sensitive import read_terms, sensitive_kind, sensitive_together
from mmreason.safety.terms import TermFinder
from mmreason.schema import DataError


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("books on Insulin", "health"),
        ("hearing-aids", "health"),
        ("pieces for pregnant women", "family"),
        ("halal cooking", "religion"),
        ("left-wing podcasts", "politics"),
        ("Payday Loans", "finances"),
        ("LGBTQ cinema", "sexuality"),
        ("union membership", "union"),
        ("糖尿病食谱", "health"),
        ("清真餐厅", "religion"),
    ],
)
def test_protected_kinds_are_known(text: str, kind: str) -> None:
    assert sensitive_kind(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "credit union jack mug",
        "race bikes",
        "concert",
        "trance music",
        "Pagani cars",
        "gayle",
        "hats",
        "",
        "红色帽子",
    ],
)
def test_what_only_looks_like_them_is_not(text: str) -> None:
    assert sensitive_kind(text) == ""


def test_terms_can_be_added() -> None:
    assert sensitive_kind("astrology charts") == ""
    assert sensitive_kind("astrology charts", TermFinder({"belief": ["astrology"]})) == "belief"


def test_terms_of_a_file_are_read_by_kind_and_by_language(tmp_path: Path) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text("belief: [astrology]\nhealth: {en: [cold sore], zh: [口腔溃疡]}\n", encoding="utf-8")
    more = read_terms(path)
    texts = ("Astrology charts", "for cold sores", "口腔溃疡贴", "cold drinks", "wheelchair")
    assert [sensitive_kind(text, more) for text in texts] == ["belief", "health", "health", "", "health"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("belief: [a", "cannot be read as YAML"),
        ("- astrology", "must be kinds"),
        ("belief: astrology", "belief: must be a list"),
        ("belief: [no]", "quote"),
        ("belief: {en: astrology}", "belief: must be a list"),
    ],
)
def test_a_file_of_no_terms_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=f"terms.yaml.*{said}"):
        read_terms(path)


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load(files("mmreason.safety").joinpath(name).read_text(encoding="utf-8"))


def test_every_term_of_the_list_is_found_and_no_safe_one_is() -> None:
    kinds = read("sensitive.yaml")
    safe = kinds.pop("safe")
    assert {
        "health",
        "sexuality",
        "religion",
        "politics",
        "origin",
        "family",
        "finances",
        "union",
        "minors",
    } <= set(kinds)
    for by in kinds.values():
        assert set(by) == {"en", "zh"}
        assert not [term for terms in by.values() for term in terms if not sensitive_kind(term)]
    assert not [term for terms in safe.values() for term in terms if sensitive_kind(term)]


@pytest.mark.parametrize("kind", read("sensitive_together.yaml"))
def test_two_signs_tell_and_one_does_not(kind: str) -> None:
    first, second, *_ = read("sensitive_together.yaml")[kind]
    assert sensitive_together({"a": first[0], "b": second[0], "c": "hats"}) == {"a": kind, "b": kind}
    assert sensitive_together({"a": first[0], "b": first[-1], "c": "hats"}) == {}


def test_a_sign_beside_a_term_that_tells_alone_tells() -> None:
    texts = {"a": "baby clothes", "b": "maternity dress", "c": "hats"}
    assert sensitive_together(texts) == {"a": "family", "b": "family"}
    assert sensitive_together({"a": "star charts", "c": "hats"}, TermFinder({"belief": ["star chart"]})) == {
        "a": "belief"
    }
