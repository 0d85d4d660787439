"""What the training of the shared space starts from: encoders, heads with their mean and spread, and the batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from encoders.classical import FittedEncoder
from encoders.errors import WeightsError
from mmreason.align.batch import Batch
from mmreason.align.contrast import (
    NOTHING,
    Contrast,
    of_modalities,
    of_one_modality,
    view_encoders,
    view_inputs,
)
from mmreason.align.discriminants import some_products, start_at_discriminants
from mmreason.align.items import ItemFeatures, TrainingItems, collect_items
from mmreason.align.losses.mining import mine_hard_negatives
from mmreason.align.sources import BatchSource, FeatureSource, PixelSource
from mmreason.align.stages import stages_of, trained_towers
from mmreason.align.towers import Towers
from mmreason.config import AlignConfig, Config
from mmreason.device import pick_dtype
from mmreason.embed.cache import CachedReader, needs_training
from mmreason.embed.embedder import Embedder
from mmreason.embed.features import Errors
from mmreason.embed.model import MODALITIES, Head
from mmreason.files import remove
from mmreason.processes import on_main_process
from mmreason.schema import DataError, Item, item_text
from mmreason.shards.loader import item_samples
from mmreason.store.store import EmbeddingStore

VALID_ROWS = 512
FIT_ROWS = 1024  # items whose features tell the heads' mean and spread, when training from pixels
FIT_TEXTS = 200_000  # texts that a text encoder is fitted on, at most: they are all in memory then
PROJECTION_ROWS = 1024  # items whose features tell the principal directions, where nothing is learned


@dataclass
class Prepared:
    """What is trained, and on what.

    Attributes:
        embedder: The encoders and heads.
        towers: What trains, on its device.
        source: Gives each step its rows; None if there is nothing to contrast.
        valid: Validation rows in parts; empty for none.
        contrast: What is contrasted with what.
        about: For the summary.
        errors: (item id, modality, message) of media that could not be read.
    """

    embedder: Embedder
    towers: Towers
    source: BatchSource | None
    valid: list[Batch]
    contrast: Contrast
    about: str
    errors: Errors


def from_features(config: Config, accelerator: Accelerator) -> Prepared:
    """Heads over the features of frozen towers.

    Raises:
        DataError: If a setting needs what features cannot give.
    """
    settings, device = config.align, accelerator.device
    _check_photos(settings)
    if untrained := needs_training(settings):
        raise DataError(
            f"{untrained[0]} has weights of its own, which features of frozen encoders cannot train; set "
            "align.source=pixels, or take the mean"
        )
    embedder = create_embedder(config)
    embedder.optimize(config.embed.int8)
    items, features, contrast, errors = _features(config, embedder, device)
    train, held = np.flatnonzero(items.train), np.flatnonzero(~items.train)[:VALID_ROWS]
    train = train if len(train) else np.arange(len(items))
    photos = None
    if settings.photos and not contrast.of_views and "image" in contrast.names:
        photos = _photos_of(config, items, features, train, embedder.model.head("image"))
    batches = FeatureSource(
        features.batch if photos is None else features.batch_of_photos,
        train if photos is None else photos,
        size=settings.batch_size,
        micro=settings.micro_batch,
        seed=config.seed,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        hard=_hard_negatives(config, items, train),
    )
    if contrast.pairs and len(train) < accelerator.num_processes:
        raise DataError(
            f"{config.path('shards')}: fewer training items than processes; start fewer processes"
        )
    source = batches if contrast.pairs else None
    valid = [features.batch(torch.from_numpy(held))] if contrast.pairs and len(held) > 1 else []
    towers = Towers({}, embedder.model.to(device))
    about = f"{len(train):,} items" + (f" with {len(photos):,} photos" if photos is not None else "")
    return Prepared(embedder, towers, source, valid, contrast, about, errors)


def _check_photos(settings: AlignConfig) -> None:
    """Refuse settings that do not go together.

    Raises:
        DataError: See above.
    """
    if settings.start == "discriminants" and not settings.photos:
        raise DataError("align.start=discriminants tells photos of items apart; set align.photos=true")
    if settings.photos and settings.source != "features":
        raise DataError("align.photos: rows are photos, shards hold items; set align.source=features")
    if settings.photos and settings.hard_negatives:
        raise DataError("align.photos: rows are photos, hard negatives are items; set align.hard_negatives=0")


def _photos_of(
    config: Config, items: TrainingItems, features: ItemFeatures, train: np.ndarray, head: Head
) -> np.ndarray:
    """(P,) places of the training items' pictures; the picture head gets their mean and spread, and its start."""
    owners, places = items.inputs["image"].places(train)
    head.fit_parts(features.photos(places[at : at + FIT_ROWS]) for at in range(0, len(places), FIT_ROWS))
    if config.align.start == "discriminants":
        some = some_products(owners, config.seed)
        start_at_discriminants(
            head, features.photos(places[some]), torch.from_numpy(owners[some]), seed=config.seed
        )
    return places


