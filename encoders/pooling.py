"""Several pictures to one feature: a picture encoder over all of them, then a pool over what it gives."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from encoders.base import Encoder
from encoders.image import ImageEncoder

Pool = Literal["mean", "attention", "lstm"]


class SequenceEncoder(Encoder):
    """Pictures through a picture encoder, which is shared, not copied, then pooled.

    The learned pools start out as the mean and move away from it in training.

    Args:
        image_encoder: Encodes the pictures; ``dim`` is its ``dim``.
        pool: ``mean``; ``attention``, a learned weight per picture; or ``lstm``, which sees the order.
    """

    def __init__(self, image_encoder: ImageEncoder, pool: Pool = "mean") -> None:
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"pool must be one of {', '.join(POOLS)}, not {pool!r}")
        self.image_encoder = image_encoder
        self.dim = image_encoder.dim
        self.pool = POOLS[pool](self.dim)
        self.eval()

    def blocks(self) -> list[nn.Module]:
        """Those of the picture encoder."""
        return self.image_encoder.blocks()

    def collate(self, samples: list[Tensor]) -> dict[str, Tensor]:
        """B samples of (T, 3, H, W), T varying, to ``pictures`` (sum of T, 3, H, W) and ``counts`` (B,) int64."""
        return {"pictures": torch.cat(samples), "counts": torch.tensor([len(s) for s in samples])}

    def forward(self, batch: Any) -> Tensor:
        """Encode and pool.

        Args:
            batch: What :meth:`collate` gives, or (B, T, 3, H, W); uint8 in 0..255 or floating in 0..1.

        Returns:
            (B, D) float32.
        """
        if isinstance(batch, Tensor):
            return self.pool(self.image_encoder(batch.flatten(0, 1)).unflatten(0, batch.shape[:2]))
        features = self.image_encoder(batch["pictures"])
        counts = batch["counts"].cpu()
        if (counts == counts[0]).all():
            return self.pool(features.unflatten(0, (len(counts), int(counts[0]))))
        padded = pad_sequence(features.split(counts.tolist()), batch_first=True)
        return self.pool(padded, counts)


class MeanPool(nn.Module):
    """(B, T, D) → (B, D): the mean over T."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, features: Tensor, counts: Tensor | None = None) -> Tensor:
        """Pool float32 features; of row i only the first ``counts[i]`` if given."""
        if counts is None:
            return features.mean(dim=1)
        weights = _mask(features, counts) / counts.to(features.device)[:, None, None]
        return (weights * features).sum(dim=1)


class AttentionPool(nn.Module):
    """(B, T, D) → (B, D): a mean weighted by a learned score of each picture."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.score = nn.Linear(dim, 1)
        nn.init.zeros_(self.score.weight)

    def forward(self, features: Tensor, counts: Tensor | None = None) -> Tensor:
        """Pool float32 features; of row i only the first ``counts[i]`` if given."""
        scores = self.score(self.norm(features.to(self.score.weight.dtype))).float()
        if counts is not None:
            scores = scores.masked_fill(~_mask(features, counts), float("-inf"))
        return (scores.softmax(dim=1) * features).sum(dim=1)


class LstmPool(nn.Module):
    """(B, T, D) → (B, D): the mean plus what an LSTM makes of the order."""

    def __init__(self, dim: int, max_hidden: int = 512) -> None:
        super().__init__()
        hidden = min(dim, max_hidden)  # the LSTM's size grows with the product of both
        self.norm = nn.LayerNorm(dim)
        self.mean = MeanPool(dim)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, counts: Tensor | None = None) -> Tensor:
        """Pool float32 features; of row i only the first ``counts[i]`` if given."""
        inputs: Any = self.norm(features.to(self.out.weight.dtype))
        if counts is not None:
            inputs = pack_padded_sequence(inputs, counts, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(inputs)
        return self.mean(features, counts) + self.out(last[-1]).float()


def _mask(features: Tensor, counts: Tensor) -> Tensor:
    """(B, T, 1) bool: is there a picture."""
    places = torch.arange(features.shape[1], device=features.device)
    return (places < counts.to(features.device)[:, None])[:, :, None]


POOLS: dict[str, type[nn.Module]] = {"mean": MeanPool, "attention": AttentionPool, "lstm": LstmPool}
