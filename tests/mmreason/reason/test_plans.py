"""Training on plans: each reason's plan is read off its text, and the LM learns to say it."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stopping import before_train

from mmreason.config import Config
from mmreason.reason.batch import Collator
from mmreason.reason.lm import load_tokenizer
from mmreason.reason.model import ReasonModel
from mmreason.reason.plans import PlanReader
from mmreason.reason.train import train
from mmreason.records import causes, find_stage
from mmreason.schema import DataError
from mmreason.shards.loader import ReasonSample, reason_samples
from mmreason.store.items import ItemLookup
from mmreason.store.store import EmbeddingStore


@pytest.fixture(scope="module")
def samples(tiny_run: Config) -> list[ReasonSample]:
    return list(reason_samples(tiny_run.path("shards"), "train"))


@pytest.fixture
def reader(tiny_run: Config) -> PlanReader:
    items = ItemLookup(tiny_run.path("catalogue"))
    return PlanReader(tiny_run.path("evidence"), tiny_run.path("shards"), items)


def test_a_plan_is_read_off_a_true_text_and_off_no_other(
    reader: PlanReader, samples: list[ReasonSample]
) -> None:
    good = [sample for sample in samples if reader.read(sample)]
    assert len(good) > len(samples) / 10
    for sample in good:
        told = reader.read(sample)
        assert told is not None and told.text and told.words.startswith("Thing: ") and "Tie: " in told.words
        assert sample.user.id not in told.words.split()
    one = good[0]
    lie = replace(one, reason=replace(one.reason, text="You keep buying gold, and this one is made of gold."))
    assert reader.read(lie) is None
    again = pickle.loads(pickle.dumps(reader))
    assert again.read(one) == reader.read(one)


def test_rows_that_say_no_plan_make_room_for_others(
    tiny_run: Config, reader: PlanReader, samples: list[ReasonSample]
) -> None:
    good = [sample for sample in samples if reader.read(sample)][:2]
    bad = replace(good[0], reason=replace(good[0].reason, text="Nothing that is known."))
    assert reader.in_place_of_others([bad, good[0], bad, good[1]]) == [good[0], good[0], good[1], good[1]]
    assert reader.in_place_of_others([bad]) == [reader.first]
    settings = replace(tiny_run.reason, inputs="plan")
    tokenizer = load_tokenizer(settings.lm)
    store = EmbeddingStore.open(tiny_run.path("embed"))
    batch = Collator(reader.items, store, tokenizer, settings, plans=reader)([bad, good[0]])
    assert (
        batch.fusion is None and not batch.soft_mask.any() and torch.equal(batch.labels[0], batch.labels[1])
    )
    told = reader.read(good[0])
    assert told is not None
    written = tokenizer.decode(batch.input_ids[1][batch.attention_mask[1]])
    assert written.startswith(f"{told.words}\nReason: {told.text[:8]}")


def test_the_stage_trains_on_plans_and_is_stale_with_the_evidence(tiny_run: Config, tmp_path: Path) -> None:
    copy = before_train(tiny_run, tmp_path)
    shutil.copytree(tiny_run.path("evidence"), copy.path("evidence"))
    config = replace(
        copy, reason=replace(copy.reason, inputs="plan"), evaluate=replace(copy.evaluate, baseline=False)
    )
    summary = train(config)
    assert "say a plan" in summary and "lora" in summary and "warmup" not in summary
    model = ReasonModel.from_pretrained(config.path("reason"), torch.float32)
    assert model.config.inputs == "plan" and not len(model.candidates)
    stage = find_stage("train")
    assert "told evidence" in stage.reads and causes(stage, copy) != []


def test_without_one_reason_that_says_a_plan_it_is_told(
    tiny_run: Config, reader: PlanReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmreason.reason.plans.reason_samples", lambda *_: iter([]))
    with pytest.raises(DataError, match="choose other inputs"):
        _ = reader.first
