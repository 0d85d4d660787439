"""Catalogues of one modality, of one item, without a training split; and text encoders that are fitted."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from processes import smaller

from mmreason import DataError, Embedder, Item
from mmreason.align import prepare
from mmreason.align.train import align
from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.config import Config, VideoConfig
from mmreason.embed.job import embed
from mmreason.embed.model import Head
from mmreason.embed.search import search
from mmreason.shards.pack import pack
from mmreason.store.store import EmbeddingStore

MakeRun = Callable[..., Config]


@pytest.fixture
def make_run(make_config: Callable[..., Config], tmp_path: Path) -> MakeRun:
    """``make_run(items, **align)``: a run that has come up to ``align``, of items with media as bytes."""

    def make(items: list[Item], **settings: object) -> Config:
        config = make_config(tmp_path / "run")
        media = tmp_path / "run" / "raw"
        media.mkdir(parents=True)
        for item in items:
            item.images = [_write(media / f"{item.id}-{n}.png", data) for n, data in enumerate(item.images)]
            item.video = _write(media / f"{item.id}.mp4", item.video) if item.video else None
        write_catalogue(Catalogue({item.id: item for item in items}, [], [], media), config.path("catalogue"))
        pack(config)
        config = replace(config, embed=replace(config.embed, decode_workers=1))
        return smaller(config, **{"steps": 6, "batch_size": 4, "eval_every": 2, **settings})

    return make


def _write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return path.name


def _picture(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _clip(seed: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        rng = np.random.default_rng(seed)
        for _ in range(8):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 48, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _articles(count: int, split: str = "train") -> list[Item]:
    words = ["rain", "wool", "summer", "city", "night", "garden"]
    return [
        Item(
            f"a{n}", f"{words[n % 6]} coat {n}", text=f"made for the {words[n % 6]}, number {n}", split=split
        )
        for n in range(count)
    ]


def _embedded(config: Config) -> EmbeddingStore:
    assert "items embedded" in embed(config)
    return EmbeddingStore.open(config.path("embed"))


def test_texts_alone_contrast_title_and_description(make_run: MakeRun) -> None:
    config = make_run(_articles(12))
    summary = align(config)

    assert "titles with descriptions instead" in summary and "contrastive loss" in summary
    store = _embedded(config)
    assert store.mask("text").all() and not store.mask("image").any()
    assert np.allclose(np.linalg.norm(store.get("fused"), axis=1), 1, atol=1e-2)
    pytest.importorskip("faiss")
    assert len(search("rain coat", run_dir=config.run_dir, top_k=3).splitlines()) == 3


def test_titles_alone_keep_the_encoders_space(make_run: MakeRun) -> None:
    items = [Item(f"a{n}", f"coat number {n} of the season") for n in range(20)]
    config = make_run([replace(item) for item in items], dim=16)

    assert "nothing to contrast: the encoders' own spaces, projected" in align(config)
    embedder = Embedder.from_pretrained(config.path("align"), "cpu", "fp32")
    raw = embedder.features(items).values["text"]
    standard = embedder.model.head("text").standardise(raw)
    wanted = (
        torch.nn.functional.normalize(standard, dim=-1) @ torch.nn.functional.normalize(standard, dim=-1).T
    )
    found = torch.from_numpy(embedder.encode(items))
    # Sixteen of 32 directions hold most of the differences: near things stay near.
    assert torch.corrcoef(torch.stack([wanted.flatten(), (found @ found.T).flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("media", ["images", "video"])
def test_pictures_or_videos_alone_contrast_two_views(make_run: MakeRun, media: str) -> None:
    make = {"images": lambda n: {"images": [_picture(n)]}, "video": lambda n: {"video": _clip(n)}}[media]
    config = make_run([Item(f"i{n}", **make(n)) for n in range(6)])
    summary = align(config)

    assert f"two views a {'picture' if media == 'images' else 'video'} instead" in summary
    assert "contrastive loss" in summary
    assert len(_embedded(config)) == 6


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_item_is_embedded(make_run: MakeRun, split: str) -> None:
    config = make_run([Item("only", "rain coat", images=[_picture(1)], split=split)])

    assert "nothing to contrast" in align(config)
    vectors = _embedded(config).get("fused")
    assert vectors.shape == (1, 16) and np.linalg.norm(vectors) == pytest.approx(1, abs=1e-2)


def test_without_a_training_split_the_validation_items_serve(make_run: MakeRun) -> None:
    config = make_run(_articles(8, "valid"))

    assert "8 items" in align(config)


@pytest.mark.parametrize("text", ["tfidf", "word2vec"])
def test_text_encoders_are_fitted_on_training_texts_and_kept(make_run: MakeRun, text: str) -> None:
    if text == "word2vec":
        pytest.importorskip("gensim")
    items = [*_articles(10), Item("t", "unheard zebra words zebra words", text="zebra", split="test")]
    config = make_run(items, text=text, text_weights="")

    assert "contrastive loss" in align(config)
    folder = config.path("align", "towers", "text")
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    assert "coat" in vocabulary and "zebra" not in vocabulary
    assert not [path for path in folder.iterdir() if path.suffix not in (".json", ".safetensors")]
    assert len(_embedded(config)) == 11
    moved = config.path("align").rename(config.path("elsewhere"))
    assert Embedder.from_pretrained(moved, "cpu", "fp32").encode("rain coat").shape == (16,)


def test_poolings_with_weights_train_from_pixels_and_are_refused_from_features(make_run: MakeRun) -> None:
    items = [
        Item(f"i{n}", f"coat {n}", images=[_picture(n), _picture(n + 50)], video=_clip(n)) for n in range(6)
    ]
    learned = {"video": VideoConfig(frames=2, pooling="lstm"), "views": "attention"}
    config = make_run(items, **learned)
    with pytest.raises(DataError, match=r"align\.video\.pooling=lstm has weights of its own"):
        align(config)
    pixels = smaller(config, source="pixels", steps=3, lr=1e-2)
    before = {
        n: p.detach().clone()
        for n, p in Embedder.create(pixels.align, "cpu", "fp32").model.named_parameters()
    }
    align(pixels)
    after = dict(Embedder.from_pretrained(pixels.path("align"), "cpu", "fp32").model.named_parameters())
    for pool in ("pools.video.out.weight", "pools.image.score.weight"):
        assert not torch.equal(before[pool], after[pool])
    embedder = Embedder.from_pretrained(pixels.path("align"), "cpu", "fp32")
    assert embedder.encoders["video"].pool is embedder.model.pools["video"]
    store = _embedded(pixels)
    assert store.get("video_features").shape == (6, store.dims["video_features"])


class CrashesAt:
    """Preprocessing that kills its process over one picture."""

    def __init__(self, preprocessing: Any, bad: bytes) -> None:
        self.preprocessing, self.bad = preprocessing, bad

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "preprocessing":
            raise AttributeError(name)
        return getattr(self.preprocessing, name)

    def __repr__(self) -> str:
        return repr(self.preprocessing)

    def __call__(self, raw: Any) -> torch.Tensor:
        if raw == self.bad:
            os._exit(9)
        return self.preprocessing(raw)


@pytest.mark.parametrize("source", ["features", "pixels"])
def test_a_picture_that_crashes_its_decoder_costs_that_picture(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    items = [Item(f"i{n}", f"coat {n}", images=[_picture(n)]) for n in range(8)]
    bad = items[3].images[0]
    config = make_run(items, source=source, steps=4, shuffle=0)
    real = prepare.create_embedder

    def create(*args: Any) -> Embedder:
        embedder = real(*args)
        embedder.encoders["image"].preprocessing = CrashesAt(embedder.encoders["image"].preprocessing, bad)
        return embedder

    monkeypatch.setattr(prepare, "create_embedder", create)
    assert "1 media unreadable" in align(config)
    (row,) = config.path("align", "quarantine.jsonl").read_text().splitlines()
    assert json.loads(row)["item_id"] == "i3" and "crashed its decoder" in row


def test_a_reader_that_does_not_work_here_is_refused_in_one_line(make_run: MakeRun) -> None:
    config = make_run(_articles(2), video=VideoConfig(reader="sound"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"align\.video: reader must be"):
        align(config)


def test_a_head_fitted_in_parts_is_one_fitted_at_once() -> None:
    features = torch.randn(500, 7) * torch.tensor([1, 2, 3, 1e-6, 5, 6, 7.0]) + 100
    at_once, in_parts = Head(7, 4), Head(7, 4)
    at_once.fit(features)
    in_parts.fit_parts(features.split(33))

    assert torch.allclose(in_parts.mean, features.mean(0), atol=1e-4)
    assert torch.allclose(in_parts.std, features.std(0).clamp_min(1e-4), rtol=1e-3)
    assert torch.allclose(in_parts.std, at_once.std, rtol=1e-4)
