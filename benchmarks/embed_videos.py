"""Videos to vectors, beside decord's full-size frames through OpenCLIP's own transform and model.

    python benchmarks/embed_videos.py                                   # real clips and four 2-minute 1080p files
    python benchmarks/embed_videos.py --files 1 --seconds 10 --clips 4  # a small one
    python benchmarks/embed_videos.py --memory 1000                     # resident memory over 1,000 videos

Both sides look at the same 8 frames of each file with the same random ViT-B/32; ours is ``mmreason embed`` as it is.
The 1080p files are encoded once (H.264, a key frame at least every 250 frames) and kept in the temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import open_clip
import psutil
import torch
from bars import Bars
from bulk import account, bulk, flops, int8_pays, peaks
from jsonargparse import auto_cli
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize
from tqdm import tqdm

from encoders import MediaError, VideoEncoder, create_encoder
from encoders.media.frames import sample_frames
from encoders.media.sampling import segment_centres
from encoders.media.video_index import opened, read_index
from encoders.state import load_state
from mmreason.config import EmbedConfig
from mmreason.schema import Item

SHARED = Path(
    os.environ.get("MMREASON_SHARED_DATA", Path(__file__).resolve().parents[1] / "../shared/data")
).resolve()
FRAMES = 8


def main(
    files: int = 4,
    seconds: int = 120,
    clips: int = 0,
    memory: int = 0,
) -> None:
    """Measure, print and exit with 1 below a bar.

    Args:
        files: Number of 1080p files to encode.
        seconds: Length of each.
        clips: Number of real clips; 0 for all.
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

    # The same frames to both, so that only the model differs.
    few = [list(map(Image.fromarray, peer_frames(path))) for path in common[:4]]
    exact = cosine_similarity(video.encode(few), theirs[:4])
    bars.check("smallest cosine, fp32", float(exact.min()), 0.999, form=".5f")
    int8 = int8_pays()
    settings = EmbedConfig(int8=int8, decode_seconds=600)
    frame = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
    work = flops(image, frame) * FRAMES * len(common)
    with tempfile.TemporaryDirectory() as folder:
        bulk(video, video_items(common[:1]), 1, Path(folder, "warm"), settings)  # starts the fork server
        ours = bulk(video, video_items(common), len(common), Path(folder, "store"), settings)
        vectors = torch.from_numpy(ours.store.get("video_features"))
        report_others(video, [path for path in paths if path not in common], Path(folder, "others"), settings)
    bars.check(
        "smallest cosine, fast path",
        float(cosine_similarity(vectors.float(), theirs).min()),
        0.99,
        form=".5f",
    )
    account("videos", ours, work, peaks())
    print(f"peer {len(common) / peer_seconds:.2f} videos/s, ours {len(common) / ours.seconds:.2f} ({int8=})")
    bars.check("embed_videos", peer_seconds / ours.seconds, 2.0, form=".2f")
    sys.exit(not all(bars.met))


def report_others(video: VideoEncoder, paths: list[Path], folder: Path, settings: EmbedConfig) -> None:
    """Print what becomes of the files that the peer cannot read."""
    if paths:
        bulk(video, video_items(paths), len(paths), folder, settings)
        quarantine = folder / "quarantine.jsonl"
        errors = quarantine.read_text(encoding="utf-8").splitlines() if quarantine.exists() else []
        print(
            f"of the {len(paths)} that decord cannot read, we read {len(paths) - len(errors)}",
            *errors,
            sep="\n",
        )


def video_items(paths: list[Path]) -> Iterator[Item]:
    """One item a video, read when its turn comes."""
    for number, path in enumerate(paths):
        yield Item(f"{number} {path.name}", video=path.read_bytes())


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


@cache
def positions(path: Path) -> list[int]:
    """Numbers of the frames that both sides look at; found before the timing."""
    with opened(str(path)) as (container, stream):
        return segment_centres(read_index(container, stream, path.name), FRAMES)


def peer_frames(path: Path) -> np.ndarray:
    """As decord's documentation reads frames."""
    from decord import VideoReader, cpu

    reader = VideoReader(str(path), ctx=cpu(0))
    try:
        return reader.get_batch(positions(path)).asnumpy()
    finally:
        reader.seek(0)  # or it reads ahead while the model runs, which would only slow it down


def readable(path: Path) -> bool:
    """Whether decord and this package both read a file."""
    from decord import DECORDError

    try:
        sample_frames(path, FRAMES, 224)
        peer_frames(path)
        return True
    except (MediaError, DECORDError, RuntimeError):
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
