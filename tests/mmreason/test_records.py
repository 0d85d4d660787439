"""Which stages an edit makes stale: by content, and with the cause in words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mmreason.config import Config, VerifyConfig
from mmreason.products import fingerprint
from mmreason.records import STAGES, causes, find_stage, inputs, read_record, record_path, stage_identity
from mmreason.schema import DataError


@pytest.fixture
def copied(tiny_run: Config, tmp_path: Path) -> Config:
    shutil.copytree(tiny_run.run_dir, tmp_path / "run")
    return replace(tiny_run, run_dir=str(tmp_path / "run"))


def _stale(config: Config) -> dict[str, list[str]]:
    found = {stage.name: causes(stage, config) for stage in STAGES}
    return {name: why for name, why in found.items() if why}


def test_a_copied_run_is_done(copied: Config) -> None:
    """The copy is made of the same contents; only the made-up source tells times, which copies keep."""
    assert _stale(copied) == {}


@pytest.mark.parametrize(
    ("section", "change", "stale"),
    [
        ("pack", {"shard_size": 9}, {"pack"}),
        ("align", {"lr": 0.5}, {"align"}),
        ("align", {"micro_batch": 4}, set()),
        ("embed", {"part_size": 3}, set()),
        ("reason", {"lora_steps": 7}, {"train"}),
        ("reason", {"save_every": 3}, set()),
        ("generate", {"batch_size": 1, "part_size": 9}, set()),
        ("generate", {"max_new_tokens": 7}, {"generate", "evaluate"}),
        ("evaluate", {"rows": 2}, {"evaluate"}),
        ("simulate", {"noise": 0.5}, {"simulate"}),
        ("catalogue", {"test_items": 0.4}, {"ingest"}),
    ],
)
def test_a_setting_makes_stale_what_depends_on_it(
    section: str, change: dict, stale: set[str], copied: Config
) -> None:
    changed = replace(copied, **{section: replace(getattr(copied, section), **change)})
    found = _stale(changed)
    assert found.keys() == stale
    key, value = next(iter(change.items()))
    before = getattr(getattr(copied, section), key)
    assert all(why == [f"setting {section}.{key} {before} → {value}"] for why in found.values())


def test_a_format_version_makes_its_stage_stale(copied: Config) -> None:
    newer = replace(find_stage("pack"), version=2)
    assert causes(newer, copied) == ["format version 1 → 2"]


def test_replaced_weights_are_noticed_wherever_they_lie(copied: Config, tmp_path: Path) -> None:
    lm, text = tmp_path / "lm", tmp_path / "text"
    shutil.copytree(copied.reason.lm, lm)
    shutil.copytree(copied.align.text_weights, text)
    moved = replace(
        copied,
        reason=replace(copied.reason, lm=str(lm)),
        align=replace(copied.align, text_weights=str(text)),
    )
    assert {name: len(why) for name, why in _stale(moved).items()} == {"align": 1, "train": 1}, "the paths"
    for name in ("align", "train"):
        assert stage_identity(moved, name) == stage_identity(copied, name)
    weights = lm / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert stage_identity(moved, "train") != stage_identity(copied, "train")
    assert "language model changed" in _stale(moved)["train"]
    weights = text / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert "encoder weights (text weights) changed" in _stale(moved)["embed"]
    shutil.rmtree(lm)
    with pytest.raises(DataError, match="lm"):
        causes(find_stage("train"), moved)


def test_edited_rules_make_stale_what_keeps_to_them(copied: Config, tmp_path: Path) -> None:
    pack, terms = tmp_path / "house.yaml", tmp_path / "terms.yaml"
    pack.write_text("rules: []\n")
    terms.write_text("belief: [astrology]\n")
    ruled = replace(
        copied,
        generate=replace(copied.generate, packs=[str(pack)]),
        evidence=replace(copied.evidence, sensitive=str(terms)),
    )
    for name in ("evidence", "generate"):
        inputs(find_stage(name), ruled).write(record_path(find_stage(name), ruled))
    assert _stale(ruled) == {}
    pack.write_text("rules: []\nallow: [price]\n")
    assert _stale(ruled) == {"generate": [f"compliance packs ({pack}) changed"]}
    terms.write_text("belief: [tarot]\n")
    assert _stale(ruled)["evidence"] == [f"sensitive terms ({terms}) changed"]
    pack.unlink()
    with pytest.raises(DataError, match=r"generate\.packs: .*house\.yaml: no such file"):
        causes(find_stage("generate"), ruled)


def test_edited_aspects_make_the_evidence_stale(copied: Config) -> None:
    learned, mined = copied.path("evidence", "aspects.yaml"), copied.path("mined", "aspects.yaml")
    for path in (learned, mined):  # those that were mined stand before the ones that the stage has learned
        path.parent.mkdir(exist_ok=True)
        path.write_text("aspects: {}\n")
        name = f"{path.parent.name}/{path.name}"
        assert name in _stale(copied)["evidence"][0]
        inputs(find_stage("evidence"), copied).write(record_path(find_stage("evidence"), copied))
        assert _stale(copied) == {}
    learned.write_text("aspects: {fit: {}}\n")
    assert _stale(copied) == {}
    mined.write_text("aspects: {fit: {}}\n")
    assert _stale(copied) == {"evidence": ["aspects (mined/aspects.yaml) changed"]}


def test_a_model_replaced_by_hand_makes_stale_what_reads_it(copied: Config) -> None:
    weights = copied.path("reason", "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert _stale(copied).keys() == {"generate", "evaluate"}


def test_what_is_gone_is_named(copied: Config) -> None:
    copied.path("align", "model.safetensors").unlink()
    assert "shared space (align/model.safetensors) gone" in _stale(copied)["align"]
    shard = next(copied.path("shards").glob("items-*.tar"))
    shard.unlink()
    (why,) = _stale(copied)["pack"]
    assert why.startswith("1 of ") and why.endswith(" item shards gone")


def test_the_order_of_an_embedding_stores_parts_makes_no_difference(copied: Config, tiny_run: Config) -> None:
    from mmreason.embed.job import embed

    before = fingerprint("vectors", copied)
    shutil.rmtree(copied.path("embed"))
    embed(replace(copied, embed=replace(copied.embed, part_size=3, shard="2/2")))
    assert fingerprint("vectors", copied) != before
    embed(replace(copied, embed=replace(copied.embed, part_size=5, shard="1/2")))
    assert fingerprint("vectors", copied) == before


def test_a_record_that_is_cut_is_none(copied: Config) -> None:
    path = record_path(find_stage("pack"), copied)
    path.write_text(path.read_text()[:40])
    assert read_record(find_stage("pack"), copied) is None
    assert _stale(copied) == {"pack": ["not done yet"]}


def test_files_of_the_source_count_by_size_and_time(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    shop, run = tmp_path / "shop", tmp_path / "shop" / "run"
    (shop / "photos").mkdir(parents=True)
    (shop / "items.csv").write_text("id,images\na,photos/a.jpg\n")
    (shop / "photos" / "a.jpg").write_bytes(b"picture")
    config = make_config(run)
    config.catalogue = replace(config.catalogue, source="tables", root=str(shop), options={})
    before = fingerprint("source", config)
    assert before.keys() == {"items.csv", "photos/a.jpg"}
    for name in ("run/config.yaml", "downloads/x.jpg", ".hidden"):  # its own, and nobody's
        (shop / name).parent.mkdir(exist_ok=True)
        (shop / name).write_bytes(b"x")
    assert fingerprint("source", config) == before
    (shop / "photos" / "a.jpg").write_bytes(b"another")
    after = fingerprint("source", config)
    assert [name for name in before if before[name] != after[name]] == ["photos/a.jpg"]


def test_another_inference_model_makes_reasons_stale(
    copied: Config, tiny_models: dict, tmp_path: Path
) -> None:
    shutil.copytree(tiny_models["nli"], tmp_path / "nli")
    checked = replace(copied, verify=VerifyConfig(nli=str(tmp_path / "nli")))
    assert _stale(checked).keys() == {"generate"}
    before = fingerprint("inference model", checked)
    weights = tmp_path / "nli" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert fingerprint("inference model", checked) != before
    assert fingerprint("inference model", copied) == {}
