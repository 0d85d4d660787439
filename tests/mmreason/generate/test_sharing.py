"""Say it once: what many users share is put in words once, and every row is what it would be without."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from mmreason.bulk.parts import read_progress
from mmreason.bulk.windows import Spent
from mmreason.bulk.worded import NAME, WordedPlans
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config import Config
from mmreason.decoding.requests import Decoded
from mmreason.evidence.schema import Plan
from mmreason.generate.asks import Asks, load_reasoner
from mmreason.generate.choice import seed_of_plan
from mmreason.generate.job import dry_run, generate, read_job
from mmreason.generate.ladder import Request
from mmreason.generate.reasoner import Reasoner
from mmreason.generate.sharing import expected_distinct, seconds_when_shared
from mmreason.generate.writers.planned import MOST_PLANS, PlanWriter
from mmreason.reason.train import train
from mmreason.schema import User
from mmreason.settings import keep, with_absolute_paths


@pytest.fixture(scope="module")
def finished(tiny_run: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run whose LM reads plans; two items for every user are asked for."""
    folder = tmp_path_factory.mktemp("plans") / "run"
    shutil.copytree(tiny_run.run_dir, folder)
    config = replace(
        tiny_run,
        run_dir=str(folder),
        reason=replace(tiny_run.reason, inputs="plan", lora_steps=2),
        evaluate=replace(tiny_run.evaluate, baseline=False),
        generate=replace(tiny_run.generate, top_k=3, part_size=16, max_new_tokens=6),
    )
    train(config)
    shutil.rmtree(config.path("generate"))
    return config


