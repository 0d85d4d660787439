"""Batch normalisation and activation folded into the convolution before them: the same function in less time."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from encoders.image import ImageEncoder

# Module → name and numbers of what oneDNN can do to a convolution's result while it is in the cache.
ACTIVATIONS: dict[type, tuple[str, list[float], str]] = {
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
    nn.SiLU: ("swish", [], ""),
    nn.Hardswish: ("hardswish", [], ""),
}


class FusedConv(nn.Module):
    """A convolution and the activation after it in one call of oneDNN; without gradients, and fused in float32 only."""

    def __init__(self, conv: nn.Conv2d, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = conv, act
        self.same = type(conv).__name__ == "Conv2dSame"  # TensorFlow's padding, by the input's size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        conv = self.conv
        if x.dtype != torch.float32:
            return self.act(conv(x))
        if self.same:
            from timm.layers import pad_same

            x = pad_same(x, list(conv.kernel_size), list(conv.stride), list(conv.dilation))
        padding = (0, 0) if self.same else conv.padding
        return torch.ops.mkldnn._convolution_pointwise(
            x,
            conv.weight,
            conv.bias,
            padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            *ACTIVATIONS[type(self.act)],
        )


def fold_batch_norms(encoder: ImageEncoder) -> int:
    """Fold every batch normalisation that follows a convolution, and its activation; for inference only.

    Pairs are found by their order inside a module, so the result is checked against the unfolded encoder on noise;
    an encoder that does not agree is left as it was.

    Args:
        encoder: In evaluation mode, float32.

    Returns:
        How many were folded.
    """
    folded = copy.deepcopy(encoder.tower)
    count = _fold(folded)
    if not count:
        return 0
    size = encoder.preprocessing.size
    noise = torch.randint(
        0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    with torch.no_grad():
        before, original = encoder(noise), encoder.tower
        encoder.tower = folded.to(memory_format=torch.channels_last)
        if torch.allclose(encoder(noise), before, rtol=1e-3, atol=1e-3 * float(before.abs().max())):
            return count
    encoder.tower = original
    return 0


def _fold(module: nn.Module) -> int:
    count = 0
    children = list(module.named_children())
    for (name, conv), (next_name, norm) in pairwise(children):
        fits = type(conv) is nn.Conv2d or type(conv).__name__ == "Conv2dSame"
        if fits and isinstance(norm, nn.BatchNorm2d) and norm.num_features == cast(Any, conv).out_channels:
            folded: nn.Module = fuse_conv_bn_eval(cast(Any, conv), norm)
            # timm's normalisation carries the activation that follows it.
            parts = [cast(nn.Module, getattr(norm, part)) for part in ("drop", "act") if hasattr(norm, part)]
            rest = [part for part in parts if not isinstance(part, nn.Identity)]
            if len(rest) == 1 and type(rest[0]) in ACTIVATIONS and _can_fuse(cast(nn.Conv2d, folded)):
                folded, rest = FusedConv(cast(nn.Conv2d, folded), rest[0]), []
            setattr(module, name, folded)
            setattr(module, next_name, nn.Sequential(*rest))
            count += 1
    return count + sum(_fold(child) for _, child in children)


def _can_fuse(conv: nn.Conv2d) -> bool:
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return there and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
