"""The engine: streams, candidates, constraints, memory, failures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from tiny_lms import tiny_lm
from tiny_models import byte_tokenizer

from mmreason.decoding.engine import Engine
from mmreason.decoding.groups import Groups
from mmreason.decoding.lm import CausalLM
from mmreason.decoding.probe import _held
from mmreason.decoding.requests import Decoded, DecodeRequest, Sampling
from mmreason.decoding.slots import Slots
from mmreason.decoding.slotted import Slotted
from mmreason.decoding.watch import whole_words

TOKENIZER = byte_tokenizer()
KINDS = ("llama", "mamba")  # over slots; in groups


def engine(name: str = "llama", **settings: Any) -> Engine:
    return Engine(tiny_lm(name), TOKENIZER, **{"slots": 4, "max_length": 96, **settings})


def ask(text: str = "a coat", **more: Any) -> DecodeRequest:
    return DecodeRequest(TOKENIZER.encode(text), **{"max_new_tokens": 12, **more})


def many(**more: Any) -> list[DecodeRequest]:
    return [ask("why a coat " + "of wool " * (number % 4) + str(number), **more) for number in range(14)]


def told(texts: list[Decoded]) -> list[tuple[list[int], str]]:
    return [(text.ids, text.finish) for text in texts]


@pytest.mark.parametrize("name", KINDS)
def test_stream_is_read_no_further_than_a_window_ahead(name: str) -> None:
    read = 0

    def stream() -> Iterator[DecodeRequest]:
        nonlocal read
        for request in many():
            read += 1
            yield request

    texts = engine(name, window=5, slots=2).decode(stream())
    first = next(texts)
    assert read == 5
    assert sorted(text.request for text in [first, *texts]) == list(range(14))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.9, seed=3), Sampling(1.2, 0.8, seed=4)], ids=str)
def test_neighbours_slots_and_order_change_nothing(name: str, sampling: Sampling) -> None:
    requests = many(sampling=sampling)
    alone = [text for request in requests for text in engine(name).decode([request])]
    assert told(engine(name, slots=3).decode_all(requests)) == told(alone)
    backwards = engine(name, slots=8, prefill_tokens=8, window=3).decode_all(requests[::-1])
    assert told(backwards[::-1]) == told(alone)
    for text, same in zip(backwards[::-1], alone, strict=True):
        assert math.isclose(text.log_prob, same.log_prob, rel_tol=1e-4)


def test_log_prob_is_the_lms_own_mean_with_the_end_token() -> None:
    request = ask(sampling=Sampling(0.7, 0.9, seed=8), min_new_tokens=12)
    text = next(engine().decode([request]))
    ids = [*request.prompt, *text.ids]
    log_p = tiny_lm("llama")(torch.tensor([ids])).logits[0].log_softmax(-1)
    scores = [log_p[place - 1, ids[place]].item() for place in range(len(request.prompt), len(ids))]
    assert text.finish == "length"
    assert math.isclose(text.log_prob, sum(scores) / len(scores), rel_tol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_candidates_share_a_prefill_and_are_those_of_single_requests(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    tokens_of = CausalLM.tokens_of
    monkeypatch.setattr(CausalLM, "tokens_of", lambda lm, entry: read.append(1) or tokens_of(lm, entry))
    requests = [
        ask(text, candidates=3, sampling=Sampling(1.0, seed=5), min_new_tokens=3)
        for text in ("a coat", "a hat", "sofa")
    ]
    texts = engine(name).decode_all(requests)
    assert [(text.request, text.candidate) for text in texts] == [(r, c) for r in range(3) for c in range(3)]
    assert len({tuple(text.ids) for text in texts if text.request == 0}) == 3
    if name == "llama":
        assert len(read) == 3
    one_slot = engine(name, slots=1).decode_all(requests)  # more candidates than slots
    assert told(one_slot) == told(texts)


def test_a_shared_prefix_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ["You write reasons. Item: " + each for each in ("a", "coat", "hat", "lamp " * 5)]
    lengths: list[int] = []
    over_slots = CausalLM.over_slots

    def counted(lm: CausalLM, embeds: torch.Tensor, *others: Any) -> torch.Tensor:
        lengths.append(len(embeds))
        return over_slots(lm, embeds, *others)

    alone = [text for prompt in prompts for text in engine().decode([ask(prompt)])]
    shared = engine(window=2)
    assert shared.slotted  # tries the LM out before we count
    monkeypatch.setattr(CausalLM, "over_slots", counted)
    assert told(shared.decode_all([ask(prompt) for prompt in prompts])) == told(alone)
    prefix = len("You write reasons. Item: ")
    suffixes = sum(len(prompt) for prompt in prompts) - prefix * len(prompts)
    steps = sum(len(text.ids) + (text.finish == "end") - 1 for text in alone)
    assert sum(lengths) == prefix + suffixes + steps


def test_tokens_do_not_depend_on_how_many_rows_are_chosen_for_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = [
        ask(str(n), sampling=Sampling(n % 3 / 2, top_p=1 - n % 2 / 2, seed=n), min_new_tokens=n)
        for n in range(9)
    ]
    together = engine(slots=9).decode_all(requests)
    monkeypatch.setattr("mmreason.decoding.choose.TOGETHER", 2)
    assert engine(slots=9).decode_all(requests) == together


@pytest.mark.parametrize("name", KINDS)
def test_stop_strings_cut_the_text(name: str) -> None:
    free = engine(name).decode_all(many(max_new_tokens=20))
    for text, request in zip(free, many(), strict=True):
        if len(text.text) > 4 and "\ufffd" not in text.text[3:5]:
            stop = text.text[3:5]
            stopped = next(engine(name).decode([ask_as(request, stop=(stop, "never"), max_new_tokens=20)]))
            assert (stopped.finish, stopped.text) == ("stop", text.text[: text.text.index(stop)])


def ask_as(request: DecodeRequest, **more: Any) -> DecodeRequest:
    return DecodeRequest(request.prompt, **more)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, seed=2)], ids=["greedy", "drawn"])
def test_words_to_include_are_in_every_text(name: str, sampling: Sampling) -> None:
    asked = many(include=("warm", "羊毛", "Wool coat"), sampling=sampling, max_new_tokens=40)
    for text in engine(name).decode_all(asked):
        assert text.finish in ("end", "length"), text
        assert all(word in text.text for word in ("warm", "羊毛", "Wool coat"))


def test_words_to_include_that_do_not_fit_are_an_error_and_not_a_lie() -> None:
    text = next(engine().decode([ask(include=("a very long phrase",), max_new_tokens=5)]))
    assert text.finish == "error" and "max_new_tokens is 5" in text.error


def test_a_stop_string_waits_for_the_words_to_include() -> None:
    free = next(engine().decode([ask(min_new_tokens=20, max_new_tokens=20)]))
    stop = free.text.replace("\ufffd", "")[1]
    text = next(engine().decode([ask(max_new_tokens=30, stop=(stop,), include=("ok",))]))
    assert free.text.index(stop) < len(free.text) - 2
    assert "ok" in text.text and stop not in text.text


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, seed=2)], ids=["greedy", "drawn"])
def test_banned_words_are_in_no_text(name: str, sampling: Sampling) -> None:
    requests = many(sampling=sampling, max_new_tokens=20)
    free = engine(name).decode_all(requests)
    held = 0
    for text, request in zip(free, requests, strict=True):
        word = text.text[2:5].strip()  # of several tokens: the tokenizer writes bytes
        if len(word) < 2:
            continue
        watched = ask_as(request, banned=(word,), sampling=sampling, max_new_tokens=20)
        other = next(engine(name).decode([watched]))
        assert other.finish != "error" or "no way around" in other.error
        assert other.finish == "error" or not whole_words((word,)).search(other.text)
        held += bool(whole_words((word,)).search(text.text)) and other.finish != "error"
    assert held >= 3, "the words should have come without the ban"


@pytest.mark.parametrize("name", KINDS)
def test_logits_that_are_no_numbers_end_that_request_only(name: str) -> None:
    lm = tiny_lm(name)
    poison = torch.full((6, 32), float("nan"))
    requests = many()
    good = engine(name).decode_all(requests)
    mixed = [requests[0], DecodeRequest(poison), *requests[1:]]
    texts = engine(name).decode_all(mixed)
    assert texts[1].finish == "error" and "not a number" in texts[1].error
    assert told(texts[:1] + texts[2:]) == told(good)
    assert lm.get_input_embeddings().weight.isfinite().all()


@pytest.mark.parametrize("name", KINDS)
def test_what_does_not_fit_is_halved(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = many(sampling=Sampling(0.8, seed=1))
    expected = told(engine(name).decode_all(requests))
    call = "over_slots" if name == "llama" else "over_rows"
    run = getattr(CausalLM, call)
    largest: list[int] = []

    def small(lm: CausalLM, embeds: torch.Tensor, *others: Any) -> Any:
        rows = others[1].slots.count if name == "llama" else len(embeds)
        if rows > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        largest.append(rows)
        return run(lm, embeds, *others)

    tight = engine(name, slots=8)
    assert tight.slotted == (name == "llama")  # tries the LM out before memory is short
    monkeypatch.setattr(CausalLM, call, small)
    assert told(tight.decode_all(requests)) == expected
    assert max(largest) == 2


@pytest.mark.parametrize("name", KINDS)
def test_a_row_that_does_not_fit_alone_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tight = engine(name)
    assert tight.slotted == (name == "llama")

    def never(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(CausalLM, "over_slots" if name == "llama" else "over_rows", never)
    texts = tight.decode_all(many())
    assert len(texts) == 14 and all("out of memory" in text.error for text in texts)


def test_memory_is_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    rest = Slotted.rest

    def noted(self: Slotted) -> None:
        held.append(self.cache.nbytes)
        rest(self)

    said = engine()
    monkeypatch.setattr(Slotted, "rest", noted)
    said.decode_all(many())
    assert held == [said.memory.cache]
    assert said.memory.weights == sum(p.nbytes for p in tiny_lm("llama").parameters())


def test_memory_of_states_is_at_least_what_a_group_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    step = Groups.step

    def noted(self: Groups, queue: Any) -> list[Decoded]:
        done = step(self, queue)
        held.append(_held(self.cache) if self.cache else 0)
        return done

    monkeypatch.setattr(Groups, "step", noted)
    for name in ("mamba", "lfm2", "qwen3.5"):
        held.clear()
        said = engine(name)
        said.decode_all([ask(str(number), max_new_tokens=20) for number in range(4)])
        assert 0 < max(held) <= said.memory.cache


def test_prompts_that_cannot_be_decoded_are_told_apart() -> None:
    bad = [
        DecodeRequest([]),
        DecodeRequest([5] * 90, max_new_tokens=7),
        DecodeRequest([5, 9999]),
        DecodeRequest(torch.zeros(3, 7)),
        ask(),
    ]
    texts = engine().decode_all(bad)
    said = ["prompt is empty", "do not fit max_length=96", "not among the LM's 258", "the LM's have 32", ""]
    assert [part in text.error for part, text in zip(said, texts, strict=True)] == [True] * 5
    assert [text.finish == "error" for text in texts] == [True] * 4 + [False]


@pytest.mark.parametrize(
    "wrong",
    [
        {"candidates": 2},
        {"min_new_tokens": 5, "max_new_tokens": 4},
        {"max_new_tokens": 0},
        {"banned": ("",)},
        {"candidates": 0},
    ],
    ids=str,
)
def test_requests_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|alike|empty"):
        DecodeRequest([1], **wrong)
    with pytest.raises(ValueError, match="temperature"):
        Sampling(-1)
    with pytest.raises(ValueError, match="positions"):
        Engine(tiny_lm("llama"), TOKENIZER, max_length=129)


@pytest.mark.parametrize("name", ["llama", "gemma2, window 6", "qwen3.5"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_exact_is_the_same_to_the_last_bit(name: str, dtype: torch.dtype) -> None:
    lm = deepcopy(tiny_lm(name)).to(dtype)
    requests = many(sampling=Sampling(0.9, seed=6), max_new_tokens=20, candidates=2)
    together = Engine(lm, TOKENIZER, slots=8, max_length=96, exact=True).decode_all(requests)
    alone = [
        text
        for request in requests
        for text in Engine(lm, TOKENIZER, slots=8, max_length=96, exact=True).decode_all([request])
    ]
    assert [(t.ids, t.log_prob) for t in together] == [(t.ids, t.log_prob) for t in alone]


def test_the_lm_keeps_its_own_attention() -> None:
    lm = tiny_lm("llama")
    before = lm.config._attn_implementation
    texts = engine().decode(many())
    next(texts)
    assert lm.config._attn_implementation == before
    assert lm(torch.tensor([[5, 6, 7]])).logits.isfinite().all()


def test_memory_is_set_aside_for_what_comes_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    init = Slots.__init__

    def noted(self: Slots, count: int, *others: Any) -> None:
        counts.append(count)
        init(self, count, *others)

    deep = engine("llama", slots=32)
    assert deep.slotted  # tries the LM out
    monkeypatch.setattr(Slots, "__init__", noted)
    deep.decode_all(many()[:3])
    assert counts == [0, 4, 0]
    texts = deep.decode_all(many())
    assert counts == [0, 4, 0, 16, 0]
    assert told(texts) == told(engine("llama").decode_all(many()))
    half = deep.decode(many())
    next(half)
    assert told(deep.decode_all(many())) == told(texts), "two streams at once do not share"
