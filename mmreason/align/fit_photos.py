"""Heads from photos of products, from features alone: many photos a product, several views and phrasings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mmreason.align.losses import Gathered, info_nce
from mmreason.embed.model import AlignModel, Head, fuse
from mmreason.schema import DataError
from mmreason.training.schedule import cosine


@dataclass
class PhotoSet:
    """Features of N photos and of the P products that they show.

    Attributes:
        photos: (N, V, F) float: V views (crops, mirrored or not) of each photo.
        product: (N,) long, which product each photo shows.
        texts: (P, W, E) float: W phrasings of each product's text.
        pictures: (P, U, F) float: U views of the product's own picture, if it has one that is not among the photos.
        group: (P,) long: products of one group (same text, say) are not each other's negatives; default: its own.
    """

    photos: Tensor
    product: Tensor
    texts: Tensor
    pictures: Tensor | None = None
    group: Tensor | None = None

    def __post_init__(self) -> None:
        groups = torch.arange(len(self.texts)) if self.group is None else self.group
        self.group = groups
        if len(self.product) != len(self.photos) or len(groups) != len(self.texts):
            raise DataError(
                f"{len(self.photos)} photos with {len(self.product)} products, {len(self.texts)} texts with "
                f"{len(groups)} groups: give one each"
            )
        if len(self.product) and int(self.product.max()) >= len(self.texts):
            raise DataError(
                f"a photo shows product {int(self.product.max())}, but there are {len(self.texts)} texts"
            )


def start_at_discriminants(
    head: Head,
    features: Tensor,
    product: Tensor,
    rank: int = 800,
    shrinkage: float | Literal["auto"] = "auto",
    seed: int = 0,
) -> None:
    """Set a head to the directions that tell products apart, in closed form.

    Principal components, then linear discriminants with a shrunk within-product covariance (Friedman, JASA 1989),
    folded into the head's linear layer: how photos of one product vary (light, pose, background) counts for little,
    what differs between products counts. With a dozen photos a product this beats gradient steps by far.

    Args:
        head: Its mean and spread are taken from ``features``; its MLP starts at nought.
        features: (N, F) float, raw.
        product: (N,) long, which product each row shows.
        rank: Principal components kept, at most.
        shrinkage: Share of the within-product covariance that is replaced by a multiple of the identity; ``auto``
            estimates it (Ledoit & Wolf, JMVA 2004).
        seed: Of the randomised principal components.

    Raises:
        DataError: If there are fewer than two products, or no product has two rows.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    products = len(product.unique())
    if not 2 <= products < len(product):
        raise DataError(
            f"{len(product)} photos of {products} products: give two products, and one with two photos"
        )
    head.fit(features)
    standard = head.standardise(features).numpy()
    pca = PCA(min(rank, *standard.shape), svd_solver="randomized", random_state=seed).fit(standard)
    dims = min(products - 1, head.linear.out_features, pca.n_components_)
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage, n_components=dims)
    lda.fit(pca.transform(standard), product.numpy())
    weight = torch.as_tensor(lda.scalings_[:, :dims].T @ pca.components_, dtype=torch.float32)
    # The eigen solver does not centre: the origin is put amid the products.
    middle = torch.as_tensor(lda.means_.mean(0) @ pca.components_ + pca.mean_, dtype=torch.float32)
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.zero_()
        head.linear.weight[:dims] = weight
        head.linear.bias[:dims] = -weight @ middle
        for parameter in head.mlp[-1].parameters():
            parameter.zero_()


def fit_photos(
    model: AlignModel,
    data: PhotoSet,
    *,
    steps: int,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 0.05,
    dropout: float = 0.1,
    frozen: Sequence[str] = (),
    seed: int = 0,
) -> list[float]:
    """Contrast photos with their products' texts and, where products have pictures, with picture and text fused.

    Every row takes a random view and phrasing. Photos of one product, and products of one group, are not each
    other's negatives, so that many photos of a product pull it one way (as in SupCon, arXiv 2004.11362).

    Args:
        model: Heads ``image`` and ``text``, trained in place; mean and spread of those that are not frozen are taken
            from ``data``.
        data: The training photos.
        steps: Optimiser steps.
        batch_size: Photos per step.
        lr: Peak learning rate (warm-up, then cosine).
        weight_decay: Of AdamW.
        dropout: Share of the features that are dropped at random, in the heads that train.
        frozen: Heads that stay as they are, such as one set by :func:`start_at_discriminants`.
        seed: Of the batches, views and dropout.

    Returns:
        The losses, one a step.

    Raises:
        DataError: If there are fewer than two products, or the loss is not finite.

    Example:
        >>> model = AlignModel({"image": 8, "text": 4}, AlignConfig(dim=4))          # doctest: +SKIP
        >>> fit_photos(model, PhotoSet(photos, product, texts), steps=100)           # doctest: +SKIP
    """
    if len(data.product.unique()) < 2:
        raise DataError("photos of fewer than two products: there is nothing to tell apart")
    views = {
        "image": [data.photos, *([] if data.pictures is None else [data.pictures])],
        "text": [data.texts],
    }
    for name, parts in views.items():
        if name not in frozen:
            model.head(name).fit(torch.cat([part.flatten(0, 1) for part in parts]))
            model.head(name).dropout.p = dropout
    photos, *pictures = [_ready(model, "image", part, frozen) for part in views["image"]]
    texts = _ready(model, "text", data.texts, frozen)
    heads = {m: nn.Identity() if m in frozen else model.head(m) for m in views}
    trained = [
        p for n, p in model.named_parameters() if not n.startswith(tuple(f"heads.{m}." for m in frozen))
    ]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]), tqdm(total=steps, desc="fit", disable=None) as bar:
        torch.manual_seed(seed)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * cosine(step, steps, max(1, steps // 10))
            model.train()
            rows = torch.randint(len(photos), (min(batch_size, len(photos)),), generator=generator)
            loss = _loss(heads, model.logit_scale, data, photos, texts, pictures, rows, generator)
            if not torch.isfinite(loss):
                raise DataError(f"the loss of step {step + 1} is not finite; look for bad features")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            bar.update()
    model.eval()
    return losses


def _ready(model: AlignModel, name: str, features: Tensor, frozen: Sequence[str]) -> Tensor:
    """Standardised features; a frozen head's vectors, which no step changes."""
    standard = model.head(name).standardise(features)
    if name not in frozen:
        return standard
    with torch.no_grad():
        return model.head(name).eval()(standard)


def _loss(
    heads: Mapping[str, nn.Module],
    scale: Tensor,
    data: PhotoSet,
    photos: Tensor,
    texts: Tensor,
    pictures: list[Tensor],
    rows: Tensor,
    generator: torch.Generator,
) -> Tensor:
    product = data.product[rows]
    assert data.group is not None
    gathered = Gathered.of(data.group[product][:, None] + 1, local=False)  # code 0 would mean none
    valid = torch.ones(len(rows), dtype=torch.bool)
    image = heads["image"](_view(photos, rows, generator))
    text = heads["text"](_view(texts, product, generator))
    loss = info_nce(image, text, scale, valid=valid, gathered=gathered)
    if not pictures:
        return loss
    own = heads["image"](_view(pictures[0], product, generator))
    fused = fuse({"image": own, "text": text}, {"image": valid, "text": valid})
    return (loss + info_nce(image, fused, scale, valid=valid, gathered=gathered)) / 2


def _view(values: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """A random view of each row, (B, F)."""
    return values[rows, torch.randint(values.shape[1], (len(rows),), generator=generator)]
