"""How fast the shared space trains: from kept features, from pixels, and with cached gradients.

    python benchmarks/align_speed.py --data ../shared/data/magento
    python benchmarks/align_speed.py --data ../shared/data/magento --pictures 48 --rows 128 --steps 2   # a small try

    python benchmarks/align_speed.py --data ../shared/data/magento --only cache                # one of the three

Real photos of the sample shop, packed into shards; timed is from the end of one step to that of a later one, loading
included. The peer is OpenCLIP's own loop (``open_clip_train``: its transform, its CSV loader, fp32 and, where this
CPU multiplies it faster, bf16 autocast; the faster counts) on the same towers, batch and pictures.
"""

from __future__ import annotations

import csv
import logging
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from bars import Bars
from jsonargparse import auto_cli

from mmreason.align.train import align
from mmreason.catalogue.ingest import ingest
from mmreason.config import AlignConfig, AlignStage, CatalogueConfig, Config, SimulateConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.shards.pack import pack
from mmreason.training.loop import TrainingLoop

CLIP = AlignConfig(
    image="openclip:ViT-B-32",
    image_weights="",
    image_feature="pooled",
    text="openclip-text:ViT-B-32",
    text_weights="",
    source="pixels",
    dim=512,
    shuffle=64,
    drop_modality=0.0,
    eval_every=1000,
    save_every=100_000,
    pairs={"image-text": 1.0},
)


def main(
    data: str = "../shared/data/magento",
    pictures: int = 512,
    batch: int = 32,
    steps: int = 8,
    rounds: int = 2,
    rows: int = 4096,
    only: str = "",
) -> None:
    """Measure and check.

    Args:
        data: Folder of the sample shop.
        pictures: Photos, one item each.
        batch: Rows per step of the trainings from pixels.
        steps: Steps timed from pixels.
        rounds: Times that each training against OpenCLIP is run.
        rows: Batch of the cached step.
        only: ``store``, ``openclip`` or ``cache``; empty for all.
    """
    bars = Bars("align_speed")
    with tempfile.TemporaryDirectory() as folder:
        config, table = shards(Path(data), Path(folder), pictures)
        if only in ("", "store"):
            store(bars, config, batch, steps)
        if only in ("", "openclip"):
            openclip(bars, config, table, batch, steps, rounds)
        if only in ("", "cache"):
            cache(bars, config, rows)
    bars.finish()


def shards(data: Path, folder: Path, count: int) -> tuple[Config, Path]:
    """Photos of the shop as items, packed, and the same as OpenCLIP's CSV."""
    photos = sorted(data.rglob("*.jpg"))[:count]
    source = folder / "catalogue"
    source.mkdir()
    records, captions = [], []
    for number, photo in enumerate(photos):
        shutil.copyfile(photo, source / f"{number}.jpg")
        text = f"A photo of product {' '.join(photo.stem.replace('_', '-').split('-'))}, number {number}"
        records.append((number, text, f"{number}.jpg"))
        captions.append((source / f"{number}.jpg", text))
    _write(source / "items.csv", ",", [("id", "title", "images"), *records])
    _write(folder / "openclip.csv", "\t", [("filepath", "title"), *captions])
    config = Config(
        run_dir=str(folder / "run"),
        device="cpu",
        workers=2,
        catalogue=CatalogueConfig("tables", str(source), test_items=0.0, valid_items=0.0),
        simulate=SimulateConfig(users=0),
    )
    print(ingest(config))
    print(pack(config))
    return config, folder / "openclip.csv"


def store(bars: Bars, config: Config, batch: int, steps: int) -> None:
    """Steps a second from kept features and from pixels, the default towers frozen in both."""
    plain = AlignConfig(
        batch_size=batch, eval_every=1000, save_every=100_000, shuffle=64, pairs={"image-text": 1.0}
    )
    kept = replace(config, align=plain)
    _clear(kept)
    align(replace(kept, align=replace(plain, steps=1)))  # computes the features
    fast = seconds_a_step(kept, 50, 50 + 100 * steps)
    slow = seconds_a_step(replace(config, align=replace(plain, source="pixels")), 2, 2 + steps)
    print(
        f"batch {batch}: {1 / fast:.1f} steps/s from kept features, {1 / slow:.2f} from pixels, towers frozen"
    )
    bars.check("from the store over from pixels, steps/s", slow / fast, 20, form=".1f")


def openclip(bars: Bars, config: Config, table: Path, batch: int, steps: int, rounds: int) -> None:
    """Samples a second end to end, against OpenCLIP's loop over the same towers and pictures."""
    stage = AlignStage("all", 0, ["heads", "image", "text"])
    settings = replace(CLIP, batch_size=batch, stages=[stage])
    dtype = pick_dtype("auto", pick_device("cpu"))
    precisions = ["fp32", "amp_bf16"] if dtype is torch.bfloat16 else ["fp32"]
    seconds = defaultdict(list)
    for _ in range(rounds):  # by turns: a machine's speed may change by the minute
        seconds["ours"].append(seconds_a_step(replace(config, align=settings), 2, 2 + steps))
        for precision in precisions:
            seconds[precision].append(open_clip_seconds(table, precision, batch, steps))
    print({name: [round(value, 1) for value in values] for name, values in seconds.items()}, "seconds a step")
    theirs = {name: batch / mean(values) for name, values in seconds.items()}
    ours = theirs.pop("ours")
    named = ", ".join(f"OpenCLIP ({name}) {value:.2f}" for name, value in theirs.items())
    print(f"end to end, ViT-B/32, samples/s: ours ({dtype}) {ours:.2f}, {named}")
    bars.check("end to end over OpenCLIP", ours / max(theirs.values()), 1.5, form=".2f")


