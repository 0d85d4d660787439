"""Readers of public data sets: a few rows as published, strange ones included, and the real thing where it is here."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.readers.movielens import plain_title
from mmreason.schema import DataError, Interaction, Reason
from mmreason.shards.histories import history_before


def take(tmp_path: Path, reader: str, root: Path, **settings: Any) -> tuple[str, Catalogue, Counter[str]]:
    """The ingest's summary, its catalogue, and how often each reason is in its quarantine."""
    catalogue = CatalogueConfig(reader, str(root), max_quarantined=1, **settings)
    config = Config(run_dir=str(tmp_path / "run"), catalogue=catalogue, simulate=SimulateConfig(users=0))
    summary = ingest(config)
    lines = (config.path("catalogue") / "quarantine.jsonl").read_text().splitlines()
    return (
        summary,
        read_catalogue(config.path("catalogue")),
        Counter(json.loads(line)["reason"] for line in lines),
    )


META = {
    "main_category": "All Beauty",
    "title": "Sea\tSpray",
    "features": ["Light", " "],
    "description": ["Smells of\nsalt."],
    "images": [{"thumb": "https://x.invalid/t.jpg", "large": None, "hi_res": None}],
    "videos": [{"title": "page", "url": "https://x.invalid/vdp/1"}],
    "store": "Herb",
    "categories": ["Beauty", "Hair"],
    "details": {"Color": "Blue", "UPC": "123", "Package Dimensions": "3 x 3"},
    "parent_asin": "007",
}
REVIEW = {
    "rating": 5.0,
    "title": "Nice",
    "text": "Holds all day. 很好",
    "asin": "008",
    "parent_asin": "007",
    "user_id": "AE",
    "timestamp": 1588687728923,
    "helpful_vote": 2,
    "verified_purchase": True,
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_amazon(tmp_path: Path, zipped: bool, newline: str) -> None:
    items = [
        META,
        META | {"parent_asin": "B", "details": '{"Material": "Wool"}', "images": None, "videos": None},
    ]
    items += [META, {"parent_asin": "C"}, META | {"parent_asin": "D", "images": [5]}]
    items += [
        META | {"parent_asin": "E", "description": "One text.", "images": {"hi_res": [None], "large": [None]}}
    ]
    reviews: list[Any] = [REVIEW, REVIEW | {"helpful_vote": None, "text": ""}, REVIEW | {"user_id": 12}]
    reviews += [
        REVIEW,
        REVIEW | {"parent_asin": "gone"},
        REVIEW | {"rating": "five"},
        [1],
        REVIEW | {"rating": 9},
    ]
    for name, rows in (("meta_Made.jsonl", items), ("Made.jsonl", reviews)):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        data = newline.join(["\ufeff" + lines[0], "", *lines[1:], "{broken"]).encode()
        path = tmp_path / "root" / (name + ".gz" if zipped else name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(data) if zipped else data)
    summary, catalogue, reasons = take(tmp_path, "amazon", tmp_path / "root")
    assert "7 items read = 4 kept + 3 quarantined; 9 interactions read = 3 kept + 6 quarantined" in summary
    assert "addresses not fetched (catalogue.allow_download is off)" in summary
    assert reasons == {
        "not a JSON object": 3,
        "duplicate id": 1,
        "no title, text, picture or video": 1,
        "images cannot be read": 1,
        "duplicate row": 1,
        "unknown item": 1,
        "rating is not a number": 1,
        "rating out of range": 1,
    }
    item = catalogue.items["007"]
    assert (item.title, item.text, item.images, item.video) == (
        "Sea\tSpray",
        "Smells of salt.\nLight",
        [],
        None,
    )
    assert item.attributes == {"category": ["Hair"], "brand": ["Herb"], "color": ["Blue"]}
    assert catalogue.items["B"].attributes["material"] == ["Wool"]
    assert catalogue.items["D"].title and catalogue.items["E"].text == "One text.\nLight"
    first = next(i for i in catalogue.interactions if i.helpful == 2 and i.user_id == "AE")
    assert (first.text, first.rating, first.timestamp) == ("Nice\nHolds all day. 很好", 5.0, 1588687728.923)
    assert Counter(i.user_id for i in catalogue.interactions) == {"AE": 2, "12": 1}


NEWS = 'N1\tsports\tgolf\tA "quoted" title\tAbstract.\thttps://u.invalid\t[{"Label": "Tiger"}]\t[]'


def test_mind(tmp_path: Path) -> None:
    train, dev = tmp_path / "root" / "train", tmp_path / "root" / "dev"
    train.mkdir(parents=True)
    dev.mkdir()
    no_abstract = "007\tnews\tworld\tNo abstract\t\thttps://u.invalid\t\tbroken"
    tabs = "N3\tnews\tworld\tA\ttab\tAbstract\thttps://u.invalid\t[]\t[]"
    (train / "news.tsv").write_bytes("\r\n".join(["\ufeff" + NEWS, no_abstract, tabs]).encode())
    (dev / "news.tsv").write_text(NEWS + "\n")
    lines = [
        "1\tU1\t11/15/2019 8:55:22 AM\tN1 007\tN1-0 007-1",
        "2\tU1\t11/14/2019 8:55:22 PM\tN1 007\t007-0 N9-0",
        "3\tU2\t11/15/2019 12:00:01 AM\t\tN1-1",
        "4\tU3\tyesterday\t\tN1-1",
        "5\tU3\t11/15/2019 9:00:00 AM\t\tN1-0 007",
        "6\tU3",
        "7\tU3\t11/15/2019 9:00:00 AM\t\tN1-x",
    ]
    (train / "behaviors.tsv").write_text("\n".join(lines) + "\n")
    _, catalogue, reasons = take(tmp_path, "mind", tmp_path / "root")
    assert reasons == {
        "9 fields, not 8": 1,
        "duplicate id": 1,
        "unknown item": 1,
        "time is not month/day/year hour:minute:second AM or PM": 1,
        "2 fields, not 5": 1,
        "impression is not marked -0 or -1": 1,
    }
    assert catalogue.items["N1"].attributes["entity"] == ["Tiger"] and catalogue.items["N1"].title[2] == '"'
    assert catalogue.items["007"].text == ""
    did = [(i.item_id, i.event) for i in catalogue.interactions if i.user_id == "U1"]
    assert did == [  # the history's clicks come just before the earliest row that names them
        ("N1", "click"),
        ("007", "click"),
        ("007", "impression"),
        ("N1", "impression"),
        ("007", "impression"),
        ("007", "click"),
    ]
    assert [i.event for i in catalogue.interactions if i.user_id == "U3"] == ["impression", "impression"]
    night = next(i for i in catalogue.interactions if i.user_id == "U2")
    assert night.timestamp == 1573776001.0


def test_microlens(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "MicroLens-50k_covers").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "MicroLens-50k_covers" / "1.jpg")
    (root / "MicroLens-50k_videos").mkdir()
    (root / "MicroLens-50k_videos" / "2.mp4").write_text("a text, not a video")
    (root / "MicroLens-50k_titles.csv").write_bytes(b'item,title\r\n1,"Cats, dogs"\r\n2,"A\ttab"\r\n')
    (root / "MicroLens-50k_pairs.tsv").write_text("7\t2 1\n8\n9\t\n10\t1 5\n")
    _, catalogue, reasons = take(tmp_path, "microlens", root)
    assert reasons == {"not a video": 1, "no tab after the user": 1, "unknown item": 1}
    assert catalogue.items["1"].images == ["MicroLens-50k_covers/1.jpg"]
    assert catalogue.items["2"].title == "A\ttab"
    target = Reason("7", "1", "Why.")
    assert [
        i.item_id for i in history_before([i for i in catalogue.interactions if i.user_id == "7"], target)
    ] == ["2"]

    (root / "MicroLens-50k_pairs.csv").write_text(
        "user,item,timestamp\n7,1,1588687728923\n7,2,1588687729000\n"
    )
    (root / "MicroLens-50k_comments_en.txt").write_text('7\t2\tsaid "so\n')
    (root / "watch_log.csv").write_text(
        "userID,videoID,watch_time,duration,timestamp\n7,1,5,20,1588687730\n7,1,x,1,1\n"
    )
    _, catalogue, reasons = take(tmp_path, "microlens", root)
    assert reasons == {"not a video": 1, "seconds is not a number": 1}
    click, review, watch = catalogue.interactions
    assert (click.event, click.timestamp) == ("click", 1588687728.923)
    assert (review.event, review.text) == ("review", 'said "so')
    assert (watch.event, watch.seconds, watch.share) == ("watch", 5.0, 0.25)


