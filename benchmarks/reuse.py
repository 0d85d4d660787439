"""Twenty edits of a small shop: the stages redone are those that read what was edited, and the result is a fresh run's.

    python benchmarks/reuse.py                  # tiny random models: the machinery is measured, not the reasons
    python benchmarks/reuse.py --folder DIR     # keep what was made

The quickstart's catalogue with its simulated shoppers is written as plain tables. After each edit `mmreason run` must
redo just the stages listed beside it; tables, shards, vectors, weights and rows must be those of a run made from
nothing; and the next run must do nothing, in less than five seconds. The last line says how many edits went so.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import yaml
from jsonargparse import auto_cli
from PIL import Image
from safetensors.numpy import load_file, save_file
from tiny_models import make_tiny_models, tiny_config

from mmreason import records
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.config import Config
from mmreason.demo.reader import make
from mmreason.pipeline import run, run_verb
from mmreason.schema import to_record
from mmreason.shards.manifest import read_manifest
from mmreason.store.store import EmbeddingStore

BAR = 20
SECONDS = 5.0
ITEMS_PER_DOMAIN, SHOPPERS = 12, 120
AFTER_TRAIN = ("train", "generate", "evaluate")
AFTER_EMBED = ("evidence", *AFTER_TRAIN)
AFTER_ALIGN = ("align", "embed", *AFTER_EMBED)
ALL = ("ingest", "simulate", "pack", *AFTER_ALIGN)


class Shop:
    """A folder of tables that can be edited, the models' weights, and the configuration of the run over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shop"
        models = make_tiny_models(folder)
        self.lm, self.text = Path(models["lm"]), Path(models["text"])
        config = tiny_config(models)
        make(self.folder, ITEMS_PER_DOMAIN, config.seed)
        self._simulate(config, folder / "demo")
        catalogue = replace(config.catalogue, source="tables", root=str(self.folder), options={})
        self.config = replace(
            config,
            run_dir=str(folder / "run"),
            catalogue=catalogue,
            simulate=replace(config.simulate, users=None),
            embed=replace(config.embed, decode_workers=1),
        )

    def _simulate(self, config: Config, run_dir: Path) -> None:
        """Interactions and reasons of simulated shoppers, as tables of the shop."""
        config = replace(config, run_dir=str(run_dir), simulate=replace(config.simulate, users=SHOPPERS))
        for stage in ("ingest", "simulate"):
            run_verb(stage, config)
        made = read_catalogue(config.path("catalogue"))
        self._write("interactions", [to_record(step) for step in made.interactions])
        self._write("reasons", [to_record(reason) for reason in made.reasons])

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table."""
        return [json.loads(line) for line in (self.folder / f"{table}.jsonl").read_text().splitlines()]

    def _write(self, table: str, rows: list[dict[str, Any]]) -> None:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (self.folder / f"{table}.jsonl").write_text("".join(lines))

    @contextmanager
    def editing(self, table: str) -> Iterator[list[dict[str, Any]]]:
        """The rows of a table, written back when the block ends."""
        rows = self.rows(table)
        yield rows
        self._write(table, rows)

    def set(self, section: str, **changes: Any) -> None:
        """Change settings of a section."""
        self.config = replace(self.config, **{section: replace(getattr(self.config, section), **changes)})

    def reason(self, split: str) -> dict[str, Any]:
        """The first reason of a side of the split."""
        return next(row for row in self.rows("reasons") if row["split"] == split)


def title(shop: Shop) -> None:
    with shop.editing("items") as items:
        items[3]["title"] += " Deluxe"


def attribute(shop: Shop) -> None:
    with shop.editing("items") as items:
        items[4]["attributes"]["material"] = "felt"


def picture(shop: Shop) -> None:
    path = shop.folder / shop.rows("items")[5]["images"][0]
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path, quality=90)


def item_added(shop: Shop) -> None:
    with shop.editing("items") as items:
        items.append(items[0] | {"id": "shop-99999", "title": "Newcomer"})


def item_removed(shop: Shop) -> None:
    with shop.editing("items") as items:
        items.pop()


def interactions(shop: Shop) -> None:
    """Of somebody with a reason to learn from, before it."""
    learner = shop.reason("train")["user_id"]
    with shop.editing("interactions") as steps:
        first = next(step for step in steps if step["user_id"] == learner)
        steps.append(first | {"item_id": "shop-00000", "timestamp": first["timestamp"] - 1000.0})


def interactions_of_a_stranger(shop: Shop) -> None:
    with shop.editing("interactions") as steps:
        steps.append(steps[0] | {"user_id": "stranger"})


def reference(shop: Shop) -> None:
    """A reason of the test split, which nothing learns from."""
    asked = shop.reason("test")
    with shop.editing("reasons") as reasons:
        row = next(row for row in reasons if row == asked)
        row["text"] += " Indeed."


def replace_weights(folder: Path) -> None:
    """Other numbers in the same file."""
    path = folder / "model.safetensors"
    tensors = {name: np.ascontiguousarray(array * 1.5) for name, array in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def requests_file(shop: Shop) -> None:
    """Ask for one pair less than the next edit."""
    rows = [(row["user_id"], row["item_id"]) for row in shop.rows("reasons") if row["split"] == "test"]
    path = shop.folder.parent / "wanted.jsonl"
    path.write_text("".join(json.dumps({"user_id": u, "item_id": i}) + "\n" for u, i in rows[:6]))
    shop.set("generate", requests=str(path))
    _run(shop.config)


def request_added(shop: Shop) -> None:
    with (shop.folder.parent / "wanted.jsonl").open("a") as file:
        file.write(json.dumps({"user_id": "stranger", "item_id": "shop-00001"}) + "\n")


def newer_train(shop: Shop) -> None:
    """A release in which training makes another format."""
    stages = [replace(s, version=s.version + 1) if s.name == "train" else s for s in records.STAGES]
    for module in ("mmreason.records", "mmreason.pipeline"):
        mock.patch(f"{module}.STAGES", tuple(stages)).start()


@dataclass(frozen=True)
class Edit:
    """What is edited, and the stages that read it.

    Attributes:
        name: Shown.
        edit: Does it.
        stages: That must be redone, in order.
        says: What the run's lines must say.
        before: Runs before the edit.
    """

    name: str
    edit: Callable[[Shop], Any]
    stages: tuple[str, ...]
    says: str = ""
    before: Callable[[Shop], Any] = lambda shop: None


EDITS = (
    Edit("a title", title, ALL, "source (items.jsonl) changed"),
    Edit("an attribute", attribute, ALL),
    Edit("a picture replaced in place", picture, tuple(s for s in ALL if s != "simulate"), "media ("),
    Edit("an item added", item_added, ALL),
    Edit("an item removed", item_removed, ALL),
    Edit("new interactions of a learner", interactions, ("ingest", "simulate", "pack", *AFTER_EMBED)),
    Edit(
        "new interactions of a stranger",
        interactions_of_a_stranger,
        ("ingest", "simulate", "pack", "evidence", "generate", "evaluate"),
    ),
    Edit("a reference reason", reference, ("ingest", "simulate", "pack", "evidence", "generate", "evaluate")),
    Edit("setting of ingest", lambda shop: shop.set("catalogue", hidden=["color"]), ALL, "catalogue.hidden"),
    Edit("setting of simulate", lambda shop: shop.set("simulate", noise=0.5), ("simulate",), "0.15 → 0.5"),
    Edit("setting of pack", lambda shop: shop.set("pack", shard_size=11), ("pack", *AFTER_ALIGN)),
    Edit("setting of align", lambda shop: shop.set("align", steps=24), AFTER_ALIGN, "align.steps 20 → 24"),
    Edit("setting of embed", lambda shop: shop.set("embed", source="catalogue"), ("embed",), "embed.source"),
    Edit("setting of train", lambda shop: shop.set("reason", lora_steps=8), AFTER_TRAIN),
    Edit("setting of generate", lambda shop: shop.set("generate", max_new_tokens=7), AFTER_TRAIN[1:]),
    Edit("setting of evaluate", lambda shop: shop.set("evaluate", sample=3), ("evaluate",)),
    Edit("weights of an encoder", lambda shop: replace_weights(shop.text), AFTER_ALIGN, "(text weights)"),
    Edit("weights of the LM", lambda shop: replace_weights(shop.lm), AFTER_TRAIN, "language model changed"),
    Edit("a request added", request_added, AFTER_TRAIN[1:], "(6 were answered already)", requests_file),
    Edit("a format version", newer_train, ("train",), "format version 1 → 2"),
)


def main(folder: str = "", only: str = "") -> None:
    """Make the shop, run it, edit it.

    Args:
        folder: Where to; empty takes a temporary one.
        only: Try the edits whose names match this regular expression.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(folder or temporary).resolve()
        place.mkdir(parents=True, exist_ok=True)
        shop = Shop(place)
        _run(shop.config)
        good = sum(try_edit(edit, shop, place) for edit in EDITS if re.search(only, edit.name))
    print(f"reuse: {good}/{len(EDITS)} (bar {BAR})")
    sys.exit(good < BAR)


