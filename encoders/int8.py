"""Linear layers in 8-bit integers, for CPUs whose only fast small numbers are these (VNNI)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 256  # at a time, so that the products are scaled while they are still in the cache


class Int8Linear(nn.Module):
    """A linear layer whose weights and inputs are 8-bit integers when it multiplies.

    Every output channel of the weights, and every row of the input, has a scale of its own, so a row's result
    does not depend on the rows beside it.

    Args:
        weight: (out, in) floating.
        bias: (out,) or None.

    Source: Dettmers et al., LLM.int8(), NeurIPS 2022 (vector-wise quantisation, without its outlier split).
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
        packed = torch.ops.onednn.qlinear_prepack((weight / scale[:, None]).round().to(torch.int8), None)
        offset = torch.zeros(len(weight)) if bias is None else bias.detach().float()
        for name, tensor in (("weight", packed), ("scale", scale), ("bias", offset)):
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("zeros", torch.zeros(len(scale), dtype=torch.int64), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, in) floating to (…, out) float32."""
        rows = inputs.flatten(0, -2).float()
        out = torch.empty(len(rows), len(self.scale))
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            scale = part.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
            rounded = (part / scale).round_().add_(128).to(torch.uint8)
            product = self._multiply(rounded)
            torch.addcmul(self.bias, product, scale, out=out[start : start + ROWS])
        return out.unflatten(0, inputs.shape[:-1])

    def _multiply(self, rounded: Tensor) -> Tensor:
        """(n, in) uint8 around 128 to (n, out) float32, with the weights' scales: oneDNN's kernel."""
        weight = self.weight, self.scale, self.zeros
        output = 1.0, 0, torch.float32
        return torch.ops.onednn.qlinear_pointwise(rounded, 1.0, 128, *weight, None, *output, "none", [], "")


def is_fast() -> bool:
    """Whether this CPU multiplies 8-bit integers exactly and at several times the rate of fp32."""
    supported = getattr(
        torch.cpu, "_is_vnni_supported", getattr(torch.cpu, "_is_avx512_vnni_supported", None)
    )
    return bool(supported and supported() and hasattr(torch.ops.onednn, "qlinear_pointwise"))


class Int8Attention(nn.Module):
    """``nn.MultiheadAttention`` of a sequence, or of its first tokens, with it over :class:`Int8Linear`."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, self.batch_first = attention.num_heads, attention.batch_first
        self.project = Int8Linear(attention.in_proj_weight, attention.in_proj_bias)
        self.out = Int8Linear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, *_: Any, attn_mask: Tensor | None = None, **__: Any
    ) -> tuple[Tensor, None]:
        """``key`` (B, T, D), or (T, B, D) by ``batch_first``, and ``query``, its first tokens; no weights come back."""
        inputs = key if self.batch_first else key.transpose(0, 1)
        heads = self.project(inputs).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = heads.unbind(0)
        asked = query.shape[1] if self.batch_first else query.shape[0]
        mixed = F.scaled_dot_product_attention(q[:, :, :asked], k, v, attn_mask=attn_mask)
        out = self.out(mixed.transpose(1, 2).flatten(2))
        return (out if self.batch_first else out.transpose(0, 1)), None


def quantise_linears(module: nn.Module, smallest: int = 128) -> int:
    """Replace linear layers and self-attention inside a float32 module on the CPU; for inference only.

    Convolutions and layers with fewer than ``smallest`` inputs or outputs stay as they are.

    Returns:
        How many layers were replaced.
    """
    count = 0
    for name, child in list(module.named_children()):
        if isinstance(child, nn.MultiheadAttention):
            fits = child.in_proj_weight is not None and child.bias_k is None
            new: nn.Module | None = Int8Attention(child) if fits else None
        elif type(child) is nn.Linear and min(child.weight.shape) >= smallest:
            new = Int8Linear(child.weight, child.bias)
        else:
            count += quantise_linears(child, smallest)
            continue
        if new is not None:
            setattr(module, name, new)
            count += 1
    return count
