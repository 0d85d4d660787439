"""A run by two processes: each stage is shared, or done by one while the other waits; the result is one process's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import run_two, whole_run

from mmreason.config import Config
from mmreason.generate.job import read_job
from mmreason.pipeline import run, status
from mmreason.records import STAGES
from mmreason.shards.manifest import read_manifest
from mmreason.store.store import EmbeddingStore, StoreWriter


def test_two_processes_run_all_stages(
    tiny_run: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    assert run_two(whole_run, config) == [0, 0]
    for table in ("items", "interactions", "reasons"):
        path = f"catalogue/{table}.parquet"
        assert config.path(path).read_bytes() == tiny_run.path(path).read_bytes()
    manifest, expected = (read_manifest(c.path("shards")) for c in (config, tiny_run))
    assert [(s.name, s.samples) for s in manifest.shards] == [(s.name, s.samples) for s in expected.shards]
    assert manifest.of("reasons-test") == expected.of("reasons-test")  # videos are not drawn twice alike
    assert len(read_job(config)) == manifest.samples("reasons-test")
    assert {line.split()[1] for line in status(config).splitlines()} == {"done"}
    run(config)  # and one process finds nothing to do
    assert capsys.readouterr().out.count("(done before)") == len(STAGES)


def test_two_processes_embed_and_generate_what_one_does(tiny_run: Config, tmp_path: Path) -> None:
    """Beside items of an earlier catalogue, which leave the store, and rows of an earlier job."""
    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, config.run_dir)
    one = EmbeddingStore.open(tiny_run.path("embed"))
    shutil.rmtree(config.path("embed"))
    stored = [name for name in one.names if not name.endswith("_features")]  # those are in the feature cache
    arrays = {name: np.zeros((1, one.dims[name]), dtype=np.float16) for name in stored}
    masks = {name: np.ones(1, dtype=bool) for name in one.masks}
    StoreWriter(config.path("embed"), one.meta).write_part(["gone"], ["of before"], arrays, masks)
    min(config.path("generate", "test").glob("part-*")).unlink()
    assert run_two(whole_run, config, ("embed", "generate")) == [0, 0]
    two = EmbeddingStore.open(config.path("embed"))
    assert sorted(one.ids) == sorted(two.ids)
    for name in one.names:
        np.testing.assert_allclose(two.get(name, one.ids), one.get(name, one.ids), atol=1e-3)
    for path in tiny_run.path("generate", "test").glob("*.parquet"):
        assert config.path("generate", "test", path.name).read_bytes() == path.read_bytes()
