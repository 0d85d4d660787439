"""False negatives: rows of a batch that must not be pushed apart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmreason.schema import DataError, Item, item_text

SHINGLE = 8  # characters: one changed word spoils about a dozen
LONG = 160  # characters from which a text can be nearly another: below, every word tells
BANDS, ROWS = 8, 16  # of MinHash values; half the pairs of Jaccard similarity 0.85 share a band
_PRIME = np.uint64((1 << 61) - 1)
_SEEDS = np.random.default_rng(0).integers(1, 1 << 31, size=(2, BANDS * ROWS), dtype=np.uint64)

MASKED = ("group", "text", "media", "near_text")
"""What makes two items one: the product they are variants of, the same text, the same picture or video file,
and nearly the same text."""


def item_codes(item: Item, kinds: Sequence[str] = MASKED) -> list[int]:
    """Numbers of which any two items with one in common, in the same place, are no negatives of each other.

    They depend on the item alone, so processes and workers agree on them without talking.

    Args:
        item: The item; only pictures and videos given as bytes are compared.
        kinds: Any of :data:`MASKED`.

    Returns:
        K integers of 63 bits, first the item's own, 0 where it has nothing of a kind. K depends on ``kinds`` alone.

    Raises:
        DataError: If a kind is unknown.

    Example:
        >>> a, b = item_codes(Item("a", "Rain coat"), ["text"]), item_codes(Item("b", "rain coat!"), ["text"])
        >>> a[0] == b[0], a[1] == b[1]
        (False, True)
    """
    for kind in kinds:
        if kind not in MASKED:
            raise DataError(f"align.mask: no kind {kind!r}; there are {', '.join(MASKED)}")
    text = _plain(item_text(item))
    codes = [_hash(item.id.encode("utf-8", "replace"))]
    if "group" in kinds:
        codes.append(_hash(item.group.encode("utf-8", "replace")))
    if "text" in kinds:
        codes.append(_hash(text.encode()) if text else 0)
    if "media" in kinds:
        first = item.images[0] if item.images else None
        codes += [_hash(m) if isinstance(m, bytes) and m else 0 for m in (first, item.video)]
    if "near_text" in kinds:
        codes += near_text_codes(text)
    return codes


def near_text_codes(text: str) -> list[int]:
    """Bands of the MinHash of a text's character shingles (Broder 1997; Leskovec et al., ch. 3).

    Texts of Jaccard similarity 0.7, 0.8, 0.9 and 0.95 share a band with a chance of 3, 20, 81 and 99 %.

    Args:
        text: Plain text; of fewer than :data:`LONG` characters it is never nearly another.

    Returns:
        :data:`BANDS` integers.
    """
    if len(text) < LONG:
        return [0] * BANDS
    points = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(points, SHINGLE)
    weights = np.uint64(1_000_003) ** np.arange(SHINGLE, dtype=np.uint64)  # wraps around: a hash
    shingles = np.unique((windows * weights).sum(axis=1) >> np.uint64(32))
    minima = ((shingles[:, None] * _SEEDS[0] + _SEEDS[1]) % _PRIME).min(axis=0)
    return [_hash(band.tobytes()) for band in minima.reshape(BANDS, ROWS)]


def same_rows(a: Tensor, b: Tensor) -> Tensor:
    """Which rows are no negatives of each other.

    Args:
        a: (A, K) int64 codes of :func:`item_codes`.
        b: (B, K) int64.

    Returns:
        (A, B) bool: any code of a row, 0 aside, equals the other's in the same place.
    """
    same = torch.zeros(len(a), len(b), dtype=torch.bool, device=a.device)
    for column in range(a.shape[1]):  # one (A, B) at a time, not an (A, B, K)
        left = a[:, column, None]
        same |= (left == b[:, column]) & (left != 0)
    return same


def _plain(text: str) -> str:
    """Case, punctuation and spacing do not make another text."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") >> 1 or 1
