"""Weights of linear layers in the order in which a CPU multiplies them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

ROWS = 256  # that oneDNN orders the weights for; they serve any number


class PackedLinears:
    """The bf16 linear layers of an LM on a CPU, packed once instead of at every product.

    oneDNN reorders a weight inside each product; torch keeps the reordered one only for compiled graphs
    (``torch._inductor``'s freezing), whose two operators are used here. Products are the same to the last bit.

    Args:
        lm: The LM. Its own weights stay as they are; a layer whose weights change is packed anew.
    """

    def __init__(self, lm: nn.Module) -> None:
        self.forwards = [(module, _packed(module)) for module in lm.modules() if _can_pack(module)]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within, the layers multiply by their packed weights."""
        for module, forward in self.forwards:
            module.__dict__["forward"] = forward
        try:
            yield
        finally:
            for module, _ in self.forwards:
                del module.__dict__["forward"]


def _can_pack(module: nn.Module) -> bool:
    return (
        type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.bfloat16
        and "forward" not in module.__dict__
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _packed(module: Any) -> Callable[[Tensor], Tensor]:
    weight, version = torch.ops.mkldnn._reorder_linear_weight(module.weight, ROWS), module.weight._version

    def forward(hidden: Tensor) -> Tensor:
        nonlocal weight, version
        if module.weight._version != version:
            weight, version = (
                torch.ops.mkldnn._reorder_linear_weight(module.weight, ROWS),
                module.weight._version,
            )
        out: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, weight, module.bias, "none", [], "")
        return out

    return forward
