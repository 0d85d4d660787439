"""The made-up catalogue: it decodes, its pictures show what its attributes say, and it is made only once."""

import colorsys
import json
import re
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.demo.reader import make
from mmreason.demo.render import COLORS, draw_product, shade
from mmreason.demo.scenes import ACTIONS, CLIP_RATE, CLIP_SIZE, draw_clip
from mmreason.demo.words import PATTERNS
from mmreason.schema import item_text

SIZE = 12


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    catalogue = CatalogueConfig(options={"items_per_domain": SIZE}, hidden=["color", "pattern"])
    return Config(
        run_dir=str(tmp_path_factory.mktemp("demo")), catalogue=catalogue, simulate=SimulateConfig(users=0)
    )


@pytest.fixture(scope="module")
def catalogue(config: Config) -> Catalogue:
    assert f"{3 * SIZE} items read = {3 * SIZE} kept + 0 quarantined" in ingest(config)
    return read_catalogue(config.path("catalogue"))


def test_media_decode_and_are_small(catalogue: Catalogue) -> None:
    for item in catalogue.items.values():
        for path in map(catalogue.media, item.images):
            with Image.open(path) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 256))
                image.load()
            assert path.stat().st_size <= 15_000
        if item.video:
            path = catalogue.media(item.video)
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
                frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert 2 * CLIP_RATE <= len(frames) <= 3 * CLIP_RATE and frames[0].shape == (
                CLIP_SIZE,
                CLIP_SIZE,
                3,
            )
            assert max(np.abs(f.astype(int) - frames[0]).mean() for f in frames) > 1  # something moves
            assert path.stat().st_size <= 60_000
    assert Counter(item.domain for item in catalogue.items.values()) == {
        "shop": SIZE,
        "video": SIZE,
        "news": SIZE,
    }


def test_no_text_tells_colour_or_pattern_even_before_hiding(config: Config, catalogue: Catalogue) -> None:
    words = re.compile(rf"\b({'|'.join([*COLORS, *PATTERNS])})\b", re.IGNORECASE)
    for record in map(json.loads, (config.path("raw") / "items.jsonl").read_text().splitlines()):
        assert not words.search(record["title"] + " " + record["text"]), record
        assert len(re.findall(r"[.!?](?:\s|$)", record["text"])) >= 2
    for item in catalogue.items.values():
        assert set(item.hidden) == ({"color", "pattern"} if item.domain == "shop" else {"color"})
        assert not words.search(item_text(item))


def test_made_once_and_the_same_each_time(config: Config, catalogue: Catalogue, tmp_path: Path) -> None:
    raw = config.path("raw")
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*.[jm]p*")}
    rows = (raw / "items.jsonl").read_bytes()
    make(raw, SIZE, config.seed)
    assert (raw / "items.jsonl").read_bytes() == rows  # whether or not the files were there
    assert {path: path.stat().st_mtime_ns for path in raw.rglob("*.[jm]p*")} == before
    make(tmp_path, 2, config.seed)
    for path in tmp_path.rglob("*.[jm]p*"):
        assert path.read_bytes() == (raw / path.relative_to(tmp_path)).read_bytes(), path.name
    make(tmp_path, 1, config.seed + 1)
    assert len(list(tmp_path.rglob("shop-00000.jpg"))) == 2  # another seed does not mistake them for its own


def nearest(pixel: np.ndarray) -> str:
    """The named colour whose middle is nearest."""

    def middle(name: str) -> np.ndarray:
        return np.array(
            colorsys.hsv_to_rgb(
                *(sum(span) / 2 % 1.0 if i == 0 else sum(span) / 2 for i, span in enumerate(COLORS[name]))
            )
        )

    return min(COLORS, key=lambda name: float(np.abs(middle(name) - pixel / 255).sum()))


@pytest.mark.parametrize("color", COLORS)
def test_pictures_show_their_colour(color: str) -> None:
    rng = np.random.default_rng(1)
    names = [nearest(np.array(shade(rng, color))) for _ in range(40)]
    assert names.count(color) >= 38
    pixels = [np.asarray(draw_product("cushion", color, "plain", rng))[100:156, 100:156] for _ in range(4)]
    assert [nearest(np.median(p.reshape(-1, 3), axis=0)) for p in pixels].count(color) >= 3


def test_actions_differ_in_motion_alone(tmp_path: Path) -> None:
    clips = {}
    for action in ACTIONS:
        path = tmp_path / f"{action}.mp4"
        draw_clip("ball", "red", action, "city", 1.0, path, np.random.default_rng(0))
        with av.open(str(path)) as container:
            clips[action] = np.stack(
                [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
            )
    corner = {action: clip[:, :12, :12].mean() for action, clip in clips.items()}
    assert max(corner.values()) - min(corner.values()) < 4  # same scene
    traces = [clip.mean(axis=(1, 2)) for clip in clips.values()]
    assert len({tuple(np.round(t, 1)) for t in traces}) == len(ACTIONS)
