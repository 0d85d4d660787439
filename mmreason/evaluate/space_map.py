"""A 2-D map of the shared space: each item's picture where its vector lies, with its text's place beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmreason.evaluate.thumbnails import make_thumbnails
from mmreason.schema import DataError, Item

THUMBNAIL = 72  # longest side in pixels
SIDE, DPI = 13.0, 110  # inches and dots per inch
PALETTE = (
    *("#0b6e99", "#d9730d", "#0f7b6c", "#ad1a72", "#6940a5", "#b7880b", "#c4314b"),
    *("#5a7d2a", "#2f4b9b", "#8c564b", "#17a2b8", "#e377c2", "#4d4d4d"),
)


def project(vectors: np.ndarray, seed: int = 0, method: str = "tsne") -> np.ndarray:
    """Vectors of the space to points of the plane.

    Args:
        vectors: (N, D) float32.
        seed: Of the projection.
        method: ``tsne`` (neighbours stay neighbours; van der Maaten & Hinton, JMLR 2008) or ``pca`` (distances
            shrink evenly). Fewer than ten vectors always take ``pca``.

    Returns:
        (N, 2) float, each axis scaled to 0..1.

    Raises:
        DataError: If the method is unknown or there are fewer than two vectors.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in ("tsne", "pca") or len(vectors) < 2:
        raise DataError(
            f"cannot map {len(vectors)} vectors with {method!r}; use tsne or pca, from 2 vectors on"
        )
    if method == "tsne" and len(vectors) >= 10:
        neighbours = min(30.0, (len(vectors) - 1) / 3)
        tsne = TSNE(2, perplexity=neighbours, metric="cosine", init="pca", random_state=seed)
        points = tsne.fit_transform(vectors)
    else:
        points = PCA(2, random_state=seed).fit_transform(vectors)
    low, high = points.min(0), points.max(0)
    return (points - low) / np.where(high > low, high - low, 1)


def spread(points: np.ndarray, least: float) -> np.ndarray:
    """Which points to show with a thumbnail so that no two of them cover each other.

    Args:
        points: (N, 2) in 0..1.
        least: Smallest distance, in the larger of the two axes.

    Returns:
        (N,) bool; the first of points too near to each other stays.
    """
    kept = np.zeros(len(points), bool)
    for row, point in enumerate(points):
        kept[row] = not len(points[kept]) or np.abs(points[kept] - point).max(1).min() >= least
    return kept


def draw_map(
    items: Sequence[Item],
    points: np.ndarray,
    texts: np.ndarray | None = None,
    title: str = "",
    color_by: str = "category",
) -> tuple[bytes, list[str]]:
    """Draw items at their points.

    Args:
        items: N items whose media can be read; one without a picture or video is a dot.
        points: (N, 2) in 0..1, where the item's picture, video or fused vector lies.
        texts: (N, 2) in 0..1, where its text lies, NaN where it has none; drawn as a dot on a line to the picture.
        title: Heading.
        color_by: Attribute that gives frames and dots their colour; the domain where an item lacks it.

    Returns:
        The PNG, and a line for each picture or video that could not be read.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No pyplot: it keeps global state, and picks a window system where there is one.
    # A catalogue's words are words, never formulas.
    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(SIDE, SIDE), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colors, legend = _colors(items, color_by)
        if texts is not None:
            for point, text, color in zip(points, texts, colors, strict=True):
                axes.plot(*zip(point, text, strict=True), color=color, alpha=0.3, linewidth=0.9, zorder=1)
            axes.scatter(texts[:, 0], texts[:, 1], c=colors, s=18, alpha=0.8, linewidths=0, zorder=2)
        axes.scatter(
            points[:, 0], points[:, 1], c=colors, s=30, marker="s", alpha=0.9, linewidths=0, zorder=3
        )
        unreadable = _thumbnails(axes, items, points, colors)
        _legend(axes, legend, texts is not None)
        axes.set(xticks=[], yticks=[], xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
        axes.set_title(title, fontsize=15, loc="left", pad=12)
        axes.spines[:].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue(), unreadable


def _legend(axes: Any, legend: dict[str, str], with_texts: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="s", linestyle="", color=color, label=name[:24], markersize=9)
        for name, color in legend.items()
    ]
    if with_texts:
        handles.append(Line2D([], [], marker="o", color="#888", label="its text", markersize=5))
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.005), ncols=7, frameon=False, fontsize=11
    )


def _thumbnails(axes: Any, items: Sequence[Item], points: np.ndarray, colors: Sequence[str]) -> list[str]:
    """Thumbnails that fit without covering each other; what cannot be read is named."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    has_media = np.array([bool(item.images or item.video is not None) for item in items])
    rows = np.flatnonzero(has_media)
    rows = rows[spread(points[rows], THUMBNAIL * 1.3 / (SIDE * DPI))]
    made = make_thumbnails((items[row] for row in rows), THUMBNAIL)
    for row in rows:
        if not (jpegs := made.jpegs[items[row].id]):
            continue
        picture = Image.open(io.BytesIO(jpegs[0]), formats=["JPEG"])
        box = AnnotationBbox(
            OffsetImage(np.asarray(picture), zoom=72 / DPI),
            points[row],
            pad=0.12,
            bboxprops={
                "edgecolor": colors[row],
                "linewidth": 2.2,
                "boxstyle": "round,pad=0.12,rounding_size=0.3",
            },
            zorder=4,
        )
        axes.add_artist(box)
    return made.unreadable


def _colors(items: Sequence[Item], color_by: str) -> tuple[list[str], dict[str, str]]:
    """A colour per item, and what the commonest colours stand for; rarer values share grey."""
    names = [next(iter(item.facts().get(color_by, [])), item.domain) or "item" for item in items]
    common = sorted(set(names), key=lambda name: (-names.count(name), name))[: len(PALETTE)]
    legend = dict(zip(common, PALETTE, strict=False))
    if len(set(names)) > len(common):
        return [legend.get(name, "#9a9a9a") for name in names], legend | {"others": "#9a9a9a"}
    return [legend[name] for name in names], legend
