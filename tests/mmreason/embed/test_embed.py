"""The bulk job: only what changed, split among processes, bad media counted, killed and gone on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mmreason.catalogue.catalogue import read_catalogue, write_catalogue
from mmreason.checkpoint import load_tensors, save_tensors
from mmreason.cli import main
from mmreason.config import Config
from mmreason.device import pick_device
from mmreason.embed.bulk import BulkJob, open_models
from mmreason.embed.embedder import Embedder
from mmreason.embed.job import embed, encoder_weights, fingerprint
from mmreason.embed.quarantine import Quarantine
from mmreason.embed.search import search
from mmreason.embed.source import ItemSource
from mmreason.processes import share_of
from mmreason.progress import Progress
from mmreason.schema import DataError, Item
from mmreason.shards.loader import item_samples
from mmreason.store.export import export_embeddings
from mmreason.store.nearest import Nearest
from mmreason.store.store import EmbeddingStore, StoreWriter


@pytest.fixture
def run(tiny_run: Config, tmp_path: Path) -> Config:
    """A copy of the finished run, to embed again in."""
    for name in ("catalogue", "shoppers", "shards", "align", "raw"):
        shutil.copytree(tiny_run.path(name), tmp_path / name)
    return replace(tiny_run, run_dir=str(tmp_path), embed=replace(tiny_run.embed, decode_workers=1))


def same(left: EmbeddingStore, right: EmbeddingStore, names: tuple[str, ...] = ("fused", "text")) -> bool:
    ids = sorted(left.ids)
    return ids == sorted(right.ids) and all(
        np.allclose(left.get(name, ids), right.get(name, ids), atol=2e-3) for name in names
    )


def test_shares_and_sources_give_one_and_the_same_store(run: Config, tiny_run: Config) -> None:
    for shard in ("2/2", "1/2"):
        summary = embed(replace(run, embed=replace(run.embed, shard=shard, source="catalogue")))
    store = EmbeddingStore.open(run.path("embed"))
    assert same(store, EmbeddingStore.open(tiny_run.path("embed"))) and "share 1 of 2" in summary
    assert "0 items" not in summary and sorted(p.name for p in run.path("embed").glob("index*")) == [
        "index-1-of-2.json",
        "index-2-of-2.json",
    ]
    # Alone, from the shards: all is there already.
    before = sorted(path.name for path in run.path("embed").iterdir())
    assert f"{len(store)} were there already" in embed(run)
    assert sorted(path.name for path in run.path("embed").iterdir()) == before


def test_only_what_changed_and_bad_media_are_counted(run: Config) -> None:
    embed(run)
    first = EmbeddingStore.open(run.path("embed"))
    catalogue = read_catalogue(run.path("catalogue"))
    with_picture = [item for item in catalogue.items.values() if item.images]
    changed, broken, gone = with_picture[:3]
    changed.title = "another thing"
    catalogue.media(broken.images[0]).write_bytes(b"\xff\xd8\xff\xe0 no picture")
    catalogue.media(gone.images[0]).unlink()
    write_catalogue(catalogue, run.path("catalogue"))
    from_catalogue = replace(run, embed=replace(run.embed, source="catalogue"))
    summary = embed(from_catalogue)
    assert f"{len(first) - 3} were there already, 2 media unreadable" in summary
    rows = [json.loads(line) for line in run.path("embed", "quarantine.jsonl").read_text().splitlines()]
    assert {row["item_id"] for row in rows} == {broken.id, gone.id}
    store = EmbeddingStore.open(run.path("embed"))
    assert len(store) == len(first) and not store.mask("image", [broken.id, gone.id]).any()
    kept = [one for one in first.ids if one not in (changed.id, broken.id, gone.id)]
    # Nothing new, nothing counted again; what is embedded again takes its rows along.
    assert "unreadable" not in embed(from_catalogue)
    with_picture[0].title = broken.title = "yet another thing"
    write_catalogue(catalogue, run.path("catalogue"))
    assert "1 media unreadable" in embed(from_catalogue)
    rows = [json.loads(line) for line in run.path("embed", "quarantine.jsonl").read_text().splitlines()]
    assert sorted(row["item_id"] for row in rows) == sorted([broken.id, gone.id])
    del catalogue.items[gone.id]
    write_catalogue(catalogue, run.path("catalogue"))
    assert "1 no longer there were taken out" in embed(from_catalogue)
    assert gone.id not in EmbeddingStore.open(run.path("embed"))
    assert np.array_equal(store.get("fused", kept), first.get("fused", kept))
    assert not np.allclose(store.get("text", [changed.id]), first.get("text", [changed.id]), atol=1e-2)


def test_killed_and_gone_on_ends_as_if_never_killed(run: Config, tiny_run: Config) -> None:
    code = (
        "import sys; from mmreason.cli import main;"
        "main(['embed', '--run_dir', sys.argv[1], '--device', 'cpu', '--dtype', 'fp32', '--embed.part_size', '4',"
        " '--embed.decode_workers', '1'])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, run.run_dir], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    limit = time.monotonic() + 120
    while (
        not (run.path("embed") / "index.json").exists() and time.monotonic() < limit and child.poll() is None
    ):
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = len(EmbeddingStore.open(run.path("embed")))
    assert kept > 0
    summary = embed(run)
    assert f"{kept} were there already" in summary
    assert same(EmbeddingStore.open(run.path("embed")), EmbeddingStore.open(tiny_run.path("embed")))


def test_a_catalogues_items_are_split_among_shares_with_their_media(run: Config) -> None:
    from_catalogue = replace(run, embed=replace(run.embed, source="catalogue"))
    every = [ItemSource(from_catalogue).share((number, 3)) for number in (1, 2, 3)]
    read = [list(items) for _, items in every]
    catalogue = read_catalogue(run.path("catalogue"))
    assert [len(items) for items in read] == [total for total, _ in every]
    assert {item.id for items in read for item in items} == set(catalogue.items)
    for item in (item for items in read for item in items):
        names = catalogue.items[item.id].images
        assert item.images == [catalogue.media(name).read_bytes() for name in names]


def test_items_that_could_not_be_read_are_not_taken_out(run: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    embed(run)
    store = EmbeddingStore.open(run.path("embed"))
    monkeypatch.setattr(
        "mmreason.embed.source.item_samples",
        lambda *args, **named: islice(item_samples(*args, **named), 1, None),
    )
    summary = embed(run)
    assert "1 items could not be read from the shards" in summary
    assert "taken out" not in summary and EmbeddingStore.open(run.path("embed")).ids == store.ids


def test_another_model_is_told_from_the_stores(tiny_run: Config, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    for name in ("embed", "align"):
        shutil.copytree(tiny_run.path(name), tmp_path / name)
    settings = tmp_path / "align/config.json"
    settings.write_text(settings.read_text() + " ")
    with pytest.raises(DataError, match="another alignment model"):
        search("red shoes", run_dir=str(tmp_path))


def test_replaced_weights_are_told_from_the_stores(
    tiny_run: Config, tiny_models: dict[str, str], tmp_path: Path
) -> None:
    for name in ("embed", "align"):
        shutil.copytree(tiny_run.path(name), tmp_path / name)
    shutil.copytree(tiny_models["text"], tmp_path / "text")
    align, index = tmp_path / "align", tmp_path / "embed/index.json"
    settings = json.loads((align / "config.json").read_text())
    settings["config"]["text_weights"] = str(tmp_path / "text")
    (align / "config.json").write_text(json.dumps(settings))
    made = json.loads(index.read_text())
    made["meta"] |= {"model": fingerprint(align), "weights": encoder_weights(align)}
    index.write_text(json.dumps(made))
    assert search("red shoes", run_dir=str(tmp_path), top_k=1)
    tensors = load_tensors(tmp_path / "text/model.safetensors")
    save_tensors(tmp_path / "text/model.safetensors", {name: 2 * t for name, t in tensors.items()})
    with pytest.raises(DataError, match="weights were replaced; run embed again"):
        search("red shoes", run_dir=str(tmp_path))


def test_a_job_over_damaged_media_keeps_every_item_and_counts_every_loss(
    run: Config, damaged: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    items = []
    for number, (kind, data) in enumerate(damaged):
        media: dict[str, Any] = {"images": [data]} if kind == "jpg" else {"video": data}
        items.append(Item(f"{kind}-{number}", title="coat", **media))
    embedder = Embedder.from_pretrained(run.path("align"), "cpu", "fp32")
    quarantine = Quarantine(tmp_path / "lost.jsonl", anew=True)
    job = BulkJob(run, StoreWriter(tmp_path / "damaged", {}), quarantine)
    with Progress(len(items), "embed") as progress:
        job.run(iter(items), progress, open_models(run, tmp_path / "damaged", embedder))
    lost = [json.loads(line) for line in (tmp_path / "lost.jsonl").read_text().splitlines()]
    store = EmbeddingStore.open(tmp_path / "damaged")
    assert sorted(store.ids) == sorted(item.id for item in items)
    for kind, modality in (("jpg", "image"), ("mp4", "video")):
        ids = [item.id for item in items if item.id.startswith(kind)]
        there = {one for one, is_there in zip(ids, store.mask(modality, ids), strict=True) if is_there}
        gone = [row["item_id"] for row in lost if row["modality"] == modality]
        assert len(gone) == len(set(gone)) and set(ids) - there == set(gone)
        assert len(there) >= 5 and len(gone) >= 5
    assert job.counts["unreadable"] == len(lost) and store.mask("text").all()


def test_launched_processes_share_the_work_and_have_a_gpu_each(
    run: Config, tiny_run: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = Path(__file__).parents[3] / "tools/embed_items.py"
    options = ["--run_dir", run.run_dir, "--device", "cpu", "--dtype", "fp32", "--embed.decode_workers", "1"]
    command = [*launch, str(script), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "share 1 of 2" in done.stdout  # the first process speaks for all
    assert same(EmbeddingStore.open(run.path("embed")), EmbeddingStore.open(tiny_run.path("embed")))
    monkeypatch.setenv("LOCAL_RANK", "5")
    for gpus, own in ((8, 5), (2, 1), (1, 0)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        assert pick_device("cuda") == torch.device("cuda", own)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DataError, match="no GPU"):
        pick_device("cuda")


def test_shares_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share_of("") == (1, 1) and share_of("2/4") == (2, 4)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert share_of("") == (4, 8)
    for bad in ("0/2", "3/2", "1", "a/b", "-1/2"):
        with pytest.raises(DataError, match=r"write i/n"):
            share_of(bad)


def test_search_finds_an_item_by_its_own_text_picture_and_video(
    tiny_run: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    store = EmbeddingStore.open(tiny_run.path("embed"))
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    lines = search("red shoes", run_dir=tiny_run.run_dir, top_k=3).splitlines()
    assert len(lines) == 3 and all(line.split()[1] in store for line in lines)
    item = next(item for item in catalogue.items.values() if item.images)
    path = str(catalogue.media(item.images[0]))
    command = ["search", "--run_dir", tiny_run.run_dir, "--top_k", "1"]
    main([*command, "--image", path, "--array", "image"])
    assert float(capsys.readouterr().out.split()[0]) > 0.99
    assert search(image=[path], run_dir=tiny_run.run_dir, top_k=1, array="image").split()[1] in store
    clip = next(item for item in catalogue.items.values() if item.video)
    main([*command, "--video", str(catalogue.media(clip.video)), "--array", "video"])
    assert float(capsys.readouterr().out.split()[0]) > 0.99
    with pytest.raises(DataError, match="nothing to search for"):
        search(run_dir=tiny_run.run_dir)
    with pytest.raises(DataError, match="no array 'sound'"):
        search("x", run_dir=tiny_run.run_dir, array="sound")


def test_an_inverted_index_finds_what_comparing_all_finds(tiny_run: Config, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    shutil.copytree(tiny_run.path("embed"), tmp_path / "embed")
    store = EmbeddingStore.open(tmp_path / "embed")
    queries = store.get("fused")[:5]
    exact, inverted = Nearest(store), Nearest(store, exact=0)
    for one, other in zip(exact.search(queries, 1), inverted.search(queries, 1), strict=True):
        assert one[0][1] == pytest.approx(other[0][1], abs=1e-2)
    stamp = (tmp_path / "embed/nearest-fused.faiss").stat().st_mtime_ns
    Nearest(store, exact=0)
    assert (tmp_path / "embed/nearest-fused.faiss").stat().st_mtime_ns == stamp


def test_exports_hold_every_vector(tiny_run: Config, tmp_path: Path) -> None:
    store = EmbeddingStore.open(tiny_run.path("embed"))
    export_embeddings(str(tmp_path / "e.parquet"), tiny_run.run_dir)
    table = pq.read_table(tmp_path / "e.parquet")
    assert table["id"].to_pylist() == store.ids
    assert np.array_equal(np.array(table["embedding"].to_pylist(), np.float32), store.get("fused"))
    assert table["has_image"].to_pylist() == store.mask("image").tolist()
    for _ in range(2):  # again over itself
        export_embeddings(str(tmp_path / "e"), tiny_run.run_dir, array="text")
    assert np.array_equal(np.load(tmp_path / "e/embeddings.npy"), store.get("text"))
    assert [json.loads(line) for line in (tmp_path / "e/ids.jsonl").read_text().splitlines()] == store.ids
    with pytest.raises(DataError, match="holds other files"):
        export_embeddings(str(tmp_path), tiny_run.run_dir)
    with pytest.raises(DataError, match="no array"):
        export_embeddings(str(tmp_path / "x"), tiny_run.run_dir, array="sound")
