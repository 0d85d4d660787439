"""Examples in docstrings run in a folder of their own, beside the few files that they name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from _pytest.doctest import DoctestItem
from PIL import Image

PICTURES = ("a.jpg", "b.png", "front.jpg", "back.jpg", "only.jpg")


@pytest.fixture(scope="session")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a clip of twenty frames, an embedding store of two items, and the evidence of one."""
    import av

    from mmreason.catalogue.catalogue import Catalogue, write_catalogue
    from mmreason.concepts.stage import find_evidence
    from mmreason.config import Config
    from mmreason.schema import Item
    from mmreason.store.store import StoreWriter

    folder = tmp_path_factory.mktemp("examples")
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    for name in PICTURES:
        Image.fromarray(picture).save(folder / name)
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    vectors = np.eye(2, 256, dtype=np.float32)
    writer = StoreWriter(folder / "run" / "embed", {})
    writer.write_part(["sku-1", "sku-2"], ["1", "2"], {"fused": vectors}, {"image": np.ones(2, bool)})
    coat = Item("coat-7", title="Rain coat", attributes={"material": ["waxed cotton"]})
    write_catalogue(Catalogue({coat.id: coat}, [], [], folder), folder / "run" / "catalogue")
    find_evidence(Config(run_dir=str(folder / "run")))
    return folder


@pytest.fixture(autouse=True)
def _example_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(request.node, DoctestItem):
        folder = request.getfixturevalue("tmp_path") / "examples"
        shutil.copytree(request.getfixturevalue("example_files"), folder)
        monkeypatch.chdir(folder)
