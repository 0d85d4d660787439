"""A head in closed form, from several photos a product: the directions that tell the products apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmreason.embed.model import Head
from mmreason.schema import DataError

COMPONENTS = 1000  # principal components kept at most
PHOTOS = 16_384  # in memory at a time
SHRINKAGE = 0.01  # chosen on photos of scenes that were kept aside: see docs/results.md


@torch.no_grad()
def start_at_discriminants(
    head: Head, features: Tensor, product: Tensor, shrinkage: float = SHRINKAGE, seed: int = 0
) -> None:
    """Set a head to the linear discriminants of products.

    Principal components, then linear discriminants with a shrunk within-product covariance (Friedman, JASA 1989),
    folded into the head's linear layer: how photos of one product vary (light, pose, background) counts for little,
    what differs between products counts. With a dozen photos a product this beats gradient steps.

    Args:
        head: Its mean and spread are those of the features already; its MLP starts at nought.
        features: (N, F) float, raw.
        product: (N,) long, which product each row shows.
        shrinkage: Share of the within-product covariance that is replaced by a multiple of the identity.
        seed: Of the randomised principal components.

    Raises:
        DataError: If there are fewer than two products, or no product has two rows.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    products = len(product.unique())
    if not 2 <= products < len(product):
        raise DataError(
            f"align.start=discriminants: {len(product)} photos of {products} products; give two products, and one "
            "with two photos"
        )
    standard = head.standardise(features).float().cpu().numpy()
    # No more components than photos beyond one a product: else products are told apart without error.
    count = min(COMPONENTS, len(standard) - products, standard.shape[1])
    pca = PCA(count, svd_solver="randomized", random_state=seed).fit(standard)
    dims = min(products - 1, head.linear.out_features, count)
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage, n_components=dims)
    lda.fit(pca.transform(standard), product.cpu().numpy())
    weight = torch.as_tensor(lda.scalings_[:, :dims].T @ pca.components_).to(head.linear.weight)
    # The eigen solver does not centre: the origin is put amid the products.
    middle = torch.as_tensor(lda.means_.mean(0) @ pca.components_ + pca.mean_).to(head.linear.bias)
    for parameter in (*head.linear.parameters(), *head.mlp[-1].parameters()):
        parameter.zero_()
    head.linear.weight[:dims] = weight
    head.linear.bias[:dims] = -weight @ middle


def some_products(product: np.ndarray, seed: int = 0, most: int = PHOTOS) -> np.ndarray:
    """Rows of products drawn at random, all photos of each, as many as make ``most`` photos or fewer.

    Args:
        product: (N,) int, which product each row shows.
        seed: Of the draw.
        most: Photos.

    Returns:
        (n,) int64 rows, ascending.

    Example:
        >>> len(some_products(np.array([0, 0, 0, 1, 1, 1, 2, 2, 2]), most=7))
        6
    """
    names, which, counts = np.unique(product, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    taken = order[np.cumsum(counts[order]) <= most]
    return np.flatnonzero(np.isin(which, taken))
