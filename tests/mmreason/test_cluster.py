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
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from mmreason.bulk.parts import part
from mmreason.catalogue.catalogue import read_catalogue, write_catalogue
from mmreason.cluster import TRIES, _Worker, results
from mmreason.config import Config, GenerateConfig, RayConfig
from mmreason.embed.job import embed
from mmreason.generate.job import generate
from mmreason.generate.on_ray import _PartWriter
from mmreason.schema import DataError

ray = pytest.importorskip("ray", reason="engine: ray needs `pip install 'mmreason[ray]'`")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes; the head has room for the other's worker, too."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    soon = {"health_check_period_ms": 300, "health_check_failure_threshold": 2}  # to notice a dead node
    head = {"num_cpus": 2, "include_dashboard": False, "_system_config": soon}
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
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it ended meanwhile
            found += [each] * ("MapWorker" in "".join(each.cmdline()[:1]))
    return found


def kill_at_work(of: Callable[[psutil.Process], bool] = lambda each: True) -> None:
    """Kill a worker that has tasks to do: one that stands still, as Ray goes on to give it some."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        for each in filter(of, workers()):
            with suppress(psutil.Error):  # it ended meanwhile
                each.suspend()
                time.sleep(1)
                each.kill()
                return
    pytest.fail("there was never a worker")


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != "progress.json"}


@contextmanager
def disturbed(path: Path, disturb: Callable[[], Any]) -> Iterator[None]:
    """Do something to the cluster as soon as a file is there."""

    def work() -> None:
        ends = time.monotonic() + 100
        while not path.exists() and time.monotonic() < ends:
            time.sleep(0.01)
        disturb()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        yield
        in_time = done.done()
        done.result()
    assert in_time, "all was done before anything died"


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


def test_a_task_done_again_writes_what_is_missing_of_it(shop: Config) -> None:
    folder = shop.path("generate", "pairs")
    before, kept = contents(folder), part(folder, 6).stat()
    part(folder, 7).unlink()
    writer = _PartWriter(shop, shop.generate.part_size, ends_at=inf)
    assert writer([6, 7])["done"]["written"] == 8 and writer([6, 7])["done"]["written"] == 0
    assert contents(folder) == before and part(folder, 6).stat().st_mtime_ns == kept.st_mtime_ns


@pytest.fixture
def to_embed(tiny_run: Config, tmp_path: Path) -> Config:
    """A run of 36 items to embed, one of whose pictures is none."""
    for name in ("catalogue", "shoppers", "raw", "shards", "align"):
        shutil.copytree(tiny_run.path(name), tmp_path / name)
    settings = replace(tiny_run.embed, source="catalogue", part_size=4, decode_workers=1)
    config = replace(tiny_run, run_dir=str(tmp_path), embed=settings)
    catalogue = read_catalogue(config.path("catalogue"))
    broken = next(item for item in catalogue.items.values() if item.images)
    catalogue.media(broken.images[0]).write_bytes(b"no picture")
    return config


def test_embedding_goes_on_when_a_worker_dies(cluster: Any, to_embed: Config) -> None:
    summary, folder = embed(to_embed), to_embed.path("embed")
    local = contents(folder)
    shutil.rmtree(folder)
    shutil.rmtree(to_embed.path("features"))
    with disturbed(folder / "part-000000", kill_at_work):
        assert embed(on_ray(to_embed)) == summary
    assert contents(folder) == local and "1 media unreadable" in summary


def test_only_changed_items_are_embedded_by_workers(
    to_embed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmreason.embed.on_ray.results", lambda config, make, tasks: map(make(), tasks))
    monkeypatch.setattr("mmreason.embed.on_ray._LOOKED_AT", 10)
    embed(to_embed)
    assert "36 items embedded (36 were there already)" in embed(replace(to_embed, engine="ray"))
    catalogue = read_catalogue(to_embed.path("catalogue"))
    changed = [list(catalogue.items.values())[n] for n in (3, 17, 18, 30)]
    for item in changed:
        item.title = "another thing"
    del catalogue.items[list(catalogue.items)[5]]
    write_catalogue(catalogue, to_embed.path("catalogue"))
    summary = embed(replace(to_embed, engine="ray"))
    assert "35 items embedded (31 were there already, 1 no longer there were taken out)" in summary
    rows = pq.read_table(to_embed.path("embed", "part-000009", "rows.parquet"))
    assert rows["id"].to_pylist() == [item.id for item in changed]
    from_shards = replace(to_embed, embed=replace(to_embed.embed, source="shards"))
    shutil.rmtree(to_embed.path("embed"))
    embed(from_shards)
    local = contents(to_embed.path("embed"))
    shutil.rmtree(to_embed.path("embed"))
    embed(replace(from_shards, engine="ray"))
    assert contents(to_embed.path("embed")) == local


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
        list(results(config, make, [1, "a", None]))
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address, cause in (("127.0.0.1:1", "refused"), ("nowhere:", "invalid literal")):
        config = Config(run_dir=str(tmp_path), engine="ray", ray=RayConfig(address=address))
        with pytest.raises(DataError, match=f"^no Ray cluster answers at {address}: .*{cause}"):
            list(results(config, make, [1]))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DataError, match="without torchrun"):
        list(results(config, make, [1]))


def test_a_task_that_workers_die_of_stops_the_job(tmp_path: Path) -> None:
    worker = _Worker(make, tmp_path)
    assert worker({"task": ["4"]}) == {"result": ["8"]} and not list(tmp_path.iterdir())
    name = hashlib.sha256(b"4").hexdigest()[:32]
    for number in range(TRIES):
        (tmp_path / f"{name}-{number}").touch()
    with pytest.raises(DataError, match="5 workers died of the same task, 4"):
        worker({"task": ["4"]})
    assert worker({"task": ["5"]}) == {"result": ["10"]}


def test_a_dead_worker_and_a_dead_node_cost_no_row(cluster: Any, shop: Config, monkeypatch: Any) -> None:
    folder = shop.path("generate", "pairs")
    local = contents(folder)
    shutil.rmtree(folder)
    monkeypatch.setattr("mmreason.generate.on_ray.WINDOW", 8)  # a part a task
    [node] = cluster.worker_nodes
    [raylet] = cluster.head_node.all_processes["raylet"]

    def kill() -> None:
        """The head's worker and the other's node, so that both are started anew at the same time."""
        kill_at_work(lambda each: each.ppid() == raylet.process.pid)
        cluster.remove_node(node, allow_graceful=False)

    with disturbed(part(folder, 2), kill):
        summary = generate(on_ray(shop))
    assert summary.startswith("480 requests (0 were answered already)") and "1 failed" in summary
    assert contents(folder) == local
