"""How fast evidence is found and reasons are planned, written and verified; memory must not follow the catalogue.

    python benchmarks/evidence_speed.py
    python benchmarks/evidence_speed.py --small 2000 --items 10000 --pairs 2000     # a quick look

Items have a title, attributes and a description of some three hundred characters, and no picture; people buy what is of
their material. The stage runs in a process of its own, once over half of the catalogue and once over all of it, then
again after one item in a hundred was edited. Pairs of a user and an item go through case, plans, template, verification
and compliance in two processes.
"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bars import Bars
from jsonargparse import auto_cli
from memory import peak_of

from mmreason.catalogue.index import new_index
from mmreason.catalogue.tables import stream_table, write_table
from mmreason.config import Config
from mmreason.schema import Interaction, Item, Reason, User

MATERIALS = [
    "oak",
    "linen",
    "felt",
    "steel",
    "jute",
    "merino wool",
    "cork",
    "brass",
    "slate",
    "hemp",
    "silk",
    "clay",
]
KINDS = ["bag", "lamp", "rug", "jacket", "vase", "hat", "stool", "basket", "apron", "throw"]
ROOMS = ["hall", "kitchen", "garden", "office", "bedroom", "porch"]
LOOKS = ["ribbed", "padded", "woven", "quilted", "striped", "brushed", "rounded", "slim", "double", "folded"]
PARTS = [
    "seams",
    "handles",
    "lining",
    "collar",
    "base",
    "cuffs",
    "shade",
    "strap",
    "rim",
    "pockets",
    "hem",
    "lid",
]
STEPS = 8  # of a history
PROCESSES = 2


def main(small: int = 50_000, items: int = 100_000, pairs: int = 20_000, seed: int = 0) -> None:
    """Run it.

    Args:
        small: Items of the catalogue whose memory is compared with that of the whole one; with less than fifty thousand
            the buffers of joins and sorts are not full, so that memory still follows the count.
        items: Of the whole one.
        pairs: Of a user and an item.
        seed: Of the made catalogue.
    """
    bars = Bars("evidence_speed")
    with tempfile.TemporaryDirectory() as folder:
        few, all_of_them = Path(folder, "small"), Path(folder, "all")
        _make(few, small, pairs, seed)
        _make(all_of_them, items, pairs, seed)
        _, before = _measured(few)
        seconds, after = _measured(all_of_them)
        bars.check("items whose facts are found, a second", items / seconds, 300, form=",.0f")
        bars.check(f"memory {before:.0f} MB → {after:.0f} MB, growth", after / before - 1, 0.25, at_most=True)
        _edit(all_of_them)
        again, _ = _measured(all_of_them)
        bars.check("after one edit in a hundred, share of the time", again / seconds, 0.5, at_most=True)
        started = time.monotonic()
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            shares = [(all_of_them, pairs // PROCESSES, seed + number) for number in range(PROCESSES)]
            done = pool.starmap(_reasons, shares)
        written, personal = (sum(column) for column in list(zip(*done, strict=True))[1:])
        rate = sum(count / spent for (_, count, _), spent in zip(shares, [d[0] for d in done], strict=True))
        print(
            f"{time.monotonic() - started:.0f} s with the start of two processes; personal: {personal / pairs:.1%}"
        )
        bars.check("pairs that got a reason", written / pairs, 0.9)
        bars.check("reasons planned, written and verified, a second", rate, 1500, form=",.0f")
    bars.finish()


def _make(run: Path, items: int, pairs: int, seed: int) -> None:
    folder = run / "catalogue"
    folder.mkdir(parents=True)
    write_table(folder / "items.parquet", Item, _items(items, seed))
    write_table(folder / "interactions.parquet", Interaction, _steps(items, pairs // 10, seed))
    write_table(folder / "reasons.parquet", Reason, [])
    new_index(folder, folder).write()


def _items(count: int, seed: int) -> Iterator[Item]:
    rng = random.Random(seed)
    for number in range(count):
        material, kind = MATERIALS[number % len(MATERIALS)], rng.choice(KINDS)
        lines = [f"{rng.choice(LOOKS).title()} {rng.choice(LOOKS)} {rng.choice(PARTS)}" for _ in range(3)]
        text = (
            f"This {kind} keeps its shape in the {rng.choice(ROOMS)} with {rng.choice(LOOKS)} {rng.choice(PARTS)}. "
            f"It features a {rng.choice(LOOKS)} {rng.choice(PARTS)} number {number % 977}, and it is made of "
            f"{material}. Delivery takes {rng.randrange(2, 9)} days.\n- "
        )
        attributes = {
            "material": [material],
            "type": [kind],
            "room": [rng.choice(ROOMS)],
            "sku": [f"S-{number}"],
        }
        title = f"{rng.choice(['Alva', 'Brook', 'Corin', 'Dale'])} {kind.title()} {number}"
        yield Item(f"item-{number}", title, text + "\n- ".join(lines), attributes=attributes, domain="shop")


def _steps(items: int, users: int, seed: int) -> Iterator[Interaction]:
    """Six of eight purchases are of the material that the person likes."""
    for number in range(users):
        yield from _history(number, items, seed).history


def _history(number: int, items: int, seed: int) -> User:
    rng = random.Random(f"{seed} {number}")
    liked = rng.randrange(len(MATERIALS))
    places = [
        rng.randrange(items // len(MATERIALS)) * len(MATERIALS) + liked if step % 4 else rng.randrange(items)
        for step in range(STEPS)
    ]
    name = f"user-{number:06}"
    steps = [
        Interaction(name, f"item-{place}", "purchase", timestamp=1e9 + t) for t, place in enumerate(places)
    ]
    return User(name, steps)


def _edit(run: Path) -> None:
    """Another material for one item in a hundred."""
    path = run / "catalogue" / "items.parquet"
    edited = [
        replace(item, attributes={**item.attributes, "material": ["bamboo"]}) if not number % 100 else item
        for number, item in enumerate(stream_table(path, Item))
    ]
    write_table(path, Item, edited)


def _measured(run: Path) -> tuple[float, float]:
    """Seconds and megabytes that the stage takes."""
    started = time.monotonic()
    peak = peak_of(_stage, Config(run_dir=str(run)))
    return time.monotonic() - started, peak


def _stage(config: Config) -> None:
    from mmreason.concepts.stage import find_evidence

    print(find_evidence(config), flush=True)


def _reasons(run: Path, pairs: int, seed: int) -> tuple[float, int, int]:
    """Seconds, reasons and personal ones of so many pairs, ten items a user."""
    from mmreason.evidence.plan import plans
    from mmreason.evidence.store import EvidenceStore
    from mmreason.generate.ladder import NOTHING, PERSONAL, make_ladder, seed_of
    from mmreason.processes import collect_rarely
    from mmreason.wording.template import tells

    items = {item.id: item for item in stream_table(run / "catalogue" / "items.parquet", Item)}
    store, ladder = EvidenceStore.open(run / "evidence"), make_ladder(["template"])
    rng = random.Random(seed)
    levels = []
    collect_rarely()
    started = time.monotonic()
    for number in range(pairs):
        if number % 10 == 0:
            user = _history(rng.randrange(pairs // 5), len(items), 0)
        place = int(len(items) * rng.random() ** 3)  # what is recommended is mostly what is popular
        case = store.case(user, items[f"item-{place}"], items)
        climbed = ladder.climb(case, plans(case, tells), seed=seed_of(case, seed))
        levels.append(climbed.reason.level)
    seconds = time.monotonic() - started
    return seconds, sum(level != NOTHING for level in levels), levels.count(PERSONAL)


if __name__ == "__main__":
    auto_cli(main)
