"""The bulk job from a thousand to a million requests: does a request cost the same, and does memory stay flat?

    python benchmarks/generate_scale.py                                                                  # eight minutes
    python benchmarks/generate_scale.py --templates '[1000]' --soft '[200]' --plan '[200]' --stub '[1000, 10000]'

A made shop of 2,000 items and 4,000 users with ten steps each is asked for pairs by a Parquet file. ``templates``: the
whole stage ``generate`` with the writers that need no training. ``soft`` and ``plan``: with a tiny random LM before
these, which reads soft tokens and writes a text for each request, or reads plans in words and writes one for
each plan that is new. What it writes passes no verification, so that templates take over, and both are in the time.
``stub``: the job with a writer that returns a sentence at once, so that what is measured is the job. Every size runs
in a process of its own, with 1,024 rows a part. The stub's job is then run again, where all is there, and once more
with every hundredth request changed, whose memory is told and held beside that of the first run, and reasons are
looked up.

Time is the processor's. Of a request it is the slope between a size and the one before it, so that what is done once
(reading the catalogue, loading the grammars) is no part of it; growth is that of the last slope over the first. Memory
is the largest resident set; taking rows over may hold what the join on disk may (256 MB) and half as much beside it.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bars import Bars
from jsonargparse import auto_cli
from tiny_models import make_tiny_models, tiny_config

from mmreason.bulk.asked import Asked
from mmreason.bulk.attempts import Pair
from mmreason.bulk.job import Job
from mmreason.bulk.store import ReasonStore
from mmreason.bulk.worded import NAME as WORDED
from mmreason.config import Config
from mmreason.schema import Evidence, Item, Reason, User

PART, LOOKUPS = 1024, 2000
JOIN = 256 * 1.5  # MB
COLORS = ("red", "blue", "green", "black", "white", "brown", "yellow", "orange")
MATERIALS = ("wool", "cotton", "linen", "silk", "leather", "denim")
FEATURES = (
    "deep pockets with a zip",
    "adjustable cuffs",
    "a lining of soft fleece",
    "buttons made of horn",
    "a high collar",
)
THINGS = ("coat", "hat", "scarf", "dress", "shirt", "jacket")


def main(
    templates: list[int] | None = None,
    soft: list[int] | None = None,
    plan: list[int] | None = None,
    stub: list[int] | None = None,
    folder: str = "",
) -> None:
    """Measure.

    Args:
        templates: Sizes of the stage with templates; at least two, the smallest first. Default 1, 10 and 100 thousand.
        soft: Sizes of the stage with a tiny language model and a text for each request. Default 1, 10 and 20 thousand.
        plan: The same with one for each plan. Default 1, 10 and 100 thousand.
        stub: Sizes of the job with a stub. Default 10 and 100 thousand, and a million.
        folder: Where to work; default a temporary one.
    """
    bars = Bars("generate at scale")
    with tempfile.TemporaryDirectory(dir=folder or None) as name:
        root = Path(name)
        shop = root / "shop"
        in_own_process(make_shop, shop)
        for kind, sizes in (
            ("templates", templates or [1000, 10_000, 100_000]),
            ("soft", soft or [1000, 10_000, 20_000]),
            ("plan", plan or [1000, 10_000, 100_000]),
            ("stub", stub or [10_000, 100_000, 1_000_000]),
        ):
            if kind in ("soft", "plan"):
                in_own_process(train_tiny, root, kind)
            found = [measure(root, kind, size) for size in sizes]
            check(bars, kind, sizes, found)
    bars.finish()


def measure(root: Path, kind: str, size: int) -> dict[str, float]:
    """Figures of one size, printed too."""
    work = partial(with_stub, root) if kind == "stub" else partial(with_stage, root, kind)
    found = in_own_process(work, size)
    told = ", ".join(f"{name} {value:,.4g}" for name, value in found.items())
    print(f"{kind} {size:,}: {told}", flush=True)
    return found


def check(bars: Bars, kind: str, sizes: list[int], found: list[dict[str, float]]) -> None:
    """Hold the figures of all sizes against the bars."""
    times = [0.0, *(each["seconds"] for each in found)]
    counts = [0, *sizes]
    slopes = [(times[n] - times[n - 1]) / (counts[n] - counts[n - 1]) for n in range(1, len(times))]
    if len(slopes) > 2:
        del slopes[0]  # what is done once is in it
    print(f"{kind}: µs a request {', '.join(f'{1e6 * slope:,.1f}' for slope in slopes)}")
    growth = slopes[-1] / slopes[0]
    bars.check(f"{kind}: growth of the time a request", growth, 1.05, at_most=True, form=".3f")
    memory = [each["MB"] for each in found]
    bars.check(
        f"{kind}: memory at {sizes[-1]:,} over {sizes[0]:,}",
        memory[-1] / memory[0],
        1.1,
        at_most=True,
        form=".3f",
    )
    bars.check(
        f"{kind}: rows a request", min(each["rows"] / n for each, n in zip(found, sizes, strict=True)), 1
    )
    if kind == "stub":
        more = found[-1]["MB after these"] - memory[-1]
        bars.check("stub: MB more to take rows over, of the largest", more, JOIN, at_most=True, form=".0f")
        bars.check("a lookup in the largest, ms", found[-1]["lookup ms"], 1, at_most=True, form=".3f")


def with_stage(root: Path, kind: str, size: int) -> dict[str, float]:
    """The stage of a run of the shop, asked by a file."""
    from mmreason.generate.job import generate

    config = shop_config(root / "shop") if kind == "templates" else lm_config(root, kind)
    requests = root / f"pairs-{size}.parquet"
    pq.write_table(
        pa.table(dict(zip(("user_id", "item_id"), zip(*pairs(size), strict=True), strict=True))), requests
    )
    config.generate.requests, config.generate.part_size = str(requests), PART
    config.path("generate", WORDED).unlink(missing_ok=True)  # each size says its plans itself
    began = time.process_time()
    print(f"{kind} {size:,}: {generate(config)}")
    seconds = time.process_time() - began
    memory = peak()
    folder = config.path("generate", config.generate.job)
    return {"seconds": seconds, "MB": memory, "rows": rows_of(folder)}


def lm_config(root: Path, kind: str) -> Config:
    """A run of the shop of its own, with a tiny language model that reads soft tokens or plans."""
    config = shop_config(root / "shop")
    config.run_dir, config.dtype = str(root / kind), "fp32"
    config.reason = replace(tiny_config({"text": "", "lm": str(root / "models" / "lm")}).reason, inputs=kind)
    config.generate.writers, config.generate.max_new_tokens = ["lm", "template", "extract"], 8
    config.evaluate.baseline = False
    return config


def train_tiny(root: Path, kind: str) -> None:
    """Train it for a few steps."""
    from mmreason.pipeline import run

    make_tiny_models(root / "models")
    shutil.copytree(root / "shop" / "run", root / kind)
    run(lm_config(root, kind), until="train")


def with_stub(root: Path, size: int) -> dict[str, float]:
    """The job alone, then again with nothing and with a hundredth to write, and lookups."""
    run = root / f"stub-{size}"
    job = Job(run / "generate" / "all", PART)
    seconds = timed(job, lambda: asked(size), 0)
    memory = peak()
    again = timed(job, lambda: asked(size), size)
    changed = timed(job, lambda: asked(size, changed=True), size - len(range(0, size, 100)))
    after = peak()
    lookup = lookups(run, size)
    return {
        "seconds": seconds,
        "MB": memory,
        "rows": rows_of(job.folder),
        "again": again,
        "1 % changed": changed,
        "MB after these": after,
        "lookup ms": lookup,
    }


def timed(job: Job, requests: Callable[[], Iterator[Asked]], there: int) -> float:
    """Processor seconds of a run of a job, which must find so many rows there."""
    began = time.process_time()
    outlook = job.prepare(requests)
    assert outlook.there == there, outlook.there
    assert job.run(outlook, pair_of, lambda: stub) == 0
    return time.process_time() - began


def lookups(run: Path, size: int) -> float:
    """Milliseconds a lookup of pairs at random, of the wall clock, the file's pages being warm or not."""
    store = ReasonStore.open(run)
    rng = random.Random(1)
    wanted = [next(pairs(1, rng.randrange(size))) for _ in range(LOOKUPS)]
    began = time.perf_counter()
    found = [store.get(user, item) for user, item in wanted]
    milliseconds = (time.perf_counter() - began) / LOOKUPS * 1000
    assert all(found)
    return milliseconds


