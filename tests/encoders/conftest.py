"""Pictures, videos and tiny encoders made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

_SHARED = Path(os.environ.get("MMREASON_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data, or a skip."""
    if not _SHARED.is_dir():
        pytest.skip(f"no real data at {_SHARED} (set MMREASON_SHARED_DATA)")
    return _SHARED.resolve()


Noise = Callable[..., np.ndarray]
MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def noise() -> Noise:
    """``noise(height, width, seed=0)`` is smooth coloured noise, (H, W, 3) uint8."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))

    return make


@pytest.fixture
def photo(tmp_path: Path, noise: Noise) -> Path:
    """A 400x300 JPEG."""
    path = tmp_path / "photo.jpg"
    Image.fromarray(noise(300, 400)).save(path, quality=95)
    return path


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
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
