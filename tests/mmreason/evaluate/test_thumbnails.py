"""One file that kills its decoder costs a placeholder, not the report."""

import io
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from mmreason.evaluate import thumbnails
from mmreason.evaluate.thumbnails import make_thumbnails
from mmreason.schema import Item


class Deadly:
    """Stands for a file whose decoder crashes: it kills the process that unpacks it, unless that is the parent."""

    def __init__(self) -> None:
        self.parent = os.getpid()

    def __array__(self, *_: object, **__: object) -> object:
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError("decoded in the parent")


def test_a_crash_is_one_line_and_the_others_are_shown(photo: Path, make_video) -> None:
    items = [
        Item("good", images=[str(photo)]),
        Item("bad", images=[Deadly()]),
        Item("clip", video=str(make_video())),
        Item("plain"),
    ]
    made = make_thumbnails(items, side=64, frames=3)
    assert [len(made.jpegs[i.id]) for i in items] == [1, 0, 3, 0]
    assert len(made.unreadable) == 1 and "'bad'" in made.unreadable[0] and "crash" in made.unreadable[0]
    assert made.addresses("good")[0].startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(made.jpegs["good"][0])) as image:
        assert image.size == (64, 48)


def test_the_next_medium_stands_in_for_one_that_cannot_be_read(photo: Path, make_video) -> None:
    gone, clip = str(photo.with_name("gone.jpg")), str(make_video())
    items = [Item("a", images=[gone, str(photo)]), Item("b", images=[gone], video=clip)]
    made = make_thumbnails(items, side=32)
    assert [len(made.jpegs[i]) for i in "ab"] == [1, 1]
    assert len(made.unreadable) == 2 and all("gone.jpg" in line for line in made.unreadable)


def test_nothing_is_started_for_items_without_media(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "GuardedPool", None)
    assert make_thumbnails([Item("a")], side=32).jpegs == {"a": []}
