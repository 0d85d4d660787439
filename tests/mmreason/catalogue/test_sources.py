"""Several sources in one catalogue: ids never meet, media are found, training draws by weight."""

from pathlib import Path

import pytest
from PIL import Image

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.cli import read_config
from mmreason.config import CatalogueConfig, Config
from mmreason.config_data import SourceConfig
from mmreason.schema import DataError
from mmreason.shards.balance import read_weights
from mmreason.shards.loader import item_samples, reason_samples
from mmreason.shards.pack import pack


def make_shop(root: Path, color: str) -> Path:
    """A shop with the same ids as any other of these shops."""
    (root / "photos").mkdir(parents=True)
    Image.new("RGB", (8, 8), color).save(root / "photos" / "a.png")
    (root / "items.csv").write_text("id,title,images\na,Coat,photos/a.png\nb,Hat,../other/a.png\n")
    (root / "interactions.csv").write_text("user_id,item_id\nu,a\nu,b\n")
    evidence = '"[{""attribute"": ""color"", ""value"": ""red"", ""item_ids"": [""b""]}]"'
    (root / "reasons.csv").write_text(f"user_id,item_id,text,evidence\nu,a,Because.,{evidence}\n")
    return root


@pytest.fixture
def two(tmp_path: Path) -> Config:
    shops = {
        name: make_shop(tmp_path / name / "shop", color) for name, color in (("one", "red"), ("two", "blue"))
    }
    sources = [
        SourceConfig(name, "tables", str(root), weight=n) for n, (name, root) in enumerate(shops.items(), 1)
    ]
    settings = CatalogueConfig(sources=sources, test_items=0, valid_items=0)
    return Config(run_dir=str(tmp_path / "run"), catalogue=settings)


def test_the_same_ids_of_two_sources_are_two_things(two: Config) -> None:
    assert "4 items read = 4 kept" in (summary := ingest(two)) and "4 media read = 2 kept + 2 quar" in summary
    catalogue = read_catalogue(two.path("catalogue"))
    assert sorted(catalogue.items) == ["one:a", "one:b", "two:a", "two:b"]
    assert {item.group for item in catalogue.items.values()} == set(catalogue.items)
    assert {(i.user_id, i.item_id) for i in catalogue.interactions} == {
        (f"{name}:u", f"{name}:{item}") for name in ("one", "two") for item in "ab"
    }
    assert [(r.user_id, r.evidence[0].item_ids) for r in catalogue.reasons] == [
        ("one:u", ["one:b"]),
        ("two:u", ["two:b"]),
    ]
    for name in ("one", "two"):  # and not the other's picture, which a path of items.csv would lead to
        assert (Path(two.catalogue.sources[0].root).parents[1] / name / "shop/photos/a.png").samefile(
            catalogue.media(catalogue.items[f"{name}:a"].images[0])
        )


def test_training_draws_by_the_weights_of_the_sources(two: Config) -> None:
    ingest(two)
    pack(two)
    users = [sample.user.id for sample in reason_samples(two.path("shards"), "train")]
    weights = dict(zip(users, read_weights(two.path("shards")), strict=True))
    assert weights["two:u"] == pytest.approx(2 * weights["one:u"])
    assert sum(len(item.images) for item in item_samples(two.path("shards"))) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "two"}, "'two' is no name of one source"),
        ({"name": "a'b"}, "is no name"),
        ({"source": "bazaar"}, "bazaar"),
    ],
)
def test_mistakes_are_named_before_anything_is_lost(two: Config, change: dict[str, str], said: str) -> None:
    ingest(two)
    before = read_catalogue(two.path("catalogue"))
    for name, value in change.items():
        setattr(two.catalogue.sources[0], name, value)
    with pytest.raises(DataError, match=said):
        ingest(two)
    assert read_catalogue(two.path("catalogue")) == before


def test_sources_are_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "catalogue:\n  sources:\n    - {name: shop, source: tables, root: my_shop, options: {mapping: m.yaml}}\n"
        "    - {name: news, source: mind, root: MIND, weight: 3}\n"
    )
    assert read_config(path).catalogue.sources == [
        SourceConfig("shop", "tables", "my_shop", {"mapping": "m.yaml"}),
        SourceConfig("news", "mind", "MIND", weight=3.0),
    ]
