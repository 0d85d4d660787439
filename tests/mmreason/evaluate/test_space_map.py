import io

import numpy as np
import pytest
from PIL import Image

from mmreason.evaluate.space_map import draw_map, project, spread
from mmreason.schema import DataError, Item


def test_projection_keeps_neighbours_and_is_seeded():
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(8)[:3], 12, 0)
    vectors = (centres + 0.05 * rng.normal(size=centres.shape)).astype(np.float32)
    points = project(vectors, seed=1)
    assert points.min() == 0 and points.max() == 1
    assert np.array_equal(points, project(vectors, seed=1))
    nearest = [np.argsort(((points - p) ** 2).sum(1))[1] // 12 for p in points]
    assert np.mean(np.array(nearest) == np.arange(36) // 12) > 0.9
    assert project(vectors[:4]).shape == (4, 2)
    with pytest.raises(DataError, match="1 vectors"):
        project(vectors[:1])


def test_spread_keeps_thumbnails_apart():
    points = np.array([[0, 0], [0.05, 0.01], [0.5, 0.5], [0.5, 0.58]])
    assert spread(points, 0.1).tolist() == [True, False, True, False]


def test_the_map_shows_pictures_and_names_what_it_cannot(tmp_path):
    red = Image.new("RGB", (60, 90), "red")
    items = [
        Item("a", images=[red], attributes={"category": ["$x_{1$ <b>"]}),
        Item("b", images=[str(tmp_path / "gone.jpg")], domain="news"),
        Item("c", title="no picture"),
    ]
    points = np.array([[0.1, 0.1], [0.9, 0.9], [0.5, 0.1]])
    texts = np.array([[0.2, 0.1], [np.nan, np.nan], [0.5, 0.2]])
    png, unreadable = draw_map(items, points, texts, title="3 items of $run")
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    assert ((picture[..., 0] > 240) & (picture[..., 1:].max(-1) < 20)).sum() > 500  # the red thumbnail
    assert len(unreadable) == 1 and "gone.jpg" in unreadable[0]