def _features(
    config: Config, embedder: Embedder, device: torch.device
) -> tuple[TrainingItems, ItemFeatures, Contrast, Errors]:
    """The items' features in the cache, the heads' mean and spread, and what is to be contrasted."""
    folder = config.path("features", "training-items")
    model = embedder.model.to(device)
    with CachedReader(config, embedder) as reader:
        errors = on_main_process(lambda: collect_items(config, reader, folder))
    for cache in reader.caches.values():
        cache.refresh()
    items = TrainingItems.open(folder)
    heads = {name: model.head(name) for name in MODALITIES}
    features = ItemFeatures(items, reader.caches, heads, device)
    train = np.flatnonzero(items.train) if items.train.any() else np.arange(len(items))
    present = {name: items.present(name)[train] for name in MODALITIES}
    for name in MODALITIES:
        model.head(name).fit_parts(features.parts(name, train))
    contrast = of_modalities(present, config.align)
    if contrast.pairs:
        return items, features, contrast, errors
    for name in MODALITIES:
        some = features.parts(name, train[present[name]][:PROJECTION_ROWS])
        model.head(name).project(
            torch.cat([*some, torch.zeros(0, model.dims[name], device=device)]), config.seed
        )
    encoders = view_encoders(embedder.encoders, [name for name in MODALITIES if present[name].any()])
    folder = config.path("features", "training-views")
    with CachedReader(
        config, embedder, encoders, lambda some, name: view_inputs(some, name, encoders[name])
    ) as reader:
        on_main_process(lambda: collect_items(config, reader, folder))
    for cache in reader.caches.values():
        cache.refresh()
    items = TrainingItems.open(folder)
    contrast = of_one_modality({name: items.present(name)[train] for name in encoders})
    heads = {name: model.head(name.partition(":")[0]) for name in encoders}
    return items, ItemFeatures(items, reader.caches, heads, device), contrast, errors


def _hard_negatives(config: Config, items: TrainingItems, train: np.ndarray) -> Tensor | None:
    """(N, H) rows out of the store named by ``align.mine_from``; None if none are asked for."""
    settings = config.align
    if not settings.hard_negatives:
        return None
    if not settings.mine_from:
        raise DataError("align.hard_negatives needs align.mine_from, an embedding store that embed wrote")
    store, ids = EmbeddingStore.open(settings.mine_from), items.ids(train)
    vectors = {m: torch.from_numpy(store.get(m, ids)) for m in ("image", "text")}
    codes = torch.from_numpy(items.codes[train])
    return mine_hard_negatives(vectors["image"], vectors["text"], codes, settings.hard_negatives)


