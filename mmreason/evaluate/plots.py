"""Training curves as pictures for a page: no script, and colours that can be read on light and dark."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

MAX_POINTS = 600  # a line of this width shows no more
SMOOTHED_FROM = 20  # values; a shorter curve is shown as it is
TRAINING, VALIDATION, WORDS = "#5b6be0", "#c8701c", "#7d7a72"


@dataclass
class Curve:
    """One quantity over training steps.

    Attributes:
        name: Title of the plot.
        steps: Step of each value.
        values: Measured values; those that are not finite are left out. From 20 values on, their exponential
            mean is drawn bold over them.
        valid_steps: Steps of a second series, such as the loss on the validation split.
        valid_values: Values of the second series.
    """

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    valid_steps: Sequence[float] = ()
    valid_values: Sequence[float] = ()


def smooth(values: Sequence[float], span: int | None = None) -> list[float]:
    """Exponential mean without a pull to the start; a value that is not finite repeats the mean before it.

    Args:
        values: In order of time.
        span: Number of values that carry most of the weight; default a twentieth of them, at least 3.

    Example:
        >>> smooth([2.0, 2.0, 2.0])
        [2.0, 2.0, 2.0]
    """
    finite = pl.Series([v if math.isfinite(v) else None for v in values], dtype=pl.Float64)
    mean = finite.ewm_mean(span=span or max(3, len(values) // 20), ignore_nulls=True)
    return mean.fill_null(strategy="forward").fill_null(math.nan).to_list()


def draw_curve(curve: Curve) -> str:
    """Draw one curve.

    Returns:
        An SVG picture as a ``data:`` address; empty if no value is finite.
    """
    training = _finite(curve.steps, curve.values)
    valid = _finite(curve.valid_steps, curve.valid_values)
    if not training and not valid:
        return ""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # No pyplot: it keeps global state. Texts stay texts, and the same curve gives the same bytes.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "curve", "font.size": 9, "text.color": WORDS}
    with rc_context(style | {"xtick.color": WORDS, "ytick.color": WORDS}):
        figure = Figure(figsize=(5.2, 2.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        if training:
            steps, values = zip(*training, strict=True)
            bold = smooth(values) if len(values) >= SMOOTHED_FROM else values
            axes.plot(*_thin(steps, values), color=TRAINING, linewidth=0.8, alpha=0.35)
            axes.plot(*_thin(steps, bold), color=TRAINING, linewidth=1.8, label=f"training {bold[-1]:.4g}")
        if valid:
            steps, values = zip(*valid, strict=True)
            label, dots = f"validation {values[-1]:.4g}", max(1, len(values) // 40)
            axes.plot(steps, values, color=VALIDATION, lw=1.5, marker="o", ms=3, markevery=dots, label=label)
        axes.grid(axis="y", color=WORDS, alpha=0.25, linewidth=0.6)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
        picture = io.BytesIO()
        figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(picture.getvalue()).decode("ascii")


def _finite(steps: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(steps, values, strict=True) if math.isfinite(y)]


def _thin(steps: Sequence[float], values: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """Points evenly thinned to what a line can show; the last one stays."""
    every = math.ceil(len(steps) / MAX_POINTS)
    return steps[::-every][::-1], values[::-every][::-1]
