"""Decoded samples a second of the loader, accounting on, beside a bare webdataset pipeline over the same shards.

    python benchmarks/loader.py                          # 1,500 made-up pictures
    python benchmarks/loader.py --pictures photos/       # every JPEG below a folder
    python benchmarks/loader.py --count 200 --rounds 3   # a small run

Both shuffle in a window of 1,000, decode each JPEG with the same function to a (3, 224, 224) tensor and stack 32 of
them. The two take turns; the ratio is the median over the rounds of the ratio within one round.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from bars import Bars
from jsonargparse import auto_cli
from PIL import Image
from tqdm import tqdm

from encoders.media.pictures import open_image
from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.schema import Item
from mmreason.shards.loader import ShardLoader
from mmreason.shards.manifest import verify_shards
from mmreason.shards.pack import write_shards

SIDE, BATCH, WINDOW = 224, 32, 1000


def main(count: int = 1500, rounds: int = 7, pictures: str = "", workers: list[int] | None = None) -> None:
    """Pack pictures, read them both ways, check.

    Args:
        count: How many pictures (of a folder: at most).
        rounds: Turns that each takes.
        pictures: Folder of JPEGs; made up if empty.
        workers: Numbers of worker processes to measure; 0 and 2 if not given.
    """
    torch.set_num_threads(1)
    bars = Bars("loader")
    with tempfile.TemporaryDirectory() as folder:
        names = find_pictures(Path(pictures), count) if pictures else make_pictures(Path(folder), count)
        items = {f"item {n}": Item(f"item {n}", images=[name]) for n, name in enumerate(names)}
        root = Path(pictures or folder).resolve()
        write_catalogue(Catalogue(items, [], [], root), Path(folder, "catalogue"))
        write_shards(Path(folder, "catalogue"), Path(folder, "shards"), 128)
        verify_shards(Path(folder, "shards"))
        for number in workers if workers is not None else [0, 2]:
            ours, bare = take_turns(Path(folder, "shards"), len(names), number, rounds)
            ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
            print(
                f"{number} workers: loader {statistics.median(ours):.1f}, "
                f"bare webdataset {statistics.median(bare):.1f} samples/s (medians of {rounds} rounds)"
            )
            bars.check(f"loader / bare webdataset, {number} workers", ratio, 0.95, form=".3f")
    bars.finish()


def take_turns(shards: Path, count: int, workers: int, rounds: int) -> tuple[list[float], list[float]]:
    """Samples a second of the loader and of bare webdataset, one figure a round."""
    both: tuple[Callable[[], Iterable[Any]], ...] = (
        lambda: our_batches(shards, workers, count),
        lambda: bare_batches(shards, workers),
    )
    found: tuple[list[float], list[float]] = ([], [])
    for turn in tqdm(range(rounds + 1), desc=f"{workers} workers", unit="round", disable=None):
        for which in (0, 1) if turn % 2 else (1, 0):
            started = time.perf_counter()
            seen = sum(len(batch) for batch in both[which]())
            rate = seen / (time.perf_counter() - started)
            assert seen == count, f"{seen} of {count} samples"
            if turn:  # the first is to warm up
                found[which].append(rate)
    return found


def our_batches(shards: Path, workers: int, count: int) -> Iterable[torch.Tensor]:
    """The loader; it must have accounted for every sample."""
    loader = ShardLoader(
        shards,
        "items",
        batch_size=BATCH,
        collate=torch.stack,
        decode=decode_first_picture,
        workers=workers,
        shuffle=WINDOW,
    )
    yield from loader
    assert loader.kept == count and not loader.skipped


def bare_batches(shards: Path, workers: int) -> Iterable[torch.Tensor]:
    """The pipeline of webdataset's own documentation."""
    tars = sorted(str(path) for path in shards.glob("items-*.tar"))
    pipeline = webdataset.DataPipeline(
        webdataset.SimpleShardList(tars),
        webdataset.split_by_worker,
        webdataset.tarfile_to_samples(),
        webdataset.shuffle(WINDOW),
        webdataset.map(decode_sample),
        webdataset.batched(BATCH, collation_fn=torch.stack),
    )
    return webdataset.WebLoader(pipeline, batch_size=None, num_workers=workers)


def decode(data: bytes) -> torch.Tensor:
    """A JPEG as a (3, 224, 224) uint8 tensor."""
    image = open_image(data, min_side=2 * SIDE).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def decode_first_picture(item: Item) -> torch.Tensor:
    """Of an item of the loader."""
    return decode(item.images[0])


def decode_sample(sample: dict[str, Any]) -> torch.Tensor:
    """Of a sample of webdataset."""
    return decode(sample["0.jpg"])


def find_pictures(folder: Path, count: int) -> list[str]:
    """JPEGs below a folder, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))[:count]


def make_pictures(folder: Path, count: int) -> list[str]:
    """Cloudy pictures with some grain, about 100 KB each, as product photos are."""
    rng = np.random.default_rng(0)
    for number in tqdm(range(count), desc="pictures", disable=None):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        picture = np.asarray(coarse.resize((800, 1000), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-6, 7, picture.shape, dtype=np.int16)
        Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8)).save(
            folder / f"{number}.jpg", quality=85
        )
    return [f"{number}.jpg" for number in range(count)]


if __name__ == "__main__":
    auto_cli(main)
