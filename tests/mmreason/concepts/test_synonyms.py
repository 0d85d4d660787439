"""What a text encoder holds for the same shares a concept; what it only puts near does not."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.concepts import stage
from mmreason.concepts.corrections import concepts
from mmreason.concepts.synonyms import difference, synonymous
from mmreason.config import Config
from mmreason.evidence.store import EvidenceStore
from mmreason.schema import Item


class Encoder:
    """Words of one group lie close together, all others at right angles; a phrase is the mean of its words.

    Args:
        groups: Words that the encoder takes for nearly the same, in the order of how near they are to the first.
        unknown: Words that it spells out of pieces.
    """

    def __init__(self, *groups: str, unknown: str = "") -> None:
        self._groups = [group.split() for group in groups]
        self._unknown = unknown.split()
        self._axes: dict[str, int] = {}
        self.asked = 0

    def _word(self, word: str) -> np.ndarray:
        vector = np.zeros(400)
        group = next((group for group in self._groups if word in group), [word])
        vector[self._axes.setdefault(group[0], len(self._axes))] = 1
        if group.index(word):
            vector[self._axes.setdefault(f"+{group[0]}", len(self._axes))] = 0.3 * group.index(word)
        return vector / np.linalg.norm(vector)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += len(texts)
        found = np.array([np.sum([self._word(word) for word in text.split()], axis=0) for text in texts])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def is_word(self, text: str) -> bool:
        return text not in self._unknown


def _pairs(encoder: Encoder, *phrases: str, taken: Sequence[str] = ()) -> set[frozenset[str]]:
    rows = [(" ".join(sorted(phrase.split())), phrase) for phrase in phrases]
    return {frozenset((phrases[here], phrases[there])) for here, there in synonymous(rows, encoder, taken)}


SAME = Encoder("hidden secret", "front back", "red blue", "eight nine", "inch metre", "wool silk")


def test_phrases_that_differ_in_two_words_for_one_thing_mean_the_same() -> None:
    phrases = ("hidden pocket", "secret pocket", "zip closure")
    assert _pairs(SAME, *phrases) == {frozenset(phrases[:2])}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("front pocket", "back pocket"),  # opposites
        ("red pocket", "blue pocket"),  # colours
        ("size eight", "size nine"),  # numbers
        ("eight inch", "eight metre"),  # units
        ("hidden pocket", "hidden pocket flap"),  # more is said
        ("hidden pocket", "pocket without hidden"),
    ],
)
def test_what_lies_as_near_and_says_another_thing_stays_apart(one: str, other: str) -> None:
    assert _pairs(SAME, one, other, "hidden zip", "secret zip") == {frozenset(["hidden zip", "secret zip"])}


def test_values_of_attributes_are_told_apart_by_the_catalogue() -> None:
    encoder = Encoder("quilted padded")
    assert _pairs(encoder, "quilted hood", "padded hood")
    assert not _pairs(encoder, "quilted hood", "padded hood", taken=["quilted"])


def test_words_must_be_each_others_nearest_and_known_to_the_encoder() -> None:
    phrases = ("hidden pocket", "concealed pocket", "private pocket")
    encoder = Encoder(
        "hidden concealed private"
    )  # private lies nearest to concealed, which lies nearest to hidden
    assert _pairs(encoder, *phrases[:2]) == {frozenset(phrases[:2])}
    found = _pairs(encoder, *phrases)
    assert len(found) == 1, "of three words two at most are each other's nearest"
    assert not _pairs(Encoder("hidden concealed", unknown="concealed"), *phrases[:2])


def test_scripts_without_spaces_are_left_to_n_grams() -> None:
    assert difference("隐藏口袋", "秘密口袋") is None


def _find(
    folder: Path, items: list[Item], encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> EvidenceStore:
    write_catalogue(Catalogue({item.id: item for item in items}, [], [], folder), folder / "catalogue")
    monkeypatch.setattr(stage, "_vectors", lambda config: encoder)
    stage.find_evidence(Config(run_dir=str(folder)))
    return EvidenceStore.open(folder / "evidence")


def _concepts(store: EvidenceStore) -> dict[str, str]:
    return {fact.value: fact.concept for item in store.item_ids() for fact in store.facts(item)}


def _items(*texts: str, prefix: str = "i") -> list[Item]:
    return [Item(f"{prefix}{n}", text=f"- {text}") for n, text in enumerate(texts)]


def test_synonyms_share_a_concept_that_stays_and_that_a_person_may_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = _items("Hidden pocket", "Hidden pocket", "Secret pocket", "Front pocket", "Back pocket")
    encoder = Encoder("hidden secret", "front back")
    before = _concepts(_find(tmp_path, items, encoder, monkeypatch))
    assert before["Hidden pocket"] == before["Secret pocket"] == "thing=hidden pocket"
    assert len(set(before.values())) == 3
    more = _items(*["Secret pocket"] * 5, "Concealed zip", prefix="n")
    after = _concepts(_find(tmp_path, [*items, *more], encoder, monkeypatch))
    assert {value: after[value] for value in before} == before, "now the other one is the commoner"
    config = Config(run_dir=str(tmp_path))
    concepts(config)
    rows = list(csv.DictReader((tmp_path / "concepts.csv").open(encoding="utf-8-sig")))
    for row in rows:
        if row["spelling"] == "thing=secret pocket":
            row["concept"] = "thing=secret pocket"
    with (tmp_path / "concepts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    parted = _concepts(_find(tmp_path, [*items, *more], encoder, monkeypatch))
    assert parted["Secret pocket"] == "thing=secret pocket" != parted["Hidden pocket"]


def test_what_one_item_says_both_of_is_two_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder("hidden secret")
    items = _items("Hidden pocket", "Secret pocket")
    found = _concepts(_find(tmp_path / "apart", items, encoder, monkeypatch))
    assert found["Hidden pocket"] == found["Secret pocket"]
    both = Item("both", text="- Hidden pocket\n- Secret pocket")
    found = _concepts(_find(tmp_path / "both", [*items, both], encoder, monkeypatch))
    assert found["Hidden pocket"] != found["Secret pocket"]


def test_phrases_join_a_commoner_one_and_never_by_way_of_a_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lid ~ cover and sturdy ~ robust: "robust cover" differs from "sturdy lid" in two words."""
    encoder = Encoder("lid cover", "sturdy robust")
    texts = ["Sturdy lid for travel"] * 3 + ["Sturdy cover for travel"] * 2 + ["Robust cover for travel"]
    found = _concepts(_find(tmp_path, _items(*texts), encoder, monkeypatch))
    assert found["Sturdy lid for travel"] == found["Sturdy cover for travel"]
    assert found["Robust cover for travel"] != found["Sturdy lid for travel"]


def test_synonyms_are_a_setting_and_need_an_encoder_that_has_learned_elsewhere(tiny_run: Config) -> None:
    from dataclasses import replace

    assert stage._vectors(tiny_run) is not None
    off = replace(tiny_run, evidence=replace(tiny_run.evidence, synonyms=False))
    fitted = replace(tiny_run, align=replace(tiny_run.align, text="tfidf"))
    nothing = replace(tiny_run, run_dir="nowhere")
    assert [stage._vectors(config) for config in (off, fitted, nothing)] == [None, None, None]
