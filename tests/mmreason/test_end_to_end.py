"""The whole pipeline with the real default weights, small: the one test that a user's first run is like."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmreason import Embedder, Interaction, Item, Reasoner, User
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config import (
    AlignConfig,
    CatalogueConfig,
    Config,
    EvaluateConfig,
    GenerateConfig,
    PromptConfig,
    ReasonConfig,
    SimulateConfig,
)
from mmreason.generate.job import read_job
from mmreason.pipeline import run

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = Config(
        run_dir=str(tmp_path_factory.mktemp("real")),
        catalogue=CatalogueConfig(
            "demo", options={"items_per_domain": 16}, hidden=["color", "pattern"], test_items=0.25
        ),
        simulate=SimulateConfig(users=60, favour=["color"], test_users=0.2),
        align=AlignConfig(steps=40),
        reason=ReasonConfig(
            warmup_steps=60,
            projector_steps=0,
            lora_steps=32,
            batch_size=4,
            prompt=PromptConfig(history_items=1),
            log_every=20,
        ),
        generate=GenerateConfig(limit=12, batch_size=6, part_size=6, max_new_tokens=32),
        evaluate=EvaluateConfig(rows=4, sample=4, baseline=False),
    )
    run(config)
    return config


def test_both_trainings_learn(real_run: Config) -> None:
    training = json.loads(real_run.path("evaluate", "metrics.json").read_text())["training"]
    assert set(training) == {"align", "warmup", "lora"}
    assert all(last < first for first, last in training.values()), training


def test_reasons_are_sentences_about_the_catalogue(real_run: Config) -> None:
    table = read_job(real_run)
    texts = table["text"].to_pylist()
    assert len(texts) == 12 and all(len(text.split()) >= 4 for text in texts)
    claims = [json.loads(evidence) for evidence in table["evidence"].to_pylist()]
    assert sum(bool(c) for c in claims) >= len(claims) / 2, texts
    report = real_run.path("report.html").read_text(encoding="utf-8")
    assert "data:image/" in report and "http://" not in report.replace("http://www.w3.org", "")


def test_the_python_api_works_as_the_readme_writes_it(real_run: Config) -> None:
    catalogue = read_catalogue(real_run.path("catalogue"))
    by_domain: dict[str, list[Item]] = {}
    for item in catalogue.items.values():
        by_domain.setdefault(item.domain, []).append(item)
    pictured, filmed = by_domain["shop"], by_domain["video"][0]

    def picture(item: Item) -> Path:
        return catalogue.media(item.images[0])

    embedder = Embedder.from_pretrained(real_run.path("align"))
    items = [
        Item(id="a", title="Rain coat", images=[picture(pictured[0])]),
        Item(id="b", video=catalogue.media(filmed.video)),
    ]
    vectors = embedder.encode(items)
    assert vectors.shape == (2, 256) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    reasoner = Reasoner.from_pretrained(real_run.path())
    wool = {"material": ["wool"]}
    hat = Item(id="h", title="Hat", images=[picture(pictured[1])], attributes=wool, domain="shop")
    coat = replace(items[0], attributes={**wool, "type": ["Coats"]}, domain="shop")
    user = User("u", [Interaction(event="purchase", item=hat)])
    reason = reasoner.explain(user, coat)
    assert reason.level in ("personal", "selling point") and "wool" in reason.text and reason.verified
    assert any(stopped.startswith("lm: ") for stopped in reason.stopped) or reason.writer == "lm"
    many = list(reasoner.explain_many([(user, coat), (User("new"), items[1])]))
    assert [r.item_id for r in many] == ["a", "b"] and many[0].text == reason.text