def from_pixels(config: Config, accelerator: Accelerator) -> Prepared:
    """Towers and heads end to end.

    Raises:
        DataError: If a setting needs features.
    """
    settings, device = config.align, accelerator.device
    _check_photos(settings)
    if settings.hard_negatives:
        raise DataError("align.hard_negatives: shards are read in a stream; set align.source=features")
    bf16 = pick_dtype(config.dtype, device) is torch.bfloat16
    embedder = create_embedder(config, "fp32")
    towers = Towers(embedder.encoders, embedder.model, bf16).to(device)
    towers.set_precision(trained_towers(towers, stages_of(settings)))
    source = PixelSource(config, embedder.encoders, accelerator.process_index, accelerator.num_processes)
    present = {name: np.zeros(0, bool) for name in MODALITIES}
    fitting: dict[str, list[Tensor]] = {name: [] for name in MODALITIES}
    errors: Errors = []
    for part in source.read(_some_items(config, "train", FIT_ROWS)):
        errors += part.errors
        for name, mask in part.masks.items():
            present[name] = np.append(present[name], mask.numpy())
        for name, values in _raw_features(towers, part.to(device)).items():
            fitting[name].append(values)
    for name, parts in fitting.items():
        embedder.model.head(name).fit_parts(parts)
    valid = [*source.read(_some_items(config, "valid", VALID_ROWS))]
    contrast = of_modalities(present, settings)
    if not contrast.pairs:
        for name, parts in fitting.items():
            embedder.model.head(name).project(torch.cat([*parts, torch.zeros(0, towers.model.dims[name])]))
        contrast = replace(
            NOTHING, note=f"{NOTHING.note}; two views of one modality need align.source=features"
        )
        return Prepared(embedder, towers, None, [], contrast, "from pixels", errors)
    held = valid if sum(map(len, valid)) > 1 else []
    return Prepared(embedder, towers, source, held, contrast, "from pixels", errors)


@torch.no_grad()
def _raw_features(towers: Towers, part: Batch) -> dict[str, Tensor]:
    """Modality → (n, F) features of the inputs that a part has."""
    towers.eval()
    return {m: towers.encoders[m](inputs.tensors).float().cpu() for m, inputs in part.inputs.items()}


def _some_items(config: Config, split: str, limit: int) -> Iterator[Item]:
    """The first items of a split; reads no further than it must."""
    return islice((item for item in item_samples(config.path("shards")) if item.split == split), limit)


def create_embedder(config: Config, dtype: str = "") -> Embedder:
    """Encoders as configured, with new heads; a text encoder that is to be fitted is fitted on the training texts."""
    settings = config.align
    if settings.text.partition(":")[0] in ("tfidf", "word2vec") and not settings.text_weights:
        folder = config.path("features", "text-encoder")
        on_main_process(lambda: _fit_text_encoder(config, folder))
        settings = replace(settings, text_weights=str(folder))
        embedder = Embedder.create(settings, config.device, dtype or config.dtype)
        embedder.model.towers["text"] = folder  # goes into the checkpoint, as no configuration names it
        return embedder
    return Embedder.create(settings, config.device, dtype or config.dtype)


def _fit_text_encoder(config: Config, folder: Path) -> None:
    """Fit vocabulary and vectors on the texts of the training items; of all items where there is no training split."""
    from encoders import create_encoder

    encoder: Any = create_encoder(config.align.text)
    assert isinstance(encoder, FittedEncoder)
    texts = list(islice(_texts(config, ("train",)), FIT_TEXTS))
    texts = texts or list(islice(_texts(config, ("valid", "test")), FIT_TEXTS))
    try:
        encoder.fit(texts)
    except (ValueError, ImportError) as error:
        raise DataError(f"align.text={config.align.text}: {error}; take another text encoder") from None
    remove(folder)
    try:
        encoder.save_pretrained(folder)
    except (OSError, WeightsError) as error:
        raise DataError(f"{folder}: cannot be written ({error})") from None


def _texts(config: Config, splits: Iterable[str]) -> Iterator[str]:
    for item in item_samples(config.path("shards")):
        if item.split in splits and (text := item_text(item)):
            yield text
