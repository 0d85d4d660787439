"""What pictures show: found out, calibrated, never guessed, and never read off an item's own label."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.config import Config
from mmreason.evidence import seen
from mmreason.evidence.schema import Fact
from mmreason.evidence.seen import REPORT, seen_facts
from mmreason.probes.calibration import PRECISION
from mmreason.schema import Item
from mmreason.store.store import StoreWriter

COLORS = ["Red", "Blue", "Green"]
WIDTH = 24


def _items(count: int = 240) -> list[Item]:
    """Shirts whose picture shows the colour, hidden in every other; made of what nobody sees."""
    rng = np.random.default_rng(0)
    items = []
    for n in range(count):
        color, material = COLORS[n % 3], ["cotton", "linen", "hemp"][rng.integers(3)]
        items.append(
            Item(
                f"i{n:03}",
                "Shirt",
                attributes={"category": ["Shirts"], **({"material": [material]} if n % 2 else {})},
                hidden={"color": [color]},
                domain="shop",
                group=f"g{n // 2:03}" if n < count // 2 else f"h{n:03}",
                split="test" if n // 2 % 5 == 0 else "train",
            )
        )
    return items


def _features(items: list[Item], noise: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(len(COLORS), WIDTH))
    colors = [COLORS.index(item.hidden["color"][0]) for item in items]
    return directions[colors] + noise * rng.normal(size=(len(items), WIDTH))


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Config]:
    """``make_run(items, features)``: a catalogue and its embedding store."""

    def make(items: list[Item], features: np.ndarray) -> Config:
        config = Config(run_dir=str(tmp_path))
        write_catalogue(Catalogue({i.id: i for i in items}, [], [], tmp_path), config.path("catalogue"))
        config.path("evidence").mkdir()
        arrays = {
            "image": np.ones((len(items), 2), np.float32),
            "image_features": features.astype(np.float32),
        }
        masks = {"image": np.ones(len(items), bool)}
        StoreWriter(config.path("embed"), {}).write_part(
            [i.id for i in items], ["?"] * len(items), arrays, masks
        )
        return config

    return make


def test_what_is_visible_is_found_out_and_what_is_not_is_left(make_run: Callable[..., Config]) -> None:
    items = _items()
    config = make_run(items, _features(items))
    facts = list(seen_facts(config))
    assert facts == list(seen_facts(config)), "the same again"
    report = json.loads(config.path("evidence", REPORT).read_text())
    assert list(report) == ["color"], "no picture tells the material"
    (level,) = report["color"]["levels"]
    assert level["precision"] >= PRECISION and level["coverage"] > 0.9
    truth = {item.id: item.hidden["color"][0] for item in items}
    assert {(f.name, f.source, f.span) for f in facts} == {("color", "picture", None)}
    assert all(f.value in COLORS and 0.3 < f.probability <= 1 for f in facts)
    unseen = [f for f in facts if items[int(f.item_id[1:])].split == "test"]
    assert len(unseen) > 40 and np.mean([f.value == truth[f.item_id] for f in unseen]) >= PRECISION


def test_a_wrong_label_is_not_read_back(make_run: Callable[..., Config]) -> None:
    items = _items()
    features = _features(items)
    wrong = next(n for n, item in enumerate(items) if item.split == "train")
    shown = items[wrong].hidden["color"][0]
    items[wrong].hidden["color"] = [next(color for color in COLORS if color != shown)]
    found = {f.item_id: f.value for f in seen_facts(make_run(items, features))}
    assert found[items[wrong].id] == shown, "read by a probe that has not learned from it"


def test_what_texts_tell_and_other_kinds_are_not_read(make_run: Callable[..., Config]) -> None:
    items = _items()
    features = _features(items)
    told, bag, film = (Item(f"x{n}", group=f"x{n}", domain="shop", split="test") for n in range(3))
    told.title, told.attributes = "Deep red shirt", {"category": ["Shirts"]}
    bag.attributes = {"category": ["Bags"]}
    film.attributes, film.domain = {"category": ["Shirts"]}, "video"
    plain = Item("x3", "Shirt", group="x3", domain="shop", split="test", attributes={"category": ["Shirts"]})
    more = [told, bag, film, plain]
    config = make_run([*items, *more], np.vstack([features, features[[0] * 4]]))
    found = {f.item_id: f for f in seen_facts(config)}
    assert found["x3"] == Fact("x3", "color", "Red", "picture", probability=found["x3"].probability)
    assert not found.keys() & {"x0", "x1", "x2"}


def test_pictures_that_say_nothing_are_not_read(make_run: Callable[..., Config]) -> None:
    items = _items()
    config = make_run(items, np.random.default_rng(2).normal(size=(len(items), WIDTH)))
    assert not list(seen_facts(config)) and json.loads(config.path("evidence", REPORT).read_text()) == {}


def test_without_an_embedding_store_nothing_is_read(tmp_path: Path) -> None:
    config = Config(run_dir=str(tmp_path))
    config.path("evidence").mkdir()
    assert list(seen_facts(config)) == []


class Pair:
    """Towers that put a picture near the prompt of its colour, so far as the noise lets them."""

    def __init__(self, items: list[Item], noise: float, agree: bool = True) -> None:
        rng = np.random.default_rng(3)
        self._directions = rng.normal(size=(len(COLORS), WIDTH))
        colors = [COLORS.index(item.hidden["color"][0]) for item in items]
        vectors = self._directions[colors] + noise * rng.normal(size=(len(items), WIDTH))
        self._vectors = {item.id: vector for item, vector in zip(items, vectors, strict=True)}
        if not agree:
            self._directions = rng.normal(size=(len(COLORS), WIDTH))

    def pictures(self, ids: list[str]) -> np.ndarray:
        found = np.array([self._vectors[each] for each in ids])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def prompts(self, name: str, values: list[str]) -> np.ndarray:
        assert name == "color", "materials are of one kind only"
        found = self._directions[[COLORS.index(value) for value in values]]
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def _few() -> list[Item]:
    """Twenty-four labelled shirts, too few to learn from, and sixty whose colour only the picture tells."""
    items = [replace(item, attributes={"category": ["Shirts"]}) for item in _items(84)]
    return [replace(item, group=item.id, split="train" if n < 24 else "test") for n, item in enumerate(items)]


def _levels(config: Config) -> dict[str, tuple[str, float]]:
    report = json.loads(config.path("evidence", REPORT).read_text())
    return {name: (told["read_by"], told["levels"][0]["precision"]) for name, told in report.items()}


def test_prompts_of_a_trained_pair_read_what_too_few_items_are_known_to_learn(
    make_run: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = _few()
    config = make_run(items, np.random.default_rng(2).normal(size=(len(items), WIDTH)))
    monkeypatch.setattr(seen, "_pair", lambda config, store: None)
    assert not list(seen_facts(config))
    monkeypatch.setattr(seen, "_pair", lambda config, store: Pair(items, 0.4))
    facts = list(seen_facts(config))
    assert facts == list(seen_facts(config)), "the same again"
    assert _levels(config)["color"][0] == "prompts" and _levels(config)["color"][1] >= PRECISION
    truth = {item.id: item.hidden["color"][0] for item in items}
    unseen = [f for f in facts if items[int(f.item_id[1:])].split == "test"]
    assert len(unseen) > 40 and np.mean([f.value == truth[f.item_id] for f in unseen]) >= PRECISION
    assert {(f.name, f.source) for f in facts} == {("color", "picture")}


@pytest.mark.parametrize(("noise", "agree"), [(9.0, True), (0.4, False)])
def test_prompts_that_do_not_tell_are_not_kept(
    noise: float, agree: bool, make_run: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = _few()
    config = make_run(items, np.random.default_rng(2).normal(size=(len(items), WIDTH)))
    monkeypatch.setattr(seen, "_pair", lambda config, store: Pair(items, noise, agree))
    assert not list(seen_facts(config)) and _levels(config) == {}


@pytest.mark.parametrize(
    ("of_features", "of_pair", "wins"), [(0.4, 3.0, "regression"), (2.5, 0.2, "prompts")]
)
def test_what_reads_more_with_the_same_precision_reads(
    of_features: float,
    of_pair: float,
    wins: str,
    make_run: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [replace(item, attributes={"category": ["Shirts"]}) for item in _items()]
    config = make_run(items, _features(items, of_features))
    monkeypatch.setattr(seen, "_pair", lambda config, store: Pair(items, of_pair))
    truth = {item.id: item.hidden["color"][0] for item in items}
    facts = list(seen_facts(config))
    assert _levels(config)["color"][0] == wins
    assert len(facts) > 120 and np.mean([f.value == truth[f.item_id] for f in facts]) >= 0.93
