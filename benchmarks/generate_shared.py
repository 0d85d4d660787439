"""What saying it once saves: reasons a second of the stage ``generate`` with an LM that reads plans.

    python benchmarks/generate_shared.py                                              # some twenty minutes on two cores
    python benchmarks/generate_shared.py --requests 500 --alone 100 --loop 32 --users 200 --steps 8       # a small run
    python benchmarks/generate_shared.py --folder /path/to/keep                       # trains once, goes on from there

A made shop of 500 items and 2,000 users, popularity and activity by a power law, is asked for 20,000 pairs. The default
LM learns to word plans from reasons that the run words for its own users. Then the stage writes all pairs, in bf16
where this machine multiplies it fast, nothing being kept from before.

``without sharing`` is the same stage with ``generate.share=false``, on some of the pairs, drawn at random: its rate is
that of the sample. So is that of ``Hugging Face's loop``: ``generate`` on the prompts of the same plans, in batches of
32 in order of arrival, without planning and verifying, which the stage's rate holds. One at a time is told besides.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from bars import Bars
from generate_scale import COLORS, FEATURES, MATERIALS, THINGS, shop_config
from jsonargparse import auto_cli

from mmreason.bulk.parts import read_progress
from mmreason.config import Config
from mmreason.generate.asks import Asks
from mmreason.generate.job import generate, read_job
from mmreason.generate.writers.lm import LanguageModelWriter
from mmreason.generate.writers.planned import PlanWriter
from mmreason.pipeline import run

PATTERNS = ("striped", "checked", "dotted", "floral")
USES = ("hiking", "travel", "work", "camping", "school")
ACTIVITY, POPULARITY = 0.7, 0.9
"""Exponents of the users' and of the items' power law."""

TO_TASTE = 0.6
"""Share of what users take, and of what they are asked for, that answers a taste of theirs."""

BATCH = 32
Pair = tuple[str, str]
Attributes = dict[str, list[str]]


def main(
    requests: int = 20_000,
    users: int = 2000,
    items: int = 500,
    alone: int = 800,
    loop: int = 192,
    singles: int = 16,
    steps: int = 60,
    lm: str = "",
    folder: str = "",
) -> None:
    """Measure.

    Args:
        requests: Pairs.
        users: Of the shop.
        items: Of the shop.
        alone: Pairs that are written without sharing.
        loop: Pairs whose plans Hugging Face's ``generate`` words in batches.
        singles: The same one plan at a time.
        steps: LoRA steps.
        lm: The LM; default: that of a run.
        folder: Where the run is kept; default a temporary one.
    """
    bars = Bars("generate_shared")
    with tempfile.TemporaryDirectory() as name:
        root = Path(folder or name)
        root.mkdir(parents=True, exist_ok=True)
        config = trained(root, users, items, steps, lm)
        rng = random.Random(1)
        wanted = draw_pairs(rng, requests, users, read_items(root / "tables"))
        shutil.rmtree(config.path("generate"), ignore_errors=True)  # the words of another night, too
        shared = rate(config, root, "all", wanted)
        sample = sorted(rng.sample(range(len(wanted)), min(alone, len(wanted))))
        again = rate(config, root, "again", [wanted[n] for n in sample])
        single = replace(config, generate=replace(config.generate, share=False))
        unshared = rate(single, root, "alone", [wanted[n] for n in sample])
        tell_same(config, single, sample)
        batched, one_by_one = hugging_face(config, root, loop, singles)
    told = [
        ("shared", shared, f"{requests:,} pairs"),
        ("the next night, words kept", again, f"of {len(sample):,} pairs, drawn at random"),
        ("without sharing", unshared, f"of {len(sample):,} pairs, drawn at random"),
        (f"Hugging Face's loop, batches of {BATCH}", batched, f"of {loop} pairs, decoding alone"),
        ("Hugging Face's loop, one at a time", one_by_one, f"of {singles} pairs, decoding alone"),
    ]
    for what, speed, of in told:
        print(f"{what}: {speed:,.1f} reasons/s ({of}; {requests:,} take {requests / speed:,.0f} s)")
    print(f"shared / one at a time: {shared / one_by_one:.1f}")
    bars.check("shared / without sharing", shared / unshared, 3, form=".1f")
    bars.check(f"shared / Hugging Face's loop in batches of {BATCH}", shared / batched, 8, form=".1f")
    bars.finish()


def trained(root: Path, users: int, items: int, steps: int, lm: str) -> Config:
    """A run of a made shop whose LM has learned to say plans."""
    config = shop_config(root)
    config.generate.writers = ["lm", "template", "extract"]
    config.evaluate.baseline = False
    config.reason.inputs, config.reason.lora_steps, config.reason.lr = "plan", steps, 1e-3
    config.reason.batch_size, config.reason.lm = 8, lm or config.reason.lm
    if not (root / "tables").is_dir():
        make_shop(root / "tables", users, items)
    run(config, until="train")
    return config


def rate(config: Config, root: Path, name: str, wanted: list[Pair]) -> float:
    """Reasons a second of a job of its own, without what it takes to get ready."""
    path = root / f"{name}.parquet"
    pq.write_table(pa.table(dict(zip(("user_id", "item_id"), zip(*wanted, strict=True), strict=True))), path)
    settings = replace(config.generate, name=name, requests=str(path))
    print(f"{name}: {generate(replace(config, generate=settings))}", flush=True)
    return float(read_progress(config.path("generate", name))["reasons_per_second"])


def tell_same(config: Config, single: Config, sample: list[int]) -> None:
    """How many texts are the same without sharing: in fp32 all, in bf16 rounding depends on a row's neighbours."""
    whole, alone = read_job(config, "all")["text"].to_pylist(), read_job(single, "alone")["text"].to_pylist()
    same = sum(whole[n] == text for n, text in zip(sample, alone, strict=True))
    print(f"the same text with sharing and without: {same:,} of {len(sample):,}")


