"""The layers of an LM as a CPU runs them fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmreason.decoding.in_place import Forward, in_place

ROWS = 256  # that oneDNN orders the weights for; they serve any number


class Packed:
    """An LM in bf16 on a CPU: its linear layers packed once instead of at every product, others changing in place.

    oneDNN reorders a weight inside each product; torch keeps the reordered one only for compiled graphs
    (``torch._inductor``'s freezing), whose two operators are used here. Products are the same to the last bit.

    Args:
        lm: The LM. Its own weights stay as they are; a layer whose weights change is packed anew.
    """

    def __init__(self, lm: nn.Module) -> None:
        self.linear: list[Any] = [module for module in lm.modules() if _can_pack(module)]
        self.forwards: list[tuple[Any, Forward]] = [(module, _packed(module)) for module in self.linear]
        if self.linear:
            self.forwards += [(each, forward) for each in lm.modules() if (forward := in_place(each))]

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights, which are beside the LM's own."""
        return sum(module.weight.nbytes for module in self.linear)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within, the layers run so."""
        for module, forward in self.forwards:
            module.__dict__["forward"] = forward
        try:
            yield
        finally:
            for module, _ in self.forwards:
                del module.__dict__["forward"]


def _can_pack(module: Any) -> bool:
    return bool(
        type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.bfloat16
        and "forward" not in module.__dict__
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _packed(module: Any) -> Forward:
    weight, state = _reordered(module.weight), _state(module.weight)

    def forward(hidden: Tensor) -> Tensor:
        nonlocal weight, state
        if _state(module.weight) != state:
            weight, state = _reordered(module.weight), _state(module.weight)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, weight, module.bias, "none", [], "")
        return out

    return forward


def _reordered(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)  # type: ignore[no-any-return]


def _state(weight: Tensor) -> tuple[int, int]:
    """Another one after a change in place or of place."""
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version
