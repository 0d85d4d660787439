"""The Python API checks what it is given: one reading is taken, none is one line that names item and field."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mmreason.schema import DataError, Interaction, Item, Reason, User, from_record, to_record

NAN = float("nan")


@pytest.mark.parametrize(
    "attributes",
    [
        {"material": "wool"},
        {"material": ["wool"], "size": None, "fit": NAN, "care": ["nan"], "empty": []},
        '{"material": "wool"}',
        {"material": ("wool",)},
        {"material": np.array(["wool"])},
    ],
)
def test_attributes_of_one_reading(attributes: Any) -> None:
    assert Item("a", attributes=attributes).attributes == {"material": ["wool"]}
    assert Item("a", hidden=attributes).hidden == {"material": ["wool"]}


@pytest.mark.parametrize("nothing", [None, NAN, "nan", "N/A", np.float32("nan"), []])
def test_what_stands_for_nothing_is_nothing(nothing: Any) -> None:
    item = Item("a", nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing)
    group = item.group if isinstance(nothing, str) else "a"  # an id's text is never nothing
    assert item == Item("a", group=group)
    step = Interaction(
        "u", "a", seconds=nothing, rating=nothing, timestamp=nothing, share=nothing, helpful=nothing
    )
    assert step == Interaction("u", "a")
    assert User("u", None).history == [] and Interaction("u", "a", nothing, nothing, text=nothing).count == 1


def test_pictures_of_one_reading() -> None:
    from PIL import Image

    image = Image.new("RGB", (2, 2))
    for given in (image, [image], (image,), [None, image, "", NAN]):
        assert Item("a", images=given).images == [image] and Item("a", images=given).images[0] is image
    array = np.zeros((2, 2, 3), np.uint8)
    assert Item("a", images=array).images[0] is array and Item("a", images=b"\xff\xd8").images == [
        b"\xff\xd8"
    ]
    for given in (
        "a.jpg",
        ["a.jpg"],
        Path("a.jpg"),
        "['a.jpg']",
        np.array(["a.jpg"], dtype=object),
        {"path": "a.jpg"},
    ):
        assert Item("a", images=given).images == ["a.jpg"]
    assert Item("a", video=["clip.mp4"]).video == "clip.mp4" and Item("a", video="").video is None


def test_numbers_and_times_of_one_reading() -> None:
    step = Interaction(7, 5.0, "Purchase", "2", "3.5", "4", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    assert step == Interaction("7", "5", "purchase", 2, 3.5, 4.0, 1.7e9)
    for when in (
        "2023-11-14 22:13:20 UTC",
        1_700_000_000_000,
        "1700000000",
        np.datetime64("2023-11-14T22:13:20"),
    ):
        assert Interaction("u", "a", timestamp=when).timestamp == 1.7e9
    assert Item(5.0).id == "5" and Item("x", 7).title == "7"


def test_rows_of_data_frames() -> None:
    rows = [{"id": 1, "title": "Coat", "attributes": {"fit": "slim", "color": None}, "images": ["a.jpg"]}]
    (item,) = (Item(**row) for row in pl.DataFrame(rows).iter_rows(named=True))
    assert item == Item("1", "Coat", images=["a.jpg"], attributes={"fit": ["slim"]})
    user = User(3.0, [{"item_id": "1", "rating": 5, "item": rows[0]}])
    assert user.id == "3" and user.history[0].item == item and user.history[0].rating == 5.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Item(None), "Item: id is None (give it an id)"),
        (lambda: Item("a", title={"en": "Coat"}), "Item 'a': title is {'en': 'Coat'}"),
        (lambda: Item("a", attributes=5), "Item 'a': attributes is 5"),
        (lambda: Item("a", attributes={"size": [{"cm": 5}]}), "Item 'a': attributes is"),
        (lambda: Item("a", images=7), "Item 'a': images is 7"),
        (
            lambda: Item("a", video=["a.mp4", "b.mp4"]),
            "Item 'a': video is ['a.mp4', 'b.mp4'] (give one video)",
        ),
        (lambda: Item("a", split="dev"), "Item 'a': split is 'dev' (one of train, valid, test)"),
        (
            lambda: Interaction("u", "a", "stare"),
            "Interaction 'u': event is 'stare' (one of impression, click",
        ),
        (lambda: Interaction("u", "a", rating="five"), "Interaction 'u': rating is 'five' (give a number)"),
        (lambda: Interaction("u", "a", count=1.5), "Interaction 'u': count is 1.5 (give a whole number)"),
        (
            lambda: Interaction("u", "a", timestamp="soon"),
            "Interaction 'u': timestamp is 'soon' (give Unix seconds",
        ),
        (lambda: User("u", "a b c"), "User 'u': history is 'a b c' (give a list of interactions)"),
        (
            lambda: User("u", ["a"]),
            "User 'u': history is ['a'] (give interactions, or dicts of their fields)",
        ),
        (lambda: User("u", [{"item_id": "a", "rating": "x"}]), "Interaction: rating is 'x'"),
    ],
)
def test_what_has_no_reading_is_one_line(make: Any, said: str) -> None:
    with pytest.raises(DataError) as error:
        make()
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_good_values_stay_as_they_are_and_callers_lists_are_copied() -> None:
    images, attributes = ["a.jpg"], {"material": ["wool"]}
    item = Item("a", images=images, attributes=attributes)
    assert item.images == images and item.images is not images and item.attributes is attributes
    assert from_record(Item, to_record(item)) == item
    row = to_record(Interaction("u", "a", timestamp=5.0))
    assert from_record(Interaction, row) == Interaction("u", "a", timestamp=5.0) and json.dumps(row)
    assert from_record(Reason, {"user_id": "u", "item_id": "a", "text": "Warm."}) == Reason("u", "a", "Warm.")


def test_numbers_that_are_dates_or_written_in_another_way() -> None:
    step = Interaction("u", "a", timestamp=20240101, rating="4,5", seconds=Decimal("2.5"))
    assert (step.timestamp, step.rating, step.seconds) == (1_704_067_200.0, 4.5, 2.5)
    assert Interaction("u", "a", timestamp=Decimal(1_700_000_000)).timestamp == 1.7e9
    nothing = Interaction("u", "a", timestamp=float("nan"), rating=float("nan"), share=float("nan"))
    assert (nothing.timestamp, nothing.rating, nothing.share) == (0.0, None, None)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Interaction("u", "a", timestamp=float("inf")), "Interaction 'u': timestamp is inf"),
        (lambda: Interaction("u", "a", timestamp=-5.0), "Interaction 'u': timestamp is -5.0"),
        (lambda: Interaction("u", "a", timestamp=True), "Interaction 'u': timestamp is True"),
        (lambda: Interaction("u", "a", seconds=-1.0), "Interaction 'u': seconds is -1.0"),
        (lambda: Interaction("u", "a", seconds=float("inf")), "Interaction 'u': seconds is inf"),
        (lambda: Interaction("u", "a", count=-1), "Interaction 'u': count is -1"),
        (lambda: Item(True), "Item: id is True (give it an id)"),
        (
            lambda: Interaction("u", item="a"),
            "Interaction 'u': item is 'a' (give an Item, or a dict of its fields;",
        ),
        (
            lambda: User("u", [{"item": "a"}]),
            "Interaction: item is 'a' (give an Item, or a dict of its fields;",
        ),
        (
            lambda: User("u", [{"itm": "a"}]),
            "User 'u': history is [{'itm': 'a'}] ('itm' is no field of Interaction",
        ),
    ],
)
def test_one_line_names_what_has_no_reading(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(DataError) as error:
        make()
    assert str(error.value).startswith(said) and "\n" not in str(error.value)
