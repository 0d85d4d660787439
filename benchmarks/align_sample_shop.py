"""The sample shop's unseen products: does a photo find its text, a text its photo, and a prompt the colour?

    python benchmarks/align_sample_shop.py --data ../shared/data/magento
    python benchmarks/align_sample_shop.py --data ../shared/data/magento --items 120 --steps 100    # a quick look

Split by product, so that no colour of a test product was seen. Texts name the colour here. Besides its full text an
item of the training is in the table under short phrasings (its kind and one attribute), which is what a prompt at
test time looks like. The table goes through ``ingest``, ``pack``, ``align`` and ``embed``. Beside the trained heads:
the same towers with untrained heads, a linear probe on the frozen features, and the most frequent colour.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from bars import Bars
from jsonargparse import auto_cli

from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.cli import main as mmreason
from mmreason.config import CatalogueConfig, Config, SimulateConfig
from mmreason.embed.embedder import Embedder
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.retrieval import retrieval_metrics
from mmreason.evaluate.zero_shot import attribute_values, classify, prompts
from mmreason.schema import Item, item_text
from mmreason.store.store import EmbeddingStore

KS = (1, 5, 10)
LAST = 1280  # EfficientNet-Lite0's pooled output stands at the end of the features of all depths
SETTINGS = {
    "catalogue.source": "tables",
    "simulate.users": "0",
    "align.pairs": "{image-text: 1.0}",
    "align.mask": "[text, media]",  # the colours of a product are each other's negatives
    "align.batch_size": "128",
    "align.dropout": "0.3",
    "align.drop_modality": "0",
}


def main(data: str = "../shared/data/magento", items: int = 0, steps: int = 600, seed: int = 0) -> None:
    """Run and check.

    Args:
        data: Folder of the sample shop.
        items: Only the first items; 0 for all.
        steps: Training steps.
        seed: Of the split, the phrasings and the training.
    """
    torch.set_num_threads(2)
    shop = read_shop(Path(data), items, seed)
    train, test = [i for i in shop if i.split != "test"], [i for i in shop if i.split == "test"]
    print(f"{len(train)} items to train on, {len(test)} of {len({i.group for i in test})} unseen products")
    with tempfile.TemporaryDirectory() as folder:
        source, run = Path(folder, "shop"), Path(folder, "run")
        write_shop(source, shop, seed)
        settings = {**SETTINGS, "catalogue.root": str(source), "run_dir": str(run), "seed": str(seed)}
        do(["ingest", "pack"], settings)
        for name, count in (("untrained heads", 0), ("trained", steps)):
            do(["align", "embed"], settings | {"align.steps": str(count)})
            store = EmbeddingStore.open(run / "embed")
            measure(name, store, test)
        bars = Bars("sample shop")
        colors(bars, store, Embedder.from_pretrained(run / "align"), train, test)
    bars.finish()


def do(verbs: Sequence[str], settings: dict[str, str]) -> None:
    """Verbs of the product, as from the command line."""
    for verb in verbs:
        mmreason([verb, *(part for name, value in settings.items() for part in (f"--{name}", value))])


def read_shop(root: Path, limit: int, seed: int) -> list[Item]:
    """Checked items with a picture, split by product."""
    source = CatalogueConfig(source="magento", root=str(root), test_items=0.25, valid_items=0.0)
    with tempfile.TemporaryDirectory() as folder:
        config = Config(run_dir=folder, seed=seed, catalogue=source, simulate=SimulateConfig(users=0))
        print(ingest(config))
        catalogue = read_catalogue(config.path("catalogue"))
    items = [item for item in catalogue.items.values() if item.images][: limit or None]
    for item in items:
        item.images = [str(catalogue.media(image)) for image in item.images]
    return items


def write_shop(folder: Path, shop: Sequence[Item], seed: int, phrasings: int = 6) -> None:
    """The items as a table; those of the training also under short phrasings."""
    rng = random.Random(seed)
    rows = []
    for number, item in enumerate(shop):
        images = []
        for path in map(Path, item.images):
            images.append(f"photos/{number}-{len(images)}{path.suffix}")
            target = folder / images[-1]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        row = {"images": json.dumps(images), "group": item.group, "split": item.split}
        texts = [item_text(item)]
        texts += short_texts(item, phrasings, rng) if item.split == "train" else []
        ids = [item.id, *(f"{item.id} / {n}" for n in range(phrasings))]
        rows += [{"id": i, "title": text, **row} for i, text in zip(ids, texts, strict=False)]
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def short_texts(item: Item, count: int, rng: random.Random) -> list[str]:
    """Prompts of the item's colour and of another attribute, as :mod:`mmreason.evaluate.zero_shot` asks."""
    found = []
    for number in range(count):
        name = "color" if number % 2 == 0 and "color" in item.attributes else rng.choice([*item.attributes])
        value = rng.choice(item.attributes[name])
        kinds = item.attributes.get("category", [])[:1]
        found.append(rng.choice(prompts(name, value, kinds)))
    return found