def try_edit(edit: Edit, shop: Shop, place: Path) -> bool:
    """Whether a run after an edit redoes what it should, ends as a fresh one, and leaves nothing to do."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        edit.before(shop)
    edit.edit(shop)
    started = time.monotonic()
    said = _run(shop.config)
    seconds = time.monotonic() - started
    done = tuple(re.findall(r"^\[\d/\d\] (\w+) … ", said, re.M))
    faults = [] if done == edit.stages else [f"redid {', '.join(done) or 'nothing'}"]
    if edit.says not in said:
        faults.append(f"did not say {edit.says!r}")
    fresh = replace(shop.config, run_dir=str(place / "fresh"))
    shutil.rmtree(fresh.run_dir, ignore_errors=True)
    _run(fresh)
    faults += differences(shop.config, fresh)
    again = _again(shop.config, place) if edit.name != "a format version" else _again_here(shop.config)
    if again > SECONDS:
        faults.append(f"the next run took {again:.1f} s or did something")
    print(f"{edit.name}: redid {len(done)} stages in {seconds:.1f} s, next run {again:.1f} s", end="")
    print(f": WRONG: {'; '.join(faults)}" if faults else ": ok", flush=True)
    return not faults


def _run(config: Config) -> str:
    """Run; returns what was printed."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()):
        run(config)
    return said.getvalue()


