"""The stage measures what there is, says what there is not, and counts what failed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmreason.config import Config
from mmreason.evaluate.evaluate import evaluate
from mmreason.evaluate.reasons import EvaluatedReason, draw_over_users
from mmreason.schema import DataError, Item, Reason, User


@pytest.fixture
def copied(tiny_run: Config, tmp_path: Path) -> Config:
    """A finished run to take things from."""
    shutil.copytree(tiny_run.run_dir, tmp_path / "run")
    return replace(tiny_run, run_dir=str(tmp_path / "run"))


def measured(config: Config) -> tuple[str, dict[str, Any], str]:
    """Summary, figures and page."""
    said = evaluate(config)
    figures = json.loads(config.path("evaluate", "metrics.json").read_text())
    return said, figures, config.path("report.html").read_text(encoding="utf-8")


def test_failed_requests_are_counted_and_shown(copied: Config) -> None:
    path = min(copied.path("generate").rglob("part-*.parquet"))
    table = pq.read_table(path)
    errors = ["the picture <is> gone", *[None] * (len(table) - 1)]
    column = pa.array(errors, table.schema.field("error").type)
    place = table.schema.get_field_index("error")
    pq.write_table(table.set_column(place, table.schema.field("error"), column), path)
    said, figures, page = measured(copied)
    assert figures["failed"] == {"the picture <is> gone": 1}
    assert figures["rows"] + 1 == figures["requests"]
    assert f"1 of {figures['requests']} requests failed" in said
    assert "the picture &lt;is&gt; gone (1)" in page and "failed requests" in page


def test_the_job_that_is_asked_for_is_measured(copied: Config) -> None:
    copied.path("generate", "test").rename(copied.path("generate", "spring"))
    spring = replace(copied, evaluate=replace(copied.evaluate, job="spring"))
    _, figures, page = measured(spring)
    assert figures["job"] == "spring" and figures["rows"] > 0 and "reasons of job spring" in page
    with pytest.raises(DataError, match=r"no generate job 'sprong' in .*; there is spring"):
        evaluate(replace(copied, evaluate=replace(copied.evaluate, job="sprong")))


def test_without_reasons_the_report_has_the_rest(copied: Config) -> None:
    shutil.rmtree(copied.path("generate"))
    said, figures, page = measured(copied)
    assert figures["rows"] == 0 and figures["systems"] == {} and figures["retrieval"]
    assert "no reasons to measure" in said and "no reasons to measure" in page and "\n" not in said
    assert "contrastive loss" in page


def test_without_a_model_embeddings_and_references_each_is_said(copied: Config) -> None:
    for name in ("reason", "embed", "shards"):
        shutil.rmtree(copied.path(name))
    said, figures, page = measured(copied)
    assert figures["rows"] > 0 and figures["swaps"]["user: text changed"]["total"] > 0  # out of the evidence
    assert list(figures["systems"]["MMReason"]) and "BLEU-4" not in figures["systems"]["MMReason"]
    for what in ("no reason has a reference", "nothing is retrieved"):
        assert what in said and what in page


def test_swap_rows_are_asked_over_the_users(tiny_run: Config) -> None:
    figures = json.loads(tiny_run.path("evaluate", "metrics.json").read_text())
    asked = figures["systems"]["text-only LM"]["rows"]
    assert asked == min(tiny_run.evaluate.rows, figures["rows"])
    assert figures["left_out"] == [] and figures["failed"] == {}


def _row(user: int, item: int) -> EvaluatedReason:
    return EvaluatedReason(User(f"u{user}"), Item(f"i{item}"), Reason(f"u{user}", f"i{item}", "x"))


def test_drawn_rows_spread_over_users_and_are_seeded() -> None:
    rows = [_row(user, item) for user in range(10) for item in range(1 + 5 * (user == 0))]
    drawn = draw_over_users(rows, 10, seed=3)
    assert {row.user.id for row in drawn} == {
        f"u{n}" for n in range(10)
    }  # nobody twice before everybody once
    twelve = Counter(row.user.id for row in draw_over_users(rows, 12, seed=3))
    assert twelve == {f"u{n}": 1 for n in range(1, 10)} | {"u0": 3}
    assert drawn == draw_over_users(rows, 10, seed=3) != draw_over_users(rows, 10, seed=4)
    every = draw_over_users(rows, 0)
    assert sorted(map(id, every)) == sorted(map(id, rows))
