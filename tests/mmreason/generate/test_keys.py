"""What a row depends on: nothing that is served outlives a rule, a word or a version that it was made by."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mmreason.config import Config
from mmreason.evidence.lookup import write_rows
from mmreason.evidence.pairs import PAIRS
from mmreason.evidence.store import CONCEPTS, FACTS, EvidenceStore
from mmreason.generate import asks as module
from mmreason.generate.asks import Asks
from mmreason.generate.requests import Keys
from mmreason.plugins import WRITERS
from mmreason.records import find_stage, inputs
from mmreason.schema import Interaction, Item, User

THROW, HAT = Item("throw", "Throw"), Item("hat", "Hat")
USER = User("ann", [Interaction("ann", "hat", "purchase")])


def _evidence(folder: Path, concept: dict[str, Any], pair: dict[str, Any], content: str) -> EvidenceStore:
    """A throw and a hat of grey wool, with a change of what is known of them."""
    fact = {"source": "attribute", "probability": 1.0, "supporters": 0, "asked": 0, "content": content}
    facts = [
        fact | {"item_id": item, "name": name, "value": value, "concept_id": f"{name}={value}"}
        for item in ("hat", "throw")
        for name, value in (("color", "grey"), ("material", "wool"))
    ]
    wool = {"id": "material=wool", "name": "material", "value": "wool", "items": 2, "popularity": 0.1}
    concepts = [wool | {"sensitive": "", "spellings": ["material=wool"]} | concept]
    pairs = [{"first": "color=grey", "second": "material=wool", "items": 2, "popularity": 0.1} | pair]
    folder.mkdir()
    tables = (("facts", FACTS, facts), ("concepts", CONCEPTS, concepts), ("pairs", PAIRS, pairs))
    for name, schema, rows in tables:
        write_rows(folder / f"{name}.parquet", schema, [pa.RecordBatch.from_pylist(rows, schema)])
    return EvidenceStore.open(folder)


@pytest.mark.parametrize(
    ("concept", "pair", "content"),
    [
        ({"sensitive": "belief"}, {}, ""),
        ({"value": "Wool"}, {}, ""),
        ({"popularity": 0.2}, {}, ""),
        ({"spellings": ["material=wool", "material=woollen"]}, {}, ""),
        ({}, {"popularity": 0.05}, ""),
        ({}, {}, "what its facts are read from, or how"),
    ],
)
def test_a_key_changes_with_what_is_known(
    concept: dict[str, Any], pair: dict[str, Any], content: str, tmp_path: Path
) -> None:
    """Of the item, and of what the user took."""
    before, same = _evidence(tmp_path / "before", {}, {}, ""), _evidence(tmp_path / "same", {}, {}, "")
    after = _evidence(tmp_path / "after", concept, pair, content)
    items = {"throw": THROW, "hat": HAT}
    for request in ((User(""), THROW), (USER, Item("new", "New"))):
        key, *others = (Keys(items, evidence).of(request) for evidence in (before, same, after))
        assert others[0] == key != others[1]


@pytest.fixture
def copied(tiny_run: Config, tmp_path: Path) -> Config:
    shutil.copytree(tiny_run.run_dir, tmp_path / "run")
    return replace(tiny_run, run_dir=str(tmp_path / "run"))


def _to_write(config: Config) -> int:
    asks = Asks(config)
    return asks.job.look(asks.requests, asks.made_of).to_write


def test_a_new_term_that_nobody_may_infer_has_every_row_written_again(copied: Config) -> None:
    assert _to_write(copied) == 0
    copied.path("evidence", "sensitive.yaml").write_text("belief: [astrology]")
    asks = Asks(copied)
    assert _to_write(copied) == asks.job.look(asks.requests).requests > 0
    assert [line.partition(" → ")[0] for line in asks.changes()] == ["setting sensitive terms empty"]


def test_a_mended_rule_has_every_row_written_again(copied: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = replace(find_stage("generate"), version=find_stage("generate").version + 1)
    monkeypatch.setattr(module, "find_stage", lambda name: newer)
    assert _to_write(copied) > 0
    assert Asks(copied).changes() == [f"setting version {newer.version - 1} → {newer.version}"]


def test_built_in_rules_of_safety_are_among_the_files_of_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(module.__file__).parents[2]
    for folder in ("safety", "wording/grammars", "generate/packs", "generate/verify"):
        shutil.copytree(root / "mmreason" / folder, tmp_path / "mmreason" / folder)
    monkeypatch.setattr(module, "files", lambda package: tmp_path.joinpath(*package.split(".")))
    before = module.wording_files([])
    with (tmp_path / "mmreason/safety/sensitive.yaml").open("a") as file:
        file.write("# mended\n")
    assert module.wording_files([]) != before


def test_a_writer_of_another_package_is_known_by_its_version(
    copied: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    config = replace(copied, generate=replace(copied.generate, writers=["mine", "template"]))

    def installed(version: str) -> tuple[str, dict[str, str]]:
        info = tmp_path / "site" / f"my_package-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-package\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{WRITERS}]\nmine = mmreason.wording.template:write\n")
        told = Asks(config).made_by["writers of other packages"]
        read = inputs(find_stage("generate"), config).reads["added writers"]
        shutil.rmtree(info)
        return told, read

    assert installed("1.0") == ("mine of my-package 1.0", {"mine": "my-package 1.0"})
    assert installed("1.1") == ("mine of my-package 1.1", {"mine": "my-package 1.1"})
    assert Asks(copied).made_by["writers of other packages"] == ""
