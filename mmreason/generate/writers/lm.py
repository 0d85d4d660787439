"""The trained language model as a writer: it chooses what to say, and its plan is read off its text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmreason.checkpoint import read_json
from mmreason.evidence.schema import Candidate, Case, Plan
from mmreason.generate.decode import greedy
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
    """

    def __init__(
        self, model: ReasonModel, tokenizer: Any, probe: PictureProbe, max_new_tokens: int = 48
    ) -> None:
        self.model, self.tokenizer, self.probe = model, tokenizer, probe
        self.max_new_tokens = max_new_tokens

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
        """One candidate a case, in order; rows of like length are decoded together.

        Args:
            cases: Their items, also those of the histories, are embedded.
            embeddings: Of these items.
            batch_size: Rows decoded together.

        Raises:
            DataError: If what the model computes of a case is not a number.
        """
        written: list[list[Candidate]] = [[] for _ in cases]
        order = sorted(range(len(cases)), key=lambda row: _length(cases[row]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            for row, (text, score) in zip(
                rows, self._decode([cases[r] for r in rows], embeddings), strict=True
            ):
                written[row] = [Candidate(text, Plan(()), LM, score)]
        return written

    @torch.inference_mode()
    def _decode(self, cases: Sequence[Case], embeddings: Embeddings) -> list[tuple[str, float]]:
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
        out = greedy(self.model.lm, embeds, mask, self.max_new_tokens, self.tokenizer.eos_token_id)
        for case, score in zip(cases, out.scores, strict=True):
            if not math.isfinite(score):
                raise DataError(
                    f"user {case.user.id!r}, item {case.item.id!r}: what the language model computes is not a number; "
                    "embed the item and those of the history again, or train with a lower learning rate"
                )
        texts = [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in out.ids]
        return list(zip(texts, out.scores, strict=True))


def _length(case: Case) -> int:
    return len(case.item.title) + sum(len(item.title) for item in case.history_items.values())
