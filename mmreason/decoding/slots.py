"""A preallocated key–value cache of S slots, one for each row that is being decoded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STEP = 32  # positions by which the room in use grows
STEP_CUDA = 128  # each room is recorded by itself (graphs.py)


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
    new = _front(memory, (*old.shape[:2], room, old.shape[3])).zero_()
    new[:, :, : kept.shape[2]] = kept
    return new


def _front(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    return memory[: math.prod(shape)].view(shape)


class Slots:
    """A preallocated key–value cache.

    It is laid out for as many positions as are in use (:meth:`fit`): a CPU multiplies batches of matrices that lie
    behind each other, and copies all others first.

    Args:
        count: Slots S.
        length: Positions C of a slot, at most.
        step: Positions by which the room in use grows.
    """

    def __init__(self, count: int, length: int, step: int = STEP) -> None:
        self.count, self.length, self.step = count, length, step
        self.room = length
        self.layers: dict[int, Layer] = {}

    def fit(self, positions: int) -> None:
        """Make room for so many positions in each slot, and not for many more."""
        room = min(self.length, -(-positions // self.step) * self.step)
        if self.room < room or self.room >= room + 2 * self.step:
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
            # empty: of a CPU's memory only what is laid out is taken
            memory = key.new_empty(longest * sizes[0]), value.new_empty(longest * sizes[1])
            keys, values = (
                _front(each, (self.count, heads, self.room, size)).zero_()  # what is masked must be a number
                for each, size in zip(memory, sizes, strict=True)
            )
            self.layers[index] = Layer(keys, values, window, memory)
        return self.layers[index]

    def copy(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """Give slots the first ``length`` positions of others, one each; no slot is both."""
        if sources:
            there, here = self._index(targets), self._index(sources)
            for tensor in self.tensors():
                tensor[there, :, :length] = tensor[here, :, :length]

    def read(self, slot: int, length: int) -> list[Tensor]:
        """Copies of the first positions of a slot: (H, length, D) each, keys and values of every layer."""
        return [tensor[slot, :, :length].clone() for tensor in self.tensors()]

    def write(self, slots: Sequence[int], past: Sequence[Tensor]) -> None:
        """Put into each of some slots what :meth:`read` gave."""
        there = self._index(slots)
        for tensor, part in zip(self.tensors(), past, strict=True):
            tensor[there, :, : part.shape[1]] = part

    def clear(self, slot: int) -> None:
        """Zero a slot, for NaN in it would show through any mask."""
        for tensor in self.tensors():
            tensor[slot].zero_()

    def _index(self, slots: Sequence[int]) -> Tensor:
        return torch.tensor(slots, device=next(self.tensors()).device)

    def tensors(self) -> Iterator[Tensor]:
        """Keys and values of every layer, (S, H, room, D) each."""
        for layer in self.layers.values():
            yield layer.keys
            yield layer.values
