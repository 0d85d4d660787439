"""Phone photos of groceries to their products: the recipe ``configs/photos.yaml``, through the product's own verbs.

    python benchmarks/align_grocery.py --data ../shared/data/grocery
    python benchmarks/align_grocery.py --data ../shared/data/grocery --test /path/to/test.txt
    python benchmarks/align_grocery.py --data ../shared/data/grocery --products 10 --steps 50 --crops 1    # quick

A catalogue of 81 products is made, each with its own picture, its description and the photos of it in ``train.txt``,
and goes through ``ingest``, ``pack``, ``align`` and ``embed``. The photos of ``val.txt``, or of a list like it,
are then looked up in the embedding store, as ``search`` does: by the products' texts, and by the products as a whole.
Everything about the recipe was chosen on the training photos alone. Beside it: linear probes on the same features,
and heads trained by contrast alone.
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
    products: int = 0,
    crops: int = 0,
    steps: int = 0,
    seed: int = 0,
) -> None:
    """Run and check.

    Args:
        data: Folder of the grocery data.
        test: List of the photos to measure on, such as ``val.txt`` (path beside the list, fine class, coarse class);
            default: the folder's ``val.txt``.
        products: Only the first products; 0 for all.
        crops: Looks at each picture; 0 for the recipe's.
        steps: Training steps of the text head; 0 for the recipe's.
        seed: Of the training.
    """
    torch.set_num_threads(2)
    root = Path(data) / "dataset"
    with (root / "classes.csv").open(encoding="utf-8-sig", newline="") as file:
        classes = list(csv.DictReader(file))[: products or None]
    train, asked = (
        listed(path, classes) for path in (root / "train.txt", Path(test) if test else root / "val.txt")
    )
    print(f"{len(train)} photos to train on, {len(asked)} to test, {len(classes)} products")
    with tempfile.TemporaryDirectory() as folder:
        shop, run = Path(folder, "shop"), Path(folder, "run")
        make_shop(shop, root, classes, train)
        settings = ["--catalogue.root", str(shop), "--run_dir", str(run), "--seed", str(seed)]
        settings += ["--align.crops", str(crops)] if crops else []
        for verb in ("ingest", "pack"):
            do(verb, settings)
        stage = "[{name: heads, steps: %d, trains: [heads]}]"
        measure(
            "heads by contrast alone",
            run,
            asked,
            [
                *settings,
                "--align.start",
                "random",
                "--align.dropout",
                "0.3",
                "--align.stages",
                stage % (steps or 600),
            ],
        )
        probes(run, train, asked)
        if steps:
            settings += ["--align.stages", f'[{{name: texts, steps: {steps}, trains: ["heads:text"]}}]']
        text, fused = measure("recipe", run, asked, settings)
    bars = Bars("grocery")
    bars.check("photo → description recall@1", text, 0.70)
    bars.check("photo → product recall@1", fused, 0.75)
    bars.finish()


def listed(path: Path, classes: Sequence[dict[str, str]]) -> Photos:
    """(photo, product) of a list, of the products asked for."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = [row["Class Name (str)"] for row in classes]
    return [(path.parent / row[0].strip(), names[int(row[1])]) for row in rows if int(row[1]) < len(names)]


def make_shop(shop: Path, root: Path, classes: Sequence[dict[str, str]], photos: Photos) -> None:
    """A folder as a shop would have it: a table of products, and their pictures."""
    rows = []
    for row in classes:
        name = row["Class Name (str)"]
        pictures = [
            root / row["Iconic Image Path (str)"].lstrip("/"),
            *(p for p, shown in photos if shown == name),
        ]
        for number, picture in enumerate(pictures):
            target = shop / "photos" / name / f"{number}{picture.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, target)
        images = [f"photos/{name}/{number}{picture.suffix}" for number, picture in enumerate(pictures)]
        text = (root / row["Product Description Path (str)"].lstrip("/")).read_text(encoding="utf-8").strip()
        rows.append({"id": name, "title": name.replace("-", " "), "text": text, "images": json.dumps(images)})
    with (shop / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def do(verb: str, settings: Sequence[str]) -> None:
    """One verb of the product, as from the command line."""
    mmreason([verb, str(RECIPE), *settings])


def measure(name: str, run: Path, asked: Photos, settings: Sequence[str]) -> tuple[float, float]:
    """Align, embed and look the photos up; recall@1 of the description and of the product."""
    for verb in ("align", "embed"):
        do(verb, settings)
    store = EmbeddingStore.open(run / "embed")
    embedder = Embedder.from_pretrained(run / "align")
    queries = embedder.encode(
        [Item(str(n), images=[path]) for n, (path, _) in enumerate(asked)], show_progress=True
    )
    place = {item: row for row, item in enumerate(store.ids)}
    truth = [{place[product]} for _, product in asked]
    recalls = []
    for kind, array in (("description", "text"), ("product", "fused")):
        found = retrieval_metrics(queries, store.get(array, list(store.ids)), truth, KS)
        figures = ", ".join(f"R@{k} {found[f'recall@{k}']:.1%}" for k in KS)
        print(
            f"{name}, photo → {kind}: {figures}, median rank {found['median rank']:g}, MRR {found['MRR']:.3f}, "
            f"nDCG@10 {found['nDCG@10']:.3f} (chance R@1 {found['chance@1']:.1%})"
        )
        recalls.append(found["recall@1"])
    return recalls[0], recalls[1]


def probes(run: Path, train: Photos, asked: Photos) -> None:
    """Logistic regressions on the frozen features, of the last layer and of all depths."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    embedder = Embedder.from_pretrained(run / "align")
    sides = []
    for photos in (train, asked):
        items = [Item(str(n), images=[path]) for n, (path, _) in enumerate(photos)]
        sides.append(embedder.features(items, show_progress=True).values["image"].numpy())
    labels = np.array([shown for _, shown in train])
    for name, part in (("last layer", slice(-LAST, None)), ("all depths", slice(None))):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
        found = model.fit(sides[0][:, part], labels).predict(sides[1][:, part])
        right = sum(a == product for a, (_, product) in zip(found, asked, strict=True))
        print(f"linear probe, {name}: {Proportion(right, len(asked))}")


if __name__ == "__main__":
    auto_cli(main)
