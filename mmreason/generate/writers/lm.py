"""The trained language model as a writer: it chooses what to say, and its plan is read off its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmreason.decoding.engine import Engine
from mmreason.decoding.requests import DecodeRequest
from mmreason.evidence.schema import Candidate, Case, Plan
from mmreason.files import read_json
from mmreason.generate.embeddings import Embeddings
from mmreason.generate.writers import LM
from mmreason.probes.picture import PictureProbe
from mmreason.reason.batch import Collator, request
from mmreason.reason.lm import load_tokenizer
from mmreason.reason.model import ReasonModel
from mmreason.schema import DataError, Item


class LanguageModelWriter:
    """Decodes reasons in batches from soft tokens and a prompt.

    Args:
        model: The reason model.
        tokenizer: The LM's.
        probe: Reads what pictures show, for the soft tokens.
        max_new_tokens: Longest reason in tokens.

    Attributes:
        tokens: Tokens written so far.
    """

    def __init__(
        self, model: ReasonModel, tokenizer: Any, probe: PictureProbe, max_new_tokens: int = 48
    ) -> None:
        self.model, self.tokenizer, self.probe = model, tokenizer, probe
        self.max_new_tokens, self.tokens = max_new_tokens, 0
        self._made: Engine | None = None

    @classmethod
    def from_pretrained(
        cls, folder: Path, device: torch.device, dtype: torch.dtype, max_new_tokens: int = 48
    ) -> LanguageModelWriter:
        """Read a checkpoint of the ``train`` stage.

        Raises:
            DataError: If a file is missing or of another shape.
        """
        read_json(folder / "config.json")
        model = ReasonModel.from_pretrained(folder, dtype).to(device)
        probe = PictureProbe.from_pretrained(folder / "probe")
        return cls(model, load_tokenizer(model.config.lm), probe, max_new_tokens)

    def write_all(
        self, cases: Sequence[Case], embeddings: Embeddings, batch_size: int = 32
    ) -> list[list[Candidate]]:
        """One candidate a case, in order.

        Args:
            cases: Their items, also those of the histories, are embedded.
            embeddings: Of these items.
            batch_size: Rows decoded together.

        Raises:
            DataError: If what the model computes of a case is not a number.
        """
        written = []
        for case, text in zip(
            cases,
            self._engine(batch_size).decode_all(self._requests(cases, embeddings, batch_size)),
            strict=True,
        ):
            if text.finish == "error":
                raise DataError(
                    f"user {case.user.id!r}, item {case.item.id!r}: {text.error}; embed the item and those of the "
                    "history again, or train with a lower learning rate"
                )
            self.tokens += len(text.ids)
            written.append([Candidate(text.text.strip(), Plan(()), LM, text.log_prob)])
        return written

    def _engine(self, slots: int) -> Engine:
        if self._made is None or self._made.slots != slots:
            length = self.model.config.prompt.max_tokens + self.max_new_tokens
            self._made = Engine(
                self.model.lm, self.tokenizer, slots, min(length, self.tokenizer.model_max_length)
            )
        return self._made

    def _requests(
        self, cases: Sequence[Case], embeddings: Embeddings, batch_size: int
    ) -> Iterator[DecodeRequest]:
        """The cases' prompts as embeddings, made a batch at a time when the engine wants them."""
        for start in range(0, len(cases), batch_size):
            for prompt in self._prompts(cases[start : start + batch_size], embeddings):
                yield DecodeRequest(prompt, max_new_tokens=self.max_new_tokens)

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
