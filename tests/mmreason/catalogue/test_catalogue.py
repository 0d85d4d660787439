"""The catalogue on disk, and the ingest stage end to end over plain tables."""

import json
import string
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmreason.catalogue.catalogue import Catalogue, read_catalogue, write_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.schema import EVENTS, DataError, Evidence, Interaction, Item, Reason

words = st.text(max_size=8)
names = st.text(min_size=1, max_size=8)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
facts = st.dictionaries(words, st.lists(words, max_size=2), max_size=2)
splits = st.sampled_from(["train", "valid", "test"])
items = st.builds(
    Item,
    id=names,
    title=words,
    text=words,
    images=st.lists(names, max_size=2),
    video=st.none() | names,
    attributes=facts,
    hidden=facts,
    domain=words,
    group=words,
    split=splits,
)
interactions = st.builds(
    Interaction,
    user_id=names,
    item_id=names,
    event=st.sampled_from(EVENTS),
    count=st.integers(0, 99),
    seconds=st.none() | st.floats(min_value=0, allow_nan=False, allow_infinity=False),
    rating=numbers,
    timestamp=st.floats(0, 2e9),
)
evidence = st.builds(Evidence, words, words, words, st.lists(words, max_size=2), st.none() | st.just((1, 4)))
reasons = st.builds(
    Reason,
    user_id=names,
    item_id=names,
    text=words,
    evidence=st.lists(evidence, max_size=2),
    score=numbers,
    verified=st.none() | st.booleans(),
    split=splits,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(items, max_size=3), st.lists(interactions, max_size=3), st.lists(reasons, max_size=3))
def test_round_trip(
    tmp_path: Path, things: list[Item], clicks: list[Interaction], texts: list[Reason]
) -> None:
    catalogue = Catalogue({item.id: item for item in things}, clicks, texts, tmp_path / "raw")
    write_catalogue(catalogue, tmp_path / "catalogue")
    assert read_catalogue(tmp_path / "catalogue") == catalogue


def test_empty_tables_keep_their_columns(tmp_path: Path) -> None:
    write_catalogue(Catalogue({}, [], [], tmp_path / "raw"), tmp_path / "catalogue")
    assert "timestamp" in pq.read_schema(tmp_path / "catalogue" / "interactions.parquet").names
    assert read_catalogue(tmp_path / "catalogue").items == {}


def test_media_root_moves_with_the_run(tmp_path: Path) -> None:
    write_catalogue(Catalogue({}, [], [], tmp_path / "run" / "raw"), tmp_path / "run" / "catalogue")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert read_catalogue(tmp_path / "moved" / "catalogue").media_root == tmp_path / "moved" / "raw"
    write_catalogue(Catalogue({}, [], [], tmp_path / "elsewhere"), tmp_path / "moved" / "catalogue")
    index = json.loads((tmp_path / "moved" / "catalogue" / "catalogue.json").read_text())
    assert index["media_root"] == str(tmp_path / "elsewhere")


def test_media_stays_inside(tmp_path: Path) -> None:
    catalogue = Catalogue({}, [], [], tmp_path)
    assert catalogue.media("a/b.jpg") == tmp_path / "a" / "b.jpg"
    with pytest.raises(DataError, match="leads out"):
        catalogue.media("../b.jpg")