@pytest.fixture
def run(finished: Config, tmp_path: Path) -> Config:
    shutil.copytree(finished.run_dir, tmp_path / "run")
    return replace(finished, run_dir=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def reasoner(finished: Config) -> Reasoner:
    return load_reasoner(finished, read_catalogue(finished.path("catalogue")))


class Echo:
    """Says what is true of any plan of the demo's things, and remembers what it was asked."""

    def __init__(self) -> None:
        self.tokens, self.asked = 0, []

    def say(self, plans: Sequence[str], batch_size: int = 32) -> list[list[Decoded]]:
        self.asked += plans
        return [[Decoded(n, 0, [1], f"echo {words}", -0.5, "end")] for n, words in enumerate(plans)]


def _requests(reasoner: Reasoner, config: Config) -> list[Request]:
    asks = Asks(config)
    cases = reasoner.cases([asks.behaviours.pair(asked) for asked in asks.requests()])
    return [Request(case, reasoner.plans_of(case)) for case in cases]


def test_rows_are_the_same_with_sharing_and_without(run: Config, finished: Config, tmp_path: Path) -> None:
    summary = generate(run)
    other = replace(finished, run_dir=str(tmp_path / "other"), generate=replace(run.generate, share=False))
    shutil.copytree(finished.run_dir, other.run_dir)
    assert "0% of" in generate(other)
    assert read_job(run).equals(read_job(other))
    noted = read_progress(run.path("generate", "top-3"))
    assert 0 < noted["worded"] < noted["plans"] <= MOST_PLANS * noted["requests"]
    assert f"of {noted['plans']:,} plans were said in words that were there already" in summary
    assert not other.path("generate", NAME).exists()


def test_words_are_kept_for_the_next_night_and_not_for_another_model(run: Config) -> None:
    generate(run)
    before = read_job(run)
    shutil.rmtree(run.path("generate", "top-3"))
    generate(run)
    noted = read_progress(run.path("generate", "top-3"))
    assert noted["worded"] == 0 < noted["plans"] and read_job(run).equals(before)
    other = replace(run, generate=replace(run.generate, max_new_tokens=5))
    generate(other)
    assert read_progress(run.path("generate", "top-3"))["worded"] > 0


def test_words_of_workers_are_kept_by_the_process_that_started_them(
    run: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mmreason.generate.on_ray.results",
        lambda config, make, tasks: (json.loads(json.dumps(make()(task))) for task in tasks),
    )
    monkeypatch.setattr(Asks, "window", 16)
    generate(replace(run, engine="ray"))
    rows, folder = read_job(run), run.path("generate", "top-3")
    assert read_progress(folder)["worded"] > 0
    shutil.rmtree(folder)
    generate(run)
    assert read_progress(folder)["worded"] == 0 and read_job(run).equals(rows)


def test_words_of_a_second_process_end_in_the_one_table(run: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("mmreason.generate.asks.share_of", lambda: (2, 2))
        asks, folder = Asks(run), run.path("generate", "top-3")
        outlook = asks.job.prepare(asks.requests, asks.made_of)
        asks.job.run(outlook, asks.behaviours.pair, asks.writer)
    assert [path.name for path in folder.parent.glob("worded*")] == ["worded-2.sqlite"]
    generate(run)  # as after a kill
    assert [path.name for path in folder.parent.glob("worded*")] == [NAME]
    rows = read_job(run)
    shutil.rmtree(folder)
    generate(run)
    assert read_progress(folder)["worded"] == 0 < read_progress(folder)["plans"] and read_job(run).equals(
        rows
    )


def test_an_edited_table_changes_no_row(run: Config, capsys: pytest.CaptureFixture[str]) -> None:
    generate(run)
    before = read_job(run)
    with closing(sqlite3.connect(run.path("generate", NAME))) as table, table:
        table.execute("UPDATE worded SET texts = '[[\"Buy it now.\", -0.1]]'")
    shutil.rmtree(run.path("generate", "top-3"))
    generate(run)
    assert "are written again" in capsys.readouterr().err and read_job(run).equals(before)
    run.path("generate", NAME).write_bytes(b"no table at all" * 100)
    shutil.rmtree(run.path("generate", "top-3"))
    generate(run)
    assert "begun anew" in capsys.readouterr().err and read_job(run).equals(before)


KILLED = """
import os, signal, sys
import mmreason.generate.asks as asks
from mmreason.bulk.worded import WordedPlans
from mmreason.cli import read_config
from mmreason.generate.job import generate

asks.PLANS_WINDOW, real, calls = 16, WordedPlans.add, []

def add(self, texts):
    real(self, texts)
    calls.append(texts)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

WordedPlans.add = add
config = read_config(sys.argv[1])
config.generate.top_k = 3
generate(config)
"""


def test_a_job_killed_when_words_are_kept_and_rows_are_not_ends_with_the_same_rows(
    run: Config, finished: Config, tmp_path: Path
) -> None:
    shutil.copytree(finished.run_dir, tmp_path / "whole")
    whole = replace(run, run_dir=str(tmp_path / "whole"))
    generate(whole)
    keep(with_absolute_paths(run))
    path = tmp_path / "asked.yaml"
    path.write_text(run.path("config.yaml").read_text() + f"run_dir: {run.run_dir}\n")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    kept = len(pq.ParquetFile(next(iter(run.path("generate", "top-3").glob("part-*")))).read())
    generate(run)
    assert kept == 16 and read_job(run).equals(read_job(whole))


def test_users_of_whom_the_same_is_to_be_said_share_a_text(reasoner: Reasoner, finished: Config) -> None:
    asked = _requests(reasoner, finished)
    echo = Echo()
    writer = PlanWriter(echo, WordedPlans())
    first = writer.write_all(asked)
    assert len(echo.asked) == len(set(echo.asked)) == writer.said < writer.asked
    swapped = [
        replace(each, case=replace(each.case, user=User(f"other {n}", each.case.user.history)))
        for n, each in enumerate(asked)
    ]
    assert writer.write_all(swapped) == first and writer.said == len(set(echo.asked))
    by_words: dict[str, set[str]] = {}
    for each in asked:
        for _, brief in writer.briefs_of(each.plans, each.case):
            by_words.setdefault(brief.words, set()).add(each.case.user.id)
    assert max(map(len, by_words.values())) > 1


def test_words_hold_nothing_of_a_user(reasoner: Reasoner, finished: Config) -> None:
    writer = PlanWriter(Echo(), None)
    for each in _requests(reasoner, finished):
        for plan, brief in writer.briefs_of(each.plans, each.case):
            lines = dict(line.split(": ", 1) for line in brief.words.splitlines())
            assert lines.keys() <= {"Thing", "Say", "Tie", "Name", "Style"}
            told = {each.case.user.id, *each.case.history_items}
            titles = {item.title for item in each.case.history_items.values()} - {each.case.item.title}
            assert told.isdisjoint(brief.words.split()) and not any(t and t in brief.words for t in titles)
            assert ("Tie" in lines) == (plan.tie is not None)


def test_a_candidate_keeps_the_plan_that_it_was_told(reasoner: Reasoner, finished: Config) -> None:
    each = next(each for each in _requests(reasoner, finished) if each.plans and each.plans[0].tie)
    writer = PlanWriter(Echo(), WordedPlans())
    [candidates] = writer.write_all([each])
    assert [c.plan for c in candidates] == [plan for plan, _ in writer.briefs_of(each.plans, each.case)]
    template = reasoner.ladder.writers["template"](each.plans[0], each.case)[0]
    written = replace(template, writer="lm")
    climbed = reasoner.ladder.climb_all([replace(each, written=[written])])[0]
    assert climbed.reason.writer == "lm" and climbed.plan == template.plan
    untold = replace(written, plan=Plan(template.plan.facts))  # the text says more of the person
    climbed = reasoner.ladder.climb_all([replace(each, written=[untold])])[0]
    assert climbed.plan is not None and climbed.plan.tie is not None


def test_a_failing_model_fails_the_requests_of_its_plan(reasoner: Reasoner, finished: Config) -> None:
    class Broken(Echo):
        def say(self, plans: Sequence[str], batch_size: int = 32) -> list[list[Decoded]]:
            good = super().say(plans, batch_size)
            return [[replace(good[0][0], finish="error", error="no number")], *good[1:]]

    asked = _requests(reasoner, finished)
    worded = WordedPlans()
    writer = PlanWriter(Broken(), worded)
    found = writer.write_all(asked)
    broken = writer.speaker.asked[0]
    for each, texts in zip(asked, found, strict=True):
        uses = broken in [brief.words for _, brief in writer.briefs_of(each.plans, each.case)]
        assert (texts == "no number") == uses
    assert not worded.find([broken])


def test_a_dry_run_tells_what_will_be_shared_and_keeps_no_words(run: Config) -> None:
    told = dry_run(run)
    line = next(line for line in told.splitlines() if line.startswith("shared"))
    assert 0 < float(line.split()[1].rstrip("%")) < 100 and "estimated" in line
    assert not run.path("generate", NAME).exists()
    generate(run)
    shutil.rmtree(run.path("generate", "top-3"))
    assert "100% (plans that have words already" in dry_run(run)


def test_the_estimate_follows_the_sample() -> None:
    assert expected_distinct(["a"] * 10, 10_000) == 1
    assert 10 < expected_distinct([str(int(n**0.5)) for n in range(100)], 1000) < 100
    assert seconds_when_shared(10.0, 2.0, Spent(0, 100, 80), share=0.6) == pytest.approx(6.0)
    assert seconds_when_shared(10.0, 2.0, Spent(0, 100, 0), share=0.6) == 10.0


def test_a_plans_seed_is_its_own_whoever_it_is_said_to(reasoner: Reasoner, finished: Config) -> None:
    each = next(each for each in _requests(reasoner, finished) if len(each.plans) > 1)
    first, second = each.plans[:2]
    other = replace(each.case, user=User("somebody else"))
    assert seed_of_plan(first, each.case, 0) == seed_of_plan(first, other, 0)
    different = [
        seed_of_plan(second, each.case, 0),
        seed_of_plan(first, each.case, 1),
        seed_of_plan(first, replace(each.case, item=replace(each.case.item, id="x")), 0),
    ]
    assert seed_of_plan(first, each.case, 0) not in different


def test_a_page_is_written_by_plans_too(reasoner: Reasoner, finished: Config) -> None:
    each = _requests(reasoner, finished)[0]
    items = list(reasoner.items.values())[:4]
    assert isinstance(reasoner.lm, PlanWriter) and torch.is_tensor(reasoner.lm.speaker.model.candidates)
    found = reasoner.explain_page(each.case.user, items)
    assert [reason.item_id for reason in found] == [item.id for item in items]
