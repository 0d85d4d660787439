"""Pictures and videos made on the spot, tiny random models and a tiny finished run, shared by the tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tiny_models import make_tiny_models, tiny_config

from mmreason.config import Config

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
_SHARED = Path(os.environ.get("MMREASON_SHARED_DATA", Path(__file__).parents[1] / "../shared/data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process is left alone with one at the end."""
    longest = ("test_end_to_end.py", "test_pipeline.py", "test_distributed.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, or a skip."""
    if not _SHARED.is_dir():
        pytest.skip(f"no real data at {_SHARED} (set MMREASON_SHARED_DATA)")
    return _SHARED.resolve()


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """``noise(height, width, seed=0)`` is smooth coloured noise, (H, W, 3) uint8."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))

    return make


@pytest.fixture
def photo(tmp_path: Path, noise: Callable[..., np.ndarray]) -> Path:
    """A 400x300 JPEG."""
    path = tmp_path / "photo.jpg"
    Image.fromarray(noise(300, 400)).save(path, quality=95)
    return path


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip whose frame i has the grey level 8 i (modulo 256) and a white upper left corner."""

    def make(
        name: str = "clip.mp4",
        frames: int = 20,
        width: int = 96,
        height: int = 64,
        rotation: int = 0,
        gop: int = 5,
    ) -> Path:
        path = tmp_path / name
        options = {"movflags": "faststart"} if name.endswith("mp4") else {}
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = gop
            stream.bit_rate = 4_000_000
            if rotation:
                stream.set_display_rotation(rotation)
            for i in range(frames):
                array = np.full((height, width, 3), 8 * i % 256, dtype=np.uint8)
                array[: height // 4, : width // 4] = 255
                container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture
def damaged(photo: Path, make_video: Callable[..., Path]) -> list[tuple[str, bytes]]:
    """100 JPEG and 100 MP4 files, each cut short or with one to sixty-four bits flipped: (kind, bytes)."""
    rng = np.random.default_rng(0)
    sources = {"jpg": photo.read_bytes(), "mp4": make_video(frames=12).read_bytes()}

    def damage(data: bytes) -> bytes:
        if rng.random() < 0.5:
            return data[: int(rng.integers(0, len(data)))]
        flipped = bytearray(data)
        for place in rng.integers(0, len(data), int(2 ** rng.integers(0, 7))):
            flipped[place] ^= 1 << int(rng.integers(0, 8))
        return bytes(flipped)

    return [(kind, damage(data)) for kind, data in sources.items() for _ in range(100)]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a tiny random text encoder and a tiny random decoder LM, with a byte-level tokenizer."""
    return make_tiny_models(tmp_path_factory.mktemp("models"))


MakeConfig = Callable[..., Config]


@pytest.fixture(scope="session")
def make_config(tiny_models: dict[str, str]) -> MakeConfig:
    """``make_config(run_dir, **sections)``: a run of seconds over the made-up catalogue, with tiny random models."""
    base = tiny_config(tiny_models)

    def make(run_dir: Path, **changes: object) -> Config:
        return replace(base, run_dir=str(run_dir), **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def tiny_run(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A finished run; tests read it and do not write to it."""
    from mmreason.pipeline import run

    config = make_config(tmp_path_factory.mktemp("run"))
    run(config)
    return config
