"""From a shop's folder to reasons with nothing trained: the verb, the Python call, and what explains a reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from mmreason import Reasoner, User
from mmreason.cli import main
from mmreason.generate.explain import explain
from mmreason.generate.ladder import RUNGS
from mmreason.schema import DataError

FABRICS = ["Waxed cotton", "Merino wool", "Linen", "Tweed", "Denim", "Velvet"]
KINDS = ["Coats", "Hats", "Scarves"]
QUICK = ["--align.text", "tfidf", "--align.text_weights", "", "--embed.decode_workers", "1"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 things of six fabrics; Ann buys waxed cotton, Bo tweed, and twenty others what else there is."""
    folder = tmp_path_factory.mktemp("source") / "my_shop"
    folder.mkdir()
    rows = ["id,title,description,material,type"]
    for n in range(36):
        fabric, kind = FABRICS[n % 6], KINDS[n // 6 % 3]
        rows.append(f"sku-{n},Alder {n},Has a pocket that closes with a button.,{fabric},{kind}")
    (folder / "items.csv").write_text("\n".join(rows) + "\n")
    others = {f"u{n}": [6 * (n % 5) + 1 + n % 5, 6 * (n % 6) + 1 + (n + 2) % 5] for n in range(20)}
    bought = {"ann": [0, 6, 12], "bo": [3, 9, 15], **others}
    steps = [f"{user},sku-{n},purchase,{1_700_000_000 + n}" for user, items in bought.items() for n in items]
    (folder / "interactions.csv").write_text("user_id,item_id,event,timestamp\n" + "\n".join(steps) + "\n")
    return folder


@pytest.fixture(scope="module")
def run_dir(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "my_shop"
    main(["reasons", str(shop), "--run_dir", str(folder), *QUICK])
    return folder


def test_a_folder_becomes_reasons_and_a_report(run_dir: Path) -> None:
    rows = pq.read_table(run_dir / "reasons.parquet").to_pylist()
    assert len(rows) == 22 * 5 and {row["level"] for row in rows} <= set(RUNGS)
    of_ann = [row["text"] for row in rows if row["user_id"] == "ann" and row["level"] == "personal"]
    assert any("waxed cotton" in text for text in of_ann) and not any("tweed" in text for text in of_ann)
    page = (run_dir / "report.html").read_text()
    assert "Ladder and writers" in page and "waxed cotton" in page
    assert not (run_dir / "reason").exists() and not (run_dir / "shoppers").exists()


def test_nobody_is_told_of_what_they_bought(run_dir: Path) -> None:
    rows = pq.read_table(run_dir / "reasons.parquet").to_pylist()
    assert not {(row["user_id"], row["item_id"]) for row in rows} & {("ann", "sku-0"), ("bo", "sku-9")}


def test_the_same_call_again_does_nothing(
    shop: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["reasons", str(shop), "--run_dir", str(run_dir)])
    said = capsys.readouterr().out
    assert said.count("(done before)") == 9 and "reasons.parquet" in said


def test_a_reasoner_of_a_folder(shop: Path, run_dir: Path) -> None:
    reasoner = Reasoner.from_catalogue(shop, run_dir)
    assert reasoner.lm is None
    stranger = reasoner.explain(User(""), reasoner.items["sku-1"])
    assert stranger.level == "selling point" and "you" not in stranger.text.lower().split()
    page = reasoner.explain_page(User(""), [reasoner.items[f"sku-{n}"] for n in range(4)])
    assert len({reason.text for reason in page}) > 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        Reasoner.from_catalogue(tmp_path / "nowhere")


def test_explain_tells_plan_and_evidence(run_dir: Path) -> None:
    said = explain(str(run_dir), user="ann", item="sku-18")
    assert said.startswith("Alder 18 (sku-18)") and "fact: material = Waxed cotton (attribute)" in said
    assert "tie: taste" in said and "sku-6: Alder 6" in said
    assert explain(str(run_dir), user="bo").count("level: ") == 8
    with pytest.raises(DataError, match="user 'zoe' has no history"):
        explain(str(run_dir), user="zoe")
    with pytest.raises(DataError, match="item 'sku-99' is not in the catalogue"):
        explain(str(run_dir), item="sku-99")


def test_explain_holds_to_the_runs_own_compliance_packs(run_dir: Path, tmp_path: Path) -> None:
    pack, copy = tmp_path / "mine.yaml", shutil.copytree(run_dir, tmp_path / "run")
    pack.write_text("rules: [{kind: mine, why: we say cotton, words: [waxed cotton]}]")
    settings = yaml.safe_load((copy / "config.yaml").read_text())
    settings["generate"]["packs"] = [str(pack)]
    (copy / "config.yaml").write_text(yaml.safe_dump(settings))
    said = explain(str(copy), user="ann", item="sku-18")
    assert "mine): " in said and "waxed cotton" not in said.splitlines()[1]