def measure(name: str, store: EmbeddingStore, items: list[Item]) -> None:
    """Both directions, with the very colour as the only right answer and with any colour of the product."""
    ids = [item.id for item in items]
    vectors = {modality: store.get(modality, ids) for modality in ("image", "text")}
    products: dict[str, set[int]] = {}
    for row, item in enumerate(items):
        products.setdefault(item.group, set()).add(row)
    truths = {
        "per colour": [{row} for row in range(len(items))],
        "per product": [products[i.group] for i in items],
    }
    for a, b in (("image", "text"), ("text", "image")):
        for kind, truth in truths.items():
            found = retrieval_metrics(vectors[a], vectors[b], truth, KS)
            figures = ", ".join(
                f"R@{k} {found[f'recall@{k}']:.1%} (chance {found[f'chance@{k}']:.1%})" for k in KS
            )
            print(
                f"{name}, {'photo' if a == 'image' else a} → {'photo' if b == 'image' else b}, {kind}: {figures}, "
                f"median rank {found['median rank']:g}, MRR {found['MRR']:.3f}, nDCG@10 {found['nDCG@10']:.3f}"
            )


def colors(
    bars: Bars, store: EmbeddingStore, embedder: Embedder, train: list[Item], test: list[Item]
) -> None:
    """Zero-shot colour of unseen products, beside linear probes and the most frequent colour."""
    names = attribute_values([*train, *test])["color"]
    number = {name: c for c, name in enumerate(names)}

    def labelled(items: list[Item]) -> tuple[list[str], list[int]]:
        kept = [item for item in items if len(item.attributes.get("color", ())) == 1]
        return [item.id for item in kept], [number[item.attributes["color"][0]] for item in kept]

    (known, known_labels), (asked, labels) = labelled(train), labelled(test)
    kinds = sorted({kind for item in train for kind in item.attributes.get("category", [])[:1]})
    texts = [prompt for name in names for prompt in prompts("color", name, kinds)]
    classes = embedder.encode(texts).reshape(len(names), -1, embedder.model.config.dim).mean(axis=1)
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    found = classify(store.get("image", asked), classes, labels)
    for label, part in (("last layer", slice(-LAST, None)), ("all depths", slice(None))):
        features = [store.get("image_features", ids)[:, part] for ids in (known, asked)]
        print(f"linear probe of the colour, {label}: {probe(features[0], known_labels, features[1], labels)}")
    common = Counter(known_labels).most_common(1)[0][0]
    print(f"most frequent colour of the training ({names[common]}): {labels.count(common) / len(labels):.1%}")
    print(
        f"zero-shot colour of {len(labels)} unseen photos: {found['accuracy']}, "
        f"mean over colours {found['balanced']:.1%}"
    )
    bars.check("zero-shot colour by prompts", found["accuracy"].value, 0.75)


def probe(train: np.ndarray, train_labels: list[int], test: np.ndarray, labels: list[int]) -> Proportion:
    """A logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    right = model.fit(train, train_labels).predict(test) == np.array(labels)
    return Proportion(int(right.sum()), len(right))


if __name__ == "__main__":
    auto_cli(main)
