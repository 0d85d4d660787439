"""What a caller may hand to the embedder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmreason.config import Config
from mmreason.device import pick_device
from mmreason.embed.embedder import Embedder
from mmreason.embed.inputs import as_item
from mmreason.schema import DataError


def test_a_file_is_a_file_whatever_its_ending(
    photo: Path, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("photo.jfif", "photo.unheard", "photo"):
        path = tmp_path / name
        path.write_bytes(photo.read_bytes())
        for raw in (path, str(path)):
            assert [str(image) for image in as_item(raw, "x").images] == [str(path)]
    clip = make_video()
    for name in ("clip.mts", "clip.jpg", "clip"):
        path = tmp_path / name
        path.write_bytes(clip.read_bytes())
        for raw in (path, str(path), path.read_bytes()):
            found = as_item(raw, "x").video
            assert found == raw or found == str(raw)
    (tmp_path / "notes.txt").write_text("a coat")
    with pytest.raises(DataError, match=r"x: .*notes\.txt is a file, but neither picture nor video"):
        as_item(str(tmp_path / "notes.txt"), "x")
    for text in ("red hoodie", "a/b.jpg", "x" * 5000, "nul\0", "z" * 300, "."):
        assert as_item(text, "x").title == text


@pytest.mark.parametrize(
    "nothing", [None, float("nan"), np.nan, "", "nan", [], {}, {"title": float("nan")}, b""]
)
def test_what_stands_for_nothing_is_nothing(nothing: Any) -> None:
    item = as_item(nothing, "input 3")
    assert (item.id, item.title, item.text, item.images, item.video) == ("input 3", "", "", [], None)


def test_errors_leave_the_embedder_as_it_was(tiny_run: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = Embedder.from_pretrained(tiny_run.path("align"), device="cpu", dtype="fp32")
    before = embedder.encode(["red hoodie"])
    for raw in (None, float("nan"), {"images": []}):
        with pytest.raises(DataError, match="input 1"):
            embedder.encode(["red", raw])
    for batch_size in (0, -1, "many", 1.5):
        with pytest.raises(DataError, match="batch_size"):
            embedder.encode(["red"], batch_size=batch_size)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="device=nowhere"):
        embedder.encode(["red"], device="nowhere")
    if not torch.cuda.is_available():
        for device in ("cuda", "cuda:0"):
            with pytest.raises(DataError, match=f"device={device}"):
                embedder.encode(["red"], device=device)

    def full(device: torch.device) -> None:
        embedder.device = device
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        moved: list[Any] = []
        patch.setattr(
            embedder,
            "_move",
            lambda device: moved.append(device) or (full(device) if len(moved) < 2 else None),
        )
        with pytest.raises(RuntimeError, match="out of memory"):
            embedder.to("cpu")
        assert len(moved) == 2  # there, and back
    np.testing.assert_array_equal(embedder.encode(["red hoodie"]), before)


def test_a_device_that_is_not_there_is_a_data_error() -> None:
    with pytest.raises(DataError, match="device=gpu"):
        pick_device("gpu")
    assert pick_device("cpu") == torch.device("cpu")
