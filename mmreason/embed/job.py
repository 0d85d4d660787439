"""The ``embed`` stage: every item of the shards, or of the catalogue, into the embedding store."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from encoders.digest import weights_digest
from encoders.errors import WeightsError
from mmreason.catalogue.index import read_index
from mmreason.config import Config
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.bulk import BulkJob
from mmreason.embed.on_ray import embed_on_ray
from mmreason.embed.quarantine import Quarantine
from mmreason.embed.source import ItemSource
from mmreason.files import read_json, remove
from mmreason.processes import on_main_process, share_of, wait_for_others
from mmreason.progress import Progress
from mmreason.schema import DataError
from mmreason.store.index import index_files
from mmreason.store.standardised import read_features
from mmreason.store.store import EmbeddingStore, StoreWriter


def embed(config: Config) -> str:
    """Embed what is missing or changed; killed at any moment, the next run goes on with the next part.

    Items that are no longer there leave the store, if this is the only process. Media that cannot be read are listed
    in ``embed/quarantine.jsonl``; the item keeps its other modalities. With ``embed.shard`` or under ``accelerate
    launch`` several processes write into one store; with ``engine: ray`` the workers of a cluster embed for this one.

    Raises:
        DataError: If there is nothing to read, no alignment model, or the disk is full.
    """
    share = share_of(config.embed.shard)
    folder = config.path("embed")
    _forget_without_features(folder)
    meta, source = store_meta(config), ItemSource(config)
    writer = StoreWriter(folder, meta, overwrite=True, shard=share)
    quarantine = Quarantine(folder / f"quarantine{writer.suffix}.jsonl", anew=not writer.found)
    total, items = source.share(share)
    with Progress(total, "embed") as progress:
        if config.engine == "ray":
            counts = embed_on_ray(config, source, writer, quarantine, progress)
        else:
            job = BulkJob(config, writer, quarantine)
            job.note(source.lost)
            job.run(items, progress)
            counts = job.counts
    missing = total - counts["embedded"] - counts["unchanged"]
    gone = writer.forget_unseen() if total and not missing and share == (1, 1) else 0
    if share[1] > 1 and not config.embed.shard:
        wait_for_others()
        gone = on_main_process(lambda: _forget_gone(config, meta))
    store = EmbeddingStore.open(folder) if writer.found or counts["embedded"] else None
    if store is None:
        return "no items to embed"
    unreadable = counts["unreadable"]
    lost_text = f", {unreadable} media unreadable (embed/{quarantine.path.name})" if unreadable else ""
    lost_text += f", {counts['flawed']} read in spite of flaws" if counts["flawed"] else ""
    kept = f"{counts['unchanged']:,} were there already"
    kept += f", {gone:,} no longer there were taken out" if gone else ""
    kept += f", {missing:,} items could not be read from the shards" if missing else ""
    part = f"share {share[0]} of {share[1]}: " if share[1] > 1 else ""
    return f"{part}{len(store):,} items embedded ({kept}{lost_text}); {store.dims['fused']} dimensions"


def store_meta(config: Config) -> dict[str, Any]:
    """What the vectors of the embedding store depend on: the heads, the encoders' weights and their precision.

    Raises:
        DataError: If there is no alignment model, or weights that it names are gone.
    """
    folder = config.path("align")
    made = fingerprint(folder)
    dtype = pick_dtype(config.dtype, pick_device(config.device))
    precision = "int8" if config.embed.int8 else str(dtype).removeprefix("torch.")
    return {"model": made, "weights": encoder_weights(folder), "dtype": precision}


def encoder_weights(folder: Path) -> dict[str, str]:
    """Tower → digest of the weights that an alignment checkpoint names.

    Raises:
        DataError: If they are gone.
    """
    saved = read_json(folder / "config.json")
    try:
        specs = {
            name: str(folder / "towers" / name)
            if name in saved["towers"]
            else saved["config"][f"{name}_weights"]
            for name in ("image", "text")
        }
        return {name: weights_digest(spec) for name, spec in specs.items()}
    except (KeyError, TypeError):
        raise DataError(f"{folder / 'config.json'}: not of an alignment model; align again") from None
    except WeightsError as error:
        raise DataError(str(error)) from None


def _forget_without_features(folder: Path) -> None:
    """Start anew where the feature cache of a store was removed: its items would have no features."""
    if any(not one.cache.is_dir() for one in read_features(folder).values()):
        for path in index_files(folder):
            remove(path)


def _forget_gone(config: Config, meta: dict[str, Any]) -> int:
    """Take out what the catalogue no longer has, when several processes have embedded what it has; returns how many."""
    writer = StoreWriter(config.path("embed"), meta)
    items = pq.read_table(read_index(config.path("catalogue")).paths["items"], columns=["id"])["id"]
    for item_id in items.to_pylist():
        writer.has(item_id, "")
    return writer.forget_unseen()


def fingerprint(folder: Path) -> str:
    """sha256 of a checkpoint's weights and configuration."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        try:
            digest.update((folder / name).read_bytes())
        except FileNotFoundError:
            raise DataError(f"{folder / name}: no such file; run align first") from None
    return digest.hexdigest()
