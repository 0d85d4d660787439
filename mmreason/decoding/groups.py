"""Groups of prompts of one length, for LMs whose state a padding token would change."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmreason.decoding.choose import choose, settle
from mmreason.decoding.lm import CausalLM
from mmreason.decoding.memory import is_out_of_memory
from mmreason.decoding.queue import Entry, Queue
from mmreason.decoding.requests import Decoded
from mmreason.decoding.rows import Row


class Groups:
    """Rows that have read equally many tokens, in the LM's own cache.

    Args:
        lm: The LM.
        slots: Rows at a time.
        exact: One row at a time.
    """

    def __init__(self, lm: CausalLM, slots: int, exact: bool) -> None:
        self.lm = lm
        self.slots = 1 if exact else slots
        self.weights = lm.place
        self.rows: list[Row] = []
        self.cache: Any = None

    def rest(self) -> None:
        """Between two streams nothing is held."""

    def step(self, queue: Queue) -> list[Decoded]:
        """Write one token for every row of the group, or read the prompts of the next; the texts that are done."""
        entries = [] if self.rows else self._admit(queue)
        try:
            logits = self._read(entries) if entries else self._go_on()
            rows = [*self.rows, *(row for entry in entries for row in entry.rows)]
            chosen = choose(logits, rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return self._halve(entries, queue)
        self.rows = rows
        next_positions = [row.position + 1 for row in self.rows]
        done = settle(chosen, self.rows)
        staying = []
        for index, (row, text) in enumerate(zip(self.rows, done, strict=True)):
            if not text and row.position == next_positions[index]:
                staying.append(index)
            elif not text:  # taken back: the cache cannot be, so its tokens are read again
                queue.waiting.appendleft(Entry([row]))
        self._keep(staying)
        return [text for text in done if text]

    def _admit(self, queue: Queue) -> list[Entry]:
        entries: list[Entry] = []
        free = self.slots
        while free and queue and (not entries or queue.waiting[0].length == entries[0].length):
            first = queue.waiting.popleft()
            if len(first.rows) > free:
                first, rest = first.split(free)
                queue.waiting.appendleft(rest)
            entries.append(first)
            free -= len(first.rows)
        return entries

    def _read(self, entries: list[Entry]) -> Tensor:
        logits, self.cache = self.lm.over_rows(torch.stack([self.lm.tokens_of(entry) for entry in entries]))
        index = [number for number, entry in enumerate(entries) for _ in entry.rows]
        if len(index) > len(entries):
            self._select(index)
            logits = logits[index]
        return logits

    def _go_on(self) -> Tensor:
        last = self.lm.embed([row.ids[-1] for row in self.rows])
        logits, self.cache = self.lm.over_rows(last[:, None], self.cache)
        return logits

    def _keep(self, staying: list[int]) -> None:
        if not staying:
            self.cache = None
        elif len(staying) < len(self.rows):
            self._select(staying)
        self.rows = [self.rows[index] for index in staying]

    def _select(self, index: list[int]) -> None:
        # Of the methods that choose rows, the one that layers of every kind have.
        self.cache.reorder_cache(torch.tensor(index, device=self.lm.device))

    def _halve(self, entries: list[Entry], queue: Queue) -> list[Decoded]:
        rows, self.rows, self.cache = self.rows, [], None
        entries = [*(Entry([row]) for row in rows), *entries]
        if self.slots == 1:
            return [row.fail("out of memory with one row alone") for entry in entries for row in entry.rows]
        queue.waiting.extendleft(reversed(entries))
        self.slots //= 2
        return []
