"""``engine: ray`` on a real cluster of two nodes: what one process writes, whatever dies on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import psutil
import pytest

from mmreason.bulk.parts import part
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.cluster import TRIES, _Worker, results
from mmreason.config import Config, GenerateConfig, RayConfig
from mmreason.generate.job import generate
from mmreason.generate.on_ray import _PartWriter
from mmreason.schema import DataError

ray = pytest.importorskip("ray", reason="engine: ray needs `pip install 'mmreason[ray]'`")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of a core each, the first of which is the head."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    soon = {"health_check_period_ms": 300, "health_check_failure_threshold": 2}  # to notice a dead node
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": soon}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1)
    ray.init(made.address, log_to_driver=False, logging_level="error")
    yield made
    ray.shutdown()
    made.shutdown()
    os.environ.clear()
    os.environ |= before


def on_ray(config: Config) -> Config:
    return replace(config, engine="ray", ray=RayConfig(min_workers=2, cpus=1))


def workers() -> list[psutil.Process]:
    """The processes of a cluster's pool of workers."""
    children = psutil.Process().children(recursive=True)
    return [each for each in children if "MapWorker" in " ".join(each.cmdline()[:1])]


def contents(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != "progress.json"}


@contextmanager
def disturbed(*disturbances: tuple[Path, Callable[[], Any]]) -> Iterator[None]:
    """Do something to the cluster as soon as a file is there, then the next."""

    def work() -> None:
        ends = time.monotonic() + 100
        for path, disturb in disturbances:
            while not path.exists() and time.monotonic() < ends:
                time.sleep(0.01)
            disturb()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        yield
        done.result()


@pytest.fixture(scope="module")
def shop(tiny_run: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run with 480 requests, one of which is none; and what one process writes for them."""
    folder = tmp_path_factory.mktemp("shop")
    for name in ("catalogue", "shoppers", "shards", "align", "embed", "evidence"):
        shutil.copytree(tiny_run.path(name), folder / name)
    shutil.copy(tiny_run.path("config.yaml"), folder)
    catalogue = read_catalogue(folder / "catalogue")
    users = sorted({step.user_id for step in catalogue.interactions})
    pairs = [(user, item) for user in users for item in sorted(catalogue.items)][:479]
    pairs.append((users[0], "gone"))
    rows = (json.dumps({"user_id": user, "item_id": item}) + "\n" for user, item in pairs)
    (folder / "pairs.jsonl").write_text("".join(rows))
    settings = GenerateConfig(
        requests=str(folder / "pairs.jsonl"), part_size=8, writers=["template", "extract"]
    )
    config = replace(tiny_run, run_dir=str(folder), generate=settings)
    generate(config)
    return config


def test_a_dead_worker_and_a_dead_node_cost_no_row(cluster: Any, shop: Config, monkeypatch: Any) -> None:
    folder = shop.path("generate", "pairs")
    local = contents(folder)
    shutil.rmtree(folder)
    monkeypatch.setattr("mmreason.generate.on_ray.WINDOW", 8)  # a part a task
    [node] = cluster.worker_nodes
    with disturbed(
        (part(folder, 2), lambda: workers()[0].kill()),
        (part(folder, 20), lambda: cluster.remove_node(node, allow_graceful=False)),
    ):
        summary = generate(on_ray(shop))
    cluster.add_node(num_cpus=1)
    assert summary.startswith("480 requests (0 were answered already)") and "1 failed" in summary
    assert contents(folder) == local


def test_a_task_done_again_writes_what_is_missing_of_it(shop: Config) -> None:
    folder = shop.path("generate", "pairs")
    before, kept = contents(folder), part(folder, 6).stat()
    part(folder, 7).unlink()
    writer = _PartWriter(shop, shop.generate.part_size, ends_at=inf)
    assert writer([6, 7])["written"] == 8 and writer([6, 7])["written"] == 0
    assert contents(folder) == before and part(folder, 6).stat().st_mtime_ns == kept.st_mtime_ns


def make() -> Any:
    def work(task: Any) -> Any:
        if task == 3:
            raise DataError("no room\nfor it")
        return 2 * task

    return work


def test_an_error_in_a_worker_is_one_line(cluster: Any, tmp_path: Path) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    config = Config(run_dir=str(tmp_path), engine="ray")
    with pytest.raises(DataError, match=r"^no room$"):
        list(results(config, make, range(9)))
    with pytest.raises(DataError, match=r"^a worker failed: TypeError: .*--debug"):
        list(results(config, make, ["a", None]))
    assert list(results(config, make, [1, "a"])) == [2, "aa"] and not list(tmp_path.iterdir())


def test_a_task_that_workers_die_of_stops_the_job(tmp_path: Path) -> None:
    worker = _Worker(make, tmp_path)
    assert worker({"task": ["4"]}) == {"result": ["8"]} and not list(tmp_path.iterdir())
    name = hashlib.sha256(b"4").hexdigest()[:32]
    for number in range(TRIES):
        (tmp_path / f"{name}-{number}").touch()
    with pytest.raises(DataError, match="5 workers died of the same task, 4"):
        worker({"task": ["4"]})
    assert worker({"task": ["5"]}) == {"result": ["10"]}