def hugging_face(config: Config, root: Path, loop: int, singles: int) -> tuple[float, float]:
    """Pairs a second whose plans ``generate`` words: in batches, and one at a time."""
    asks = Asks(replace(config, generate=replace(config.generate, requests=str(root / "alone.parquet"))))
    reasoner = asks.reasoner
    writer = reasoner.lm
    assert isinstance(writer, PlanWriter) and isinstance(writer.speaker, LanguageModelWriter)
    speaker, prompts = writer.speaker, []
    for asked in islice(asks.requests(), loop):
        [case] = reasoner.cases([asks.behaviours.pair(asked)])
        words = [brief.words for _, brief in writer.briefs_of(reasoner.plans_of(case), case)]
        prompts.append([speaker.prompt_of(each) for each in words])
    flat = [prompt for some in prompts for prompt in some]
    one = [prompt for some in prompts[:singles] for prompt in some]
    decode(speaker, flat[:2])  # warm up
    seconds = []
    for rows, size in ((flat, BATCH), (one, 1)):
        began = time.perf_counter()
        for start in range(0, len(rows), size):
            decode(speaker, rows[start : start + size])
        seconds.append(time.perf_counter() - began)
    return len(prompts) / seconds[0], min(singles, len(prompts)) / seconds[1]


@torch.inference_mode()
def decode(speaker: LanguageModelWriter, prompts: list[list[int]]) -> Any:
    """``generate`` on a batch, padded on the left."""
    longest = max(map(len, prompts))
    pad = speaker.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return speaker.model.lm.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=speaker.max_new_tokens,
        do_sample=False,
        eos_token_id=speaker.tokenizer.eos_token_id,
        pad_token_id=pad,
    )


def draw_pairs(rng: random.Random, count: int, users: int, items: list[Attributes]) -> list[Pair]:
    """Different pairs, in no order: six of ten items are such as their user has a taste for."""
    found: dict[Pair, None] = {}
    of_users, popular, showing = weights(users, ACTIVITY), weights(len(items), POPULARITY), showing_of(items)
    while len(found) < count:
        [user] = rng.choices(range(users), cum_weights=of_users)
        [item] = rng.choices(range(len(items)), cum_weights=popular)
        if rng.random() < TO_TASTE:
            some = showing[rng.choice(tastes_of(user, showing))]
            [item] = rng.choices(some, [(n + 1) ** -POPULARITY for n in some])
        found[f"u{user}", f"i{item}"] = None
    return list(found)


def tastes_of(user: int, showing: dict[Pair, list[int]]) -> list[Pair]:
    """What a user has a taste for: two values of attributes."""
    return random.Random(user).sample(sorted(showing), 2)


def showing_of(items: list[Attributes]) -> dict[Pair, list[int]]:
    """Attribute and value → the items that show it."""
    showing: dict[Pair, list[int]] = {}
    for n, attributes in enumerate(items):
        for name in ("material", "use", "pattern", "color"):
            for value in attributes.get(name, ()):
                showing.setdefault((name, value), []).append(n)
    return showing


def read_items(tables: Path) -> list[Attributes]:
    """What is known of the items of a made shop."""
    return [json.loads(line)["attributes"] for line in (tables / "items.jsonl").open()]


def weights(count: int, exponent: float) -> list[float]:
    """Of a power law, added up."""
    return list(accumulate((rank + 1) ** -exponent for rank in range(count)))


def make_shop(tables: Path, users: int, items: int) -> None:
    """Items with a handful of facts, and users who take what they have a taste for more often than chance."""
    rng = random.Random(0)
    tables.mkdir(parents=True)
    described = [attributes_of(rng) for _ in range(items)]
    with (tables / "items.jsonl").open("w") as file:
        for n, attributes in enumerate(described):
            title = (
                f"{rng.choice(('Alva', 'Brook', 'Corin', 'Dale', 'Elm'))} {attributes['type'][0].title()} {n}"
            )
            text = ". ".join(each.capitalize() for each in rng.sample(FEATURES, 2)) + "."
            row = {"id": f"i{n}", "title": title, "text": text, "attributes": attributes, "domain": "shop"}
            file.write(json.dumps(row) + "\n")
    with (tables / "interactions.jsonl").open("w") as file:
        for row in steps_of(rng, users, described):
            file.write(json.dumps(row) + "\n")


def attributes_of(rng: random.Random) -> Attributes:
    """What is known of an item."""
    told = {"type": THINGS, "color": COLORS, "material": MATERIALS}
    more = {"pattern": PATTERNS, "use": USES}
    told |= {name: values for name, values in more.items() if rng.random() < 0.5}
    return {name: [rng.choice(values)] for name, values in told.items()}


def steps_of(rng: random.Random, users: int, items: list[Attributes]) -> Iterator[dict[str, Any]]:
    """What users did: five to thirty steps each, six of ten on items that they have a taste for."""
    popular, showing = weights(len(items), POPULARITY), showing_of(items)
    for user in range(users):
        liked = tastes_of(user, showing)
        for step in range(rng.randint(5, 30)):
            [item] = rng.choices(range(len(items)), cum_weights=popular)
            item = rng.choice(showing[rng.choice(liked)]) if rng.random() < TO_TASTE else item
            event = rng.choice(("purchase", "purchase", "cart", "click"))
            yield {"user_id": f"u{user}", "item_id": f"i{item}", "event": event, "timestamp": 1e9 + step}


if __name__ == "__main__":
    auto_cli(main)
