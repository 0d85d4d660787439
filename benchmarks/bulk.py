"""What the embedding benchmarks share: our bulk job over given items, and the machine's measured peak."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from encoders import Encoder
from encoders.int8 import is_fast
from mmreason.config import AlignConfig, Config, EmbedConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.bulk import BulkJob, open_models
from mmreason.embed.embedder import Embedder
from mmreason.embed.model import AlignModel
from mmreason.embed.quarantine import Quarantine
from mmreason.progress import Progress
from mmreason.schema import Item
from mmreason.store.store import EmbeddingStore, StoreWriter


@dataclass
class Run:
    """One bulk job.

    Attributes:
        seconds: Wall clock, from the first file read to the last part on disk.
        busy: Where they went, see :class:`mmreason.embed.bulk.BulkJob`.
        store: What it wrote.
    """

    seconds: float
    busy: Counter[str]
    store: EmbeddingStore


def bulk(encoder: Encoder, items: Iterator[Item], total: int, folder: Path, settings: EmbedConfig) -> Run:
    """Embed items exactly as ``mmreason embed`` does, into a store of their own.

    Args:
        encoder: The tower; it is made faster in place.
        items: Items of its modality only.
        total: How many.
        folder: New.
        settings: As of ``mmreason embed``.
    """
    modality = encoder.modality
    model = AlignModel({modality: encoder.dim}, AlignConfig(dim=256))
    embedder = Embedder({modality: encoder}, model).optimize(settings.int8)
    config = Config(run_dir=str(folder), embed=settings)  # the feature cache lies beside the parts
    started = time.perf_counter()
    job = BulkJob(config, StoreWriter(folder, {}), Quarantine(folder / "quarantine.jsonl", anew=True))
    with Progress(total, f"ours, {modality}") as progress:
        job.run(items, progress, open_models(config, folder, embedder))
    return Run(time.perf_counter() - started, job.seconds, EmbeddingStore.open(folder))


def int8_pays() -> bool:
    """Whether ``embed.int8`` is the fast path: this CPU has VNNI and multiplies bf16 no faster than fp32."""
    return is_fast() and pick_dtype("auto", pick_device("cpu")) == torch.float32


def file_items(paths: list[Path]) -> Iterator[Item]:
    """One item a picture, read when its turn comes."""
    for number, path in enumerate(paths):
        yield Item(f"{number}", images=[path.read_bytes()])


def peaks() -> dict[str, float]:
    """Largest measured rate of a matrix product on all cores, in Gflop/s (int8: Gop/s)."""
    return {
        "fp32": _rate(lambda size: torch.ones(size, size), torch.mm),
        "bf16": _rate(lambda size: torch.ones(size, size).bfloat16(), torch.mm),
        "int8": _rate(lambda size: torch.ones(size, size, dtype=torch.int8), torch._int_mm),
    }


def _rate(make: Callable[[int], Tensor], multiply: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Of ever larger squares, until one takes a second: a format without instructions is a thousand times slower."""
    best = 0.0
    for size in (256, 512, 1024, 2048, 2048, 2048, 2048):
        square = make(size)
        started = time.perf_counter()
        multiply(square, square)
        seconds = time.perf_counter() - started
        best = max(best, 2 * size**3 / seconds / 1e9)
        if seconds > 1:
            break
    return best


def flops(encoder: Encoder, batch: object) -> int:
    """Floating-point operations of one forward pass, multiplications and additions."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not know it
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(batch)
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


def account(name: str, run: Run, work: float, top: dict[str, float]) -> None:
    """Print the fraction of each peak, and where the time went."""
    rate = work / run.seconds / 1e9
    print(
        f"{name}: {rate:.0f} Gflop/s = "
        + ", ".join(f"{rate / peak:.0%} of {n} peak" for n, peak in top.items())
    )
    cores = torch.get_num_threads()
    spent = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in sorted(run.busy.items()))
    print(f"{name}: {run.seconds:.1f} s on {cores} cores; busy: {spent} (decode: waited for, or tokenising)")


def cosine(left: Tensor, right: Tensor) -> float:
    """Smallest cosine of corresponding rows."""
    return float(torch.nn.functional.cosine_similarity(left.float(), right.float(), dim=1).min())