def test_movielens_real(tmp_path: Path, shared_data: Path) -> None:
    root = shared_data / "movielens_small" / "ml-latest-small"
    texts = shared_data / "movie_text_yulan" / "data" / "item.csv"
    summary, catalogue, reasons = take(tmp_path, "movielens", root, options={"texts": str(texts)})
    assert (
        "9,742 items read = 9,742 kept" in summary and "100,836 interactions read = 100,836 kept" in summary
    )
    assert not reasons
    assert sum(bool(item.text) for item in catalogue.items.values()) >= 2_500
    american = next(item for item in catalogue.items.values() if item.title.startswith("American President"))
    assert american.text and american.attributes["year"] == ["1995"]
    assert min(i.rating for i in catalogue.interactions if i.rating) == 0.5
    times = [i.timestamp for i in catalogue.interactions if i.user_id == "1"]
    assert times == sorted(times) and len(times) == 232


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("City of Lost Children, The (Cité des enfants perdus, La) (1995)", None),
        ("Misérables, Les (1995)", "les misérables"),
        ("Toy Story", "toy story"),
        ("Avventura, L' (1960)", "l'avventura"),
    ],
)
def test_titles_are_joined_without_year_and_article(title: str, plain: str | None) -> None:
    assert plain is None or plain_title(title) == plain
    assert plain_title(plain_title(title)) == plain_title(title)


