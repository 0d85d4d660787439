"""Every kind of bad row is set aside with its reason, and nothing is lost."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from encoders.media.pictures import MAX_PIXELS
from mmreason.catalogue import sources
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.catalogue.media import picture_problem, video_problem
from mmreason.catalogue.quarantine import UNKNOWN_ITEM, Quarantine
from mmreason.config import CatalogueConfig, Config
from mmreason.readers.frames import row_frames
from mmreason.readers.source import SourceRow, Tables, inside
from mmreason.schema import DataError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``run(items, interactions, reasons)``: records through the ingest, and what it set aside."""

    def do(items: list = (), interactions: list = (), reasons: list = ()):
        rows = {
            name: [SourceRow(f"{name}.csv", n, record) for n, record in enumerate(records, 1)]
            for name, records in (("items", items), ("interactions", interactions), ("reasons", reasons))
        }
        tables = Tables(tmp_path, rows["items"], row_frames(rows["interactions"]), rows["reasons"])
        monkeypatch.setattr(sources, "read_source", lambda config: tables)
        config = Config(run_dir=str(tmp_path / "run"), catalogue=CatalogueConfig("given", max_quarantined=1))
        config.simulate.users = 0
        summary = ingest(config)
        lines = (tmp_path / "run/catalogue/quarantine.jsonl").read_text().splitlines()
        return read_catalogue(tmp_path / "run/catalogue"), [json.loads(line) for line in lines], summary

    return do


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def make_video(path: Path, codec: str = "libx264") -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=10 if codec == "libx264" else 48000)
        if codec == "libx264":
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            frames = [av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")] * 3
        else:
            stream.codec_context.sample_rate, stream.codec_context.layout = 48000, "mono"
            stream.codec_context.format = "fltp"
            frames = [av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")]
            frames[0].sample_rate = 48000
        for frame in [*frames, None]:
            container.mux(stream.encode(frame))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"title": "x"}, "no id"),
        ({"id": "  ", "title": "x"}, "no id"),
        ({"id": "good", "title": "x"}, "duplicate id"),
        ({"id": "b"}, "no title, text, picture or video"),
        ({"id": "b", "title": "x", "split": "dev"}, "unknown split; known are train, valid, test"),
        ({"id": "\ud800", "title": "x"}, "text is not valid Unicode"),
        ({"id": {"a": 1}, "title": "x"}, "no id"),
        ({"id": "b", "title": "N/A", "text": float("nan")}, "no title, text, picture or video"),
    ],
)
def test_bad_items(run, record: dict[str, Any], reason: str) -> None:
    catalogue, quarantined, _ = run(items=[{"id": "good", "title": "x"}, record])
    assert list(catalogue.items) == ["good"]
    row = quarantined[0]
    assert (row["kind"], row["row"], row["file"], row["reason"]) == ("items", 2, "items.csv", reason)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"item_id": "a"}, "no user id"),
        ({"user_id": "u"}, "no item id"),
        ({"user_id": "u", "item_id": "zz"}, "unknown item"),
        ({"user_id": "u", "item_id": "a", "event": "stare"}, "unknown event"),
        ({"user_id": "u", "item_id": "a", "event": "rating"}, "rating event without a rating"),
        ({"user_id": "u", "item_id": "a", "rating": 6}, "rating out of range"),
        ({"user_id": "u", "item_id": "a", "rating": "five"}, "rating is not a number"),
        ({"user_id": "u", "item_id": "a", "rating": "inf"}, "rating is not a number"),
        ({"user_id": "u", "item_id": "a", "count": -1}, "negative count"),
        ({"user_id": "u", "item_id": "a", "count": "1.5"}, "count is not a whole number"),
        ({"user_id": "u", "item_id": "a", "seconds": -0.1}, "negative seconds"),
        ({"user_id": "\ud800", "item_id": "a"}, "text is not valid Unicode"),
        ({"user_id": "u", "item_id": "a", "timestamp": "11/12/2019"}, "timestamp is no time"),
        ({"user_id": "u", "item_id": "a", "timestamp": "last week"}, "timestamp is no time"),
        ({"user_id": "u", "item_id": "a", "timestamp": "inf"}, "timestamp is no time"),
        ({"user_id": "u", "item_id": "a", "timestamp": "900"}, "timestamp is no time"),
        ({"user_id": "u", "item_id": "a", "timestamp": "1969-07-20"}, "timestamp is no time"),
    ],
)
def test_bad_interactions(run, record: dict[str, Any], reason: str) -> None:
    good = {"user_id": "u", "item_id": "a"}
    catalogue, quarantined, _ = run([{"id": "a", "title": "x"}], [good, record])
    assert len(catalogue.interactions) == 1
    assert quarantined[0]["reason"].startswith(reason) and quarantined[0]["row"] == 2
    if reason != "unknown item":  # found only when all items are known, from what was understood of the row
        assert quarantined[0]["record"] == record


