"""The trained language model as a writer: of soft tokens it chooses what to say, and the plan is read off its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmreason.decoding.backend import Backend
from mmreason.decoding.engine import Engine
from mmreason.decoding.requests import Decoded, DecodeRequest, sampling_of
from mmreason.decoding.vllm import Vllm
from mmreason.evidence.schema import Candidate, Case, Plan
from mmreason.files import read_json
from mmreason.generate.embeddings import Embeddings
from mmreason.generate.ladder import Request
from mmreason.generate.writers import LM
from mmreason.probes.picture import PictureProbe
from mmreason.reason.batch import Collator, request
from mmreason.reason.lm import load_tokenizer
from mmreason.reason.merged import merged_lm
from mmreason.reason.model import ReasonModel
from mmreason.reason.prompt import encode_prompt, plan_prompt
from mmreason.schema import Item
from mmreason.wording.brief import seed_of_words

PROMPTS = 64  # embedded together


class LanguageModelWriter:
    """Decodes reasons in batches from soft tokens and a prompt.

    Args:
        model: The reason model.
        tokenizer: The LM's.
        probe: Reads what pictures show, for the soft tokens.
        max_new_tokens: Longest reason in tokens.
        candidates: Texts of a case: one is the likeliest, several are drawn.
        backend: Decodes; None for the engine.

    Attributes:
        tokens: Tokens written so far.
    """

    def __init__(
        self,
        model: ReasonModel,
        tokenizer: Any,
        probe: PictureProbe,
        max_new_tokens: int = 48,
        candidates: int = 1,
        backend: Backend | None = None,
    ) -> None:
        self.model, self.tokenizer, self.probe = model, tokenizer, probe
        self.max_new_tokens, self.candidates, self.tokens = max_new_tokens, candidates, 0
        self.backend = backend
        self._engine: Engine | None = None
        self._slots = 0

    @classmethod
    def from_pretrained(
        cls,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        max_new_tokens: int = 48,
        candidates: int = 1,
        backend: str = "hf",
    ) -> LanguageModelWriter:
        """Read a checkpoint of the ``train`` stage.

        Args:
            folder: The checkpoint.
            device: Of the model; ``vllm`` has the GPUs, and prompts are made on the CPU.
            dtype: Of the LM's weights.
            max_new_tokens: Longest reason in tokens.
            candidates: Texts of a case.
            backend: ``hf`` or ``vllm``.

        Raises:
            DataError: If a file is missing or of another shape, or vLLM is not installed.
        """
        read_json(folder / "config.json")
        model = ReasonModel.from_pretrained(folder, dtype)
        probe = PictureProbe.from_pretrained(folder / "probe")
        tokenizer = load_tokenizer(model.config.lm)
        writer = cls(model, tokenizer, probe, max_new_tokens, candidates)
        if backend == "vllm":
            writer.backend = Vllm(merged_lm(folder, model, tokenizer), writer.max_length)
        else:
            model.to(device)
        return writer

    @property
    def max_length(self) -> int:
        """Tokens of the longest prompt and text together."""
        return min(self.model.config.prompt.max_tokens + self.max_new_tokens, self.tokenizer.model_max_length)

    def write_all(
        self, asked: Sequence[Request], embeddings: Embeddings | None, batch_size: int = 0
    ) -> list[list[Candidate] | str]:
        """The candidates of each request, in order; where the LM fails at one, why, in their place.

        Args:
            asked: The items of their cases, also those of the histories, are embedded.
            embeddings: Of these items.
            batch_size: Rows decoded together; 0 takes 128, on a GPU 512.
        """
        assert embeddings is not None
        decoded = self._backend(batch_size).decode_all(self._requests(asked, embeddings))
        by_request = [list(texts) for _, texts in groupby(decoded, key=lambda text: text.request)]
        self.tokens += sum(len(text.ids) for text in decoded)
        return [_candidates(each.case, texts) for each, texts in zip(asked, by_request, strict=True)]

    def say(self, plans: Sequence[str], batch_size: int = 0) -> list[list[Decoded]]:
        """The texts of plans in words, each plan's candidates; of a model that reads plans.

        Args:
            plans: Of :func:`mmreason.wording.brief.brief_of`.
            batch_size: Rows decoded together; 0 takes 128, on a GPU 512.
        """
        decoded = self._backend(batch_size).decode_all(map(self._of_plan, plans))
        self.tokens += sum(len(text.ids) for text in decoded)
        return [list(texts) for _, texts in groupby(decoded, key=lambda text: text.request)]

    def prompt_of(self, words: str) -> list[int]:
        """Token ids of the prompt for a plan in words."""
        return encode_prompt(plan_prompt(words), self.tokenizer, 0, self.model.config)[0]

    def _of_plan(self, words: str) -> DecodeRequest:
        drawn = sampling_of(self.candidates, seed_of_words(words))
        return DecodeRequest(
            self.prompt_of(words), drawn, self.candidates, max_new_tokens=self.max_new_tokens
        )

    def _backend(self, slots: int) -> Backend:
        if self.backend is not None:
            return self.backend
        if self._engine is None or self._slots != slots:
            self._slots = slots
            self._engine = Engine(self.model.lm, self.tokenizer, slots or None, self.max_length)
        return self._engine

    def _requests(self, asked: Sequence[Request], embeddings: Embeddings) -> Iterator[DecodeRequest]:
        """The cases' prompts as embeddings, made some at a time when they are wanted."""
        for start in range(0, len(asked), PROMPTS):
            some = asked[start : start + PROMPTS]
            for each, prompt in zip(some, self._prompts([r.case for r in some], embeddings), strict=True):
                drawn = sampling_of(self.candidates, each.seed)
                yield DecodeRequest(prompt, drawn, self.candidates, max_new_tokens=self.max_new_tokens)

    @torch.inference_mode()
    def _prompts(self, cases: Sequence[Case], embeddings: Embeddings) -> list[Tensor]:
        """Prompts as input embeddings, (L, hidden_size) each."""
        known: dict[str, Item] = {}
        for case in cases:
            known |= case.history_items
            known[case.item.id] = case.item
        collator = Collator(
            known,
            embeddings,  # type: ignore[arg-type]
            self.tokenizer,
            self.model.config,
            self.model.candidates.tolist(),
            self.probe,
        )
        batch = collator([request(case.user, case.item.id) for case in cases])
        embeds, mask, _ = self.model.inputs(batch.to(next(self.model.parameters()).device))
        return [row[there.bool()] for row, there in zip(embeds, mask, strict=True)]


def _candidates(case: Case, texts: Sequence[Decoded]) -> list[Candidate] | str:
    """What was decoded of a case; the first error in its place."""
    for text in texts:
        if text.finish == "error":
            return (
                f"user {case.user.id!r}, item {case.item.id!r}: {text.error}; embed the item and those of the "
                "history again, or train with a lower learning rate"
            )
    return [Candidate(text.text.strip(), Plan(()), LM, text.log_prob) for text in texts]
