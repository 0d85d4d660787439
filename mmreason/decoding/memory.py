"""What decoding holds in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Memory:
    """Bytes that the engine will hold, known before it decodes.

    Activations of a pass come on top: they grow with ``prefill_tokens`` and are given back after each layer.

    Attributes:
        weights: Of the LM, and of the copies that a CPU multiplies by.
        cache: Keys and values of all slots (or states, of an LM without).
        logits: Of all slots, as the LM gives them and in float32 beside it.
    """

    weights: int
    cache: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.logits

    def __str__(self) -> str:
        """In megabytes, for a log.

        Example:
            >>> print(Memory(weights=270_000_000, cache=1_510_000_000, logits=31_000_000))
            1811 MB: weights 270, cache 1510, logits 31
        """
        parts = ", ".join(f"{name} {value / 1e6:.0f}" for name, value in vars(self).items())
        return f"{self.total / 1e6:.0f} MB: {parts}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that an allocation did not fit (on a CPU, torch has no class for it)."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
