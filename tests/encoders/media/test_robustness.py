"""Damaged and strange inputs: one result or one counted error each, through the pool that may kill its workers."""

from __future__ import annotations

import io
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from encoders import MediaError, create_encoder
from encoders.classical import TfidfEncoder, Word2VecEncoder
from encoders.image import Preprocessing
from encoders.media.frames import sample_frames
from encoders.media.guarded import GuardedPool

PICTURE = Preprocessing(size=32, resize=32, mean=(0, 0, 0), std=(1, 1, 1))
TEXTS = [
    "",
    " \n\t ",
    "\x00",
    "a\x00b",
    "🙂🙃👩‍👩‍👧‍👦",
    "مرحبا بالعالم שלום",
    "\u202eright to left",
    "汉字",
    "half a pair \ud83d",
    "word " * 20_000,
    "x" * 100_000,
    " " * 100_000,
]


def read(raw: tuple[str, bytes]) -> Any:
    """What a worker does."""
    kind, data = raw
    return PICTURE(data) if kind == "jpg" else sample_frames(data, 4, 48)


def test_200_damaged_files_give_one_result_or_one_error_each(damaged: list[tuple[str, bytes]]) -> None:
    with GuardedPool(read, workers=2, timeout=20) as pool:
        results = list(pool.map(damaged))
    assert len(results) == 200
    outcome: Counter[tuple[str, str]] = Counter()
    for (kind, _), result in zip(damaged, results, strict=True):
        if isinstance(result, MediaError):
            assert "\n" not in str(result)
            assert "not read within" not in str(result)
            outcome[kind, "error"] += 1
        else:
            assert tuple(result.shape)[-3:] == ((3, 32, 32) if kind == "jpg" else (48, 72, 3))
            outcome[kind, "result"] += 1
    assert min(outcome[kind, what] for kind in ("jpg", "mp4") for what in ("error", "result")) >= 5


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_every_kind_of_picture_gives_one_feature() -> None:
    grey = Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16)
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [
        _saved(Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "JPEG"),
        _saved(Image.new("P", (40, 30), 3), "PNG", transparency=3),
        _saved(grey, "PNG"),
        _saved(grey, "TIFF"),
        _saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        _saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        _saved(frames[0], "JPEG", exif=exif),
        _saved(Image.new("1", (1, 1)), "PNG"),
        _saved(Image.new("L", (3000, 1)), "PNG"),
    ]
    features = create_encoder("timm:test_resnet").encode(pictures)
    assert features.isfinite().all()


@pytest.fixture(scope="module")
def texts_to_fit() -> list[str]:
    return ["red wool hat", "blue wool hat", "red cotton shirt", "word x"] * 3


@pytest.mark.parametrize("kind", ["openclip-text", "tfidf", "word2vec"])
def test_every_kind_of_text_gives_one_feature_soon(kind: str, texts_to_fit: list[str]) -> None:
    tiny = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    encoder: Any
    if kind == "openclip-text":
        encoder = create_encoder("openclip-text:tiny", config={"embed_dim": 16, "text_cfg": tiny})
    else:
        made: Any = TfidfEncoder(dim=4) if kind == "tfidf" else Word2VecEncoder(dim=4)
        encoder = made.fit(texts_to_fit)
    started = time.process_time()
    features = encoder.encode(TEXTS)
    assert time.process_time() - started < 10
    assert features.shape == (len(TEXTS), encoder.dim)
    assert features.isfinite().all()
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    torch.testing.assert_close(features, alone, rtol=1e-4, atol=1e-5)
    with pytest.raises(MediaError, match="must be a string"):
        encoder.encode([None])
