"""Plans put in words by a server, through the job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("openai", reason="the openai package is not installed (pip install 'mmreason[openai]')")

from openai_server import FAULTS, FaultyServer, serving
from server_faults import answer

from mmreason import DataError, Reasoner, User
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config import Config
from mmreason.config_reasons import BackendConfig
from mmreason.decoding import server as module
from mmreason.generate.job import dry_run, generate, read_job
from mmreason.records import find_stage, settings_of


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    with serving(FaultyServer(answer=answer)) as made:
        yield made


@pytest.fixture
def asking(tiny_run: Config, tmp_path: Path, server: FaultyServer) -> Config:
    """A run whose language model is the server, and three requests for each of its items."""
    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, config.run_dir)
    catalogue = read_catalogue(config.path("catalogue"))
    users = list(dict.fromkeys(step.user_id for step in catalogue.interactions))
    pairs = [(users[n % len(users)], item) for n, item in enumerate(catalogue.items)] * 3
    table = pa.table({"user_id": [user for user, _ in pairs], "item_id": [item for _, item in pairs]})
    pq.write_table(table, tmp_path / "asked.parquet")
    backend = BackendConfig("openai", server.url, "tiny", timeout=20.0)
    return replace(
        config,
        generate=replace(
            config.generate,
            requests=str(tmp_path / "asked.parquet"),
            writers=["lm", "template"],
            backend=backend,
        ),
    )


def test_plans_are_worded_checked_and_counted(asking: Config, server: FaultyServer) -> None:
    summary = generate(asking)
    rows = read_job(asking).to_pylist()
    said = [row for row in rows if row["writer"] == "lm"]
    assert len(rows) >= 100 and said and all(row["verified"] for row in said)
    assert len(server.asked) <= len(rows) // 3  # equal plans are sent once
    words, written = (
        sum(len(str(text).split()) for text in texts)
        for texts in (
            [body["messages"][1]["content"] for body in server.asked],
            [answer(body["messages"][1]["content"]) for body in server.asked],
        )
    )
    assert summary.endswith(f"the server read {words:,} tokens and wrote {written:,}")
    users = {row["user_id"] for row in rows}
    assert not any(user in body["messages"][1]["content"].split() for body in server.asked for user in users)
    assert "server" not in generate(asking)


def test_tokens_of_workers_are_told_too(asking: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    local = generate(asking)
    shutil.rmtree(asking.path("generate"))
    monkeypatch.setattr("mmreason.generate.on_ray.results", lambda config, make, tasks: map(make(), tasks))
    told = generate(replace(asking, engine="ray"))
    assert "the server read" in told and told == local


def test_a_server_that_fails_changes_no_row(asking: Config, server: FaultyServer) -> None:
    generate(asking)
    wanted = read_job(asking)
    shutil.rmtree(asking.path("generate"))
    server.faults, server.rate, server.slow = FAULTS, 0.3, 0.6
    generate(asking)
    assert read_job(asking).equals(wanted) and sum(server.did[fault] for fault in FAULTS)


def test_what_the_server_fails_at_is_an_error_and_asked_again(asking: Config, server: FaultyServer) -> None:
    bad = {"thing": ""}

    def refuses(message: str) -> str | None:
        bad["thing"] = bad["thing"] or message
        return None if message == bad["thing"] else answer(message)

    server.answer = refuses
    assert "failed" in generate(asking)
    failed = [row for row in read_job(asking).to_pylist() if row["error"]]
    assert failed and all("that is not answered" in row["error"] and not row["text"] for row in failed)
    server.answer, before = answer, len(server.asked)
    assert "failed" not in generate(asking)
    assert len(server.asked) == before + 1


@pytest.mark.parametrize("text", ["", None])
def test_what_the_server_has_no_words_for_others_say_and_it_is_asked_the_next_night(
    asking: Config, server: FaultyServer, text: str | None
) -> None:
    """Whether the server's filter holds it back, or an answer is blank."""
    server.answer, server.code = lambda message: text, "content_filter"
    assert "failed" not in generate(asking)
    rows = read_job(asking).to_pylist()
    asked = len(server.asked)
    assert any(row["verified"] and row["writer"] == "template" for row in rows) and 0 < asked < len(rows)
    shutil.rmtree(asking.path("generate", asking.generate.job))
    server.answer = answer
    generate(asking)
    assert len(server.asked) == 2 * asked
    assert "lm" in read_job(asking)["writer"].to_pylist()


def test_a_wrong_model_stops_the_job_in_a_line(asking: Config, server: FaultyServer) -> None:
    server.models = ("other",)
    with pytest.raises(DataError, match=r"requests failed .*The model 'tiny' does not exist"):
        generate(asking)


def test_a_dry_run_asks_nothing_and_where_the_server_is_makes_nothing_stale(
    asking: Config, server: FaultyServer
) -> None:
    assert "not known: the server would have to be asked" in dry_run(asking) and not server.asked
    stage = find_stage("generate")
    moved = replace(
        asking.generate.backend, url="http://elsewhere/v1", concurrency=2, timeout=9.0, key_env="K"
    )
    there = replace(asking, generate=replace(asking.generate, backend=moved))
    assert settings_of(stage, there) == settings_of(stage, asking)


def test_a_reasoner_over_a_server(asking: Config, server: FaultyServer) -> None:
    reasoner = Reasoner.from_pretrained(asking.path(), writers=["lm"], backend=asking.generate.backend)
    item = next(iter(reasoner.items.values()))
    server.answer = lambda message: None
    with pytest.raises(DataError, match="that is not answered"):
        reasoner.explain(User(""), item)
    server.answer = answer
    texts = {reasoner.explain(User(user), item).text for user in ("", "ann")}
    assert len(texts) == 1 and len(server.asked) == 2  # an error is not remembered, an answer is
