"""Requests on their way in: windows of a stream, sorted by length, and the prefix that their prompts share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from mmreason.decoding.requests import DecodeRequest
from mmreason.decoding.rows import Row

MIN_PREFIX = 8  # tokens; sharing fewer saves nothing


@dataclass
class Prefix:
    """The tokens that all prompts of a window begin with.

    Attributes:
        tokens: (P,) long or (P, hidden_size).
        past: Their keys and values, as :meth:`~mmreason.decoding.slots.Slots.read` gives them, once they are computed.
    """

    tokens: Tensor
    past: list[Tensor] = field(default_factory=list)


@dataclass
class Entry:
    """Rows that go on from the same tokens: the candidates of a request, or one row that comes back.

    Attributes:
        rows: They wait to be decoded.
        prefix: Shared with the window's other prompts.
    """

    rows: list[Row]
    prefix: Prefix | None = None

    @property
    def length(self) -> int:
        """Tokens to be read before the next is written."""
        return self.rows[0].position + 1

    def split(self, count: int) -> tuple[Entry, Entry]:
        """The first ``count`` rows, and the others."""
        return Entry(self.rows[:count], self.prefix), Entry(self.rows[count:], self.prefix)


class Queue:
    """A stream of requests, read a window at a time.

    Args:
        requests: Read when they are needed, at most a window ahead.
        window: Requests that are sorted together.
        make_rows: The rows of (number, request); none if it cannot be decoded.
        share: Look for a common prefix.
    """

    def __init__(
        self,
        requests: Iterator[DecodeRequest],
        window: int,
        make_rows: Callable[[int, DecodeRequest], list[Row]],
        share: bool,
    ) -> None:
        self.requests = enumerate(requests)
        self.window, self.make_rows, self.share = window, make_rows, share
        self.waiting: deque[Entry] = deque()
        self.prefix: Prefix | None = None
        self.longest_first = False
        self.ended = False  # what waits is the last

    def __bool__(self) -> bool:
        """Whether a request waits; reads the next window if none does."""
        while not self.waiting:
            taken = list(islice(self.requests, self.window))
            self.ended = len(taken) < self.window
            if not taken:
                return False
            self._add([Entry(rows) for rows in (self.make_rows(*each) for each in taken) if rows])
        return True

    def _add(self, entries: list[Entry]) -> None:
        """Every other window is sorted downwards, so that the lengths at the seams are alike."""
        entries.sort(key=lambda entry: entry.length, reverse=self.longest_first)
        self.longest_first = not self.longest_first
        if self.share and len(entries) > 1:
            self._find_prefix(entries)
        self.waiting.extend(entries)

    def _find_prefix(self, entries: list[Entry]) -> None:
        tokens = common_prefix([entry.rows[0].request.tokens for entry in entries])
        if len(tokens) < MIN_PREFIX:
            return
        if self.prefix is None or not _same(self.prefix.tokens, tokens):
            self.prefix = Prefix(tokens)
        for entry in entries:
            entry.prefix = self.prefix


def common_prefix(prompts: Sequence[Tensor | Sequence[int]]) -> Tensor:
    """The first tokens that all prompts have in common, short of the whole of any.

    Example:
        >>> common_prefix([[1, 2, 3, 4], [1, 2, 3], [1, 2, 5, 6]])
        tensor([1, 2])
    """
    first, *others = (torch.as_tensor(prompt) for prompt in prompts)
    first = first[:-1]
    for other in others:
        if other.ndim != first.ndim:
            return first[:0]
        first = first[: len(other) - 1]
        same = first == other[: len(first)]
        same = same.all(-1) if same.ndim == 2 else same
        first = first[: int(same.long().cumprod(0).sum())]
    return first


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())
