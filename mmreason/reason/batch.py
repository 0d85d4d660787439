"""Rows of (user, item, reason) to tensors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmreason.config import ReasonConfig
from mmreason.embed.model import MODALITIES
from mmreason.probes.picture import PictureProbe
from mmreason.reason.evidence import EvidenceWords, shared_prior
from mmreason.reason.fusion import NUMBERS, FusionBatch
from mmreason.reason.plans import PlanReader
from mmreason.reason.prompt import encode_prompt, plan_prompt, prompt_text
from mmreason.schema import EVENTS, DataError, Interaction, Item, Reason, User
from mmreason.shards.loader import ReasonSample
from mmreason.store.store import EmbeddingStore

DAY = 86_400.0


@dataclass
class ReasonBatch:
    """B rows ready for the model.

    Attributes:
        fusion: What the fusion reads; None where the LM reads no soft tokens.
        input_ids: (B, P + T) long: prompts padded on the left, targets on the right.
        attention_mask: (B, P + T) bool.
        soft_mask: (B, P + T) bool, places of the soft tokens.
        labels: (B, P + T) long, -100 where there is none.
        words: (B, C) float, rows sum to 1: the evidence's words among the candidates, for the warm-up.
        prior: (B, C) float, how likely each candidate is what item and history share, as a log-probability.
    """

    fusion: FusionBatch | None
    input_ids: Tensor
    attention_mask: Tensor
    soft_mask: Tensor
    labels: Tensor
    words: Tensor
    prior: Tensor

    def to(self, device: torch.device) -> ReasonBatch:
        """The batch on another device."""
        moved: dict[str, Any] = {n: v.to(device) if v is not None else None for n, v in vars(self).items()}
        return ReasonBatch(**moved)


@dataclass
class Collator:
    """Makes batches; picklable, so that loader workers can run it.

    Args:
        items: Catalogue by id (texts only).
        store: Embeddings with features.
        tokenizer: The LM's.
        config: Inputs, prompt, number of soft tokens.
        candidates: Token ids of the words that soft tokens are made of, in order.
        probe: Reads what only pictures tell.
        plans: Reads off the reasons what they say, with ``inputs=plan``: rows that say no plan are left out, others of
            the batch take their place.
    """

    items: Mapping[str, Item]
    store: EmbeddingStore
    tokenizer: Any
    config: ReasonConfig
    candidates: Sequence[int] = ()
    probe: PictureProbe | None = None
    plans: PlanReader | None = None

    def __post_init__(self) -> None:
        self.evidence_words = EvidenceWords(self.tokenizer, self.candidates, self.probe)

    def __call__(self, samples: list[ReasonSample]) -> ReasonBatch:
        """Samples to one batch.

        Raises:
            DataError: If an item is in no catalogue or store.
        """
        if self.plans is not None:
            samples = self.plans.in_place_of_others(samples)
        rows = [self._row(sample) for sample in samples]
        prompt = max(len(ids) for ids, _, _ in rows)
        target = max(len(ids) for _, _, ids in rows)
        shape = (len(rows), prompt + target)
        batch = ReasonBatch(
            fusion=self._fusion(samples),
            input_ids=torch.full(shape, self.tokenizer.pad_token_id),
            attention_mask=torch.zeros(shape, dtype=torch.bool),
            soft_mask=torch.zeros(shape, dtype=torch.bool),
            labels=torch.full(shape, -100),
            words=self._words(samples),
            prior=self._prior(samples),
        )
        for row, (ids, soft, labels) in enumerate(rows):
            start, end = prompt - len(ids), prompt + len(labels)
            batch.input_ids[row, start:end] = torch.tensor(ids + labels)
            batch.soft_mask[row, start:prompt] = torch.tensor(soft)
            batch.attention_mask[row, start:end] = True
            batch.labels[row, prompt:end] = torch.tensor(labels, dtype=torch.long)
        return batch

    def _fusion(self, samples: list[ReasonSample]) -> FusionBatch | None:
        if not self.config.has_soft_tokens:
            return None
        pairs = [(s.reason.item_id, s.user.history) for s in samples]
        return fusion_batch(pairs, self.store, self.config.max_history)

    def _prior(self, samples: list[ReasonSample]) -> Tensor:
        """(B, C): see :func:`mmreason.reason.evidence.shared_prior`."""
        if not self.config.has_soft_tokens or not self.candidates:
            return torch.zeros(len(samples), 0)
        histories = [
            [i.item_id for i in latest(s.user.history, self.config.max_history) if i.item_id in self.items]
            for s in samples
        ]
        known = [[i for i in history if i in self.store] for history in histories]
        ids = list(
            dict.fromkeys(i for s, h in zip(samples, known, strict=True) for i in (s.reason.item_id, *h))
        )
        words = self.evidence_words.of([self.items[i] for i in ids], self.store)
        row = {item_id: index for index, item_id in enumerate(ids)}
        return torch.stack(
            [
                shared_prior(words[row[s.reason.item_id]], words[[row[i] for i in h]])
                for s, h in zip(samples, known, strict=True)
            ]
        )

    def _row(self, sample: ReasonSample) -> tuple[list[int], list[bool], list[int]]:
        item = self.items.get(sample.reason.item_id)
        if item is None:
            raise DataError(
                f"item {sample.reason.item_id!r} is not in the catalogue; ingest it, or drop its rows"
            )
        told = self.plans.read(sample) if self.plans is not None else None
        if told is not None:
            text, target = plan_prompt(told.words), told.text
        else:
            history = latest(sample.user.history, self.config.max_history)
            text, target = prompt_text(item, history, self.items, self.config), sample.reason.text
        ids, soft = encode_prompt(text, self.tokenizer, self.config.soft_tokens, self.config)
        return ids, soft, self._target(target)

    def _target(self, text: str) -> list[int]:
        if not text:
            return []
        ids = self.tokenizer.encode(" " + text, add_special_tokens=False, split_special_tokens=True)
        return [*ids[: self.config.max_length - 1], self.tokenizer.eos_token_id]

    def _words(self, samples: list[ReasonSample]) -> Tensor:
        """(B, C): which candidates each row's evidence says."""
        column = {token: i for i, token in enumerate(self.candidates)}
        words = torch.zeros(len(samples), len(column))
        for row, sample in enumerate(samples):
            for token in evidence_tokens(sample.reason, self.tokenizer):
                if token in column:
                    words[row, column[token]] = 1
        return words / words.sum(1, keepdim=True).clamp_min(1)


