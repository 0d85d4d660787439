"""The ``embed`` stage: every item of the shards into the embedding store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmreason.align.embedder import Embedder
from mmreason.config import Config
from mmreason.data.files import whole_file
from mmreason.data.loader import item_samples
from mmreason.data.shards import read_manifest
from mmreason.data.store import EmbeddingStore, StoreWriter, content_hash
from mmreason.schema import Item


def embed(config: Config) -> str:
    """Embed what is missing or changed; killed at any moment, the next run goes on with the next part.

    Media that cannot be read are listed in ``embed/quarantine.jsonl``; the item keeps its other modalities.
    """
    folder = config.path("embed")
    writer = StoreWriter(folder, {"model": fingerprint(config.path("align"))}, overwrite=True)
    kept = len(writer.done)
    total = read_manifest(config.path("shards")).samples("items")
    embedder: Embedder | None = None
    errors: list[tuple[str, str, str]] = []
    with tqdm(total=total, desc="embed", unit="item", disable=None) as bar:
        for part in _parts(item_samples(config.path("shards")), writer, config.embed.part_size, bar):
            embedder = embedder or Embedder.from_pretrained(config.path("align"), config.device, config.dtype)
            arrays, masks, lost = embedder.embed(part, config.embed.batch_size)
            errors += lost
            half = {name: a.astype(np.float16) for name, a in arrays.items()}
            _note(folder / "quarantine.jsonl", lost)
            writer.write_part([i.id for i in part], [content_hash(i) for i in part], half, masks)
            bar.update(len(part))
    store = EmbeddingStore.open(folder)
    lost_text = f", {len(errors)} media unreadable (embed/quarantine.jsonl)" if errors else ""
    return f"{len(store):,} items embedded ({kept:,} were there already{lost_text}); {store.dims['fused']} dimensions"


def fingerprint(folder: Path) -> str:
    """sha256 of a checkpoint's weights and configuration."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _parts(items: Iterator[Item], writer: StoreWriter, size: int, bar: tqdm) -> Iterator[list[Item]]:
    """Items that still need embedding, in lists of ``size``."""
    part: list[Item] = []
    for item in items:
        if writer.done.get(item.id) == content_hash(item):
            bar.update()
            continue
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _note(path: Path, errors: list[tuple[str, str, str]]) -> None:
    """Add unreadable media to the quarantine file, keeping what earlier runs noted."""
    if not errors:
        return
    before = path.read_bytes() if path.exists() else b""
    rows = [json.dumps({"item_id": i, "modality": m, "reason": e}, ensure_ascii=False) for i, m, e in errors]
    with whole_file(path) as file:
        file.write(before + "".join(row + "\n" for row in rows).encode())
