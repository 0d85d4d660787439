"""A local server that speaks OpenAI's chat completions, and misbehaves on purpose.

It answers with the last line of the user's message, the same to the same, whatever it did before.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "slow", "cut", "empty", "no message", "hangs up")


class FaultyServer(ThreadingHTTPServer):
    """The server.

    Args:
        faults: What it does in place of answering, of :data:`FAULTS`.
        rate: How often.
        answer: Text of an answer to the user's message; None refuses for good (400), with :attr:`code`.
        slow: Seconds of a slow answer.
        seed: Of when it fails.

    Attributes:
        did: How often it did what; ``answered``, too.
        asked: The bodies of all requests.
        most: The most requests that it had at a time.
        code: Of what it refuses.
        finish: With what its answers end.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        faults: Sequence[str] = (),
        rate: float = 0.5,
        answer: Callable[[str], str | None] = lambda message: message.splitlines()[-1],
        slow: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults, self.rate, self.answer, self.slow = faults, rate, answer, slow
        self.did: Counter[str] = Counter()
        self.asked: list[dict[str, Any]] = []
        self.now = self.most = 0
        self.refuses: tuple[str, ...] = ()
        self.models = ("tiny",)
        self.key, self.code, self.finish = "", "", "stop"
        self._rng, self.lock = random.Random(seed), threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def fault(self) -> str:
        """What to do with the next request; empty for answering it."""
        with self.lock:
            failing = self.faults and self._rng.random() < self.rate
            what = self._rng.choice(self.faults) if failing else ""
            self.did[what or "answered"] += 1
            return what

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, or each answer waits for an acknowledgement
    server: FaultyServer

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.asked.append(body)
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            self._respond(body)
        finally:
            with server.lock:
                server.now -= 1

    def _respond(self, body: dict[str, Any]) -> None:
        server = self.server
        refused = next((name for name in server.refuses if name in body), None)
        if server.key and self.headers["Authorization"] != f"Bearer {server.key}":
            self._error(401, f"Incorrect API key provided: {self.headers['Authorization']}")
        elif body["model"] not in server.models:
            self._error(404, f"The model {body['model']!r} does not exist")
        elif refused:
            self._error(400, f"Unsupported parameter: {refused!r}", param=refused)
        elif server.answer(body["messages"][-1]["content"]) is None:
            self._error(400, "that is not answered", code=server.code)
        elif what := server.fault():
            self._misbehave(what, body)
        else:
            self._send(200, self._answer(body))

    def _misbehave(self, what: str, body: dict[str, Any]) -> None:
        if what in ("429", "500"):
            self._error(int(what), f"the server is {'busy' if what == '429' else 'broken'}", wait=True)
        elif what == "slow":
            time.sleep(self.server.slow)
            self._send(200, self._answer(body))
        elif what == "hangs up":
            self.close_connection = True
        else:
            data = self._answer(body)
            bare = {"choices": [{"index": 0, "finish_reason": "stop"}] if what == "no message" else []}
            self._send(200, data[: len(data) // 2] if what == "cut" else json.dumps(bare).encode())

    def _answer(self, body: dict[str, Any]) -> bytes:
        message = body["messages"][-1]["content"]
        text = self.server.answer(message)
        choice = {"finish_reason": self.server.finish, "message": {"role": "assistant", "content": text}}
        if body.get("logprobs"):
            choice["logprobs"] = {
                "content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
            }
        usage = {"prompt_tokens": len(message.split()), "completion_tokens": len(str(text).split())}
        return json.dumps(
            {
                "id": "a",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice | {"index": n} for n in range(body.get("n", 1))],
                "usage": usage | {"total_tokens": sum(usage.values())},
            }
        ).encode()

    def _error(
        self, status: int, message: str, param: str | None = None, wait: bool = False, code: str = ""
    ) -> None:
        error = {"message": message, "type": "error", "param": param, "code": code or None}
        self._send(status, json.dumps({"error": error}).encode(), {"retry-after-ms": "5"} if wait else {})

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(server: FaultyServer) -> Iterator[FaultyServer]:
    """Serve until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