def test_missing_and_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    with pytest.raises(DataError, match=r"no catalogue; run `mmreason ingest` first"):
        read_catalogue(folder)
    write_catalogue(Catalogue({"a": Item("a")}, [], [], tmp_path), folder)
    good = (folder / "items.parquet").read_bytes()
    (folder / "items.parquet").write_bytes(good[:-9])
    with pytest.raises(DataError, match=r"items\.parquet cannot be read"):
        read_catalogue(folder)
    (folder / "items.parquet").write_bytes(good)
    index = json.loads((folder / "catalogue.json").read_text())
    (folder / "catalogue.json").write_text(json.dumps(index | {"items": 2}))
    with pytest.raises(DataError, match=r"holds 1 rows, catalogue\.json says 2"):
        read_catalogue(folder)
    (folder / "catalogue.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        read_catalogue(folder)


@pytest.fixture
def shop(tmp_path: Path) -> Config:
    """A folder of tables: 30 good items in three colours, some bad rows, 12 clicks and 3 reasons."""
    root = tmp_path / "shop"
    root.mkdir()
    Image.new("RGB", (8, 8)).save(root / "a.jpg")
    rows = [
        {
            "id": n,
            "title": f"{('Red', 'Blue', 'Green')[n % 3]} coat {string.ascii_uppercase[n % 26]}",
            "text": f"A coat. It is {('red', 'blue', 'green')[n % 3]}.",
            "images": "a.jpg" if n % 2 else "gone.jpg",
            "attributes": {"color": ["red", "blue", "green"][n % 3], "material": ["wool", "silk"][n % 2]},
        }
        for n in range(30)
    ]
    lines = [*map(json.dumps, rows), "{broken", json.dumps({"title": "no id"})]
    (root / "items.jsonl").write_text("\n".join(lines))
    (root / "interactions.csv").write_text(
        "user_id,item_id,event,timestamp\n"
        + "".join(f"u{n % 2},{n},view,{1_700_000_090 - n}\n" for n in range(12))
        + "u0,99,view,1700000001\n"
    )
    (root / "reasons.jsonl").write_text(
        "\n".join(json.dumps({"user_id": "u0", "item_id": str(n), "text": "Warm."}) for n in range(3))
    )
    catalogue = CatalogueConfig("tables", str(root), hidden=["color"], max_quarantined=0.6)
    return Config(run_dir=str(tmp_path / "run"), catalogue=catalogue, simulate=SimulateConfig(users=0))


def test_ingest_takes_the_tables_own_rows(shop: Config) -> None:
    assert ingest(shop).startswith(
        "32 items read = 30 kept + 2 quarantined; 30 media read = 15 kept + 15 quarantined; "
        "13 interactions read = 12 kept + 1 quarantined (1 of unknown items); "
        "3 reasons read = 3 kept + 0 quarantined; 3 reasons ("
    )
    catalogue = read_catalogue(shop.path("catalogue"))
    assert catalogue.items["0"].title == "coat A" and catalogue.items["0"].text == "A coat."
    assert catalogue.items["0"].hidden == {"color": ["red"]} and catalogue.items["0"].attributes == {
        "material": ["wool"]
    }
    assert sum(item.split == "test" for item in catalogue.items.values()) == 6
    assert all(reason.split == catalogue.items[reason.item_id].split for reason in catalogue.reasons)
    times = [i.timestamp for i in catalogue.interactions if i.user_id == "u0"]
    assert times == sorted(times) and len(times) == 6
    quarantined = (shop.path("catalogue") / "quarantine.jsonl").read_text().splitlines()
    assert Counter(json.loads(line)["reason"] for line in quarantined) == {
        "missing file": 15,
        "not a JSON object": 1,
        "no id": 1,
        "unknown item": 1,
    }


def test_ingest_is_deterministic_and_follows_the_seed(shop: Config) -> None:
    shop.simulate = SimulateConfig(users=20, favour=["color"])
    names = ("items.parquet", "interactions.parquet", "reasons.parquet", "catalogue.json")

    def made() -> list[bytes]:
        ingest(shop)
        return [(shop.path("catalogue") / name).read_bytes() for name in names]

    first = made()
    assert made() == first
    shop.seed = 1
    assert made()[2] != first[2]


def test_a_given_split_is_kept(shop: Config) -> None:
    path = Path(shop.catalogue.root, "items.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()[:30]]
    path.write_text("\n".join(json.dumps(row | ({"split": "test"} if row["id"] < 2 else {})) for row in rows))
    ingest(shop)
    catalogue = read_catalogue(shop.path("catalogue"))
    assert {item.id for item in catalogue.items.values() if item.split != "train"} == {"0", "1"}
    assert [reason.split for reason in catalogue.reasons] == ["test", "test", "train"]


def test_ingest_fails_past_the_limit_and_leaves_the_reasons_to_read(shop: Config) -> None:
    shop.catalogue.max_quarantined = 0.1
    with pytest.raises(DataError, match=r"15 of 30 media are bad.*max_quarantined=0.1.*'missing file'"):
        ingest(shop)
    assert (shop.path("catalogue") / "quarantine.jsonl").stat().st_size > 0
    assert not (shop.path("catalogue") / "catalogue.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "tablez"}, r"'tablez' is unknown; there are demo, tables, shopify, "),
        ({"root": ""}, r"catalogue\.root is empty"),
        ({"root": "/nowhere/at/all"}, r"is not a folder"),
        ({"source": "magento"}, r"is not a Magento 2 sample shop"),
        ({"hidden": ["colr"]}, r"no item has the attribute 'colr'"),
    ],
)
def test_ingest_says_what_to_mend(shop: Config, change: dict, message: str) -> None:
    for name, value in change.items():
        setattr(shop.catalogue, name, value)
    with pytest.raises(DataError, match=message) as error:
        ingest(shop)
    assert "\n" not in str(error.value)