@pytest.mark.parametrize("part", ["amazon", "yelp"])
def test_xrec_real(tmp_path: Path, shared_data: Path, part: str) -> None:
    _, catalogue, reasons = take(tmp_path, "xrec", shared_data / "xrec" / part)
    assert not reasons
    rows = {
        split: [json.loads(line) for line in (shared_data / "xrec" / part / f"{split}.jsonl").open()]
        for split in ("train", "valid", "test")
    }
    assert Counter(reason.split for reason in catalogue.reasons) == {
        s: len(found) for s, found in rows.items()
    }
    first, row = catalogue.reasons[0], rows["train"][0]
    assert (first.user_id, first.item_id) == (str(row["uid"]), str(row["iid"]))
    assert first.profile == row["user_summary"] and catalogue.items[first.item_id].text == row["item_summary"]
    pairs = {(str(row["uid"]), str(row["iid"])) for row in rows["train"]}
    assert {(i.user_id, i.item_id) for i in catalogue.interactions} == pairs


def test_reviews_of_the_real_shop_keep_their_words(tmp_path: Path, shared_data: Path) -> None:
    _, catalogue, reasons = take(tmp_path, "magento", shared_data / "magento")
    assert reasons == {"unknown item": 152, "unknown linked item": 156}  # of a set that is sold as its parts
    bag = catalogue.items["24-MB01"]
    assert bag.links["alternative"][0] == "24-MB02" and "24-WG083-blue" in bag.links["goes with"]
    assert all(interaction.text for interaction in catalogue.interactions)


@pytest.mark.parametrize("reader", ["amazon", "mind", "microlens", "movielens", "xrec"])
@pytest.mark.parametrize("root", ["", "empty"])
def test_a_folder_of_something_else_is_one_line(tmp_path: Path, reader: str, root: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"catalogue\.root") as error:
        take(tmp_path, reader, tmp_path / "empty" if root else Path())
    assert "\n" not in str(error.value)


def test_events_are_added_up_after_the_cut() -> None:
    history = [
        Interaction("u", "a", "watch", seconds=5, share=0.5, timestamp=1),
        Interaction("u", "a", "impression", timestamp=1),
        Interaction("u", "a", "watch", count=2, seconds=4, share=0.4, timestamp=4),
        Interaction("u", "a", "rating", rating=4, timestamp=3),
        Interaction("u", "a", "rating", rating=2, timestamp=5),
        Interaction("u", "b", "click", timestamp=6, first=4),
        Interaction("u", "a", "watch", seconds=100, timestamp=7),
    ]
    done = {i.event: i for i in history_before(history, Reason("u", "b", "Why."))}
    assert (
        done["watch"].count == 1 and done["rating"].rating == 4
    )  # what happened at 4 or later is not known yet
    later = {i.event: i for i in history_before(history, Reason("u", "c", "Why."))}
    assert (later["watch"].count, later["watch"].seconds, later["watch"].share) == (4, 109, 0.5)
    assert (later["watch"].first, later["watch"].timestamp, later["rating"].rating) == (1, 7, 2)