def pairs(count: int, first: int = 0) -> Iterator[tuple[str, str]]:
    """Pairs, ten items of a user after another, no two alike: the n-th is always the same."""
    for n in range(first, first + count):
        user, place = n // 10 % 4000, n // 40_000 * 10 + n % 10
        yield f"u{user}", f"i{(place * 7 + user * 13) % 2000}"


def asked(count: int, changed: bool = False) -> Iterator[Asked]:
    """Requests; of those that changed every hundredth has another key."""
    for n, (user, item) in enumerate(pairs(count)):
        key = f"{n:032x}" if not changed or n % 100 else f"{n:031x}x"
        yield Asked(user, item, key=key, content="as it was")


def pair_of(each: Asked) -> Pair:
    """A user and an item with nothing but their ids."""
    return User(each.user_id), Item(each.item_id)


def stub(some: list[Pair]) -> list[Reason]:
    """A sentence with evidence for each pair, at once."""
    evidence = [Evidence("material", "wool", "attribute")]
    return [
        Reason(user.id, item.id, f"Made of wool, {user.id}.", evidence, verified=True, level="personal")
        for user, item in some
    ]


def shop_config(folder: Path) -> Config:
    """A run that trains nothing."""
    config = Config(str(folder / "run"))
    config.catalogue.source, config.catalogue.root = "tables", str(folder / "tables")
    config.align.steps = 0
    config.align.text, config.align.text_weights, config.align.image_weights = "tfidf", "", ""
    config.generate.writers = ["template", "extract"]
    return config


