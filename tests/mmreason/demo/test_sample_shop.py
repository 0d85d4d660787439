"""The Magento 2 sample shop, as it is published."""

import os
from collections import Counter
from pathlib import Path

import pytest

from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.catalogue.hide import vocabulary
from mmreason.catalogue.ingest import ingest
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.demo.sample_shop import _plain
from mmreason.schema import item_text

REPOSITORY = Path(__file__).parents[3]
SHOP = Path(os.environ.get("MMREASON_SHARED_DATA", REPOSITORY.parent / "shared" / "data")) / "magento"
needs_shop = pytest.mark.skipif(not SHOP.is_dir(), reason=f"no Magento sample shop at {SHOP}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Catalogue]:
    config = Config(
        run_dir=str(tmp_path_factory.mktemp("magento")),
        catalogue=CatalogueConfig("magento", str(SHOP), hidden=["color", "pattern"]),
        simulate=SimulateConfig(users=0),
    )
    return ingest(config), read_catalogue(config.path("catalogue"))


@needs_shop
def test_counts(made: tuple[str, Catalogue]) -> None:
    summary, catalogue = made
    assert "467 items read = 467 kept + 0 quarantined" in summary
    assert "500 interactions read = 348 kept + 152 quarantined" in summary
    apparel = [item for item in catalogue.items.values() if "-" in item.id and not item.id.startswith("24")]
    assert len(apparel) == 417 and len({item.group for item in apparel}) == 147
    gear = [item for item in catalogue.items.values() if item.id.startswith("24-")]
    assert len(gear) == 44 and all(item.images for item in gear)
    films = [item for item in catalogue.items.values() if item.domain == "video"]
    assert len(films) == 6 and all(item.video and item.images for item in films)


@needs_shop
def test_pictures_show_the_items_colour(made: tuple[str, Catalogue]) -> None:
    for item in made[1].items.values():
        for path in item.images:
            assert made[1].media(path).is_file()
            if item.id[0] in "MW":
                assert f"-{item.hidden['color'][0].lower()}_" in path
    assert [Path(p).name for p in made[1].items["MH01-Gray"].images] == [
        "mh01-gray_main.jpg",
        "mh01-gray_alt1.jpg",
        "mh01-gray_back.jpg",
    ]
    assert len(made[1].items["MH01-Black"].images) == 1


@needs_shop
def test_one_product(made: tuple[str, Catalogue]) -> None:
    item = made[1].items["MH01-Black"]
    assert (item.title, item.group, item.domain) == ("Chaz Kangeroo Hoodie", "MH01", "shop")
    assert item.attributes["category"] == ["Hoodies & Sweatshirts"] and item.attributes["gender"] == ["Men"]
    assert item.attributes["material"] == ["Wool"] and item.attributes["collection"] == ["Eco Friendly"]
    assert item.hidden == {"color": ["Black"], "pattern": ["Color-Blocked"]}
    assert "gray" not in item.text.lower() and "Drawstring-adjustable hood." in item.text
    assert "size" not in item.attributes


@needs_shop
def test_texts_are_clean_and_tell_no_hidden_value(made: tuple[str, Catalogue]) -> None:
    items = made[1].items.values()
    words = [vocabulary(n, {v for i in items for v in i.hidden.get(n, [])}) for n in ("color", "pattern")]
    for item in items:
        text = item_text(item)
        assert not any(pattern.search(text) for pattern in words), text
        assert "<" not in text and "&trade;" not in text and "•" not in text
    assert "LumaTech™" in {v for i in items for v in i.attributes.get("material", [])}


@needs_shop
def test_variants_and_shared_pictures_stay_on_one_side(made: tuple[str, Catalogue]) -> None:
    splits_of_picture: dict[str, set[str]] = {}
    for item in made[1].items.values():
        for path in item.images:
            splits_of_picture.setdefault(path, set()).add(item.split)
    assert all(len(splits) == 1 for splits in splits_of_picture.values())
    counts = Counter({item.group: item.split for item in made[1].items.values()}.values())
    assert counts["test"] == pytest.approx(0.2 * sum(counts.values()), abs=1)


@needs_shop
def test_reviews(made: tuple[str, Catalogue]) -> None:
    reviews = made[1].interactions
    assert {i.event for i in reviews} == {"review"} and {i.rating for i in reviews} == {1, 2, 3, 4, 5}
    assert {i.item_id for i in reviews if i.item_id.startswith("WS08")} == {"WS08-Blue"}


def test_html_becomes_lines_of_plain_text() -> None:
    html = "<p>Warm &amp; <b>dry</b> CoolTech&trade;</p>\n<p>&bull; One.<br />&bull;  Two </p>"
    html += "<ul><li>Three\n<li>4</ul>"
    assert _plain(html) == "Warm & dry CoolTech™\nOne.\nTwo\nThree\n4"
