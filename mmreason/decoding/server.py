"""A server that speaks OpenAI's chat completions as a back end: OpenAI's own, vLLM, llama.cpp, Ollama and others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mmreason.config_reasons import BackendConfig
from mmreason.decoding.requests import Decoded, DecodeRequest, Finish
from mmreason.schema import DataError

RETRIES = 5
"""How often a request is sent again: where the server is busy (429; after ``Retry-After``, if it says so), fails (5xx),
cannot be reached, is too slow, or answers what cannot be read."""

GIVE_UP = 32
"""After so many requests in a row that failed for good, the others of a call are not sent any more."""

_FIRST_WAIT = 0.25  # seconds, before what could not be read is asked for again; then twice as long
_LONGEST_WAIT = 120.0  # seconds, of a Retry-After that the openai package keeps to
_KEY = "none"  # where a server asks for no key; the package wants one
_FILTERED = (
    "content_filter"  # how a choice ends whose text is held back; also the code of a request that is refused
)
_FINISH: dict[str, Finish] = {"stop": "end", "length": "length", _FILTERED: "filtered"}
_OPTIONAL = ("max_tokens", "temperature", "top_p", "seed", "n", "logprobs")
_INSTEAD = {"max_tokens": "max_completion_tokens"}  # of a setting that newer models refuse

T = TypeVar("T")


class Server:
    """Asks a server, many requests at a time.

    Args:
        settings: Where it is, and what it bears.
        instruction: The system's message.

    Attributes:
        read: Tokens that the server has read so far, as it counts them.
        written: Tokens that it has written.

    Raises:
        DataError: If a setting is missing or wrong, the key is not there, or ``openai`` is not installed.

    Example:
        server = Server(BackendConfig("openai", "http://localhost:8000/v1", "my-model"), "Answer in one word.")
        print(server.decode_all([DecodeRequest("What is the capital of France?")])[0].text)
    """

    def __init__(self, settings: BackendConfig, instruction: str = "") -> None:
        try:
            import openai
        except ImportError:
            raise DataError(
                "generate.backend.name=openai needs the openai package; pip install 'mmreason[openai]'"
            ) from None
        self._openai, self.settings, self.instruction = openai, settings, instruction
        self._key = _checked(settings)
        self._refused: set[str] = set()  # settings that the model does not take
        self._send_at = 0.0
        self.read = self.written = 0

    def decode_all(self, requests: Iterable[DecodeRequest]) -> list[Decoded]:
        """As of :class:`~mmreason.decoding.backend.Backend`; prompts are words."""
        return [text for texts in _run(self._answer_all(list(requests))) for text in texts]

    async def _answer_all(self, requests: list[DecodeRequest]) -> list[list[Decoded]]:
        free, failures = asyncio.Semaphore(self.settings.concurrency), _Failures()

        async def answer(number: int, request: DecodeRequest) -> list[Decoded]:
            async with free:
                return await self._answer(client, number, request, failures)

        async with self._client() as client:
            return await asyncio.gather(*(answer(*each) for each in enumerate(requests)))

    def _client(self) -> Any:
        openai, seconds = self._openai, self.settings.timeout
        return openai.AsyncOpenAI(
            base_url=self.settings.url,
            api_key=self._key,
            max_retries=RETRIES,
            timeout=openai.Timeout(seconds, connect=min(seconds, 10.0)),
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"request": [self._pace]}),
        )

    async def _pace(self, _: Any) -> None:
        """Wait until one more may be sent; also before what is sent again."""
        if self.settings.requests_per_minute:
            now = time.monotonic()
            self._send_at = max(self._send_at, now) + 60 / self.settings.requests_per_minute
            await asyncio.sleep(self._send_at - 60 / self.settings.requests_per_minute - now)

    async def _answer(
        self, client: Any, number: int, request: DecodeRequest, failures: _Failures
    ) -> list[Decoded]:
        error = failures.why_stopped or _why_not(request)
        if not error:
            try:
                texts = await self._asked(client, number, request)
                failures.note("")
                return texts
            except (self._openai.OpenAIError, TimeoutError, _Unreadable) as failed:
                error = self._told(failed)
                failures.note(error)
        return [Decoded(number, n, [], "", None, "error", error) for n in range(request.candidates)]

    async def _asked(self, client: Any, number: int, request: DecodeRequest) -> list[Decoded]:
        """The texts, if need be after some more tries."""
        tries = 0
        # Above the timeouts of the single tries: for a server that sends a byte now and then.
        rate = self.settings.requests_per_minute
        in_line = 60 * self.settings.concurrency / rate if rate else 0.0
        async with asyncio.timeout((RETRIES + 1) * (self.settings.timeout + _LONGEST_WAIT + in_line)):
            while True:
                body = self._body(request)
                try:
                    reply = await client.chat.completions.create(**body)
                    return self._texts(number, request, reply)
                except self._openai.BadRequestError as error:
                    if error.code == _FILTERED:
                        return [
                            Decoded(number, n, [], "", None, "filtered") for n in range(request.candidates)
                        ]
                    if not self._does_without(error, body):
                        raise
                except (ValueError, _Unreadable) as error:  # JSON that was cut, or is no answer
                    tries += 1
                    if tries > RETRIES:
                        raise _Unreadable(str(error)) from None
                    await asyncio.sleep(_FIRST_WAIT * 2.0**tries)

    def _body(self, request: DecodeRequest) -> dict[str, Any]:
        sampling = request.sampling
        system = [{"role": "system", "content": self.instruction}] if self.instruction else []
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
        body: dict[str, Any] = {
            "max_tokens": request.max_new_tokens,
            **(drawn if sampling.temperature else {"temperature": 0.0}),
        }
        if request.candidates > 1:
            body |= {"n": request.candidates, "logprobs": True}
        if request.stop:
            body["stop"] = list(request.stop)
        for name in self._refused & body.keys():
            value = body.pop(name)
            if name in _INSTEAD:
                body[_INSTEAD[name]] = value
        messages = [*system, {"role": "user", "content": request.prompt}]
        return {"model": self.settings.model, "messages": messages, **body}

    def _does_without(self, error: Any, body: Mapping[str, Any]) -> bool:
        """Whether the server refused a setting of a body that may be left out; it is from now on."""
        name = getattr(error, "param", None)
        if name not in _OPTIONAL or name not in body:
            return False
        self._refused.add(name)
        return True

    def _texts(self, number: int, request: DecodeRequest, reply: Any) -> list[Decoded]:
        choices = getattr(reply, "choices", None)
        if not choices:
            raise _Unreadable("the answer holds no text")
        if (usage := getattr(reply, "usage", None)) is not None:
            self.read += usage.prompt_tokens or 0
            self.written += usage.completion_tokens or 0
        try:
            return [_decoded(number, n, choice) for n, choice in enumerate(choices[: request.candidates])]
        except (AttributeError, TypeError) as error:  # the package does not check what JSON holds
            raise _Unreadable(f"the answer is of another shape ({error})") from None

    def _told(self, error: Exception) -> str:
        """An error in a line, without the key."""
        text = str(error) or "no answer in time"
        if getattr(error, "status_code", None) in (401, 403) and not self.settings.key_env:
            text += " (generate.backend.key_env names the environment variable with the key)"
        text = " ".join((text.replace(self._key, "…") if self.settings.key_env else text).split())
        return f"{self.settings.url}, model {self.settings.model!r}: {text[:300]}"


class _Unreadable(Exception):
    """An answer that is none."""


class _Failures:
    """How many requests failed one after another, with no answer in between."""

    def __init__(self) -> None:
        self.in_a_row, self.why_stopped = 0, ""

    def note(self, error: str) -> None:
        """Note what became of a request: its error, or nothing."""
        self.in_a_row = self.in_a_row + 1 if error else 0
        if self.in_a_row >= GIVE_UP:
            self.why_stopped = f"not asked, as {self.in_a_row} in a row failed, the last one with: {error}"


def _decoded(number: int, candidate: int, choice: Any) -> Decoded:
    finish = _FINISH.get(choice.finish_reason or "stop", "error")
    error = f"the server stopped it ({choice.finish_reason})" if finish == "error" else ""
    tokens = getattr(choice.logprobs, "content", None) or []
    log_prob = sum(token.logprob for token in tokens) / len(tokens) if tokens else None
    text = "" if finish == "filtered" else choice.message.content or ""
    return Decoded(number, candidate, [], text, log_prob, finish, error)


def _why_not(request: DecodeRequest) -> str:
    """Why a request cannot be sent; empty if it can."""
    if not isinstance(request.prompt, str):
        return "a server reads words alone, no token ids and no embeddings"
    if request.min_new_tokens or request.include or request.banned:
        return "a server does not promise min_new_tokens, include and banned"
    return ""


def _checked(settings: BackendConfig) -> str:
    """The key, out of the environment; everything else that is missing or wrong is an error."""
    address = urlsplit(settings.url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise DataError(f"generate.backend.url {settings.url!r}: no address such as http://localhost:8000/v1")
    if address.username or address.password or address.query or address.fragment:
        raise DataError(
            "generate.backend.url holds a password or a query, which would be kept with the settings; put it into an "
            "environment variable and name that in generate.backend.key_env"
        )
    if not settings.model:
        raise DataError("generate.backend.model is empty; name the server's model")
    if settings.concurrency < 1 or settings.timeout <= 0 or settings.requests_per_minute < 0:
        raise DataError(
            f"generate.backend: concurrency={settings.concurrency} must be 1 or more, timeout={settings.timeout:g} "
            f"above 0, requests_per_minute={settings.requests_per_minute} 0 or more"
        )
    key = os.environ.get(settings.key_env, "") if settings.key_env else _KEY
    if not key:
        raise DataError(f"environment variable {settings.key_env} (generate.backend.key_env) is not set")
    return key


def _run(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, also inside a notebook, whose thread has an event loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
