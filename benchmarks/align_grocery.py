"""Phone photos of groceries to their products: the recipe ``configs/photos.yaml``, through the product's own verbs.

    python benchmarks/align_grocery.py --data ../shared/data/grocery
    python benchmarks/align_grocery.py --data ../shared/data/grocery --test /path/to/test.txt
    python benchmarks/align_grocery.py --data ../shared/data/grocery --folds 3      # how the recipe was chosen
    python benchmarks/align_grocery.py --data ../shared/data/grocery --products 10 --steps 50 --crops 1    # quick

A catalogue of 81 products is made, each with its own picture, its description and the photos of it in ``train.txt``,
and goes through ``ingest``, ``pack``, ``align`` and ``embed``. The photos of ``val.txt``, and of another list if one is
given, are then looked up in the embedding store, as ``search`` does: by the products' texts, and by the products as a
whole. Beside it: linear probes on the same features, and heads trained by contrast alone.

``--folds`` measures on the training photos alone: those of each product are put into groups that look alike (one
scene, mostly), and each group is looked up by a model that never saw it. Photos of one scene on both sides, as a
random split has them, find each other whatever the recipe.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from bars import Bars
from jsonargparse import auto_cli

from mmreason.cli import main as mmreason
from mmreason.config import AlignConfig
from mmreason.embed.embedder import Embedder
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.retrieval import retrieval_metrics
from mmreason.schema import Item
from mmreason.store.store import EmbeddingStore

LAST = 1280  # EfficientNet-Lite0's pooled output stands at the end of the features of all depths
KS = (1, 5, 10)
RECIPE = Path(__file__).parents[1] / "configs/photos.yaml"
Photos = list[tuple[Path, str]]


def main(
    data: str = "../shared/data/grocery",
    test: str = "",
    folds: int = 0,
    products: int = 0,
    crops: int = 0,
    size: int = 0,
    steps: int = 0,
    seed: int = 0,
) -> None:
    """Run and check.

    Args:
        data: Folder of the grocery data.
        test: Another list of photos to measure on (path beside the list, fine class, coarse class), as ``val.txt`` is.
        folds: Measure on the training photos, by so many groups of scenes a product, and on no others.
        products: Only the first products; 0 for all.
        crops: Looks at each picture; 0 for the recipe's.
        size: Pixels of the square that the tower sees; 0 for the recipe's.
        steps: Training steps of the text head; 0 for the recipe's.
        seed: Of the training.
    """
    torch.set_num_threads(2)
    root = Path(data) / "dataset"
    with (root / "classes.csv").open(encoding="utf-8-sig", newline="") as file:
        classes = list(csv.DictReader(file))[: products or None]
    train = listed(root / "train.txt", classes)
    settings = {"seed": str(seed)}
    settings |= {"align.crops": str(crops)} if crops else {}
    settings |= {"align.image_size": str(size)} if size else {}
    settings |= {"align.stages": stage("texts", steps, "heads:text")} if steps else {}
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), root, classes, settings | {"align.features": str(Path(folder, "features"))})
        if folds:
            cross_validate(shop, train, folds)
            return
        asked = {path.name: listed(path, classes) for path in (root / "val.txt", Path(test)) if path.name}
        counts = ", ".join(f"{len(photos)} of {name}" for name, photos in asked.items())
        print(f"{len(train)} photos to train on, {counts} to look up, {len(classes)} products")
        shop.open(train)
        contrast = {"align.start": "random", "align.dropout": "0.3"}
        shop.align(contrast | {"align.stages": stage("heads", steps or 600, "heads")})
        for name, photos in asked.items():
            shop.look_up(f"heads by contrast alone, {name}", photos)
        probes(shop, train, asked)
        shop.align()
        found = {name: shop.look_up(f"recipe, {name}", photos) for name, photos in asked.items()}
    bars = Bars("grocery")
    for name, (text, fused) in found.items():
        bars.check(f"photo → description recall@1, {name}", text, 0.70)
        bars.check(f"photo → product recall@1, {name}", fused, 0.75)
    bars.finish()


def stage(name: str, steps: int, part: str) -> str:
    """One stage of ``align.stages``."""
    return json.dumps([{"name": name, "steps": steps, "trains": [part]}])


def cross_validate(shop: Shop, train: Photos, folds: int) -> None:
    """Look up each group of scenes by a model of the others."""
    fold = scenes(train, folds)
    found = []
    for number in range(folds):
        held = [photo for photo, place in zip(train, fold, strict=True) if place == number]
        shop.open([photo for photo, place in zip(train, fold, strict=True) if place != number])
        shop.align()
        found.append((len(held), *shop.look_up(f"fold {number + 1}", held)))
    for kind, column in (("description", 1), ("product", 2)):
        recall = sum(row[0] * row[column] for row in found) / len(train)
        print(f"photo → {kind} recall@1 over {folds} folds by scene: {recall:.1%}")


def scenes(photos: Photos, folds: int) -> np.ndarray:
    """(N,) group of each photo: those of a product by what they look like (Ward, on the tower's own output)."""
    from sklearn.cluster import AgglomerativeClustering

    items = [Item(str(n), images=[path]) for n, (path, _) in enumerate(photos)]
    features = Embedder.create(AlignConfig(image_feature="pooled")).features(items, show_progress=True)
    values = features.values["image"].numpy()
    values = (values - values.mean(axis=0)) / values.std(axis=0).clip(1e-4)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    shown = np.array([product for _, product in photos])
    group = np.zeros(len(photos), int)
    for product in np.unique(shown):
        rows = np.flatnonzero(shown == product)
        group[rows] = AgglomerativeClustering(folds).fit_predict(values[rows])
    return group


def listed(path: Path, classes: Sequence[dict[str, str]]) -> Photos:
    """(photo, product) of a list, of the products asked for."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = [row["Class Name (str)"] for row in classes]
    return [(path.parent / row[0].strip(), names[int(row[1])]) for row in rows if int(row[1]) < len(names)]


class Shop:
    """The groceries as a shop's catalogue, and what the product makes of it.

    Args:
        folder: Where the catalogue and the run lie.
        root: Folder of the data's lists and pictures.
        classes: The products, rows of ``classes.csv``.
        settings: Of every verb, beside the recipe.
    """

    def __init__(
        self, folder: Path, root: Path, classes: Sequence[dict[str, str]], settings: dict[str, str]
    ) -> None:
        self.folder, self.root, self.classes = folder, root, classes
        self.settings = settings | {"catalogue.root": str(folder / "shop"), "run_dir": str(self.run)}

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "run"

    def open(self, photos: Photos) -> None:
        """Write a table of the products with their own pictures and these photos; ingest and pack it."""
        shop, rows = self.folder / "shop", []
        shutil.rmtree(shop, ignore_errors=True)
        for row in self.classes:
            name = row["Class Name (str)"]
            own = self.root / row["Iconic Image Path (str)"].lstrip("/")
            images = []
            for picture in (own, *(path for path, shown in photos if shown == name)):
                images.append(f"photos/{name}/{len(images)}{picture.suffix}")
                (shop / images[-1]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(picture, shop / images[-1])
            text = self.root / row["Product Description Path (str)"].lstrip("/")
            told = {"title": name.replace("-", " "), "text": text.read_text(encoding="utf-8").strip()}
            rows.append({"id": name, **told, "images": json.dumps(images)})
        with (shop / "items.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        self._do("ingest", "pack")

    def align(self, settings: dict[str, str] | None = None) -> None:
        """Align and embed, with other settings than the recipe's where some are given."""
        self._do("align", "embed", settings=settings or {})

    def look_up(self, name: str, photos: Photos) -> tuple[float, float]:
        """Search for photos; prints the figures and returns recall@1 of the description and of the product."""
        store = EmbeddingStore.open(self.run / "embed")
        items = [Item(str(n), images=[path]) for n, (path, _) in enumerate(photos)]
        queries = Embedder.from_pretrained(self.run / "align").encode(items, show_progress=True)
        place = {item: row for row, item in enumerate(store.ids)}
        truth = [{place[product]} for _, product in photos]
        recalls = []
        for kind, array in (("description", "text"), ("product", "fused")):
            found = retrieval_metrics(queries, store.get(array, store.ids), truth, KS)
            figures = ", ".join(f"R@{k} {found[f'recall@{k}']:.1%}" for k in KS)
            print(
                f"{name}, photo → {kind}: {figures}, median rank {found['median rank']:g}, MRR {found['MRR']:.3f}, "
                f"nDCG@10 {found['nDCG@10']:.3f} (chance R@1 {found['chance@1']:.1%})"
            )
            recalls.append(found["recall@1"])
        return recalls[0], recalls[1]

    def _do(self, *verbs: str, settings: dict[str, str] | None = None) -> None:
        """Verbs of the product, as from the command line."""
        told = self.settings | (settings or {})
        for verb in verbs:
            mmreason(
                [verb, str(RECIPE), *(part for name, value in told.items() for part in (f"--{name}", value))]
            )


def probes(shop: Shop, train: Photos, asked: dict[str, Photos]) -> None:
    """Logistic regressions on the frozen features, of the last layer and of all depths."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    embedder = Embedder.from_pretrained(shop.run / "align")

    def read(photos: Photos) -> tuple[np.ndarray, np.ndarray]:
        items = [Item(str(n), images=[path]) for n, (path, _) in enumerate(photos)]
        values = embedder.features(items, show_progress=True).values["image"]
        return values.numpy(), np.array([product for _, product in photos])

    known, labels = read(train)
    unseen = {name: read(photos) for name, photos in asked.items()}
    for layers, part in (("last layer", slice(-LAST, None)), ("all depths", slice(None))):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
        model.fit(known[:, part], labels)
        for name, (values, truth) in unseen.items():
            right = int((model.predict(values[:, part]) == truth).sum())
            print(f"linear probe, {layers}, {name}: {Proportion(right, len(truth))}")


if __name__ == "__main__":
    auto_cli(main)