def evidence_tokens(reason: Reason, tokenizer: Any) -> list[int]:
    """Tokens of the values that a reason's evidence names; of its whole text where it has none."""
    texts = [e.value.lower() for e in reason.evidence] or [reason.text]
    return [t for text in texts for t in tokenizer.encode(" " + text, add_special_tokens=False)]


def candidate_tokens(reasons: Iterable[Reason], tokenizer: Any, common: float = 0.3) -> list[int]:
    """The warm-up's candidates: every evidence token, less those that more than ``common`` of the rows have."""
    counts: Counter[int] = Counter()
    rows = 0
    for reason in reasons:
        counts.update(set(evidence_tokens(reason, tokenizer)))
        rows += 1
    return sorted(token for token, n in counts.items() if n <= common * rows)


def latest(history: list[Interaction], count: int) -> list[Interaction]:
    """The last ``count`` interactions, oldest first."""
    return sorted(history, key=lambda i: i.timestamp)[-count:]


def fusion_batch(
    pairs: list[tuple[str, list[Interaction]]], store: EmbeddingStore, max_history: int
) -> FusionBatch:
    """(item id, history) pairs to what the fusion reads; history items that are not embedded are left out.

    Raises:
        DataError: If a recommended item is not in the store.
    """
    for item_id, _ in pairs:
        if item_id not in store:
            raise DataError(
                f"item {item_id!r} is not embedded; run the embed stage on a catalogue that has it"
            )
    histories = [latest([i for i in h if i.item_id in store], max_history) for _, h in pairs]
    ids = list(dict.fromkeys([item_id for item_id, _ in pairs] + [i.item_id for h in histories for i in h]))
    row = {item_id: index for index, item_id in enumerate(ids)}
    length = max(1, *(len(h) for h in histories))
    history = torch.zeros(len(pairs), length, dtype=torch.long)
    mask = torch.zeros(len(pairs), length, dtype=torch.bool)
    events = torch.zeros(len(pairs), length, dtype=torch.long)
    numbers = torch.zeros(len(pairs), length, NUMBERS)
    for b, steps in enumerate(histories):
        for h, step in enumerate(steps):
            history[b, h] = row[step.item_id]
            events[b, h] = EVENTS.index(step.event)
            numbers[b, h] = torch.tensor(numbers_of(step, steps[-1].timestamp, (h + 1) / len(steps)))
        mask[b, : len(steps)] = True
    there = [m for m in MODALITIES if f"{m}_features" in store.dims]
    return FusionBatch(
        vectors={m: _tensor(store.get(m, ids)) for m in there},
        features={m: _tensor(store.get(f"{m}_features", ids)) for m in there},
        masks={m: torch.as_tensor(np.array(store.mask(m, ids))) for m in there},
        item=torch.tensor([row[item_id] for item_id, _ in pairs]),
        history=history,
        history_mask=mask,
        events=events,
        numbers=numbers,
    )


def _tensor(array: np.ndarray) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float32)


def numbers_of(step: Interaction, newest: float, rank: float) -> list[float]:
    """Count, seconds, rating and recency of an interaction, each of order 1."""
    days = max(0.0, newest - step.timestamp) / DAY
    return [
        math.log1p(step.count),
        math.log1p(step.seconds or 0.0) / 4,
        float(step.seconds is not None),
        ((step.rating or 3.0) - 3) / 2,
        float(step.rating is not None),
        math.log1p(days) / 4,
        rank,
    ]


def request(user: User, item_id: str) -> ReasonSample:
    """A row without a target, for generation."""
    return ReasonSample(Reason(user.id, item_id, ""), user)
