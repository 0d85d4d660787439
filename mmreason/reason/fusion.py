"""Fusion: learned queries over the user's history and the item's modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmreason.config import ReasonConfig
from mmreason.embed.model import MODALITIES
from mmreason.schema import EVENTS

NUMBERS = 7  # log count, log seconds, has seconds, rating, has rating, log recency, rank


@dataclass
class FusionBatch:
    """What the fusion reads of B (user, item) pairs, over their U distinct items.

    Attributes:
        vectors: Modality → (U, D) shared-space vectors.
        features: Modality → (U, F) standardised encoder features.
        masks: Modality → (U,) bool, is it there; one that the whole store lacks is in none of the three.
        item: (B,) long, row of the recommended item.
        history: (B, H) long, rows of the history items, oldest first.
        history_mask: (B, H) bool, false where padded.
        events: (B, H) long, index into :data:`mmreason.schema.EVENTS`.
        numbers: (B, H, 7) float: count, seconds, rating, recency; see :func:`mmreason.reason.batch.numbers_of`.
    """

    vectors: dict[str, Tensor]
    features: dict[str, Tensor]
    masks: dict[str, Tensor]
    item: Tensor
    history: Tensor
    history_mask: Tensor
    events: Tensor
    numbers: Tensor

    def to(self, device: torch.device) -> FusionBatch:
        """The batch on another device."""
        moved: dict[str, Any] = {
            name: {m: x.to(device) for m, x in value.items()} if isinstance(value, dict) else value.to(device)
            for name, value in vars(self).items()
        }
        return FusionBatch(**moved)


class Fusion(nn.Module):
    """K learned queries attend over mixed item and history tokens (Perceiver / Q-Former style, arXiv 2301.12597).

    An item's tokens carry its shared-space vectors *and* the encoders' own features, because contrast
    with a text teaches a vector to forget what no text says. A missing modality is a learned mask token.

    Args:
        dims: Feature length per modality; one that no item has may be left out.
        shared_dim: Length D of the shared-space vectors.
        config: Width, layers, heads, queries, dropout.
    """

    def __init__(self, dims: dict[str, int], shared_dim: int, config: ReasonConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.drop_modality = config.drop_modality
        self.feature = nn.ModuleDict({m: nn.Linear(size, width) for m, size in dims.items()})
        self.shared = nn.ModuleDict({m: nn.Linear(shared_dim, width, bias=False) for m in dims})
        self.missing = nn.Parameter(torch.randn(len(MODALITIES), width) * 0.02)
        self.kind = nn.Parameter(torch.randn(len(MODALITIES) + 1, width) * 0.02)
        self.event = nn.Embedding(len(EVENTS), width)
        self.number = nn.Sequential(nn.Linear(NUMBERS, width), nn.GELU(), nn.Linear(width, width))
        self.summary = nn.Linear(len(MODALITIES) * width, width)
        self.input_norm = nn.LayerNorm(width)
        self.feature_dropout = nn.Dropout(config.dropout)
        self.mixer = nn.ModuleList([_block(config) for _ in range(config.layers)])
        self.queries = nn.Parameter(torch.randn(config.soft_tokens, width) * 0.02)
        decoder = nn.TransformerDecoderLayer(
            width, config.heads, 2 * width, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.reader = nn.TransformerDecoder(decoder, config.layers, nn.LayerNorm(width))

    def item_tokens(self, batch: FusionBatch) -> Tensor:
        """(U, 3, width): one token per modality, the mask token where it is missing."""
        tokens, count = [], len(next(iter(batch.masks.values())))
        for index, m in enumerate(MODALITIES):
            if m not in self.feature or m not in batch.masks:
                tokens.append(self.missing[index].expand(count, -1))
                continue
            present = batch.masks[m]
            if self.training and self.drop_modality:
                present = present & (torch.rand(present.shape, device=present.device) >= self.drop_modality)
            # Only rows that have the modality are projected: features are wide and videos, say, are rare.
            values = self.feature[m](self.feature_dropout(batch.features[m][present]))
            token = self.missing[index].expand(len(present), -1).clone()
            token[present] = values + self.shared[m](batch.vectors[m][present])
            tokens.append(token)
        return torch.stack(tokens, 1)

    def forward(self, batch: FusionBatch) -> Tensor:
        """A batch to (B, K, width) fused tokens."""
        tokens = self.item_tokens(batch)
        item = tokens[batch.item] + self.kind[:-1]
        history = self.summary(tokens.flatten(1))[batch.history]
        history = history + self.event(batch.events) + self.number(batch.numbers) + self.kind[-1]
        memory = self.input_norm(torch.cat([item, history], 1))
        item_padding = torch.zeros(item.shape[:2], dtype=torch.bool, device=item.device)
        padding = torch.cat([item_padding, ~batch.history_mask], 1)
        for block in self.mixer:
            memory = block(memory, src_key_padding_mask=padding)
        queries = self.queries.expand(len(item), -1, -1)
        return self.reader(queries, memory, memory_key_padding_mask=padding)


def _block(config: ReasonConfig) -> nn.TransformerEncoderLayer:
    width = config.hidden_size
    return nn.TransformerEncoderLayer(
        width, config.heads, 2 * width, config.dropout, "gelu", batch_first=True, norm_first=True
    )
