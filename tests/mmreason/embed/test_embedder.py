"""The embedder: any mixture in, the same vector alone and in any batch, and what is done with vectors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders import MediaError
from encoders.int8 import is_fast
from mmreason.config import Config
from mmreason.embed.embedder import Embedder
from mmreason.embed.inputs import as_item
from mmreason.embed.vectors import quantise, rank, shorten, similarity
from mmreason.schema import DataError, Item


@pytest.fixture(scope="module")
def embedder(make_config, tmp_path_factory: pytest.TempPathFactory) -> Embedder:  # type: ignore[no-untyped-def]
    config: Config = make_config(tmp_path_factory.mktemp("run"))
    torch.manual_seed(0)
    return Embedder.create(config.align, "cpu", "fp32")


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


def test_what_dataframes_and_buffers_give_is_taken(embedder: Embedder, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(jpeg(1))
    alike = [
        jpeg(1),
        bytearray(jpeg(1)),
        memoryview(jpeg(1)),
        {"title": "", "images": str(path), "video": None, "attributes": None},
        torch.from_numpy(np.array(picture(1))).float().requires_grad_().detach().byte(),
    ]
    vectors = embedder.encode(alike)
    assert np.allclose(vectors, vectors[:1], atol=1e-5)


def test_a_callers_picture_is_left_as_it_is(embedder: Embedder, tmp_path: Path) -> None:
    picture(1, (4000, 3000)).save(tmp_path / "large.jpg")
    with Image.open(tmp_path / "large.jpg") as opened:
        embedder.encode([opened])
        assert opened.size == (4000, 3000)


def test_a_foreign_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="not of an alignment model"):
        Embedder.from_pretrained(tmp_path)


def test_any_mixture_in_one_call(embedder: Embedder, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(jpeg(1))
    array = np.array(picture(1))
    inputs = [
        Item("all", title="coat", images=[picture(1), jpeg(2)]),
        "red hoodie",
        picture(1),
        jpeg(1),
        path,
        str(path),
        array,
        torch.from_numpy(array).permute(2, 0, 1),
        [picture(1), path],
        {"title": "red hoodie"},
        np.stack([array] * 3),
    ]
    vectors = embedder.encode(inputs)
    assert vectors.shape == (len(inputs), 16) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for row in (3, 4, 5, 6, 7, 8):  # one picture, however it was given
        assert np.allclose(vectors[row], vectors[2], atol=1e-5)
    assert np.allclose(vectors[9], vectors[1], atol=1e-5)
    assert not np.allclose(vectors[1], vectors[2], atol=1e-2)
    assert np.allclose(embedder.encode("red hoodie"), vectors[1], atol=1e-5)
    assert embedder.encode([]).shape == (0, 16)


@pytest.mark.parametrize(("dtype", "apart"), [("fp32", 1e-6), ("bf16", 1e-4)])
def test_alone_or_in_any_batch(make_config, tmp_path: Path, dtype: str, apart: float) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    embedder = Embedder.create(make_config(tmp_path).align, "cpu", dtype)
    rng = np.random.default_rng(0)
    items = [
        Item(f"{n}", title=" ".join(["word"] * int(rng.integers(1, 40))), images=[picture(n)][: n % 2])
        for n in range(12)
    ]
    alone = np.stack([embedder.encode([item])[0] for item in items])
    for size in ("auto", 1, 5):
        order = rng.permutation(len(items))
        together = embedder.encode([items[i] for i in order], size)
        cosines = (together * alone[order]).sum(axis=1)
        assert cosines.min() > 1 - apart


def test_a_convolutional_tower_stays_in_fp32_on_a_cpu(make_config, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = make_config(tmp_path).align
    config.image, config.image_weights = "timm:test_efficientnet", ""
    embedder = Embedder.create(config, "cpu", "bf16")
    for encoders in (embedder.encoders, embedder.optimize().encoders):
        dtypes = {name: {p.dtype for p in encoders[name].parameters()} for name in ("image", "video", "text")}
        assert dtypes["image"] == dtypes["video"] == {torch.float32}
        assert dtypes["text"] == {torch.bfloat16}


@pytest.mark.skipif(not is_fast(), reason="this CPU has no VNNI")
def test_int8_is_close_and_the_same_in_any_batch(make_config, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = make_config(tmp_path).align
    texts = [f"a {word} coat" for word in ("red", "blue", "very long and warm woollen")]
    plain = Embedder.create(config, "cpu", "fp32").encode(texts)
    embedder = Embedder.create(config, "cpu", "fp32").optimize(int8=True)
    torch.manual_seed(0)
    fast = embedder.encode(texts)
    alone = np.stack([embedder.encode([text])[0] for text in texts])
    assert np.allclose((fast * alone).sum(axis=1), 1, atol=1e-6)
    assert plain.shape == fast.shape


def test_shorter_and_smaller_vectors(embedder: Embedder) -> None:
    texts = ["red hoodie", "blue rain coat", "trail shoes"]
    full = embedder.encode(texts)
    short = embedder.encode(texts, truncate_dim=4)
    assert short.shape == (3, 4) and np.allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
    assert np.allclose(short, shorten(full[:, :4], None), atol=1e-6)
    assert embedder.encode(texts, normalize=False).shape == (3, 16)
    assert embedder.encode(texts, precision="int8").dtype == np.int8
    assert embedder.encode(texts, precision="binary").shape == (3, 2)
    for bad in (0, 17, 1.5, "4"):
        with pytest.raises(ValueError, match="truncate_dim"):
            embedder.encode(texts, truncate_dim=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision"):
        embedder.encode(texts, precision="int4")  # type: ignore[arg-type]
    best = embedder.rank("red hoodie", texts, top_k=2)
    assert best[0][0] == 0 and best[0][1] == pytest.approx(1, abs=1e-5) and len(best) == 2
    assert embedder.rank("red hoodie", full)[0] == best[0]


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(8, 80))
@settings(max_examples=30, deadline=None)
def test_smaller_vectors_keep_the_order(seed: int, dim: int) -> None:
    vectors = shorten(np.random.default_rng(seed).normal(size=(6, dim)).astype(np.float32), None)
    small = quantise(vectors, "int8")
    assert np.abs(similarity(small, small) - similarity(vectors, vectors)).max() < 0.03
    bits = quantise(vectors, "binary")
    assert bits.shape == (6, -(-dim // 8)) and np.allclose(np.diag(similarity(bits, bits)), 1)
    assert rank(vectors[3], vectors)[0][0] == 3


def test_what_cannot_be_embedded_is_named(embedder: Embedder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="item 'a' has no title"):
        embedder.encode([Item("a")])
    with pytest.raises(MediaError, match=r"gone\.jpg"):
        embedder.encode([Path("gone.jpg")])
    with pytest.raises(DataError, match="input 1: a int"):
        embedder.encode(["x", 7])
    with pytest.raises(DataError, match="pictures of one thing"):
        embedder.encode([["a", "b"]])
    with pytest.raises(DataError, match="fields of an item"):
        embedder.encode([{"titel": "x"}])


def test_texts_that_look_like_files_are_texts_unless_they_are_there() -> None:
    assert as_item("gone.jpg", "q").title == "gone.jpg"
    assert as_item("x" * 100_000, "q").title and as_item("nul\0.jpg", "q").title
    assert as_item(b"\0\0\0\x18ftypmp42\0\0\0\0", "q").video is not None
    assert as_item(b"\0\0\0\x18ftypavif\0\0\0\0", "q").images


def test_strange_texts_give_vectors(embedder: Embedder) -> None:
    texts = ["", "\0", "🧥" * 50, "\u202eمعطف", "long " * 20_000, "\ud800", " "]
    vectors = embedder.embed([Item(f"{n}", title=text) for n, text in enumerate(texts)])
    assert np.isfinite(vectors[0]["fused"]).all() and not vectors[2]
    assert vectors[1]["text"].tolist() == [False, True, True, True, True, True, False]
