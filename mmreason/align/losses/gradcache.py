"""Gradient caching (GradCache, arXiv 2101.06983): a contrast over more rows than fit into memory.

The rows are encoded in parts without keeping activations; the loss over all of them gives the gradient of each
vector; then each part is encoded once more, with activations, and handed its vectors' gradients. Loss and
gradients are those of the whole batch at once, for the price of a second forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

Vectors = Mapping[str, Tensor]


def cached_backward(
    parts: Sequence[Any],
    encode: Callable[[Any], Vectors],
    loss: Callable[[list[Vectors]], Tensor],
    *,
    backward: Callable[[Tensor], None] = torch.Tensor.backward,
    unsynced: Callable[[], AbstractContextManager] = nullcontext,
) -> Tensor:
    """Accumulate the gradients of ``loss([encode(part) for part in parts])``.

    | input | what |
    | --- | --- |
    | ``parts`` | inputs, each small enough to be encoded with its activations |
    | ``encode`` | part → named tensors; whatever has parameters must be in here, the temperature too |
    | ``loss`` | the outputs of all parts → scalar |
    | ``backward`` | how to start a backward pass (Accelerate's, say) |
    | ``unsynced`` | context in which processes do not average gradients; the last part is outside of it |

    The random state is put back before a part is encoded again, so that dropout drops the same.

    Returns:
        The loss, detached.

    Example:
        >>> layer = torch.nn.Linear(3, 2)
        >>> def total(parts): return torch.cat([p["x"] for p in parts]).pow(2).sum()
        >>> value = cached_backward(list(torch.ones(4, 3).split(2)), lambda x: {"x": layer(x)}, total)
        >>> layer.weight.grad is not None
        True
    """
    states: list[list[Tensor]] = []
    outputs: list[Vectors] = []
    with torch.no_grad():
        for part in parts:
            states.append(_random_state())
            outputs.append({name: t.detach() for name, t in encode(part).items()})
    after = _random_state()
    for output in outputs:
        for tensor in output.values():
            tensor.requires_grad_()
    value = loss(outputs)
    value.backward()
    for number, (part, state, output) in enumerate(zip(parts, states, outputs, strict=True), start=1):
        with unsynced() if number < len(parts) else nullcontext():
            _set_random_state(state)
            again = encode(part)
            wanted = [(again[name], t.grad) for name, t in output.items() if t.grad is not None]
            backward(torch.stack([(tensor * gradient).sum() for tensor, gradient in wanted]).sum())
    _set_random_state(after)
    return value.detach()


def _random_state() -> list[Tensor]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *cuda]


def _set_random_state(state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if state[1:]:
        torch.cuda.set_rng_state_all(state[1:])