def _again(config: Config, place: Path) -> float:
    """Seconds of `mmreason run` when there is nothing to do; infinite if it did something."""
    path = place / "run.yaml"
    path.write_text(yaml.safe_dump(asdict(config)))
    started = time.monotonic()
    command = [sys.executable, "-m", "mmreason.cli", "run", "--config", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    return seconds if ran.stdout.count("(done before)") == len(records.STAGES) else float("inf")


def _again_here(config: Config) -> float:
    """The same in this process, which alone knows of the newer release."""
    started = time.monotonic()
    said = _run(config)
    return time.monotonic() - started if said.count("(done before)") == len(records.STAGES) else float("inf")


def differences(one: Config, other: Config) -> list[str]:
    """What is not the same in two runs, a word each."""
    # Not above: every process that decodes imports this file, and would take seconds for it.
    from mmreason.generate.job import read_job

    found = []
    for table in ("items", "interactions", "reasons"):
        path = f"catalogue/{table}.parquet"
        if one.path(path).read_bytes() != other.path(path).read_bytes():
            found.append(f"table {table} differs")
    for table in ("facts", "concepts"):
        if pq.read_table(one.path(f"evidence/{table}.parquet")) != pq.read_table(
            other.path(f"evidence/{table}.parquet")
        ):
            found.append(f"{table} differ")
    if read_manifest(one.path("shards")) != read_manifest(other.path("shards")):
        found.append("shards differ")
    found += _vectors(EmbeddingStore.open(one.path("embed")), EmbeddingStore.open(other.path("embed")))
    for model in ("align", "reason", "reason/adapter", "baseline", "baseline/adapter"):
        found += _weights(one.path(model), other.path(model))
    rows, expected = read_job(one).to_pydict(), read_job(other).to_pydict()
    kept = ("user_id", "item_id", "text", "verified", "level", "writer", "cause", "plan", "error")
    scores, others = (np.array(table["score"], dtype=float) for table in (rows, expected))
    if any(rows[name] != expected[name] for name in kept) or not np.allclose(scores, others, 0, 1e-4, True):
        found.append("reasons differ")
    return found


def _vectors(one: EmbeddingStore, other: EmbeddingStore) -> list[str]:
    """Half-precision numbers, computed in other batches: equal up to their last bit."""
    if sorted(one.ids) != sorted(other.ids):
        return ["embedded items differ"]
    pairs = ((one.get(name, one.ids), other.get(name, one.ids)) for name in one.names)
    return [] if all(np.allclose(a, b, atol=1e-3, rtol=2e-3) for a, b in pairs) else ["vectors differ"]


def _weights(one: Path, other: Path) -> list[str]:
    for path in sorted(other.glob("*.safetensors")):
        a, b = load_file(one / path.name), load_file(path)
        if a.keys() != b.keys() or not all(np.allclose(a[n], b[n], atol=1e-3, rtol=1e-2) for n in b):
            return [f"weights of {one.relative_to(one.parents[1])} differ"]
    return []


if __name__ == "__main__":
    auto_cli(main)
