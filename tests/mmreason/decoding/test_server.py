"""A server as a back end, against a local one that misbehaves."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("openai", reason="the openai package is not installed (pip install 'mmreason[openai]')")

from openai_server import FAULTS, FaultyServer, serving

from mmreason.config_reasons import BackendConfig
from mmreason.decoding import server as module
from mmreason.decoding.requests import Decoded, DecodeRequest, Sampling
from mmreason.decoding.server import GIVE_UP, Server
from mmreason.schema import DataError

LINES = [DecodeRequest(f"Say\nline {n}") for n in range(40)]
SAID = [f"line {n}" for n in range(40)]


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)


def _server(faulty: FaultyServer, **more: Any) -> Server:
    return Server(BackendConfig("openai", faulty.url, "tiny", **more), "Answer in one line.")


def _texts(decoded: list[Decoded]) -> list[str]:
    assert not [each.error for each in decoded if each.error]
    return [each.text for each in decoded]


def test_every_request_is_answered_in_order_and_counted(faulty: FaultyServer) -> None:
    server = _server(faulty, concurrency=4)
    faulty.faults, faulty.rate, faulty.slow = ("slow",), 1.0, 0.005
    assert _texts(server.decode_all(LINES)) == SAID
    assert 2 <= faulty.most <= 4
    assert (server.read, server.written) == (40 * 3, 40 * 2)
    assert faulty.asked[0]["messages"][0] == {"role": "system", "content": "Answer in one line."}
    assert {"max_tokens": 48, "temperature": 0.0}.items() <= faulty.asked[0].items()


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_tried_again(faulty: FaultyServer, fault: str) -> None:
    faulty.faults, faulty.rate, faulty.slow = (fault,), 0.15, 1.0
    server = _server(faulty, timeout=0.5)
    assert _texts(server.decode_all(LINES)) == SAID
    assert faulty.did[fault]


def test_what_fails_for_good_has_its_error_and_disturbs_no_other(faulty: FaultyServer) -> None:
    faulty.answer = lambda message: None if message.endswith("line 7") else message.splitlines()[-1]
    requests = [*LINES[:9], DecodeRequest([1, 2]), DecodeRequest("Say\nmore", banned=("x",))]
    found = _server(faulty).decode_all(requests)
    assert [n for n, each in enumerate(found) if each.finish != "end"] == [7, 9, 10]
    assert "that is not answered" in found[7].error and "reads words alone" in found[9].error
    assert "banned" in found[10].error


@pytest.mark.parametrize("refused", [True, False])
def test_what_a_filter_holds_back_is_no_text_and_no_error(faulty: FaultyServer, refused: bool) -> None:
    """Some servers say so with the answer, some refuse the request with that code."""
    faulty.code, faulty.finish = "content_filter", "content_filter"
    faulty.answer = lambda message: None if refused else "Half of"
    drawn = DecodeRequest("Say\nit", Sampling(0.8), candidates=2)
    found = _server(faulty).decode_all([LINES[0], drawn])
    assert [(each.text, each.finish, each.error) for each in found] == [("", "filtered", "")] * 3
    assert len(faulty.asked) == 2


def test_a_broken_server_is_given_up_soon(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRIES", 1)
    faulty.faults, faulty.rate = ("500",), 1.0
    found = _server(faulty, concurrency=1).decode_all(LINES)
    assert len(faulty.asked) == 2 * GIVE_UP
    assert "model 'tiny': Error code: 500" in found[0].error and "the server is broken" in found[0].error
    assert found[-1].error.startswith(f"not asked, as {GIVE_UP} in a row failed")


def test_nobody_there_and_a_wrong_name_are_told(
    faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRIES", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    [refused] = Server(BackendConfig("openai", url, "tiny")).decode_all(LINES[:1])
    assert refused.error == f"{url}, model 'tiny': Connection error."
    [unknown] = Server(BackendConfig("openai", faulty.url, "large")).decode_all(LINES[:1])
    assert "The model 'large' does not exist" in unknown.error and len(faulty.asked) == 1


def test_a_setting_that_the_model_refuses_is_left_out(faulty: FaultyServer) -> None:
    faulty.refuses = ("max_tokens", "temperature")
    assert _texts(_server(faulty, concurrency=16).decode_all(LINES)) == SAID
    assert faulty.asked[-1]["max_completion_tokens"] == 48 and "temperature" not in faulty.asked[-1]


def test_candidates_have_their_scores(faulty: FaultyServer) -> None:
    request = DecodeRequest("Say\nit", Sampling(0.8, 0.9, seed=3), candidates=3)
    found = _server(faulty).decode_all([request])
    assert [(each.candidate, each.text, each.log_prob) for each in found] == [
        (n, "it", -0.5) for n in range(3)
    ]
    assert {"n": 3, "seed": 3, "temperature": 0.8, "top_p": 0.9}.items() <= faulty.asked[0].items()


def test_requests_a_minute(faulty: FaultyServer) -> None:
    began = time.monotonic()
    _server(faulty, requests_per_minute=600).decode_all(LINES[:6])
    assert 0.5 <= time.monotonic() - began < 30


def test_it_works_where_a_loop_runs(faulty: FaultyServer) -> None:
    async def notebook() -> list[Decoded]:
        return _server(faulty).decode_all(LINES[:2])

    assert _texts(asyncio.run(notebook())) == SAID[:2]


def test_the_key_is_the_environments_and_is_never_told(
    faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.key = "sk-good"
    with pytest.raises(
        DataError, match=r"environment variable MY_KEY \(generate.backend.key_env\) is not set"
    ):
        _server(faulty, key_env="MY_KEY")
    monkeypatch.setenv("MY_KEY", "sk-bad")
    [failed] = _server(faulty, key_env="MY_KEY").decode_all(LINES[:1])
    assert "401" in failed.error and "sk-bad" not in failed.error
    assert "key_env" in _server(faulty).decode_all(LINES[:1])[0].error
    monkeypatch.setenv("MY_KEY", "sk-good")
    assert _texts(_server(faulty, key_env="MY_KEY").decode_all(LINES[:1])) == SAID[:1]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (BackendConfig("openai", "", "m"), "url ''"),
        (BackendConfig("openai", "http://a:b@host/v1", "m"), "holds a password"),
        (BackendConfig("openai", "http://host/v1"), "model is empty"),
        (BackendConfig("openai", "http://host/v1", "m", concurrency=0), "concurrency=0"),
    ],
)
def test_wrong_settings_are_told(settings: BackendConfig, told: str) -> None:
    with pytest.raises(DataError, match=told):
        Server(settings)
