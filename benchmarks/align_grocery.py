"""Phone photos of groceries to their products: description, and description and iconic picture fused.

    python benchmarks/align_grocery.py --data ../shared/data/grocery
    python benchmarks/align_grocery.py --data ../shared/data/grocery --products 10 --views 3 --steps 50    # quick

Trained on the photos of ``train.txt`` with the 81 products' iconic pictures and descriptions, measured on those of
``val.txt`` against all 81 products. Frozen default towers; several crops of each photo are encoded once. The picture
head is the closed form of :func:`mmreason.align.fit_photos.start_at_discriminants`, the text head learns by contrast.
Beside it: the same towers with untrained heads, heads trained by contrast alone, and linear probes.
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bars import Bars
from jsonargparse import auto_cli
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from encoders import create_encoder
from encoders.pictures import open_image
from mmreason.align.fit_photos import PhotoSet, fit_photos, start_at_discriminants
from mmreason.config import AlignConfig
from mmreason.device import pick_device, pick_dtype
from mmreason.embed.model import AlignModel, fuse
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.retrieval import retrieval_metrics

LAST = 1280  # EfficientNet-Lite0's pooled output stands at the end of the features of all depths
KS = (1, 5, 10)


@dataclass
class Groceries:
    """Features: (N, V, F) of both sets of photos, (P, V, F) of the iconic pictures, (P, 1, E) of the texts."""

    train: Tensor
    train_product: Tensor
    test: Tensor
    test_product: Tensor
    pictures: Tensor
    texts: Tensor


def main(
    data: str = "../shared/data/grocery", products: int = 0, views: int = 8, steps: int = 600, seed: int = 0
) -> None:
    """Run and check.

    Args:
        data: Folder of the grocery data.
        products: Only the first products; 0 for all.
        views: Crops a photo, for training and for testing.
        steps: Training steps of the heads.
        seed: Of the crops and the training.
    """
    torch.set_num_threads(2)
    groceries = read(Path(data) / "dataset", products, views, seed)
    bars = Bars("grocery")
    show("untrained heads", *scores(new_model(groceries, seed), groceries))
    photos = PhotoSet(groceries.train, groceries.train_product, groceries.texts, groceries.pictures)
    plain = new_model(groceries, seed)
    fit_photos(plain, photos, steps=steps, dropout=0.3, seed=seed)
    show("heads by contrast alone", *scores(plain, groceries))
    for name, part in (("last layer", slice(-LAST, None)), ("all depths", slice(None))):
        print(f"linear probe, {name}: {probe(groceries, part)}")
    model = new_model(groceries, seed)
    views_of = torch.cat([groceries.train.flatten(0, 1), groceries.pictures.flatten(0, 1)])
    of_pictures = torch.arange(len(groceries.texts)).repeat_interleave(groceries.pictures.shape[1])
    shown = torch.cat([groceries.train_product.repeat_interleave(groceries.train.shape[1]), of_pictures])
    start_at_discriminants(model.head("image"), views_of, shown, seed=seed)
    fit_photos(model, photos, steps=steps, frozen=["image"], seed=seed)
    one = scores(model, groceries, test_views=1)
    show("trained, one view of a test photo", *one)
    text, fused = scores(model, groceries)
    show(f"trained, {views} views of a test photo", text, fused)
    bars.check("photo → description recall@1", text["recall@1"], 0.70)
    bars.check("photo → product recall@1", fused["recall@1"], 0.75)
    bars.finish()


def read(root: Path, limit: int, views: int, seed: int) -> Groceries:
    """Read the lists and encode what they name."""
    with (root / "classes.csv").open(encoding="utf-8-sig", newline="") as file:
        classes = list(csv.DictReader(file))[: limit or None]
    photos = {name: listed(root / f"{name}.txt", len(classes)) for name in ("train", "val")}
    pictures = [root / row["Iconic Image Path (str)"].lstrip("/") for row in classes]
    texts = [
        f"{row['Class Name (str)'].replace('-', ' ')}. "
        + (root / row["Product Description Path (str)"].lstrip("/")).read_text(encoding="utf-8").strip()
        for row in classes
    ]
    dtype = pick_dtype("auto", pick_device("cpu"))
    image = create_encoder("timm:tf_efficientnet_lite0", "wheel:efficientnet-lite0", feature="multi").to(
        dtype=dtype
    )
    text = create_encoder("hf-text:minilm", "wheel:minilm").to(dtype=dtype)
    paths = [path for name in photos for path, _ in photos[name]] + pictures
    features = encode_views(image, paths, views, seed)
    n, m = len(photos["train"]), len(photos["val"])
    print(f"{n} photos to train on, {m} to test, {len(classes)} products, {views} views each")
    return Groceries(
        train=features[:n],
        train_product=torch.tensor([product for _, product in photos["train"]]),
        test=features[n : n + m],
        test_product=torch.tensor([product for _, product in photos["val"]]),
        pictures=features[n + m :],
        texts=text.encode(texts)[:, None],
    )


def listed(path: Path, products: int) -> list[tuple[Path, int]]:
    """(photo, product) of a list, of the first products."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return [(path.parent / row[0].strip(), int(row[1])) for row in rows if int(row[1]) < products]


