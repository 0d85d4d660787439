"""A stronger check by a model of natural language inference: does what is known entail what a reason says?

It is asked of what the rules let through, and can only stop more: the premise is the evidence in words, the hypothesis
the reason (arXiv 2204.04991 measures such models as judges of truth).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from encoders.errors import WeightsError
from encoders.hf import load_hf_model, load_hf_tokenizer, positions
from mmreason.generate.verify.premise import premise
from mmreason.generate.verify.verdict import Claimed, Verdict

_LONGEST = 512  # tokens of premise and hypothesis; more is read only by few models, and slowly
_TOKENS = 8192  # of one batch, with its padding
_LETTERS = re.compile("[^a-z]+")


class EntailmentCheck:
    """Stops what a sequence classifier does not find entailed by the evidence.

    Args:
        model: With a label for entailment, and one for contradiction unless it only tells entailment from the rest.
        tokenizer: The model's.
        entailment: Smallest probability of entailment with which a text passes.

    Raises:
        WeightsError: If none of the model's labels is entailment.
    """

    def __init__(self, model: Any, tokenizer: Any, entailment: float = 0.5) -> None:
        self.model, self.tokenizer, self.entailment = model.eval(), tokenizer, entailment
        self._entails, self._contradicts = _labels(model.config)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"
        model.config.pad_token_id = tokenizer.pad_token_id
        room = min(tokenizer.model_max_length, positions(model, model.config.name_or_path, tokenizer))
        self._longest = int(min(room, _LONGEST))

    @classmethod
    def from_pretrained(
        cls, weights: str, device: torch.device, dtype: torch.dtype, entailment: float = 0.5
    ) -> EntailmentCheck:
        """Read a model from safetensors; no code of its folder is run.

        Args:
            weights: ``hf://org/name`` or a local folder.
            device: Where it computes.
            dtype: Of its weights.
            entailment: As of the class.

        Raises:
            WeightsError: If it cannot be read, or is no model of natural language inference.
        """
        kind = "AutoModelForSequenceClassification"
        model, folder = load_hf_model(weights, "model of natural language inference", (), kind)
        return cls(model.to(device, dtype), load_hf_tokenizer(folder), entailment)

    def check_all(self, claimed: Sequence[Claimed]) -> list[Verdict]:
        """The verdicts in order, those of texts that are not entailed turned into rejections; none becomes better.

        Args:
            claimed: Texts with their cases and what the rules say of them.
        """
        verdicts = [verdict for _, _, verdict in claimed]
        asked = [row for row, verdict in enumerate(verdicts) if verdict.passed]
        if not asked:
            return verdicts
        texts = [claimed[row][0] for row in asked]
        premises = [premise(claimed[row][1], claimed[row][2]) for row in asked]
        lengths = [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        for row, length in zip(asked, lengths, strict=True):
            if 2 * length > self._longest:
                why = f"it has {length} tokens, and the model reads {self._longest} with the evidence"
                verdicts[row] = replace(verdicts[row], passed=False, level="", kind="not entailed", why=why)
        fitting = [n for n, row in enumerate(asked) if verdicts[row].passed]
        found = self._probabilities([premises[n] for n in fitting], [texts[n] for n in fitting])
        for n, probabilities in zip(fitting, found, strict=True):
            verdicts[asked[n]] = self._judged(verdicts[asked[n]], probabilities)
        return verdicts

    def _judged(self, verdict: Verdict, probabilities: Sequence[float]) -> Verdict:
        entailed = probabilities[self._entails]
        if self._contradicts is not None and probabilities[self._contradicts] == max(probabilities):
            why = f"the evidence contradicts it ({probabilities[self._contradicts]:.2f})"
            return replace(verdict, passed=False, level="", kind="contradicted", why=why)
        if entailed < self.entailment:
            why = f"the evidence entails it with {entailed:.2f}, below {self.entailment:g}"
            return replace(verdict, passed=False, level="", kind="not entailed", why=why)
        return verdict

    @torch.inference_mode()
    def _probabilities(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[list[float]]:
        """One row a pair, one probability a label; pairs of like length share a batch."""
        if not premises:
            return []
        read = self.tokenizer(premises, hypotheses, truncation="only_first", max_length=self._longest)
        rows = [{name: values[n] for name, values in read.items()} for n in range(len(premises))]
        found: list[list[float]] = [[] for _ in rows]
        for batch in _batches([len(row["input_ids"]) for row in rows]):
            inputs = self.tokenizer.pad([rows[n] for n in batch], return_tensors="pt")
            logits = self.model(**inputs.to(self.model.device)).logits
            for n, each in zip(batch, logits.float().softmax(-1).tolist(), strict=True):
                found[n] = each
        return found


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows by falling length, in batches that are padded to at most so many tokens."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        size = max(1, _TOKENS // lengths[order[0]])
        yield order[:size]
        order = order[size:]


def _labels(config: Any) -> tuple[int, int | None]:
    """Places of entailment and contradiction among a model's labels, however they are spelled."""
    names = {int(place): str(name) for place, name in config.id2label.items()}
    plain = {place: _LETTERS.sub("", name.lower()) for place, name in names.items()}
    entails = [place for place, name in plain.items() if name.startswith("entail")]
    if len(entails) != 1:
        raise WeightsError(
            f"{config.name_or_path}: its labels are {', '.join(names.values())}; a model of natural language "
            "inference has one for entailment (id2label in config.json)"
        )
    contradicts = (place for place, name in plain.items() if name.startswith("contra"))
    return entails[0], next(contradicts, None)
