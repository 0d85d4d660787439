"""Reasons a second by the decoding engine, beside Hugging Face's ``generate`` in batches and one at a time.

python benchmarks/generate_throughput.py
python benchmarks/generate_throughput.py --batches 32 --singles 100        # the peers on more of the work: slower

The engine decodes all requests. ``generate`` decodes every n-th batch of 32 in order of arrival, and some requests one
at a time; its time for all is extrapolated from these. The sides take turns, so that a busy machine slows them alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from bars import Bars
from decoding import (
    HEAD,
    SLOTS,
    Work,
    default_lm,
    hugging_face,
    make_engine,
    make_work,
    multiplication_seconds,
)
from jsonargparse import auto_cli

from mmreason.decoding.engine import Engine
from mmreason.decoding.requests import Decoded, Sampling
from mmreason.evidence.schema import Case, Fact
from mmreason.generate.verify import Verifier
from mmreason.schema import Interaction, Item, User

BATCH = 32
DRAWN = Sampling(temperature=0.8, top_p=0.95)
CASE = Case(
    User("u", [Interaction(item_id="scarf", event="purchase")]),
    Item("hat", "Fjord hat", "A knitted hat with a hidden pocket.", domain="shop"),
    [Fact("hat", "material", "wool"), Fact("hat", "color", "blue")],
    history_facts={"scarf": [Fact("scarf", "material", "wool")]},
)


def main(
    requests: int = 1024,
    batches: int = 8,
    singles: int = 24,
    several: int = 96,
    candidates: int = 4,
    slots: int = SLOTS,
    lm: str = "",
) -> None:
    """Measure.

    Args:
        requests: For the engine.
        batches: Batches of 32 of these for ``generate``.
        singles: Requests of these for ``generate`` one at a time.
        several: Requests for which several candidates are written.
        candidates: Candidates of each.
        slots: Of the engine.
        lm: The LM; default: that of a run.
    """
    bars = Bars("generate_throughput")
    model, tokenizer = default_lm(lm)
    work = make_work(requests, len(tokenizer) - 1000)
    engine = make_engine(model, tokenizer, slots)
    print(f"engine: {slots} slots, {engine.memory}")
    hugging_face(model, work[:2])  # warm up
    best_of(list(engine.decode(row.request() for row in work[:2])))

    rates = side_by_side(model, engine, work, batches, singles)
    bars.check("engine / generate in batches of 32", rates[0] / rates[1], 2.5, form=".2f")
    bars.check("engine / generate one at a time", rates[0] / rates[2], 15, form=".1f")
    together, apart = candidates_seconds(engine, work[:several], candidates)
    print(f"the multiplications alone, with full slots: {at_best(model, work[:several], candidates):.2f}")
    bars.check(f"{candidates} candidates / {candidates} passes", apart / together, 2, form=".2f")
    bars.finish()


def side_by_side(
    model: Any, engine: Engine, work: list[Work], batches: int, singles: int
) -> tuple[float, float, float]:
    """Reasons a second: the engine, ``generate`` in batches, ``generate`` one at a time."""
    stream = engine.decode(row.request() for row in work)
    step = max(1, len(work) // BATCH // batches) * BATCH
    seconds = [0.0, 0.0, 0.0]
    texts: dict[int, Decoded] = {}
    theirs: dict[int, list[int]] = {}
    for turn in range(batches):
        with taken(seconds, 0):
            some = islice(stream, None if turn == batches - 1 else len(work) // batches)
            texts |= {text.request: text for text in some}
        first = turn * step
        with taken(seconds, 1):
            theirs |= dict(enumerate(hugging_face(model, work[first : first + BATCH]), first))
        for row in work[turn * singles // batches : (turn + 1) * singles // batches]:
            with taken(seconds, 2):
                hugging_face(model, [row])
    rates = len(work) / seconds[0], len(theirs) / seconds[1], singles / seconds[2]
    tokens = sum(row.length for row in work) / len(work)
    print(f"engine: {rates[0]:.2f} reasons/s over {len(work)} requests ({rates[0] * tokens:.0f} tokens/s)")
    print(f"generate in batches of {BATCH}: {rates[1]:.2f} reasons/s over {len(theirs)} of these")
    print(f"generate one at a time: {rates[2]:.3f} reasons/s over {singles} of these")
    alike = sum(texts[number].ids == ids for number, ids in theirs.items())
    print(f"texts alike: {alike} of {len(theirs)} (all in float32; bfloat16 rounds by what is beside)")
    return rates


def candidates_seconds(engine: Engine, work: list[Work], count: int) -> tuple[float, float]:
    """Seconds to write, verify and rank ``count`` candidates: in one pass over each prompt, and in as many passes."""
    seconds = [0.0, 0.0]
    half = len(work) // 2
    for rows in (work[:half], work[half:]):
        with taken(seconds, 0):
            requests = (row.request(candidates=count, sampling=DRAWN) for row in rows)
            best_of(list(engine.decode(requests)))
        with taken(seconds, 1):
            passes = [
                list(engine.decode(row.request(sampling=replace(DRAWN, seed=seed)) for row in rows))
                for seed in range(count)
            ]
            best_of([text for texts in passes for text in texts])
    print(
        f"{count} candidates of {len(work)} requests: {seconds[0]:.1f} s, in {count} passes {seconds[1]:.1f} s"
    )
    return seconds[0], seconds[1]


def at_best(model: Any, work: list[Work], count: int) -> float:
    """What one pass over each prompt would gain if only multiplications took time, and as long for every token."""
    layers, head = (seconds / SLOTS for seconds in multiplication_seconds(model, SLOTS))
    reading = layers * sum(len(row.prompt) - HEAD for row in work)
    writing = sum((row.length - 1) * layers + row.length * head for row in work)
    return count * (reading + writing) / (reading + count * writing)


def best_of(texts: list[Decoded]) -> dict[int, Decoded]:
    """The best text of each request: one that is verified before one that is not, then the likeliest."""
    verifier, best = Verifier(), {}
    for text in sorted(texts, key=lambda text: (verifier.check(text.text, CASE).passed, text.log_prob)):
        best[text.request] = text
    return best


@contextmanager
def taken(seconds: list[float], place: int) -> Iterator[None]:
    """Add the time within to one of the sums."""
    start = time.perf_counter()
    yield
    seconds[place] += time.perf_counter() - start


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
