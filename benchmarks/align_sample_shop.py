"""The sample shop's unseen products: does a photo find its text, a text its photo, and a prompt the colour?

    python benchmarks/align_sample_shop.py --data ../shared/data/magento
    python benchmarks/align_sample_shop.py --data ../shared/data/magento --items 120 --steps 100    # a quick look

Split by product, so that no colour of a test product was seen. Texts name the colour here. Besides its full text an
item is taught by short phrasings (its kind and one attribute), which is what a prompt at test time looks like.
Beside the trained heads: the same towers with untrained heads, a linear probe on the frozen features, and the most
frequent colour.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from bars import Bars
from jsonargparse import auto_cli

from encoders import Encoder
from mmreason.align.fit_photos import PhotoSet, fit_photos
from mmreason.catalogue.catalogue import read_catalogue
from mmreason.catalogue.ingest import ingest
from mmreason.config import AlignConfig, CatalogueConfig, Config, SimulateConfig
from mmreason.embed.embedder import Embedder, Features
from mmreason.embed.model import AlignModel
from mmreason.evaluate.metrics import Proportion
from mmreason.evaluate.retrieval import retrieval_metrics
from mmreason.evaluate.zero_shot import attribute_values, classify, prompts
from mmreason.schema import Item, item_text

KS = (1, 5, 10)
LAST = 1280  # EfficientNet-Lite0's pooled output stands at the end of the features of all depths


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
    config = AlignConfig()
    embedder = Embedder.create(config)
    features = embedder.features(shop, show_progress=True)
    phrasings = encode_phrasings(embedder.encoders["text"], train, seed)
    rows = {item.id: row for row, item in enumerate(shop)}
    torch.manual_seed(seed)
    model = AlignModel(
        {"image": embedder.encoders["image"].dim, "text": embedder.encoders["text"].dim}, config
    )
    of_train = torch.tensor([rows[item.id] for item in train])
    of_test = torch.tensor([rows[item.id] for item in test])
    photos = features.values["image"][of_train][:, None]
    untrained(model, features, of_train, of_test, test)
    fit_photos(
        model,
        PhotoSet(photos, torch.arange(len(train)), phrasings),
        steps=steps,
        batch_size=128,
        dropout=0.3,
        seed=seed,
    )
    bars = Bars("sample shop")
    measure("trained", model, features, of_test, test)
    colors(bars, model, embedder.encoders["text"], features, shop, of_train, of_test)
    bars.finish()


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
        item.video = None
    return items


def encode_phrasings(encoder: Encoder, items: list[Item], seed: int, short: int = 6) -> torch.Tensor:
    """(N, W, E) features: half of the phrasings are the full text, half name one attribute or two."""
    rng = random.Random(seed)
    texts = [phrasing for item in items for phrasing in [item_text(item), *short_texts(item, short, rng)]]
    distinct = sorted(set(texts))
    place = {text: row for row, text in enumerate(distinct)}
    features = encoder.encode(distinct, 64)[torch.tensor([place[text] for text in texts])]
    features = features.view(len(items), 1 + short, -1)
    return torch.cat([features[:, :1].expand(-1, short, -1), features[:, 1:]], 1)


def short_texts(item: Item, count: int, rng: random.Random) -> list[str]:
    """Prompts of the item's colour and of another attribute, as :mod:`mmreason.evaluate.zero_shot` asks."""
    found = []
    for number in range(count):
        name = "color" if number % 2 == 0 and "color" in item.attributes else rng.choice([*item.attributes])
        value = rng.choice(item.attributes[name])
        kinds = item.attributes.get("category", [])[:1]
        found.append(rng.choice(prompts(name, value, kinds)))
    return found


def untrained(
    model: AlignModel, features: Features, of_train: torch.Tensor, of_test: torch.Tensor, test: list[Item]
) -> None:
    """The same towers with heads as they were made."""
    for name in ("image", "text"):
        model.head(name).fit(features.values[name][of_train])
    model.eval()
    measure("untrained heads", model, features, of_test, test)


@torch.no_grad()
def vectors_of(model: AlignModel, features: Features, rows: torch.Tensor) -> dict[str, np.ndarray]:
    """Modality → (N, D) unit vectors."""
    standard = {n: model.head(n).standardise(features.values[n][rows]) for n in ("image", "text")}
    return {name: vectors.numpy() for name, vectors in model.embed(standard).items()}


def measure(name: str, model: AlignModel, features: Features, rows: torch.Tensor, items: list[Item]) -> None:
    """Both directions, with the very colour as the only right answer and with any colour of the product."""
    vectors = vectors_of(model, features, rows)
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
    bars: Bars,
    model: AlignModel,
    text: Encoder,
    features: Features,
    shop: list[Item],
    of_train: torch.Tensor,
    of_test: torch.Tensor,
) -> None:
    """Zero-shot colour of unseen products, beside linear probes and the most frequent colour."""
    names = attribute_values(shop)["color"]
    number = {name: c for c, name in enumerate(names)}

    def labelled(rows: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        kept = [int(r) for r in rows if len(shop[int(r)].attributes.get("color", ())) == 1]
        return torch.tensor(kept), [number[shop[r].attributes["color"][0]] for r in kept]

    train, train_labels = labelled(of_train)
    test, labels = labelled(of_test)
    kinds = sorted({k for row in of_train for k in shop[int(row)].attributes.get("category", [])[:1]})
    texts = [prompt for name in names for prompt in prompts("color", name, kinds)]
    with torch.no_grad():
        prompt = model.heads["text"](model.head("text").standardise(text.encode(texts, 64)))
    classes = prompt.view(len(names), -1, prompt.shape[1]).mean(1)
    classes = torch.nn.functional.normalize(classes, dim=-1).numpy()
    found = classify(vectors_of(model, features, test)["image"], classes, labels)
    image = features.values["image"]
    for label, part in (("last layer", image[:, -LAST:]), ("all depths", image)):
        print(f"linear probe of the colour, {label}: {probe(part[train], train_labels, part[test], labels)}")
    common = Counter(train_labels).most_common(1)[0][0]
    print(f"most frequent colour of the training ({names[common]}): {labels.count(common) / len(labels):.1%}")
    print(
        f"zero-shot colour of {len(labels)} unseen photos: {found['accuracy']}, "
        f"mean over colours {found['balanced']:.1%}"
    )
    bars.check("zero-shot colour by prompts", found["accuracy"].value, 0.75)


def probe(train: torch.Tensor, train_labels: list[int], test: torch.Tensor, labels: list[int]) -> Proportion:
    """A logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    right = model.fit(train.numpy(), train_labels).predict(test.numpy()) == np.array(labels)
    return Proportion(int(right.sum()), len(right))


if __name__ == "__main__":
    auto_cli(main)
