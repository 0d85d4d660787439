"""Videos to vectors, beside decord's full-size frames through OpenCLIP's own transform and model.

    python benchmarks/embed_videos.py                                   # real clips and four 2-minute 1080p files
    python benchmarks/embed_videos.py --files 1 --seconds 10 --clips 4  # a small one
    python benchmarks/embed_videos.py --memory 1000                     # resident memory over 1,000 videos

Both sides look at the same 8 frames of each file with the same random ViT-B/32. The 1080p files are encoded once
(H.264, a key frame at least every 250 frames) and kept in the temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import open_clip
import psutil
import torch
from bars import Bars
from jsonargparse import auto_cli
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from encoders import GuardedPool, MediaError, VideoEncoder, create_encoder
from encoders.frames import sample_frames
from encoders.sampling import segment_centres
from encoders.state import load_state
from mmreason.device import pick_dtype

SHARED = Path(
    os.environ.get("MMREASON_SHARED_DATA", Path(__file__).resolve().parents[1] / "../shared/data")
).resolve()
FRAMES = 8


def main(
    files: int = 4,
    seconds: int = 120,
    clips: int = 0,
    workers: int = 2,
    batch: int = 4,
    memory: int = 0,
) -> None:
    """Measure, print and exit with 1 below a bar.

    Args:
        files: Number of 1080p files to encode.
        seconds: Length of each.
        clips: Number of real clips; 0 for all.
        workers: Decoding processes.
        batch: Videos per forward pass.
        memory: Read so many videos and watch the resident memory instead.
    """
    paths = real_clips()[: clips or None] + long_files(files, seconds)
    if memory:
        watch_memory(paths, memory)
        return
    bars = Bars("embed_videos")
    torch.manual_seed(0)
    peer: Any = open_clip.create_model("ViT-B-32").eval()
    image: Any = create_encoder("openclip:ViT-B-32")
    load_state(image.tower, peer.visual.state_dict(), "the peer")
    video = VideoEncoder(image, FRAMES)
    common = [path for path in tqdm(paths, "which can decord read", disable=None) if readable(path)]
    print(f"{len(paths)} videos; decord reads {len(common)} of them, which are timed")

    run_peer(peer, common[:1])  # warm
    started = time.perf_counter()
    theirs = run_peer(peer, common)
    peer_seconds = time.perf_counter() - started

    exact = normalize(video.encode(common))
    bars.check("smallest cosine, fp32", float(cosine_similarity(exact, theirs).min()), 0.999, form=".5f")
    dtype = pick_dtype("auto", torch.device("cpu"))
    print(f"fast path: {str(dtype).removeprefix('torch.')}, the faster one on this processor")
    video.to(dtype=dtype)
    with GuardedPool(video.preprocessing, workers=workers, timeout=600) as pool:
        list(pool.map(common[:workers]))  # warm
        started = time.perf_counter()
        ours, spent = run_ours(video, pool, common, batch)
        seconds_taken = time.perf_counter() - started
        others = [path for path in paths if path not in common]
        lost = {
            p.name: str(r) for p, r in zip(others, pool.map(others), strict=True) if isinstance(r, MediaError)
        }
    bars.check("smallest cosine, fast path", float(cosine_similarity(ours, theirs).min()), 0.99, form=".5f")
    print(
        f"of the {len(others)} that decord cannot read, we read {len(others) - len(lost)}; errors: {lost or 'none'}"
    )
    report(image, len(common), peer_seconds, seconds_taken, spent)
    bars.check("embed_videos", peer_seconds / seconds_taken, 2.0, form=".2f")
    sys.exit(not all(bars.met))


def real_clips() -> list[Path]:
    """The clips of the shared data, or none with a message."""
    found = sorted(p for p in (SHARED / "video").rglob("*") if p.suffix in (".mp4", ".mkv", ".mov"))
    if not found:
        print(f"no real clips at {SHARED}/video (set MMREASON_SHARED_DATA): only encoded files are measured")
    return found


def long_files(count: int, seconds: int) -> list[Path]:
    """1080p H.264 files, encoded if they are not there yet."""
    folder = Path(tempfile.gettempdir(), "mmreason-embed-videos")
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{seconds}s-{i}.mp4" for i in range(count)]
    for seed, path in enumerate(paths):
        if not path.exists():
            part = path.with_name(f".tmp-{os.getpid()}-{path.name}")
            encode(part, seconds, seed)
            part.replace(path)
    return paths


def encode(path: Path, seconds: int, seed: int, rate: int = 25) -> None:
    """A camera gliding over a textured picture, another picture every ten seconds."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for i in tqdm(range(seconds * rate), f"encode {path.name}", unit="frame", disable=None):
            if i % (10 * rate) == 0:
                picture = textured(rng, 1300, 2300)
            y, x = int(110 + 100 * np.cos(i / 60)), int(190 + 180 * np.sin(i / 80))
            frame = np.ascontiguousarray(picture[y : y + 1080, x : x + 1920])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def textured(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of four scales, the fine ones faint, as in photographs."""
    total = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((6, 0.6), (24, 0.25), (96, 0.1), (384, 0.05)):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells * 16 // 9, 3), dtype=np.uint8))
        total += weight * np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return total.clip(0, 255).astype(np.uint8)


def peer_frames(path: Path) -> np.ndarray:
    """As decord's documentation reads frames."""
    from decord import VideoReader, cpu

    reader = VideoReader(str(path), ctx=cpu(0))
    try:
        return reader.get_batch(segment_centres(len(reader), FRAMES)).asnumpy()
    finally:
        reader.seek(0)  # or it reads ahead while the model runs, which would only slow it down


def readable(path: Path) -> bool:
    """Whether decord and this package both read a file."""
    try:
        sample_frames(path, FRAMES, 224)
        peer_frames(path)
        return True
    except Exception:
        return False


@torch.no_grad()
def run_peer(model: Any, paths: list[Path]) -> Tensor:
    """(N, D) unit vectors."""
    transform = open_clip.image_transform(model.visual.image_size, is_train=False)
    vectors = []
    for path in tqdm(paths, "decord + open_clip", disable=None):
        pictures = torch.stack([transform(Image.fromarray(frame)) for frame in peer_frames(path)])
        vectors.append(model.encode_image(pictures).mean(dim=0))
    return normalize(torch.stack(vectors))


@torch.no_grad()
def run_ours(
    video: VideoEncoder, pool: GuardedPool, paths: list[Path], batch: int
) -> tuple[Tensor, dict[str, float]]:
    """(N, D) unit vectors, and the seconds spent waiting for frames and in the model."""
    spent = {"waiting for frames": 0.0, "model": 0.0}
    vectors = []
    clips: Iterator[Any] = pool.map(paths)
    with tqdm(total=len(paths), desc="mmreason", disable=None) as bar:
        while True:
            started = time.perf_counter()
            chunk = [clip for _, clip in zip(range(batch), clips, strict=False)]
            ready = time.perf_counter()
            if not chunk:
                break
            for clip in chunk:
                if isinstance(clip, MediaError):  # every one of these was read before
                    raise clip
            vectors.append(video(video.collate(chunk)))
            spent["waiting for frames"] += ready - started
            spent["model"] += time.perf_counter() - ready
            bar.update(len(chunk))
    return normalize(torch.cat(vectors)), spent


def report(image: Any, videos: int, peer: float, ours: float, spent: dict[str, float]) -> None:
    """Where the time goes, and the fraction of the matrix-multiply peak."""
    picture = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        image(picture)
    done = counter.get_total_flops() * FRAMES * videos
    dtype = next(image.parameters()).dtype
    square = torch.randn(2048, 2048, dtype=dtype)
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        square @ square
        best = max(best, 2 * 2048**3 / (time.perf_counter() - started))
    print(f"peer: {videos / peer:.2f} videos/s; ours: {videos / ours:.2f} videos/s")
    print("our time: " + ", ".join(f"{name} {value / ours:.0%}" for name, value in spent.items()))
    print(f"{done / ours / best:.0%} of the matrix-multiply peak of {best / 1e9:.0f} GFLOP/s")


def watch_memory(paths: list[Path], count: int) -> None:
    """Read ``count`` videos in this process; growth of resident memory after the first tenth."""
    bars, process = Bars("embed_videos"), psutil.Process()
    start = 0
    for i in tqdm(range(count), "read", unit="video", disable=None):
        try:
            sample_frames(paths[i % len(paths)], FRAMES, 224)
        except MediaError as error:
            if i < len(paths):
                print(f"error: {error}")
        if i == max(count // 10, min(len(paths), count // 2)):
            start = process.memory_info().rss
    grown = (process.memory_info().rss - start) / 2**20
    bars.check("embed_videos memory growth, MB", grown, 64, at_most=True, form=".0f")
    sys.exit(not all(bars.met))


if __name__ == "__main__":
    auto_cli(main)
