"""What crosses a split is found, named and, on demand, an error."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mmreason.catalogue.catalogue import Catalogue, write_catalogue
from mmreason.catalogue.split import SplitRule, write_split_rule
from mmreason.cli import main
from mmreason.evaluate.check_splits import check_splits, near_codes
from mmreason.schema import DataError, Interaction, Item, Reason

LONG = "A rain coat of waxed cotton with a corduroy collar, two deep pockets and a checked lining of wool"


def _write(
    root: Path, items: list[Item], interactions: Sequence[Interaction] = (), reasons: Sequence[Reason] = ()
) -> str:
    write_catalogue(
        Catalogue({i.id: i for i in items}, list(interactions), list(reasons), root), root / "catalogue"
    )
    return str(root)


def _kinds(run: str, **options: object) -> list[str]:
    check_splits(run, **options)  # type: ignore[arg-type]
    lines = Path(run, "catalogue", "crossings.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted(json.loads(line)["kind"] for line in lines)


def _picture(path: Path, shift: int, quality: int = 90) -> str:
    image = Image.new("RGB", (160, 160), (240, 240, 240))
    draw = ImageDraw.Draw(image)
    for n in range(4):
        x = (37 * (n + 1) * (shift + 3)) % 100
        draw.rectangle(
            (x, 20 * n + shift, x + 40 + shift, 20 * n + 60), fill=(20 + 50 * n, 200 - 40 * n, 30 * n)
        )
    image.save(path, quality=quality)
    return path.name


def test_nothing_crosses(tmp_path: Path) -> None:
    items = [Item("a", "Wool hat", LONG), Item("b", "Steel pan", "Heavy, for induction", split="test")]
    reasons = [
        Reason("u", "a", "Because it is warm and soft"),
        Reason("v", "b", "It never sticks at all", split="test"),
    ]
    run = _write(tmp_path, items, [], reasons)
    assert _kinds(run, fail=True) == []
    assert "0 crossings; items 1 train + 0 valid + 1 test" in check_splits(run)


def test_pairs(tmp_path: Path) -> None:
    items = [Item("a"), Item("b", split="test")]
    reasons = [Reason("u", "a", "x"), Reason("u", "b", "y", split="test"), Reason("w", "a", "z")]
    late = [Interaction("u", "b", timestamp=3), Interaction("u", "a", timestamp=2)]
    twice = [*reasons, Reason("w", "a", "other", split="valid")]
    assert _kinds(_write(tmp_path, items, late, twice)) == ["pair is a target on two sides"]


def test_items_by_group_text_and_media(tmp_path: Path) -> None:
    first = _picture(tmp_path / "a.jpg", 1)
    (tmp_path / "copy.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    again, other = _picture(tmp_path / "again.jpg", 1, quality=60), _picture(tmp_path / "other.jpg", 9)

    def kinds(one: Item, two: Item, **options: object) -> list[str]:
        two.split = "test"
        return _kinds(_write(tmp_path, [one, two]), **options)

    assert kinds(Item("a", "x", group="g"), Item("b", "y", group="g")) == ["group of variants"]
    assert kinds(Item("a", "Wool Hat!"), Item("b", "wool hat")) == ["item text the same"]
    assert kinds(Item("a", "x", LONG), Item("b", "y", LONG.replace("two", "four"))) == [
        "item text nearly the same"
    ]
    assert kinds(Item("a", "x", LONG), Item("b", "y", LONG[::-1])) == []
    assert kinds(Item("a", images=[first]), Item("b", images=["copy.jpg"])) == ["media file"]
    assert kinds(Item("a", images=[first]), Item("b", images=[again])) == ["picture nearly the same"]
    assert kinds(Item("a", images=[first]), Item("b", images=[other])) == []
    assert kinds(Item("a", images=[first]), Item("b", images=["gone.jpg"])) == []


def test_a_picture_that_many_items_show_is_one_crossing_a_side(tmp_path: Path) -> None:
    _picture(tmp_path / "a.jpg", 1)
    for number in range(40):  # other bytes, the same picture
        (tmp_path / f"{number}.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + bytes([number]))
    sides = ("train", "valid", "test")
    items = [Item(str(n), images=[f"{n}.jpg"], split=sides[n % 3]) for n in range(40)]  # type: ignore[arg-type]
    assert _kinds(_write(tmp_path, items)) == ["picture nearly the same"] * 3


def test_reason_and_review_texts(tmp_path: Path) -> None:
    items = [Item("a"), Item("b", split="test")]
    copied = [Reason("u", "a", LONG), Reason("v", "b", LONG.upper() + "!", split="test")]
    assert _kinds(_write(tmp_path, items, [], copied)) == ["reason or review text the same"]
    near = [Reason("u", "a", LONG), Reason("v", "b", LONG.replace("deep", "big"), split="test")]
    assert _kinds(_write(tmp_path, items, [], near)) == ["reason or review text nearly the same"]
    assert _kinds(_write(tmp_path, items, [], near), similarity=0.99) == []
    short = [Reason("u", "a", "So soft and warm"), Reason("v", "b", "So soft and war", split="test")]
    assert _kinds(_write(tmp_path, items, [], short)) == []
    reviews = [Interaction("u", "a", "review", text=LONG), Interaction("v", "b", "review", text=LONG)]
    apart = [Reason("u", "a", "one"), Reason("v", "b", "two", split="test")]
    assert _kinds(_write(tmp_path, items, reviews, apart)) == ["reason or review text the same"]


def test_fails_on_demand_and_names_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = _write(tmp_path, [Item("a", "Wool hat"), Item("b", "wool hat", split="test")])
    main(["check-splits", "--run_dir", run])
    assert "'a' train / 'b' test" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["check-splits", "--run_dir", run, "--fail", "true"])
    assert "1 crossings" in str(stop.value.code) and "'b' test" in str(stop.value.code)
    with pytest.raises(DataError, match="similarity"):
        check_splits(run, similarity=0)


def test_items_are_not_compared_where_they_are_not_split(tmp_path: Path) -> None:
    run = _write(tmp_path, [Item("a", "Wool hat"), Item("b", "wool hat", split="test")])
    write_split_rule(SplitRule(("user",)), tmp_path / "catalogue")
    assert _kinds(run, fail=True) == [] and "not what is split" in check_splits(run)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(0, 8), st.data())
def test_near_codes_are_those_of_every_pair(codes: list[int], distance: int, data: st.DataObject) -> None:
    flips = st.integers(0, len(codes) - 1), st.lists(st.integers(0, 63), max_size=9, unique=True)
    if codes:
        for _ in range(3):
            index, bits = data.draw(flips[0]), data.draw(flips[1])
            codes.append(codes[index] ^ sum(1 << bit for bit in bits))
    found = {(i, j): n for i, j, n in near_codes(np.array(codes, dtype=np.uint64), distance)}
    every = {
        (i, j): (codes[i] ^ codes[j]).bit_count()
        for j in range(len(codes))
        for i in range(j)
        if (codes[i] ^ codes[j]).bit_count() <= distance
    }
    assert found == every