def test_good_interactions(run) -> None:
    record = {
        "user_id": 7,
        "item_id": "a",
        "event": " Purchase ",
        "count": "2",
        "rating": "",
        "seconds": "3.5",
    }
    times = ["1700000000", "2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00", "11/14/2023 10:13:20 PM"]
    times += ["1700000000000", None, "N/A", "0", "2023-11-14 22:13:20 UTC", "20231114221320"]
    catalogue, _, _ = run([{"id": "a", "title": "x"}], [{**record, "timestamp": t} for t in times])
    clicks = catalogue.interactions
    assert [c.timestamp for c in clicks] == [*[0.0] * 3, *[1.7e9] * 7]
    first = clicks[0]
    assert (first.user_id, first.event, first.count, first.rating, first.seconds) == (
        "7",
        "purchase",
        2,
        None,
        3.5,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": ""}, "no text"),
        ({"evidence": "[{]"}, "evidence is not"),
        ({"evidence": [{"color": 1}]}, "evidence is"),
    ],
)
def test_bad_reasons(run, change: dict[str, Any], reason: str) -> None:
    good = {
        "user_id": "u",
        "item_id": "a",
        "text": "Fine.",
        "evidence": '[{"attribute": "color", "value": "red"}]',
    }
    catalogue, quarantined, _ = run([{"id": "a", "title": "x"}], reasons=[good, good | change])
    assert len(catalogue.reasons) == 1 and catalogue.reasons[0].evidence[0].value == "red"
    assert quarantined[0]["reason"].startswith(reason)


