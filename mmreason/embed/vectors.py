"""What is done with finished vectors: shortened, quantised, compared, ranked."""

from __future__ import annotations

from typing import Literal

import numpy as np

Precision = Literal["float32", "int8", "binary"]


def shorten(vectors: np.ndarray, dim: int | None, normalize: bool = True) -> np.ndarray:
    """The first ``dim`` numbers of each vector (Matryoshka), at unit length again.

    Args:
        vectors: (N, D) float32.
        dim: 1 to D; None for all.
        normalize: Scale to unit length; zero vectors stay zero.

    Raises:
        ValueError: If ``dim`` is out of range.

    Source: Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022.
    """
    if dim is not None and not (isinstance(dim, int) and 1 <= dim <= vectors.shape[1]):
        raise ValueError(
            f"truncate_dim is {dim!r}; it must be a whole number between 1 and {vectors.shape[1]}"
        )
    vectors = vectors[:, :dim]
    if not normalize:
        return vectors
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def quantise(vectors: np.ndarray, precision: Precision) -> np.ndarray:
    """Smaller vectors.

    Args:
        vectors: (N, D) float32.
        precision: ``int8`` scales each vector by its own largest number, so that its direction, and with it every
            cosine, is kept to about 0.1 %; ``binary`` keeps the signs.

    Returns:
        (N, D) float32 or int8, or (N, ⌈D / 8⌉) uint8 of packed signs, as ``ubinary`` of sentence-transformers.

    Raises:
        ValueError: If the precision is unknown.
    """
    if precision == "float32":
        return vectors
    if precision == "int8":
        top = np.maximum(np.abs(vectors).max(axis=1, keepdims=True, initial=0), 1e-12)
        return np.rint(vectors * (127 / top)).astype(np.int8)
    if precision == "binary":
        return np.packbits(vectors > 0, axis=1)
    raise ValueError(f"precision must be 'float32', 'int8' or 'binary', not {precision!r}")


def similarity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosines of vectors of any one precision; of binary ones the share of equal signs, from -1 to 1.

    Args:
        left: (N, D), or (D,) for one.
        right: (M, D), or (D,) for one.

    Returns:
        (N, M) float32.

    Raises:
        ValueError: If the two are of different precision or size.

    Example:
        >>> similarity(np.array([1.0, 0.0]), np.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
        [[1.0, 0.0]]
    """
    left, right = np.atleast_2d(left), np.atleast_2d(right)
    if left.shape[1] != right.shape[1] or (left.dtype == np.uint8) != (right.dtype == np.uint8):
        raise ValueError(f"{left.shape} {left.dtype} and {right.shape} {right.dtype} cannot be compared")
    if left.dtype == np.uint8:
        left, right = (np.unpackbits(v, axis=1).astype(np.float32) * 2 - 1 for v in (left, right))
    return shorten(left.astype(np.float32), None) @ shorten(right.astype(np.float32), None).T


def rank(query: np.ndarray, vectors: np.ndarray, top_k: int = 10) -> list[tuple[int, float]]:
    """The nearest vectors to one query, best first; of equals the earlier one.

    Args:
        query: (D,).
        vectors: (N, D) of the same precision.
        top_k: How many.

    Returns:
        (row, cosine) of each.
    """
    scores = similarity(query, vectors)[0]
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [(int(row), float(scores[row])) for row in order]
