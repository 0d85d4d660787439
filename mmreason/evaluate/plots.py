"""Training curves as inline SVG: no script, and colours from the page, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 520, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 34
MAX_POINTS = 600  # a line drawn 450 units wide shows no more

Point = tuple[float, float]


@dataclass
class Curve:
    """One quantity over training steps.

    Attributes:
        name: Title of the plot.
        steps: Step of each value.
        values: Measured values; those that are not finite are left out.
        smoothed: One value per step; drawn bold over the raw line. Default: an exponential mean,
            from 20 values on.
        valid_steps: Steps of a second series, such as the loss on the validation split.
        valid_values: Values of the second series.
        label: Name of the first series in the legend.
        valid_label: Name of the second.
    """

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    smoothed: Sequence[float] | None = None
    valid_steps: Sequence[float] = ()
    valid_values: Sequence[float] = ()
    label: str = "training"
    valid_label: str = "validation"


def smooth(values: Sequence[float], span: int | None = None) -> list[float]:
    """Exponential mean with bias correction; a value that is not finite repeats the mean before it.

    Args:
        values: In order of time.
        span: Number of values that carry most of the weight; default a twentieth of them, at least 3.
    """
    keep = 1 - 2 / ((span or max(3, len(values) // 20)) + 1)
    mean, weight, out = 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        out.append(mean / weight if weight else math.nan)
    return out


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers between two ends."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def curve_svg(curve: Curve) -> Markup:
    """Draw one curve.

    Returns:
        An ``<svg>`` element; every text in it is escaped. Its classes are styled by the report's page.
    """
    raw = _points(curve.steps, curve.values)
    bold = _points(curve.steps, _bold(curve))
    valid = _points(curve.valid_steps, curve.valid_values)
    if not raw and not valid:
        return Markup(
            '<svg viewBox="0 0 {} {}"><text class="tick" x="50%" y="50%">no values</text></svg>'
        ).format(WIDTH, HEIGHT)
    x_ends, y_ends = _ends([x for x, _ in raw + valid]), _ends([y for _, y in raw + valid], margin=0.05)

    def place(points: list[Point]) -> list[Point]:
        return [
            (
                LEFT + (x - x_ends[0]) / (x_ends[1] - x_ends[0]) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - (y - y_ends[0]) / (y_ends[1] - y_ends[0]) * (HEIGHT - TOP - BOTTOM),
            )
            for x, y in points
        ]

    parts = [Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, curve.name)]
    for tick in ticks(*y_ends):
        y = place([(x_ends[0], tick)])[0][1]
        parts.append(_GRID.format(LEFT, WIDTH - RIGHT, y, LEFT - 8, y + 4, _number(tick)))
    for tick in ticks(*x_ends):
        parts.append(_STEP.format(place([(tick, y_ends[0])])[0][0], HEIGHT - BOTTOM + 18, _number(tick)))
    parts += [_line("raw", place(raw)), _line("bold", place(bold)), _line("valid", place(valid))]
    parts += (_DOT.format(x, y) for x, y in place(valid)[:: max(1, len(valid) // 40)])
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


_GRID = Markup(
    '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
    '<text class="tick end" x="{3}" y="{4:.1f}">{5}</text>'
)
_STEP = Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>')
_DOT = Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="2.5"/>')


def legend(curve: Curve) -> list[tuple[str, str, str]]:
    """(class, label, last value) of every series that has values."""
    series = [
        ("bold", curve.label, _bold(curve)),
        ("valid", curve.valid_label, curve.valid_values),
    ]
    return [(kind, label, f"{values[-1]:.4g}") for kind, label, values in series if len(values)]


def _bold(curve: Curve) -> Sequence[float]:
    if curve.smoothed is not None:
        return curve.smoothed
    return smooth(curve.values) if len(curve.values) >= 20 else curve.values


def _points(steps: Sequence[float], values: Sequence[float]) -> list[Point]:
    """Finite points, thinned evenly to what a line can show; the last one stays."""
    points = [(float(x), float(y)) for x, y in zip(steps, values, strict=True) if math.isfinite(y)]
    every = math.ceil(len(points) / MAX_POINTS)
    return points[::-1][::every][::-1] if every > 1 else points


def _ends(values: list[float], margin: float = 0.0) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def _line(kind: str, points: list[Point]) -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="line {}" points="{}"/>').format(kind, path) if points else Markup("")


def _number(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{0 if abs(value) < 1e-12 else value:.4g}"