@torch.no_grad()
def encode_views(encoder: Any, paths: list[Path], views: int, seed: int) -> Tensor:
    """(N, V, F) float32: the centre, its mirror image, the whole, its mirror image, then random crops."""
    rng = random.Random(seed)
    encoder.eval()
    out = torch.empty(len(paths), views, encoder.dim)
    for row, path in enumerate(tqdm(paths, desc="encode", unit="photo", disable=None)):
        image = open_image(path)
        pixels = [crop(image, number, encoder.preprocessing.size, rng) for number in range(views)]
        out[row] = encoder(encoder.collate(pixels))
    return out


def crop(image: Image.Image, number: int, size: int, rng: random.Random) -> Tensor:
    """View ``number`` of a photo, (3, size, size) uint8; every second one is mirrored."""
    width, height = image.size
    if number < 2:
        side = 0.875 * min(width, height)
        w, h = side, side
    elif number < 4:
        w, h = width, height
    else:
        area, aspect = rng.uniform(0.35, 1) * width * height, np.exp(rng.uniform(-0.28, 0.28))
        w, h = min(width, (area * aspect) ** 0.5), min(height, (area / aspect) ** 0.5)
    left, top = (rng.random(), rng.random()) if number >= 4 else (0.5, 0.5)
    left, top = left * (width - w), top * (height - h)
    pixels = np.asarray(
        image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + w, top + h))
    )
    return torch.from_numpy((pixels[:, ::-1] if number % 2 else pixels).copy()).permute(2, 0, 1)


def new_model(data: Groceries, seed: int) -> AlignModel:
    """Untrained heads that know the features' mean and spread."""
    torch.manual_seed(seed)
    model = AlignModel({"image": data.train.shape[2], "text": data.texts.shape[2]}, AlignConfig())
    model.head("image").fit(data.train.flatten(0, 1))
    model.head("text").fit(data.texts.flatten(0, 1))
    return model.eval()


@torch.no_grad()
def scores(
    model: AlignModel, data: Groceries, test_views: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """Retrieval of the test photos: by description, and by picture and description fused.

    The features of a photo's views are averaged, and those of an iconic picture's.
    """
    photo = data.test[:, : test_views or None].mean(1)
    standard = {
        name: model.head(head).standardise(x)
        for name, head, x in (
            ("photo", "image", photo),
            ("image", "image", data.pictures.mean(1)),
            ("text", "text", data.texts.mean(1)),
        )
    }
    photos = model.heads["image"](standard.pop("photo"))
    vectors = model.embed(standard)
    there = dict.fromkeys(vectors, torch.ones(len(data.texts), dtype=torch.bool))
    truth = [{int(product)} for product in data.test_product]
    text, fused = (
        retrieval_metrics(photos.numpy(), gallery.numpy(), truth, KS)
        for gallery in (vectors["text"], fuse(vectors, there))
    )
    return text, fused


def show(name: str, text: dict[str, float], fused: dict[str, float]) -> None:
    """Print both rankings."""
    for kind, found in (("description", text), ("product", fused)):
        figures = ", ".join(f"R@{k} {found[f'recall@{k}']:.1%}" for k in KS)
        print(
            f"{name}, photo → {kind}: {figures}, median rank {found['median rank']:g}, MRR {found['MRR']:.3f}, "
            f"nDCG@10 {found['nDCG@10']:.3f} (chance R@1 {found['chance@1']:.1%})"
        )


def probe(data: Groceries, part: slice) -> Proportion:
    """Logistic regression on the frozen features of the centre crops."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = data.train[:, 0, part].numpy(), data.test[:, 0, part].numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    right = model.fit(train, data.train_product.numpy()).predict(test) == data.test_product.numpy()
    return Proportion(int(right.sum()), len(right))


if __name__ == "__main__":
    auto_cli(main)
