"""A reader's own options, and readers that other packages add."""

import sys
from pathlib import Path

import pytest

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.cli import main
from mmreason.config import CatalogueConfig, Config
from mmreason.demo.reader import DemoOptions
from mmreason.readers import find_reader, make_options, options_type
from mmreason.schema import DataError

PACKAGE = '''
from dataclasses import dataclass
from pathlib import Path

from mmreason.readers.source import SourceRow, Tables


@dataclass
class LinesOptions:
    """Options.

    Args:
        domain: Of every item.
    """

    domain: str = "shop"


def read(config, options: LinesOptions):
    root = Path(config.catalogue.root)
    lines = (root / "titles.txt").read_text().split()
    rows = (SourceRow("titles.txt", n, {"id": t, "title": t, "domain": options.domain}) for n, t in enumerate(lines, 1))
    return Tables(root, rows)
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package beside ours that adds two readers, one of which cannot be imported; returns a folder that it reads."""
    site = tmp_path / "site"
    info = site / "lines_reader-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "lines_reader.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lines-reader\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mmreason.readers]\nlines = lines_reader:read\nbroken = lines_reader:gone\n"
    )
    monkeypatch.syspath_prepend(str(site))
    (tmp_path / "titles.txt").write_text("hat coat")
    yield tmp_path
    sys.modules.pop("lines_reader", None)


def test_an_installed_package_adds_a_reader_with_options_of_its_own(installed: Path) -> None:
    main(
        [
            *("ingest", "lines", "--root", str(installed), "--run_dir", str(installed / "run")),
            *("--catalogue.options.domain", "news"),
        ]
    )
    items = read_catalogue(installed / "run/catalogue").items
    assert {item.id: item.domain for item in items.values()} == {"hat": "news", "coat": "news"}


def test_readers_that_are_not_there_are_one_line(installed: Path) -> None:
    with pytest.raises(DataError, match=r"'bazaar' is unknown; there are demo, .*, xrec, broken, lines$"):
        find_reader("bazaar")
    with pytest.raises(DataError, match="lines_reader:gone cannot be imported"):
        find_reader("broken")


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("tables", {"maping": "x.yaml"}, "'tables' has no option 'maping'; it has mapping"),
        ("demo", {"items_per_domain": "many"}, "items_per_domain.*many"),
        ("amazon", {"texts": "x"}, "'amazon' has no options; leave out texts"),
    ],
)
def test_an_option_that_the_reader_does_not_have_is_one_line(
    tmp_path: Path, source: str, options: dict[str, object], said: str
) -> None:
    config = Config(str(tmp_path / "run"), catalogue=CatalogueConfig(source, str(tmp_path), options))
    with pytest.raises(DataError, match=said) as error:
        ingest(config)
    assert "\n" not in str(error.value)


def test_options_are_typed_by_the_dataclass_beside_the_reader() -> None:
    assert options_type(find_reader("demo")) is DemoOptions
    assert make_options(DemoOptions, {"items_per_domain": "7"}, "demo") == DemoOptions(7)
    assert make_options(DemoOptions, {}, "demo") == DemoOptions()