def test_bad_media_leaves_the_item(run, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "good.jpg")
    (tmp_path / "text.jpg").write_text("not a picture at all")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "huge.png").write_bytes(png_header(20_000, MAX_PIXELS // 20_000 + 1))
    (tmp_path / "bomb.png").write_bytes(png_header(2**31 - 1, 2**31 - 1))
    (tmp_path / "clip.mp4").write_text("#EXTM3U\nhttp://example.invalid/a.ts\n")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "good.jpg")
    names = [
        "good.jpg",
        "link.jpg",
        "gone.jpg",
        "text.jpg",
        "empty.jpg",
        "huge.png",
        "bomb.png",
        "../x.jpg",
        "/x.jpg",
        ".",
    ]
    record = {"id": "a", "title": "x", "images": [*names, "nul\0.jpg"], "video": "clip.mp4"}
    catalogue, quarantined, summary = run(items=[record])
    found = catalogue.items
    assert found["a"].images == ["good.jpg", "link.jpg"] and found["a"].video is None
    assert [row["reason"] for row in quarantined] == [
        "missing file",
        "not a picture",
        "empty file",
        "over the pixel limit",
        "over the pixel limit",
        "path leads out of the media folder",
        "path leads out of the media folder",
        "missing file",
        "not a picture",
        "not a video",
    ]
    assert "1 items read = 1 kept + 0 quarantined; 12 media read = 2 kept + 10 quarantined" in summary


def test_media_of_a_duplicate_are_not_counted_twice(run, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "good.jpg")
    record = {"id": "a", "title": "x", "images": ["good.jpg", "gone.jpg"]}
    _, quarantined, summary = run(items=[record, record])
    assert "2 items read = 1 kept + 1 quarantined; 3 media read = 1 kept + 2 quarantined" in summary
    assert [row["reason"] for row in quarantined] == ["missing file", "missing file", "duplicate id"]


def test_a_rating_is_given_once_a_click_may_come_twice(run) -> None:
    rating = {"user_id": "u", "item_id": "a", "rating": 4, "event": "rating", "timestamp": 1_700_000_005}
    click = {"user_id": "u", "item_id": "a", "event": "click", "timestamp": 1_700_000_005}
    others = [rating | {"rating": 3}, rating | {"timestamp": 1_700_000_006}, rating | {"timestamp": None}] * 2
    catalogue, quarantined, _ = run([{"id": "a", "title": "x"}], [rating, click, *others, rating, click])
    assert [row["reason"] for row in quarantined] == ["duplicate row"] * 3
    assert len(catalogue.interactions) == 10 - 3


def test_item_with_nothing_but_a_bad_picture_goes(run) -> None:
    catalogue, quarantined, _ = run(items=[{"id": "a", "images": ["gone.jpg"]}, {"id": "b", "title": "x"}])
    assert list(catalogue.items) == ["b"] and [row["kind"] for row in quarantined] == ["media", "items"]


def test_pixel_limit_is_inclusive(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(10_000, MAX_PIXELS // 10_000))
    assert picture_problem(tmp_path / "a.png") == ""


def test_videos(tmp_path: Path) -> None:
    make_video(tmp_path / "good.mp4")
    make_video(tmp_path / "sound.mp4", "aac")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "half.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:60])
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.mp4", "PNG")
    problems = {p.stem: video_problem(p) for p in tmp_path.glob("*.mp4")}
    assert problems.pop("good") == ""
    assert problems == {
        "sound": "no video stream",
        "empty": "empty file",
        "half": "not a video",
        "picture": "not a video",
    }
    assert video_problem(tmp_path / "gone.mp4") == "missing file"


def test_inside(tmp_path: Path) -> None:
    assert inside(tmp_path, "a/../b.jpg") == tmp_path / "b.jpg"
    assert inside(tmp_path, str(tmp_path / "a.jpg")) == tmp_path / "a.jpg"
    for name in ("..", "a/../../b", "/etc/passwd", f"../{tmp_path.name}x/a"):
        with pytest.raises(DataError, match="leads out of the media folder"):
            inside(tmp_path, name)


def test_items_that_a_log_names_and_the_catalogue_lacks_have_a_limit_of_their_own(
    run, tmp_path: Path
) -> None:
    clicks = [{"user_id": "u", "item_id": f"gone{n}"} for n in range(96)]
    clicks += [{"user_id": "u", "item_id": "a"}] * 4
    catalogue, quarantined, summary = run([{"id": "a", "title": "x"}], clicks)
    assert len(catalogue.interactions) == 4 and len(quarantined) == 96
    assert "100 interactions read = 4 kept + 96 quarantined (96 of unknown items)" in summary
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        quarantine.read["interactions"] = 100
        for n in range(96):
            quarantine.add("interactions", SourceRow("log.csv", n + 1, {}), UNKNOWN_ITEM)
        quarantine.add("interactions", SourceRow("log.csv", 97, {}), "no user id")
    quarantine.enforce(0.25, 0.96)
    with pytest.raises(DataError, match=r"96 of 100 .*max_unknown_items=0.95 \(first in log.csv row 1\)"):
        quarantine.enforce(0.25, 0.95)
    with pytest.raises(DataError, match=r"1 of 4 interactions are bad, more than .*max_quarantined=0.24"):
        quarantine.enforce(0.24, 0.96)


def test_a_log_of_other_ids_than_the_items_is_a_mistake(run) -> None:
    with pytest.raises(DataError, match=r"1 of 1 interactions name unknown items.*max_unknown_items=0.99"):
        run([{"id": "a", "title": "x"}], [{"user_id": "u", "item_id": "A-1"}])


def test_limit_and_file(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        quarantine.read["items"] += 10
        quarantine.add("items", SourceRow("items.csv", 9, {"title": "no"}), "no id")
        quarantine.add("items", SourceRow("items.csv", 10, {"title": "id"}), "no id")
        quarantine.add("items", SourceRow("items.csv", 10, {}), "duplicate id")
    quarantine.enforce(0.2)
    with pytest.raises(
        DataError, match=r"2 of 10 items are bad.*'no id' \(2 times, first in items.csv row 9\)"
    ):
        quarantine.enforce(0.19)
    lines = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert lines[1] == {
        "kind": "items",
        "row": 10,
        "file": "items.csv",
        "reason": "no id",
        "record": {"title": "id"},
    }
    assert quarantine.balance("items", 7) == "10 items read = 7 kept + 3 quarantined"
    with pytest.raises(AssertionError, match="10 read but 8 kept"):
        quarantine.balance("items", 8)
