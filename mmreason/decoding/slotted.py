"""Continuous batching over slots."""

from __future__ import annotations

import torch
from torch import Tensor

from mmreason.decoding.attention import Entering, Pass
from mmreason.decoding.choose import choose, settle
from mmreason.decoding.graphs import StepGraphs
from mmreason.decoding.lm import CausalLM
from mmreason.decoding.memory import is_out_of_memory
from mmreason.decoding.queue import Entry, Queue
from mmreason.decoding.requests import Decoded
from mmreason.decoding.rows import Row
from mmreason.decoding.slots import STEP, STEP_CUDA, Slots

TOGETHER = (
    4  # on a GPU prompts enter when a fourth of the slots is free; passes between are replayed (graphs.py)
)


class Slotted:
    """Rows in slots; ``rows[i]`` is in slot i.

    Args:
        lm: The LM.
        slots: Rows at a time, at most: memory is set aside for as many as come, and halved where it is short.
        length: Positions of a slot.
        prefill_tokens: Prompt tokens a pass.
        exact: Every pass has one shape: all slots and all their positions, or one prompt alone.
    """

    def __init__(self, lm: CausalLM, slots: int, length: int, prefill_tokens: int, exact: bool) -> None:
        self.lm, self.slots, self.length = lm, slots, length
        self.prefill_tokens, self.exact = prefill_tokens, exact
        self.weights = lm.place
        self.rows: list[Row] = []
        self.cache = Slots(0, length)
        self.graphs: StepGraphs | None = None

    def _set_aside(self, queue: Queue) -> None:
        """Slots for all that come, if there are too few."""
        rows = self.slots if self.exact or not queue.ended else sum(len(each.rows) for each in queue.waiting)
        if self.cache.count >= min(rows, self.slots):
            return
        count = min(self.slots, 1 << (rows - 1).bit_length())
        cuda = self.lm.device.type == "cuda"
        self.graphs = None
        self.cache = Slots(count, self.length, STEP_CUDA if cuda else STEP)
        self.graphs = StepGraphs(self.lm, self.cache) if cuda else None

    def rest(self) -> None:
        """Between two streams: only what was recorded on a GPU is worth its memory."""
        if not self.graphs:
            self.cache = Slots(0, self.length)

    def step(self, queue: Queue) -> list[Decoded]:
        """Let waiting prompts enter and write one token for every row; the texts that are done."""
        if queue and not self.rows:
            self._set_aside(queue)
        entries = self._admit(queue)
        try:
            logits = self._read(entries)
            rows = [*self.rows, *(row for entry in entries for row in entry.rows)]
            chosen = self._choose(logits, rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return self._halve(entries, queue)
        self.rows = rows
        done = settle(chosen, self.rows)
        self._leave(done)
        return [text for text in done if text]

    def _choose(self, logits: Tensor, rows: list[Row]) -> list[tuple[int, float]]:
        if not self.exact:
            return choose(logits, rows)
        # sums over one row are the same to the last bit whatever is beside it; over many, on a GPU, they are not
        return [choose(logits[n : n + 1], [row])[0] for n, row in enumerate(rows)]

    def _admit(self, queue: Queue) -> list[Entry]:
        free, tokens = self.cache.count - len(self.rows), self.prefill_tokens
        entries: list[Entry] = []
        if self.graphs and self.rows and free < self.cache.count // TOGETHER:
            return entries
        while free and queue:
            first = queue.waiting[0]
            if len(first.rows) > self.cache.count:
                queue.waiting.popleft()
                queue.waiting.extendleft(reversed(first.split(self.cache.count)))
                continue
            if len(first.rows) > free or (entries and first.length > tokens):
                break
            entries.append(queue.waiting.popleft())
            free -= len(first.rows)
            tokens -= first.length
        return entries

    def _read(self, entries: list[Entry]) -> Tensor:
        """Run the LM over the rows' last tokens and the entries' prompts: (all rows, vocabulary)."""
        if not self.exact:
            lengths = [*(row.position + 1 for row in self.rows), *(entry.length for entry in entries)]
            self.cache.fit(max(lengths))
        slot = len(self.rows)
        places = []
        for entry in entries:
            places.append(slot)
            slot += len(entry.rows)
        past = self._put_prefixes(entries, places)
        if self.exact:
            parts = [self._run(self.rows, [], [], [])] if self.rows else []
            parts += [
                self._run([], [entry], [slot], [0]) for entry, slot in zip(entries, places, strict=True)
            ]
            logits = torch.cat(parts)
        else:
            logits = self._run(self.rows, entries, places, past)
        index = list(range(len(self.rows)))
        for number, (entry, slot) in enumerate(zip(entries, places, strict=True)):
            others = range(slot + 1, slot + len(entry.rows))
            self.cache.copy([slot] * len(others), others, entry.length)
            index += [len(self.rows) + number] * len(entry.rows)
        return logits if len(index) == len(logits) else logits[index]

    def _put_prefixes(self, entries: list[Entry], places: list[int]) -> list[int]:
        """Put shared prefixes into slots, computing each at its first use; their lengths."""
        for prefix in {id(entry.prefix): entry.prefix for entry in entries}.values():
            if prefix is not None:
                slots = [slot for entry, slot in zip(entries, places, strict=True) if entry.prefix is prefix]
                if not prefix.past:
                    prefix.past = self._read_prefix(prefix.tokens, slots[0])
                self.cache.write(slots, prefix.past)
        return [len(entry.prefix.tokens) if entry.prefix else 0 for entry in entries]

    def _read_prefix(self, tokens: Tensor, slot: int) -> list[Tensor]:
        length = len(tokens)
        run = Pass(self.cache, self._places([]), [Entering(slot, 0, 0, length)])
        self.lm.over_slots(self.lm.embedded(tokens), self._places(range(length)), run, self._places([0]))
        return self.cache.read(slot, length)

    def _run(self, rows: list[Row], entries: list[Entry], slots: list[int], past: list[int]) -> Tensor:
        """One pass: (rows + entries, vocabulary) logits."""
        going = [row.position for row in rows]
        if rows and self.exact:
            going += [0] * (self.cache.count - len(rows))
        embeds, places, keep, entering = (
            self._last_tokens(rows, len(going)),
            [*going],
            [*range(len(going))],
            [],
        )
        for entry, slot, skip in zip(entries, slots, past, strict=True):
            prompt = self.lm.tokens_of(entry)[skip:]
            entering.append(Entering(slot, skip, len(places), len(places) + len(prompt)))
            places += range(skip, skip + len(prompt))
            keep.append(len(places) - 1)
            embeds.append(prompt)
        if self.graphs and not entries:
            return self.graphs.logits(embeds[0], self._places(going))[: len(rows)]
        run = Pass(self.cache, self._places(going), entering)
        logits = self.lm.over_slots(torch.cat(embeds), self._places(places), run, self._places(keep))
        return logits[: len(rows)] if rows and self.exact else logits

    def _last_tokens(self, rows: list[Row], count: int) -> list[Tensor]:
        """The embeddings of the rows' last tokens, (count, hidden_size), in a list; empty without rows."""
        if not rows:
            return []
        ids = [row.ids[-1] if row.ids else 0 for row in rows] + [0] * (count - len(rows))
        embeds = self.lm.embed(ids)
        for index, row in enumerate(rows):
            if not row.ids:  # taken back to its very beginning
                embeds[index] = self.lm.embedded(row.request.tokens[-1:])[0]
        return [embeds]

    def _places(self, numbers: list[int] | range) -> Tensor:
        return torch.tensor(list(numbers), dtype=torch.long, device=self.lm.device)

    def _leave(self, done: list[Decoded | None]) -> None:
        """Ended rows leave; the last rows fill their slots."""
        for slot, text in enumerate(done):
            if text and text.finish == "error":
                self.cache.clear(slot)
        staying = [slot for slot, text in enumerate(done) if not text]
        count = len(staying)
        holes = [slot for slot in range(count) if done[slot]]
        last = staying[count - len(holes) :]
        self.cache.copy(last, holes, max((self.rows[slot].position for slot in last), default=0))
        for hole, slot in zip(holes, last, strict=True):
            self.rows[hole] = self.rows[slot]
        del self.rows[count:]

    def _halve(self, entries: list[Entry], queue: Queue) -> list[Decoded]:
        """Go on with half the slots: all rows are read again from their tokens."""
        rows, self.rows = self.rows, []
        count, self.cache, self.graphs = self.cache.count, Slots(0, self.length), None
        if count == 1:
            return [
                row.fail("out of memory with one row alone")
                for row in [*rows, *(row for entry in entries for row in entry.rows)]
            ]
        queue.waiting.extendleft(reversed([*(Entry([row]) for row in rows), *entries]))
        self.slots = count // 2
        self.prefill_tokens = max(1, self.prefill_tokens // 2)
        return []
