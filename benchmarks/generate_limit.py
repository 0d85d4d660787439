"""The decoding engine's tokens a second over those that the LM's matrix multiplications alone would allow.

python benchmarks/generate_limit.py

The limit counts the same work: every prompt token through the layers, every written token through the layers and the
output layer, at the rate that this machine multiplies the LM's own weights with as many rows as a pass of the engine
has on average. Nothing is counted for attention, norms, sampling or Python; so 100 % cannot be had. Rates are
measured between stretches of decoding, so that a busy machine slows both alike.
"""

from __future__ import annotations

import time
from itertools import islice
from statistics import mean
from typing import Any

from bars import Bars
from decoding import SLOTS, default_lm, make_engine, make_work, multiplication_seconds
from jsonargparse import auto_cli

from mmreason.decoding.queue import Entry
from mmreason.decoding.rows import Row
from mmreason.decoding.slotted import Slotted


def main(requests: int = 1024, stretches: int = 8, slots: int = SLOTS, lm: str = "") -> None:
    """Measure.

    Args:
        requests: Decoded.
        stretches: Rates are measured before each of as many.
        slots: Of the engine.
        lm: The LM; default: that of a run.
    """
    bars = Bars("generate_limit")
    model, tokenizer = default_lm(lm)
    work = make_work(requests, len(tokenizer) - 1000)
    engine = make_engine(model, tokenizer, slots)
    print(f"engine: {slots} slots, {engine.memory}")
    list(engine.decode(row.request() for row in work[:2]))  # warm up
    passes: list[int] = []
    run = Slotted._run

    def counted(
        self: Slotted, rows: list[Row], entries: list[Entry], slots: list[int], past: list[int]
    ) -> Any:
        passes.append(len(rows) + sum(entry.length for entry in entries) - sum(past))
        return run(self, rows, entries, slots, past)

    Slotted._run = counted  # type: ignore[method-assign]
    stream = engine.decode(row.request() for row in work)
    seconds, layers, head = 0.0, [], []
    for stretch in range(stretches):
        start = time.perf_counter()
        list(islice(stream, None if stretch == stretches - 1 else requests // stretches))
        seconds += time.perf_counter() - start
        rows = round(mean(passes))
        layers.append(multiplication_seconds(model, rows)[0] / rows)
        head.append(multiplication_seconds(model, slots)[1] / slots)
    written = sum(row.length for row in work)
    read = sum(passes)
    at_best = read * mean(layers) + written * mean(head)
    print(
        f"{len(passes)} passes of {read / len(passes):.0f} tokens: {read} in all, {written} of them written"
    )
    each = f"{1e6 * mean(layers):.0f} µs a token in the layers, {1e6 * mean(head):.0f} in the output layer"
    print(f"multiplications alone: {each}")
    print(f"engine {written / seconds:.0f} tokens/s written, limit {written / at_best:.0f}")
    bars.check("engine / limit", at_best / seconds, 0.4)
    bars.finish()


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
