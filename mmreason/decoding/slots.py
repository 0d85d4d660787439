"""Attention over slots: rows of any length beside each other, without padding.

A forward pass reads one flat sequence of T tokens: one token of each row that is being decoded, then the whole
prompts of rows that enter. Every layer but attention treats tokens one by one, so nothing is computed for padding; and
attention, put in place by transformers' ``AttentionInterface``, keeps to each row's own keys and values. These lie in a
preallocated cache of S slots. Rows in being always fill the first slots, so their keys are a view, not a copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "mmreason_slots"  # of our attention in transformers' registry
STEP = 32  # positions by which the room in use grows
PLAIN = 128  # positions; on a CPU, shorter prompts attend faster by plain multiplications than by the fused kernel


@dataclass
class Layer:
    """Keys and values of one attention layer, laid out for R positions a slot.

    Attributes:
        keys: (S, H, R, D).
        values: (S, H, R, D).
        window: Sliding window in tokens, if the layer has one.
        memory: What the two lie in the front of, each flat and large enough for the longest slots.
    """

    keys: Tensor
    values: Tensor
    window: int | None
    memory: tuple[Tensor, Tensor]

    def lay_out(self, room: int) -> None:
        """Lay the same keys and values out for another number of positions."""
        self.keys, self.values = (
            _laid_out(old, memory, room)
            for old, memory in zip((self.keys, self.values), self.memory, strict=True)
        )


def _laid_out(old: Tensor, memory: Tensor, room: int) -> Tensor:
    kept = old[:, :, :room].clone()  # the two lie in the same memory
    new = _front(memory, (*old.shape[:2], room, old.shape[3]))
    new[:, :, : kept.shape[2]] = kept
    return new


def _front(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    return memory[: math.prod(shape)].view(shape)


@dataclass
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
    prompt_masks: dict[tuple[int, int, int | None], Tensor] = field(default_factory=dict)

    def mask(self, window: int | None) -> Tensor:
        """(R, 1, 1, room) float32: 0 where a new token may look, else -inf."""
        if window not in self.masks:
            place = torch.arange(self.slots.room, device=self.positions.device)
            seen = place <= self.positions[:, None]
            if window is not None:
                seen &= place > self.positions[:, None] - window
            mask = torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, float("-inf"))
            self.masks[window] = mask[:, None, None]
        return self.masks[window]

    def prompt_mask(self, queries: int, keys: int, window: int | None) -> Tensor:
        """(queries, keys) float32: the last queries of a text look back, at most over the window; -inf elsewhere."""
        kind = (queries, keys, window)
        if kind not in self.prompt_masks:
            place = torch.arange(keys, device=self.positions.device)
            ask = place[keys - queries :, None]
            seen = (place <= ask) if window is None else (place <= ask) & (place > ask - window)
            self.prompt_masks[kind] = torch.zeros(seen.shape, device=seen.device).masked_fill_(
                ~seen, float("-inf")
            )
        return self.prompt_masks[kind]


class Slots:
    """A preallocated key–value cache.

    It is laid out for as many positions as are in use (:meth:`fit`): a CPU multiplies batches of matrices that lie
    behind each other, and copies all others first.

    Args:
        count: Slots S.
        length: Positions C of a slot, at most.
    """

    def __init__(self, count: int, length: int) -> None:
        self.count, self.length = count, length
        self.room = length
        self.layers: dict[int, Layer] = {}

    def fit(self, positions: int) -> None:
        """Make room for so many positions in each slot, and not for many more."""
        room = min(self.length, -(-positions // STEP) * STEP)
        if self.room < room or self.room >= room + 2 * STEP:
            self.room = room
            for layer in self.layers.values():
                layer.lay_out(room)

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(each.nbytes for layer in self.layers.values() for each in layer.memory)

    def layer(self, index: int, key: Tensor, value: Tensor, window: int | None) -> Layer:
        """The cache of a layer; made to the shape of the first key (1, H, T, D) and value that it sees."""
        if index not in self.layers:
            heads, sizes = key.shape[1], (key.shape[3], value.shape[3])
            longest = self.count * heads * self.length
            # zeros: what is masked must still be a number
            memory = key.new_zeros(longest * sizes[0]), value.new_zeros(longest * sizes[1])
            keys, values = (
                _front(each, (self.count, heads, self.room, size))
                for each, size in zip(memory, sizes, strict=True)
            )
            self.layers[index] = Layer(keys, values, window, memory)
        return self.layers[index]

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        """Give slots the first ``length`` positions of another."""
        for layer in self.layers.values():
            for target in targets:
                layer.keys[target, :, :length] = layer.keys[source, :, :length]
                layer.values[target, :, :length] = layer.values[source, :, :length]

    def read(self, slot: int, length: int) -> dict[int, tuple[Tensor, Tensor]]:
        """Copies of the first positions of a slot, by layer: (H, length, D) each."""
        return {
            index: (layer.keys[slot, :, :length].clone(), layer.values[slot, :, :length].clone())
            for index, layer in self.layers.items()
        }

    def write(self, slot: int, past: dict[int, tuple[Tensor, Tensor]]) -> None:
        """Put into a slot what :meth:`read` gave."""
        for index, (keys, values) in past.items():
            self.layers[index].keys[slot, :, : keys.shape[1]] = keys
            self.layers[index].values[slot, :, : values.shape[1]] = values

    def clear(self, slot: int) -> None:
        """Zero a slot, for NaN in it would show through any mask."""
        for layer in self.layers.values():
            layer.keys[slot].zero_()
            layer.values[slot].zero_()


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
    out = value.new_empty(query.shape[2], query.shape[1], value.shape[3])
    rows = len(run.positions)
    if rows:
        out[:rows] = _step(run, layer, query, key, value, scale, softcap)
    for prompt in run.entering:
        part = slice(prompt.start, prompt.end)
        out[part] = _prompt(
            run, prompt, layer, query[:, :, part], key[:, :, part], value[:, :, part], scale, softcap
        )
    return out[None], None


def _step(
    run: Pass, layer: Layer, query: Tensor, key: Tensor, value: Tensor, scale: float, softcap: float | None
) -> Tensor:
    """One new token for each of the first R slots: (R, heads, D)."""
    rows, heads = len(run.positions), key.shape[1]
    row = torch.arange(rows, device=query.device)
    layer.keys[row, :, run.positions] = key[0, :, :rows].transpose(0, 1)
    layer.values[row, :, run.positions] = value[0, :, :rows].transpose(0, 1)
    asked = query[0, :, :rows].transpose(0, 1).reshape(rows, heads, -1, query.shape[3])
    scores = torch.matmul(asked, layer.keys[:rows].transpose(2, 3)).float().mul_(scale)
    if softcap is not None:
        scores.div_(softcap).tanh_().mul_(softcap)
    shares = scores.add_(run.mask(layer.window)).softmax(-1).to(value.dtype)
    return torch.matmul(shares, layer.values[:rows]).reshape(rows, query.shape[1], -1)


def _prompt(
    run: Pass,
    prompt: Entering,
    layer: Layer,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    softcap: float | None,
) -> Tensor:
    """A prompt of n tokens behind ``past`` positions of its slot: (n, heads, D)."""
    count, end = query.shape[2], prompt.past + query.shape[2]
    layer.keys[prompt.slot, :, prompt.past : end] = key[0]
    layer.values[prompt.slot, :, prompt.past : end] = value[0]
    keys, values = layer.keys[prompt.slot, :, :end], layer.values[prompt.slot, :, :end]
    mask = run.prompt_mask(count, end, layer.window)
    if softcap is not None or (query.device.type == "cpu" and end <= PLAIN):
        asked = query[0].reshape(len(keys), -1, query.shape[3])
        scores = torch.matmul(asked, keys.transpose(1, 2)).float().mul_(scale).view(len(keys), -1, count, end)
        if softcap is not None:
            scores.div_(softcap).tanh_().mul_(softcap)
        shares = scores.add_(mask).softmax(-1).to(value.dtype)
        out = torch.matmul(shares.view(len(keys), -1, end), values)
        return out.view(query.shape[1], count, -1).transpose(0, 1)
    groups = query.shape[1] // len(keys)
    past = (keys[None], values[None]) if prompt.past else (key, value)
    key, value = (each.repeat_interleave(groups, 1) for each in past)
    whole = not prompt.past and (layer.window is None or layer.window >= end)
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=None if whole else mask.to(query.dtype), is_causal=whole, scale=scale
    )
    return out[0].transpose(0, 1)


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
