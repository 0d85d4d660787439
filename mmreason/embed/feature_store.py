"""Features of frozen towers, computed once and kept as a store: ``features/`` of the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm import tqdm

from mmreason.align.losses.negatives import item_codes
from mmreason.config import AlignConfig, Config
from mmreason.embed.embedder import Embedder
from mmreason.embed.model import MODALITIES
from mmreason.schema import DataError, Item
from mmreason.shards.loader import item_samples
from mmreason.shards.manifest import read_manifest
from mmreason.store.store import EmbeddingStore, StoreWriter, content_hash


@dataclass
class Rows:
    """What training knows of the items of the shards, test items aside.

    Attributes:
        ids: N item ids, in packed order.
        hashes: N content hashes.
        codes: (N, K) int64, see :func:`mmreason.align.losses.negatives.item_codes`.
        train: (N,) bool, training or validation.
    """

    ids: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    codes: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.long))
    train: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))


def keep_features(config: Config, embedder: Embedder) -> tuple[Rows, EmbeddingStore, int]:
    """Compute the features that are missing or of changed items; killed, the next run goes on.

    With ``align.features`` set, that store is only read, and must hold what the shards hold.

    Returns:
        The rows, the store, and how many media could not be read.

    Raises:
        DataError: If a given store does not match the shards or the encoders; if a feature is not finite.
    """
    if config.align.features:
        store = EmbeddingStore.open(config.align.features)
        _check_towers(store, config.align)
        rows = _collect(config, None)
        _check_rows(store, rows, config.path("shards"))
        return rows, store, 0
    folder = config.path("features")
    writer = StoreWriter(folder, towers_of(config.align), overwrite=True)
    lost: list[tuple[str, str, str]] = []

    def encode(part: list[Item], hashes: list[str]) -> None:
        found = embedder.features(part, config.embed.batch_size)
        arrays = {f"{m}_features": x.numpy().astype(np.float32) for m, x in found.values.items()}
        masks = {m: mask.numpy() for m, mask in found.masks.items()}
        writer.write_part([item.id for item in part], hashes, arrays, masks)
        lost.extend(found.errors)

    rows = _collect(config, (writer, encode))
    return rows, EmbeddingStore.open(folder), len(lost)


def towers_of(config: AlignConfig) -> dict[str, str | int]:
    """What features depend on, for the store's ``meta``."""
    names = ("image", "image_weights", "image_feature", "text", "text_weights", "video_frames")
    return {name: getattr(config, name) for name in names}


def read_features(store: EmbeddingStore, ids: list[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Modality → (N, F) float32 raw features, and (N,) bool masks, in the order of ``ids``.

    Raises:
        DataError: If a feature is not finite; it names the first item.
    """
    values, masks = {}, {}
    for modality in MODALITIES:
        values[modality] = torch.from_numpy(store.get(f"{modality}_features", ids))
        masks[modality] = torch.from_numpy(store.mask(modality, ids).copy())
        bad = (~torch.isfinite(values[modality]).all(1)).nonzero().flatten()
        if len(bad):
            raise DataError(
                f"{store.folder}: {modality} features of item {ids[int(bad[0])]!r} and {len(bad) - 1} more are not "
                "finite; look at the media and the weights, remove the folder and align again"
            )
    return values, masks


def _collect(config: Config, writing: tuple | None) -> Rows:
    """Go through the shards once: note every item, and encode in parts what the store lacks."""
    rows, codes, train = Rows(), [], []
    total = read_manifest(config.path("shards")).samples("items")
    part: list[Item] = []
    hashes: list[str] = []

    def flush() -> None:
        if part:
            writing[1](part, hashes)  # type: ignore[index]
            part.clear()
            hashes.clear()

    with tqdm(total=total, desc="features", unit="item", disable=None) as bar:
        for item in _items(config.path("shards"), bar):
            digest = content_hash(item)
            rows.ids.append(item.id)
            rows.hashes.append(digest)
            codes.append(item_codes(item, config.align.mask))
            train.append(item.split == "train")
            if writing and not writing[0].has(item.id, digest):
                part.append(item)
                hashes.append(digest)
            if len(part) == config.embed.part_size:
                flush()
        flush()
    rows.codes = torch.tensor(codes, dtype=torch.long).reshape(len(codes), -1)
    rows.train = torch.tensor(train, dtype=torch.bool)
    return rows


def _items(shards: Path, bar: tqdm) -> Iterator[Item]:
    """Items that take part; test items are in neither the training nor the features' mean and spread."""
    for item in item_samples(shards):
        bar.update()
        if item.split != "test":
            yield item


def _check_towers(store: EmbeddingStore, config: AlignConfig) -> None:
    wanted = towers_of(config)
    for name, value in wanted.items():
        if store.meta.get(name) != value:
            raise DataError(
                f"{store.folder}: made with {name}={store.meta.get(name)!r}, but align.{name} is {value!r}; "
                "name the right folder, or leave align.features empty to compute them"
            )


def _check_rows(store: EmbeddingStore, rows: Rows, shards: Path) -> None:
    known: dict[str, str] = {}
    for part in sorted(store.folder.glob("part-*/rows.parquet")):
        table = pq.read_table(part, columns=["id", "hash"])
        known.update(zip(table["id"].to_pylist(), table["hash"].to_pylist(), strict=True))
    for item, digest in zip(rows.ids, rows.hashes, strict=True):
        if known.get(item) != digest:
            what = "has changed since its features were computed" if item in known else "is not in it"
            raise DataError(
                f"{store.folder}: does not match {shards}: item {item!r} {what}; "
                "leave align.features empty to compute what is missing"
            )