def make_shop(folder: Path) -> None:
    """Items and behaviours as tables, and the run up to its evidence."""
    from mmreason.pipeline import run

    tables, rng = folder / "tables", random.Random(0)
    tables.mkdir(parents=True)
    with (tables / "items.jsonl").open("w") as file:
        for n in range(2000):
            color, material, thing = COLORS[n % 8], MATERIALS[n // 8 % 6], THINGS[n // 48 % 6]
            attributes = {"color": [color], "material": [material], "type": [thing]}
            title = f"{('Alva', 'Brook', 'Corin', 'Dale')[n % 4]} {thing.title()} {n}"
            text = f"{FEATURES[n % 5].capitalize()}. {FEATURES[n // 5 % 5].capitalize()}."
            row = {"id": f"i{n}", "title": title, "text": text, "attributes": attributes, "domain": "shop"}
            file.write(json.dumps(row) + "\n")
    with (tables / "interactions.jsonl").open("w") as file:
        for user in range(4000):
            taste = rng.randrange(6)
            for step in range(10):
                item = 48 * rng.randrange(41) + 8 * taste + rng.randrange(8)  # of one material
                item = item if rng.random() < 0.7 else rng.randrange(2000)
                row = {
                    "user_id": f"u{user}",
                    "item_id": f"i{item}",
                    "event": "purchase",
                    "timestamp": 1e9 + step,
                }
                file.write(json.dumps(row) + "\n")
    run(shop_config(folder), until="evidence")


def rows_of(folder: Path) -> int:
    """Rows of a job, if there is just one a request, in order."""
    from mmreason.bulk.parts import stream_parts

    return sum(len(table) for table in stream_parts(folder))


def peak() -> float:
    """The most that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def in_own_process(work: Callable[..., Any], *values: Any) -> Any:
    """What a function returns, run where nothing else was before."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *values).result()


if __name__ == "__main__":
    auto_cli(main)
