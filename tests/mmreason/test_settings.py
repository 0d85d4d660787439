"""A run folder knows its configuration, and another catalogue must be asked for by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mmreason.cli import main
from mmreason.config import CatalogueConfig, Config
from mmreason.records import flat
from mmreason.schema import DataError
from mmreason.settings import NAME, keep, with_absolute_paths


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``my_shop`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my_shop"
    folder.mkdir()
    (folder / "items.csv").write_text("id,title\na,Coat\nb,Hat\nc,Shoe\n")
    return folder


def test_verbs_of_one_run_share_its_configuration(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["ingest", "tables", "--root", "my_shop", "--run_dir", "run", "--pack.shard_size", "2"])
    main(["simulate", "--run_dir", "run"])
    main(["pack", "--run_dir", "run", "--simulate.users", "0"])
    said = capsys.readouterr()
    assert "3 items read" in said.out and "packed 3 items" in said.out
    assert "run: setting simulate.users none → 0" in said.err
    saved = yaml.safe_load(Path("run", NAME).read_text())
    assert saved["catalogue"]["root"] == str(shop) and saved["pack"]["shard_size"] == 2
    main(["status", "--run_dir", "run"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["done", "stale", "depends"]


def test_the_source_of_a_run_changes_only_when_asked_by_name(shop: Path) -> None:
    main(["ingest", "tables", "--root", "my_shop", "--run_dir", "run"])
    other = shop.with_name("other")
    other.mkdir()
    (other / "items.csv").write_text("id,title\nx,Lamp\n")
    before = Path("run", "catalogue", "items.parquet").read_bytes()
    with pytest.raises(
        SystemExit, match=r"the run of another catalogue.*my_shop.*other.*--change-source true"
    ):
        main(["ingest", "tables", "--root", "other", "--run_dir", "run"])
    assert Path("run", "catalogue", "items.parquet").read_bytes() == before
    main(["ingest", "tables", "--root", "other", "--run_dir", "run", "--change-source", "true"])
    assert Path("run", "catalogue", "items.parquet").read_bytes() != before


def test_what_one_call_is_told_is_not_kept(tmp_path: Path) -> None:
    config = Config(run_dir=str(tmp_path), continue_training=True)
    config.generate.requests, config.embed.shard = "requests.jsonl", "1/2"
    keep(config)
    saved = dict(flat(yaml.safe_load((tmp_path / NAME).read_text())))
    assert not {"run_dir", "continue_training", "generate.requests", "embed.shard"} & saved.keys()
    assert saved["align.steps"] == 300


def test_paths_are_good_in_every_working_directory(shop: Path) -> None:
    config = Config(catalogue=CatalogueConfig("tables", "my_shop", options={"mapping": "my_shop/items.csv"}))
    made = with_absolute_paths(config)
    assert made.catalogue.root == str(shop) and made.catalogue.options == {"mapping": str(shop / "items.csv")}
    assert made.reason.lm == "wheel:smollm2-135m" and config.catalogue.root == "my_shop"


def test_files_of_ones_own_rules_are_good_in_every_working_directory(shop: Path) -> None:
    for name in ("house.yaml", "terms.yaml"):
        Path(name).write_text("{}")
    config = Config()
    config.generate.packs, config.evidence.sensitive = ["house.yaml", "gone.yaml"], "terms.yaml"
    made = with_absolute_paths(config)
    assert made.generate.packs == [str(shop.with_name("house.yaml")), "gone.yaml"]
    assert made.evidence.sensitive == str(shop.with_name("terms.yaml"))


def test_a_damaged_configuration_is_named(shop: Path) -> None:
    main(["ingest", "tables", "--root", "my_shop", "--run_dir", "run"])
    Path("run", NAME).write_text("align: [")
    with pytest.raises(DataError, match=r"run/config\.yaml: cannot be read"):
        keep(Config(run_dir="run"))
    with pytest.raises(SystemExit, match="config"):
        main(["pack", "--run_dir", "run"])


def test_every_one_of_several_sources_is_watched(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapped = shop.with_name("mapped")
    mapped.mkdir()
    (mapped / "goods.csv").write_text("id,name\nx,Lamp\n")
    mapping = shop.with_name("mapping.yaml")
    mapping.write_text("items: {file: goods.csv, id: id, title: name}\n")
    sources = [
        {"name": "mine", "source": "tables", "root": "my_shop"},
        {"name": "theirs", "source": "tables", "root": "mapped", "options": {"mapping": "mapping.yaml"}},
    ]
    Path("two.yaml").write_text(yaml.safe_dump({"run_dir": "run", "catalogue": {"sources": sources}}))
    main(["ingest", "--config", "two.yaml"])
    saved = yaml.safe_load(Path("run", NAME).read_text())["catalogue"]["sources"]
    assert [source["root"] for source in saved] == [str(shop), str(mapped)]
    assert saved[1]["options"]["mapping"] == str(mapping)

    def state() -> str:
        capsys.readouterr()
        main(["status", "--run_dir", "run"])
        return capsys.readouterr().out.splitlines()[0]

    assert " done" in state()
    for edited in (shop / "items.csv", mapped / "goods.csv", mapping):
        text = edited.read_text()
        edited.write_text(text + "\n")
        assert " stale" in state() and edited.name in state()
        main(["ingest", "--run_dir", "run"])
        assert " done" in state()
    sources[1]["root"], sources[1]["options"] = "my_shop", {}
    Path("other.yaml").write_text(yaml.safe_dump({"run_dir": "run", "catalogue": {"sources": sources}}))
    with pytest.raises(SystemExit, match=r"the run of another catalogue.*mapped.*my_shop"):
        main(["ingest", "--config", "other.yaml"])


@pytest.mark.parametrize(
    "setting",
    ["candidates=0", "batch_size=-1", "part_size=-1", "max_seconds=-1", "max_failures=2"],
)
def test_a_number_out_of_its_range_is_refused_before_anything_is_kept(tmp_path: Path, setting: str) -> None:
    with pytest.raises(SystemExit, match=f"generate.{setting.partition('=')[0]} is .*; give"):
        main(["generate", "--run_dir", str(tmp_path / "run"), f"--generate.{setting}"])
    assert not (tmp_path / "run").exists()
