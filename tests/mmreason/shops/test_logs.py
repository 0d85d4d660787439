"""Event logs as they are published, by the mappings that the project ships: made rows in each layout."""

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config
from mmreason.schema import DataError, Interaction

MAPPINGS = Path(__file__).parents[3] / "configs" / "mappings"


def take(root: Path, mapping: str | Path, **settings: Any) -> tuple[Catalogue, str]:
    catalogue = CatalogueConfig("tables", str(root), options={"mapping": str(mapping)}, **settings)
    config = Config(run_dir=str(root.parent / "run"), catalogue=catalogue)
    summary = ingest(config)
    return read_catalogue(config.path("catalogue")), summary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "log"
    root.mkdir()
    return root


def guessed(root: Path) -> list[Interaction]:
    """The interactions of a folder without a mapping."""
    config = Config(run_dir=str(root.parent / "run"), catalogue=CatalogueConfig("tables", str(root)))
    ingest(config)
    return read_catalogue(config.path("catalogue")).interactions


def steps(catalogue: Catalogue, *names: str) -> list[tuple[Any, ...]]:
    """Fields of each interaction, fractions rounded."""
    found = ([getattr(step, name) for name in names] for step in catalogue.interactions)
    return [tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in found]


@pytest.mark.parametrize("path", sorted(MAPPINGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_mapping_has_twelve_lines_at_most(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 12


def test_kuairand(folder: Path) -> None:
    (folder / "video_features_basic_pure.csv").write_text("video_id,video_type,tag\n0,NORMAL,12\n1,AD,\n")
    head = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,long_view,play_time_ms,duration_ms\n"
    (folder / "log_standard_4_08_to_4_21_pure.csv").write_text(
        head
        + "0,0,20220409,900,1649467982289,1,0,1,5332,70100\n0,1,20220409,901,1649468042289,0,0,0,0,9000\n"
    )
    (folder / "log_standard_4_22_to_5_08_pure.csv").write_text(
        head + "7,1,20220425,2359,1650930000000,1,1,0,4500,9000\n"
    )
    catalogue, _ = take(folder, MAPPINGS / "kuairand.yaml")
    assert catalogue.items["0"].title == "Video 0"
    assert steps(catalogue, "user_id", "event", "seconds", "share", "timestamp") == [
        ("0", "watch", 5.332, 0.076063, 1649467982.289),
        ("0", "impression", 0.0, 0.0, 1649468042.289),
        ("7", "click", 4.5, 0.5, 1650930000.0),
    ]


def test_kuairec(folder: Path) -> None:
    (folder / "kuairec_caption_category.csv").write_text(
        "video_id,manual_cover_text,caption,topic_tag,first_level_category_name\n"
        '5,UNKNOWN,A walk,"[walk,park]",Travel\n'
    )
    (folder / "big_matrix.csv").write_text(
        "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
        "14,5,10838,5419,2020-07-05 05:27:48.378,20200705,1593898068.378,2.0\n14,5,0,5419,,,,0.0\n"
    )
    catalogue, _ = take(folder, MAPPINGS / "kuairec.yaml")
    assert catalogue.items["5"].attributes == {"category": ["Travel"], "topic": ["walk", "park"]}
    assert steps(catalogue, "event", "seconds", "share", "timestamp") == [
        ("watch", 0.0, 0.0, 0.0),
        ("watch", 10.838, 2.0, 1593898068.378),
    ]


def test_rees46(folder: Path) -> None:
    (folder / "2019-Oct.csv").write_text(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2019-10-01 00:00:00 UTC,view,1003461,205,electronics.smartphone,xiaomi,489.07,52,a\n"
        "2019-10-01 00:00:05 UTC,cart,1003461,205,electronics.smartphone,xiaomi,489.07,52,a\n"
        "2019-10-01 00:00:06 UTC,remove_from_cart,1003461,205,electronics.smartphone,xiaomi,489.07,52,a\n"
        "2019-10-01 00:00:09 UTC,purchase,7,1,,artel,1.0,52,a\n"
    )
    catalogue, summary = take(folder, MAPPINGS / "rees46.yaml")
    assert "2 items read = 2 kept" in summary and "4 interactions read = 3 kept + 1 quarantined" in summary
    assert catalogue.items["1003461"].title == "xiaomi\nelectronics.smartphone"
    assert steps(catalogue, "event", "timestamp") == [
        *(("view", 1569888000.0), ("cart", 1569888005.0), ("purchase", 1569888009.0))
    ]


def test_retailrocket(folder: Path) -> None:
    (folder / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433224214164,257597,addtocart,248676,\n1433224244282,257597,transaction,248676,4000\n"
    )
    catalogue, summary = take(folder, MAPPINGS / "retailrocket.yaml")
    assert "2 items read = 2 kept + 0" in summary
    assert steps(catalogue, "item_id", "event", "timestamp") == [
        ("355908", "view", 1433221332.117),
        ("248676", "cart", 1433224214.164),
        ("248676", "purchase", 1433224244.282),
    ]


def test_yelp(folder: Path) -> None:
    (folder / "yelp_academic_dataset_business.json").write_text(
        '{"business_id": "b0", "name": "Cafe", "city": "Tampa", "attributes": {"WiFi": "u\'free\'"}, '
        '"categories": "Coffee & Tea, Food"}\n{"business_id": "b1", "name": "Bar", "attributes": null}\n'
    )
    (folder / "yelp_academic_dataset_review.json").write_text(
        '{"review_id": "r", "user_id": "u", "business_id": "b0", "stars": 4.0, "useful": 2, "text": "Nice.", '
        '"date": "2018-07-07 22:09:11"}\n'
    )
    catalogue, _ = take(folder, MAPPINGS / "yelp.yaml")
    assert catalogue.items["b0"].attributes == {
        "category": ["Coffee & Tea", "Food"],
        "city": ["Tampa"],
        "wifi": ["free"],
    }
    assert steps(catalogue, "event", "rating", "text", "timestamp") == [
        ("review", 4.0, "Nice.", 1531001351.0)
    ]


def test_steam(folder: Path) -> None:
    games = "{u'publisher': u'K', u'genres': [u'Action', u'Indie'], u'app_name': u'Kitty\\'s', "
    games += "u'tags': [u'Fun'], u'developer': u'K', u'id': u'7'}\n"
    reviews = "{u'username': u'Ann', u'hours': 1.5, u'product_id': u'7', u'date': u'2017-12-17', u'text': u'Good.'}\n"
    (folder / "steam_games.json.gz").write_bytes(gzip.compress(games.encode()))
    (folder / "steam_reviews.json.gz").write_bytes(gzip.compress(reviews.encode()))
    catalogue, _ = take(folder, MAPPINGS / "steam.yaml")
    assert catalogue.items["7"].title == "Kitty's"
    assert catalogue.items["7"].attributes == {
        "genre": ["Action", "Indie"],
        "tag": ["Fun"],
        "developer": ["K"],
    }
    assert steps(catalogue, "event", "seconds", "timestamp") == [("review", 5400.0, 1513468800.0)]


def test_hm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    (folder / "images/010").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "images/010/0108775015.jpg")
    head = "article_id,product_code,prod_name,product_type_name,graphical_appearance_name,colour_group_name,"
    (folder / "articles.csv").write_text(
        f"{head}detail_desc\n0108775015,0108775,Strap top,Vest top,Solid,Black,A top.\n"
        "0108775044,0108775,Strap top,Vest top,Solid,White,\n"
    )
    (folder / "transactions_train.csv").write_text(
        "t_dat,customer_id,article_id,price,sales_channel_id\n2018-09-20,c0,0108775015,0.05,2\n"
    )
    catalogue, summary = take(folder, MAPPINGS / "hm.yaml")
    assert catalogue.items["0108775015"].images == ["images/010/0108775015.jpg"]
    assert catalogue.items["0108775044"].images == [] and "1 media read = 1 kept + 0 quarantined" in summary
    assert "articles.csv: 1 rows have no file where the pattern says" in capsys.readouterr().err
    assert catalogue.items["0108775044"].group == "0108775"
    assert steps(catalogue, "event", "timestamp") == [("purchase", 1537401600.0)]


LOG = "u,i,act,stars,ms,day,hour,secs\n"
ITEMS = "items: {file: items.csv, id: id, title: title}\n"


def log(folder: Path, fields: str, *rows: str, head: str = LOG, **settings: Any) -> tuple[Catalogue, str]:
    """Ingest a log of one item, with a mapping of user, item and ``fields``."""
    (folder / "items.csv").write_text("id,title\na,Coat\n")
    (folder / "log.csv").write_text(head + "".join(row + "\n" for row in rows))
    mapping = folder / "mapping.yaml"
    mapping.write_text(f"{ITEMS}interactions: {{file: log.csv, user_id: u, item_id: i, {fields}}}\n")
    return take(folder, mapping, max_quarantined=1.0, **settings)


def test_values_that_are_not_listed_stay_if_they_are_known(folder: Path) -> None:
    catalogue, summary = log(
        folder,
        "event: {column: act, values: {1: click, Buy: purchase}}",
        *(f"u,a,{v},,,,," for v in ("1", "BUY", "view", "?")),
    )
    assert (
        sorted(steps(catalogue, "event")) == [("click",), ("purchase",), ("view",)]
        and "+ 1 quarantined" in summary
    )


def test_events_of_the_sources_own_count_as_known_ones(folder: Path) -> None:
    catalogue, _ = log(folder, "event: act", "u,a,Book,,,,,", "u,a,view,,,,,", events={"book": "purchase"})
    assert sorted(steps(catalogue, "event")) == [("purchase",), ("view",)]
    with pytest.raises(
        DataError, match=r"catalogue\.events: 'book' counts as 'reserve', which is none of impression"
    ):
        log(folder, "event: act", "u,a,Book,,,,,", events={"book": "reserve"})


@pytest.mark.parametrize(
    ("fields", "row", "expected"),
    [
        ("timestamp: {column: day, format: '%d/%m/%Y'}", "u,a,,,,11/12/2023,,", 1702252800.0),
        ("timestamp: {column: day, format: '%Y%m%d'}", "u,a,,,,20231114,,", 1699920000.0),
        ("timestamp: day", "u,a,,,,20231114,,", 1699920000.0),
        ("timestamp: day", "u,a,,,,45244,,", 1699920000.0),
        ("timestamp: [day, hour]", "u,a,,,,20231114,9,", 1699952400.0),
        ("timestamp: [day, hour]", "u,a,,,,2023-11-14,0930,", 1699954200.0),
        ("timestamp: [day, hour]", "u,a,,,,14.11.2023,22:13:20,", 1700000000.0),
        ("timestamp: {column: [day, hour], format: '%d/%m/%Y %H:%M'}", "u,a,,,,11/12/2023,9,", 1702285200.0),
        ("timestamp: {column: secs, unit: step}", "u,a,,,,,,5", 631152005.0),
        ("timestamp: {column: secs, unit: min}", "u,a,,,,,,28333333", 1699999980.0),
    ],
)
def test_times(folder: Path, fields: str, row: str, expected: float) -> None:
    assert steps(log(folder, fields, row)[0], "timestamp") == [(expected,)]


def test_what_cannot_be_a_time_is_set_aside(folder: Path) -> None:
    catalogue, summary = log(folder, "timestamp: hour", "u,a,,,,,900,", "u,a,,,,,2023-11-14,", "u,a,,,,,,")
    assert sorted(steps(catalogue, "timestamp")) == [(0.0,), (1699920000.0,)] and "+ 1 quarantined" in summary


@pytest.mark.parametrize(
    ("fields", "cells", "expected"),
    [
        ("rating: stars, seconds: secs", [('"4,5"', '"1.234,5"'), ("3", "7")], [(3.0, 7.0), (4.5, 1234.5)]),
        ("rating: stars, seconds: {column: secs, decimal: ','}", [("4", '"1,234"')], [(4.0, 1.234)]),
        ("rating: stars, seconds: {column: secs, unit: min}", [("4", "1.5")], [(4.0, 90.0)]),
        ("rating: stars, seconds: ms", [("4", "")], [(4.0, None)]),
    ],
)
def test_numbers(
    folder: Path, fields: str, cells: list[tuple[str, str]], expected: list[tuple[float, float]]
) -> None:
    rows = [f"u,a,,{stars},,,,{secs}" for stars, secs in cells]
    assert sorted(steps(log(folder, fields, *rows)[0], "rating", "seconds")) == expected


def test_flags_and_units_are_seen_without_a_word(folder: Path) -> None:
    head = "u,i,is_click,play_time_ms\n"
    catalogue, _ = log(folder, "seconds: play_time_ms", "u,a,1,1500", "u,a,0,0", head=head)
    assert sorted(steps(catalogue, "event", "seconds")) == [("click", 1.5), ("impression", 0.0)]


def test_ids_of_columns_with_gaps_meet_those_of_the_items(folder: Path) -> None:
    (folder / "items.parquet").touch()
    pl.DataFrame({"id": [123, 7], "title": ["Coat", "Hat"]}).write_parquet(folder / "items.parquet")
    pl.DataFrame({"u": [1.0, 2.0, None], "i": [123.0, 7.0, 7.0]}).write_parquet(folder / "log.parquet")
    (folder / "log.csv").write_text("u,i\n1.0,123.0\n2.0,7.0\n,7.0\n")
    for file in ("log.parquet", "log.csv"):
        mapping = folder / "mapping.yaml"
        mapping.write_text(
            "items: {file: items.parquet, id: id, title: title}\n"
            f"interactions: {{file: {file}, user_id: u, item_id: i}}\n"
        )
        catalogue, summary = take(folder, mapping)
        assert steps(catalogue, "user_id", "item_id") == [("1", "123"), ("2", "7")], file
        assert "3 interactions read = 2 kept + 1 quarantined" in summary


def test_nested_fields_and_names_that_frames_use(folder: Path) -> None:
    (folder / "items.jsonl").write_text('{"row": "a", "file": {"name": "Coat"}, "problem": "wool"}\n')
    (folder / "log.jsonl").write_text(
        '{"file": "u", "row": "a", "problem": {"kind": "view", "at": 1700000000}}\n'
    )
    pl.DataFrame([{"file": "u", "row": "a", "problem": {"kind": "view", "at": 1700000000}}]).write_parquet(
        folder / "log.parquet"
    )
    (folder / "log.csv").write_text('file,row,problem\nu,a,"{""kind"": ""view"", ""at"": 1700000000}"\n')
    for file in ("log.jsonl", "log.parquet", "log.csv"):
        mapping = folder / "mapping.yaml"
        mapping.write_text(
            "items: {file: items.jsonl, id: row, title: file.name, attributes: {material: problem}}\n"
            f"interactions: {{file: {file}, user_id: file, item_id: row, event: problem.kind, timestamp: problem.at}}\n"
        )
        catalogue, _ = take(folder, mapping)
        assert catalogue.items["a"].title == "Coat" and catalogue.items["a"].attributes == {
            "material": ["wool"]
        }
        assert steps(catalogue, "user_id", "event", "timestamp") == [("u", "view", 1.7e9)], file


def test_a_file_without_a_header(folder: Path) -> None:
    (folder / "steam-200k.csv").write_text("15,Fallout,purchase,1.0,0\n15,Fallout,play,12.1,0\n")
    mapping = folder / "mapping.yaml"
    table = "file: steam-200k.csv, columns: [user, game, act, hours, x]"
    mapping.write_text(
        f"items: {{{table}, id: game, title: game}}\n"
        f"interactions: {{{table}, user_id: user, item_id: game, event: {{column: act, values: {{play: watch}}}}}}\n"
    )
    catalogue, _ = take(folder, mapping)
    assert sorted(steps(catalogue, "item_id", "event")) == [("Fallout", "purchase"), ("Fallout", "watch")]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            "seconds: {column: secs, unit: fortnight}",
            "seconds has the unit 'fortnight'; there are ns, us, ms, s",
        ),
        (
            "rating: {column: stars, unit: ms}",
            "rating is {'column': 'stars', 'unit': 'ms'}; write a column or",
        ),
        ("rating: {column: stars, decimal: x}", "rating has the decimal sign 'x'"),
        ("event: {flags: [act]}", "flags of event are ['act']; write flags: {theirs: ours}"),
        ("event: {flags: {gone: click}}", "names column 'gone'; log.csv has u, i, act"),
        ("timestamp: {format: '%Y'}", "timestamp is {'format': '%Y'}; write a column or"),
    ],
)
def test_a_wrong_entry_is_one_line(folder: Path, fields: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        log(folder, fields, "u,a,,,,,,")
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("best", "cells", "expected"),
    [
        (10, ["8", "10", "1", "7.5"], [4.0, 5.0, 0.5, 3.75]),
        (100, ["85", "100", "20", "0"], [4.25, 5.0, 1.0, 0.5]),
        (5, ["4.5", "5", "1", "3"], [4.5, 5.0, 1.0, 3.0]),
        (5, ["4.0 out of 5 stars", "9/10", "★★★☆☆", "2 Sterne"], [4.0, 4.5, 3.0, 2.0]),
    ],
)
def test_ratings_of_any_scale_are_brought_to_five(
    best: int, cells: list[str], expected: list[float], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"u{n},v{n},{cell}" for n, cell in enumerate(cells)]
    (folder / "items.csv").write_text("id,title\n" + "\n".join(f"v{n},Film {n}" for n in range(4)))
    (folder / "ratings.csv").write_text("\n".join(["user_id,item_id,score", *rows]))
    assert [i.rating for i in guessed(folder)] == expected
    assert (f"rating (up to {best}, brought to 5)" in capsys.readouterr().err) == (best != 5)


def test_lengths_as_clocks_and_shares_in_per_cent(folder: Path) -> None:
    (folder / "items.csv").write_text("id,title\nv,Film\n")
    rows = ["u,v,00:01:30,85%", "w,v,1m 30s,8.5 %", "x,v,90,0.85"]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,watch_time,share", *rows]))
    assert [(i.seconds, i.share) for i in guessed(folder)] == [(90.0, 0.85), (90.0, 0.085), (90.0, 0.85)]
    (folder / "log.csv").write_text("user_id,item_id,watch_percent\nu,v,85\n")
    assert [i.share for i in guessed(folder)] == [0.85]