def cache(bars: Bars, config: Config, rows: int, micro: int = 16) -> None:
    """A cached step of many rows in a process of its own, against uncached steps that fit; peak memory."""
    seconds, peak = _child(config, rows, micro, 1)
    cached = seconds / rows
    plain = {
        size: _child(config, size, 0, max(4, rows // size // 4))[0] / size for size in (micro, 2 * micro)
    }
    shown = ", ".join(f"{size} at once {value * 1e3:.1f} ms" for size, value in plain.items())
    print(f"time a row: {rows} by {micro} {cached * 1e3:.1f} ms; {shown}")
    bars.check(
        "cached over uncached, time a row", cached / min(plain.values()), 1.6, at_most=True, form=".2f"
    )
    bars.check(f"peak memory with a batch of {rows}, GB", peak, 4, at_most=True, form=".2f")


def _child(config: Config, batch: int, micro: int, steps: int) -> tuple[float, float]:
    """(seconds a step, peak GB) of a training of both default towers in another process."""
    command = [sys.executable, __file__, "--child", config.run_dir, *(str(n) for n in (batch, micro, steps))]
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, peak = shown.split()[-2:]
    return float(seconds), float(peak)


def child(run_dir: str, batch: int, micro: int, steps: int) -> None:
    """What :func:`_child` starts; prints seconds a step and peak memory."""
    stage = AlignStage("all", 0, ["heads", "image", "text"])
    settings = AlignConfig(
        source="pixels",
        batch_size=batch,
        micro_batch=micro,
        stages=[stage],
        loss_chunk=1024 if micro else 0,
        shuffle=64,
        eval_every=1000,
        save_every=100_000,
        pairs={"image-text": 1.0},
    )
    config = Config(run_dir=run_dir, device="cpu", dtype="fp32", workers=1, align=settings)
    seconds = seconds_a_step(config, 0, steps)
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def seconds_a_step(config: Config, few: int, many: int) -> float:
    """The mean time of ``many`` steps without the first ``few``, from when the one before has ended."""
    _clear(config)
    times: list[float] = []
    step = TrainingLoop._step

    def timed(*arguments: Any) -> Any:
        if not times:
            times.append(time.perf_counter())
        loss = step(*arguments)
        times.append(time.perf_counter())
        return loss

    settings = replace(config.align, steps=many, stages=[replace(s, steps=many) for s in config.align.stages])
    with patch.object(TrainingLoop, "_step", timed):
        align(replace(config, align=settings))
    return (times[-1] - times[few]) / (many - few)


def open_clip_seconds(table: Path, precision: str, batch: int, steps: int) -> float:
    """Seconds a step of ``open_clip_train.train.train_one_epoch``, the first two steps left out."""
    import open_clip
    from open_clip_train.data import get_csv_dataset
    from open_clip_train.train import train_one_epoch

    logging.getLogger().setLevel(logging.ERROR)
    model, transform, _ = open_clip.create_model_and_transforms(
        "ViT-B-32", precision=precision, output_dict=True
    )
    args: Any = SimpleNamespace(
        train_data=str(table),
        csv_img_key="filepath",
        csv_caption_key="title",
        csv_separator="\t",
        distributed=False,
        batch_size=batch,
        workers=2,
        device="cpu",
        precision=precision,
        accum_freq=1,
        distill=False,
        skip_scheduler=True,
        horovod=False,
        grad_clip_norm=1.0,
        rank=0,
        local_rank=0,
        world_size=1,
        log_every_n_steps=1000,
        log_local=False,
        wandb=False,
    )
    info = get_csv_dataset(args, transform, True, tokenizer=open_clip.get_tokenizer("ViT-B-32"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    loss = open_clip.ClipLoss()
    loader, ends = info.dataloader, []

    class Some:
        """The first steps of the loader, so often that there are enough; notes when each was asked for."""

        num_batches, num_samples = steps + 3, (steps + 3) * batch

        def __iter__(self) -> Any:
            given = 0
            while given < self.num_batches:
                for item in loader:
                    ends.append(time.perf_counter())
                    yield item
                    given += 1
                    if given == self.num_batches:
                        return

    info.dataloader = Some()
    train_one_epoch(model, {"train": info}, loss, 0, optimizer, None, None, None, args)
    return (ends[-1] - ends[2]) / (len(ends) - 3)


def _clear(config: Config) -> None:
    for name in ("align", "checkpoints"):
        shutil.rmtree(config.path(name), ignore_errors=True)


def _write(path: Path, separator: str, rows: list) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], *(int(n) for n in sys.argv[3:]))
    else:
        auto_cli(main)
