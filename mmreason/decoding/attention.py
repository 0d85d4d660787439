"""Attention over slots: rows of any length beside each other, without padding.

A forward pass reads one flat sequence of T tokens: one token of each row that is being decoded, then the whole
prompts of rows that enter. Every layer but attention treats tokens one by one, so nothing is computed for padding; and
attention, put in place by transformers' ``AttentionInterface``, keeps to each row's own keys and values. These lie in a
preallocated cache of S slots. Rows in being always fill the first slots, so their keys are a view, not a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreason.decoding.slots import Layer, Slots

NAME = "mmreason_slots"  # of our attention in transformers' registry
PLAIN = 384  # positions; on a CPU, shorter prompts attend faster by plain multiplications than by the fused kernel


@dataclass(frozen=True)
class Entering:
    """A prompt that enters a slot.

    Attributes:
        slot: Where its keys and values go.
        past: Positions of the slot that are already there (a shared prefix).
        start: Its first token in the flat sequence.
        end: One past its last.
    """

    slot: int
    past: int
    start: int
    end: int


class Prompts:
    """Where N prompts are, which attend side by side, padded to L tokens where they are not of one length.

    Attributes:
        tokens: Of the flat sequence, T' of them.
        size: (N, L).
        slots: (N,) long.
        slot: (T',) long, of each token.
        place: (T',) long, of each token in its slot.
        padded: (N, L) long, which of the tokens stands where; None if nothing is padded.
        back: (T',) long, where each token stands among the N · L.
        asks: (N, L) long, the place of each token; (1, L) if it is the same in all prompts.
        reach: Positions of the longest prompt with its past.
        whole: No prompt has a past.
    """

    def __init__(self, entering: list[Entering], device: torch.device) -> None:
        slots, past, starts, ends = torch.tensor([astuple(each) for each in entering]).T
        counts, first = ends - starts, int(starts[0])
        longest, even = int(counts.max()), len(set(counts.tolist())) == 1
        owner = torch.arange(len(entering)).repeat_interleave(counts)
        at = torch.arange(len(owner)) - (starts - first)[owner]
        index = torch.arange(longest)
        padded = (starts[:, None] - first + index).clamp_max(len(owner) - 1)
        self.tokens, self.size = slice(first, int(ends[-1])), (len(entering), longest)
        self.slots, self.slot, self.place = (
            slots.to(device),
            slots[owner].to(device),
            (past[owner] + at).to(device),
        )
        self.padded = None if even else padded.to(device)
        self.back = None if even else (owner * longest + at).to(device)
        same = len(set(past.tolist())) == 1
        self.asks = (past[: 1 if same else None, None] + index).to(device)
        self.reach, self.whole = int((past + counts).max()), not past.any()

    def pad(self, states: Tensor) -> Tensor:
        """(heads, T', D) as (N, heads, L, D)."""
        apart = states.unflatten(1, self.size) if self.padded is None else states[:, self.padded]
        return apart.transpose(0, 1)

    def unpad(self, states: Tensor) -> Tensor:
        """(N, heads, L, D) as (T', heads, D)."""
        flat = states.transpose(1, 2).flatten(0, 1)
        return flat if self.back is None else flat[self.back]


@dataclass
class Pass:
    """What attention must know in one forward pass.

    Attributes:
        slots: The cache.
        positions: (R,) long: place of the new token of each of the first R slots; they are the first R tokens.
        entering: The prompts behind them.
    """

    slots: Slots
    positions: Tensor
    entering: list[Entering]
    masks: dict[int | None, Tensor] = field(default_factory=dict)
    prompt_masks: dict[tuple[int | None, int], Tensor] = field(default_factory=dict)

    @cached_property
    def prompts(self) -> Prompts:
        """Where the entering prompts are."""
        return Prompts(self.entering, self.positions.device)

    def mask(self, window: int | None) -> Tensor:
        """(R, 1, 1, room) float32: 0 where a new token may look, else -inf."""
        if window not in self.masks:
            self.masks[window] = _mask(self.positions[:, None], self.slots.room, window)[:, None]
        return self.masks[window]

    def prompt_mask(self, window: int | None, groups: int = 1) -> Tensor:
        """(N or 1, 1, groups · L, E) float32: 0 where a prompt's token may look, else -inf; for each of the groups."""
        if (window, groups) not in self.prompt_masks:
            mask = _mask(self.prompts.asks, self.prompts.reach, window)[:, None]
            self.prompt_masks[window, groups] = mask.repeat(1, 1, groups, 1)
        return self.prompt_masks[window, groups]


def _mask(asks: Tensor, reach: int, window: int | None) -> Tensor:
    """For places (N, L): (N, L, reach) float32, -inf where they may not look: ahead, or back over the window."""
    place = torch.arange(reach, device=asks.device)
    seen = place <= asks[..., None]
    if window is not None:
        seen &= place > asks[..., None] - window
    return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, float("-inf"))


def slot_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    run: Pass | None = None,
    position_bias: Tensor | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention of :class:`Pass`, in the form that transformers calls.

    Args:
        module: The attention layer.
        query: (1, heads, T, D).
        key: (1, H, T, D), H dividing the heads.
        value: (1, H, T, D).
        run: What is where.

    Returns:
        (1, T, heads, D).

    Raises:
        NotImplementedError: If the layer wants a bias or sinks, or is not run by the engine.
    """
    if run is None or position_bias is not None or s_aux is not None:
        raise NotImplementedError("attention over slots has no position bias and no sinks")
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    layer = run.slots.layer(module.layer_idx, key, value, sliding_window)
    states, parts = (query[0], key[0], value[0]), []
    if len(run.positions):
        parts.append(_step(run, layer, *states, scale, softcap))
    if run.entering:
        parts.append(_read(run, layer, *states, scale, softcap))
    return (parts[0] if len(parts) == 1 else torch.cat(parts))[None], None


def _step(
    run: Pass, layer: Layer, query: Tensor, key: Tensor, value: Tensor, scale: float, softcap: float | None
) -> Tensor:
    """One new token for each of the first R slots: (R, heads, D)."""
    rows, heads = len(run.positions), key.shape[0]
    row = torch.arange(rows, device=query.device)
    layer.keys[row, :, run.positions] = key[:, :rows].transpose(0, 1)
    layer.values[row, :, run.positions] = value[:, :rows].transpose(0, 1)
    asked = query[:, :rows].transpose(0, 1).reshape(rows, heads, -1, query.shape[2])
    out = _attend(asked, layer.keys[:rows], layer.values[:rows], run.mask(layer.window), scale, softcap)
    return out.reshape(rows, query.shape[0], -1)


def _read(
    run: Pass, layer: Layer, query: Tensor, key: Tensor, value: Tensor, scale: float, softcap: float | None
) -> Tensor:
    """The prompts: (T', heads, D)."""
    prompts = run.prompts
    query, key, value = (each[:, prompts.tokens] for each in (query, key, value))
    layer.keys[prompts.slot, :, prompts.place] = key.transpose(0, 1)
    layer.values[prompts.slot, :, prompts.place] = value.transpose(0, 1)
    query = prompts.pad(query)
    if prompts.whole:
        keys, values = prompts.pad(key), prompts.pad(value)
    else:
        keys, values = (each[prompts.slots, :, : prompts.reach] for each in (layer.keys, layer.values))
    heads, groups = keys.shape[1], query.shape[1] // keys.shape[1]
    if softcap is not None or (query.device.type == "cpu" and prompts.reach <= PLAIN):
        mask = run.prompt_mask(layer.window, groups)
        asked = query.reshape(len(query), heads, -1, query.shape[3])
        out = _attend(asked, keys, values, mask, scale, softcap)
        return prompts.unpad(out.view(*query.shape[:3], -1))
    plain = prompts.whole and (layer.window is None or layer.window >= prompts.reach)
    out = F.scaled_dot_product_attention(
        query,
        keys.repeat_interleave(groups, 1),
        values.repeat_interleave(groups, 1),
        attn_mask=None if plain else run.prompt_mask(layer.window).to(query.dtype),
        is_causal=plain,
        scale=scale,
    )
    return prompts.unpad(out)


def _attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float, softcap: float | None
) -> Tensor:
    """(N, H, L, D) over (N, H, E, D) by plain multiplications; scores and shares in float32."""
    scores = torch.matmul(query, keys.transpose(2, 3)).float().mul_(scale)
    if softcap is not None:
        scores.div_(softcap).tanh_().mul_(softcap)
    return torch.matmul(scores.add_(mask).softmax(-1).to(values.dtype), values)


@contextmanager
def slots_of(lm: Any) -> Iterator[None]:
    """Within, the LM attends to slots; its own attention is put back behind."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, slot_attention)
    own = lm.config._attn_implementation
    lm.set_attn_implementation(NAME)
    try:
        yield
    finally:
        lm.set_attn_implementation(own)
