"""The projector: fused tokens into the LM's input embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Projector(nn.Module):
    """A two-layer MLP into directions among the LM's own embeddings; ``scale`` makes them as long as those are.

    The scale is left to the caller: where only the angle to a word counts, its gradient would be rounding alone,
    which Adam scales up to a step.

    Args:
        input_size: Width of the fused tokens.
        hidden_size: The LM's hidden size.
        rms: Root mean square of the LM's input embeddings, where ``scale`` starts.
        dropout: Dropout between the layers.

    Example:
        >>> Projector(8, 16, rms=0.1)(torch.randn(2, 4, 8)).shape
        torch.Size([2, 4, 16])
    """

    def __init__(self, input_size: int, hidden_size: int, rms: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.LayerNorm(input_size),
            nn.Linear(input_size, hidden_size),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.LayerNorm(hidden_size, elementwise_affine=False),
        )
        self.scale = nn.Parameter(torch.tensor(float(rms)))
        self.free = nn.Parameter(torch.tensor(0.0))  # share of the output beside the words it names
        self.trust = nn.Parameter(torch.tensor(1.0))  # weight of the evidence prior

    def forward(self, fused: Tensor) -> Tensor:
        """(B, K, input_size) to (B, K, hidden_size) directions, of root mean square 1."""
        return self.mlp(fused)
