"""Drawing the made-up catalogue with Pillow: named colours and product photos."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mmreason.files import atomic_write

Rng = np.random.Generator
RGB = tuple[int, int, int]
Draw = ImageDraw.ImageDraw

SIZE = 256  # pixels of a picture's side
SCALE = 2  # supersampling

# hue, saturation and value ranges, narrow enough that two names never meet
COLORS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((0.985, 1.01), (0.78, 0.92), (0.70, 0.86)),
    "orange": ((0.065, 0.085), (0.82, 0.95), (0.90, 1.0)),
    "yellow": ((0.135, 0.155), (0.72, 0.90), (0.92, 1.0)),
    "green": ((0.33, 0.40), (0.55, 0.80), (0.45, 0.65)),
    "blue": ((0.59, 0.63), (0.65, 0.85), (0.60, 0.85)),
    "purple": ((0.75, 0.78), (0.50, 0.70), (0.50, 0.68)),
    "pink": ((0.91, 0.94), (0.32, 0.48), (0.94, 1.0)),
    "brown": ((0.055, 0.075), (0.55, 0.70), (0.36, 0.46)),
    "black": ((0.0, 1.0), (0.0, 0.10), (0.08, 0.14)),
    "white": ((0.0, 1.0), (0.0, 0.03), (0.95, 0.99)),
}


def shade(rng: Rng, color: str) -> RGB:
    """One shade of a named colour."""
    hue, saturation, value = (rng.uniform(*span) for span in COLORS[color])
    return _rgb(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _rgb(unit: tuple[float, float, float]) -> RGB:
    red, green, blue = (round(255 * c) for c in unit)
    return red, green, blue


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """``a`` with a share of ``b``."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def lightness(color: RGB) -> float:
    """Perceived lightness, 0 to 1."""
    return (0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]) / 255


def save_jpeg(image: Image.Image, path: Path) -> None:
    """Write a JPEG, which appears whole or not at all."""
    with atomic_write(path) as file:
        image.save(file, "JPEG", quality=84, optimize=True)


# Products.
# A silhouette is drawn on the unit square: shapes to fill, to cut out, and lines to trace on top.

Points = list[tuple[float, float]]


class Pen:
    """Draws in unit coordinates on a mask (the body) and remembers the lines to trace over it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.mask = Image.new("L", (size, size), 0)
        self.lines = Image.new("L", (size, size), 0)
        self.parts = Image.new("L", (size, size), 0)  # trim: soles, straps, handles
        self._body, self._trace = ImageDraw.Draw(self.mask), ImageDraw.Draw(self.lines)
        self._trim = ImageDraw.Draw(self.parts)

    def _at(self, points: Points) -> list[tuple[float, float]]:
        return [(x * self.size, y * self.size) for x, y in points]

    def fill(self, *points: tuple[float, float], value: int = 255) -> None:
        """Fill a polygon of the body; 0 cuts."""
        self._body.polygon(self._at(list(points)), fill=value)

    def oval(self, x0: float, y0: float, x1: float, y1: float, value: int = 255) -> None:
        """Fill an ellipse of the body; 0 cuts."""
        self._body.ellipse(self._at([(x0, y0), (x1, y1)]), fill=value)

    def box(self, x0: float, y0: float, x1: float, y1: float, radius: float = 0.04, value: int = 255) -> None:
        """Fill a rounded box of the body."""
        self._body.rounded_rectangle(self._at([(x0, y0), (x1, y1)]), radius * self.size, fill=value)

    def line(self, *points: tuple[float, float], width: float = 0.008) -> None:
        """Trace a seam."""
        self._trace.line(
            self._at(list(points)), fill=255, width=max(2, round(width * self.size)), joint="curve"
        )

    def arc(self, box: tuple[float, float, float, float], start: float, end: float, width: float) -> None:
        """Draw an arc of trim, degrees clockwise from three o'clock."""
        x0, y0, x1, y1 = box
        self._trim.arc(self._at([(x0, y0), (x1, y1)]), start, end, fill=255, width=round(width * self.size))

    def trim(self, *points: tuple[float, float]) -> None:
        """Fill a polygon of trim."""
        self._trim.polygon(self._at(list(points)), fill=255)

    def bar(self, x0: float, y0: float, x1: float, y1: float, radius: float = 0.01) -> None:
        """Fill a rounded box of trim."""
        self._trim.rounded_rectangle(self._at([(x0, y0), (x1, y1)]), radius * self.size, fill=255)


def _dress(p: Pen) -> None:
    p.fill((0.36, 0.10), (0.64, 0.10), (0.61, 0.42), (0.80, 0.92), (0.20, 0.92), (0.39, 0.42))
    p.oval(0.42, 0.02, 0.58, 0.20, value=0)
    p.line((0.39, 0.42), (0.61, 0.42), width=0.016)
    for x in (0.36, 0.5, 0.64):
        p.line((0.5 + (x - 0.5) * 0.5, 0.45), (x, 0.90))


def _tee(p: Pen) -> None:
    p.fill((0.32, 0.14), (0.68, 0.14), (0.94, 0.32), (0.83, 0.47), (0.72, 0.40), (0.72, 0.90), (0.28, 0.90))
    p.fill((0.32, 0.14), (0.28, 0.90), (0.28, 0.40), (0.17, 0.47), (0.06, 0.32))
    p.oval(0.40, 0.05, 0.60, 0.22, value=0)
    p.line((0.28, 0.40), (0.30, 0.24))
    p.line((0.72, 0.40), (0.70, 0.24))


def _hoodie(p: Pen) -> None:
    p.oval(0.33, 0.03, 0.67, 0.36)
    p.fill((0.32, 0.22), (0.68, 0.22), (0.86, 0.34), (0.95, 0.82), (0.82, 0.85), (0.73, 0.48), (0.73, 0.92))
    p.fill((0.73, 0.92), (0.27, 0.92), (0.27, 0.48), (0.18, 0.85), (0.05, 0.82), (0.14, 0.34), (0.32, 0.22))
    p.fill((0.32, 0.22), (0.68, 0.22), (0.73, 0.92), (0.27, 0.92))
    p.oval(0.41, 0.10, 0.59, 0.30, value=0)
    p.line((0.36, 0.86), (0.40, 0.64), (0.60, 0.64), (0.64, 0.86), width=0.012)
    p.line((0.46, 0.30), (0.45, 0.48))
    p.line((0.54, 0.30), (0.55, 0.48))


def _jacket(p: Pen) -> None:
    p.fill((0.34, 0.12), (0.66, 0.12), (0.84, 0.24), (0.94, 0.80), (0.80, 0.83), (0.73, 0.42), (0.73, 0.90))
    p.fill((0.73, 0.90), (0.27, 0.90), (0.27, 0.42), (0.20, 0.83), (0.06, 0.80), (0.16, 0.24), (0.34, 0.12))
    p.fill((0.34, 0.12), (0.66, 0.12), (0.73, 0.90), (0.27, 0.90))
    p.fill((0.44, 0.10), (0.56, 0.10), (0.50, 0.30), value=0)
    p.line((0.50, 0.28), (0.50, 0.90), width=0.014)
    p.line((0.38, 0.12), (0.44, 0.34), (0.50, 0.28), (0.56, 0.34), (0.62, 0.12), width=0.012)
    p.line((0.32, 0.66), (0.43, 0.62))
    p.line((0.68, 0.66), (0.57, 0.62))


def _skirt(p: Pen) -> None:
    p.fill((0.32, 0.20), (0.68, 0.20), (0.90, 0.84), (0.10, 0.84))
    p.bar(0.315, 0.16, 0.685, 0.24)
    for x in (0.2, 0.35, 0.5, 0.65, 0.8):
        p.line((0.5 + (x - 0.5) * 0.45, 0.26), (0.5 + (x - 0.5) * 1.08, 0.83))


def _backpack(p: Pen) -> None:
    p.arc((0.38, 0.02, 0.62, 0.26), 180, 360, 0.035)
    p.box(0.20, 0.12, 0.80, 0.92, radius=0.18)
    p.bar(0.15, 0.50, 0.21, 0.84, radius=0.03)
    p.bar(0.79, 0.50, 0.85, 0.84, radius=0.03)
    p.line((0.28, 0.58), (0.72, 0.58), (0.72, 0.84), (0.28, 0.84), (0.28, 0.58), width=0.012)
    p.line((0.24, 0.34), (0.76, 0.34), width=0.014)


def _sneaker(p: Pen) -> None:
    p.fill(
        (0.08, 0.34),
        (0.30, 0.30),
        (0.36, 0.40),
        (0.52, 0.46),
        (0.66, 0.56),
        (0.90, 0.62),
        (0.95, 0.72),
        (0.06, 0.72),
    )
    p.trim((0.05, 0.70), (0.96, 0.70), (0.95, 0.80), (0.90, 0.82), (0.08, 0.82), (0.04, 0.78))
    for i in range(4):
        x = 0.38 + i * 0.07
        p.line((x, 0.42 + i * 0.035), (x - 0.05, 0.53 + i * 0.025), width=0.016)
    p.line((0.12, 0.48), (0.30, 0.56), (0.30, 0.70))


def _cap(p: Pen) -> None:
    p.oval(0.16, 0.22, 0.72, 0.96)
    p.fill((0.0, 0.60), (1.0, 0.60), (1.0, 1.0), (0.0, 1.0), value=0)
    p.trim((0.44, 0.60), (0.72, 0.55), (0.90, 0.60), (0.97, 0.68), (0.70, 0.66), (0.16, 0.62), (0.16, 0.58))
    p.bar(0.41, 0.19, 0.47, 0.24, radius=0.02)
    p.line((0.44, 0.22), (0.44, 0.60))
    p.line((0.44, 0.22), (0.60, 0.40), (0.64, 0.58))


def _mug(p: Pen) -> None:
    p.arc((0.56, 0.30, 0.92, 0.70), 270, 450, 0.055)
    p.box(0.16, 0.16, 0.72, 0.86, radius=0.06)
    p.oval(0.16, 0.11, 0.72, 0.23)
    p.line((0.18, 0.17), (0.30, 0.215), (0.44, 0.225), (0.58, 0.215), (0.70, 0.17), width=0.012)


def _lamp(p: Pen) -> None:
    p.fill((0.34, 0.08), (0.66, 0.08), (0.84, 0.50), (0.16, 0.50))
    p.bar(0.475, 0.50, 0.525, 0.84)
    p.bar(0.32, 0.84, 0.68, 0.91, radius=0.03)
    p.line((0.17, 0.48), (0.83, 0.48), width=0.012)


def _umbrella(p: Pen) -> None:
    p.oval(0.06, 0.10, 0.94, 0.90)
    p.fill((0.0, 0.50), (1.0, 0.50), (1.0, 1.0), (0.0, 1.0), value=0)
    for i in range(4):
        p.oval(0.06 + i * 0.22, 0.44, 0.28 + i * 0.22, 0.56, value=0)
    p.bar(0.485, 0.46, 0.515, 0.86)
    p.arc((0.485, 0.78, 0.63, 0.95), 0, 180, 0.028)
    p.line((0.5, 0.10), (0.28, 0.48))
    p.line((0.5, 0.10), (0.72, 0.48))
    p.line((0.5, 0.10), (0.5, 0.46))


def _cushion(p: Pen) -> None:
    p.fill(
        (0.10, 0.12),
        (0.5, 0.17),
        (0.90, 0.12),
        (0.85, 0.5),
        (0.90, 0.88),
        (0.5, 0.83),
        (0.10, 0.88),
        (0.15, 0.5),
    )
    p.line((0.14, 0.16), (0.5, 0.205), (0.86, 0.16), (0.815, 0.5), (0.86, 0.84), (0.5, 0.795), (0.14, 0.84))
    p.line((0.14, 0.84), (0.185, 0.5), (0.14, 0.16))


PRODUCTS: dict[str, Callable[[Pen], None]] = {
    "dress": _dress,
    "tee": _tee,
    "hoodie": _hoodie,
    "jacket": _jacket,
    "skirt": _skirt,
    "backpack": _backpack,
    "sneaker": _sneaker,
    "cap": _cap,
    "mug": _mug,
    "lamp": _lamp,
    "umbrella": _umbrella,
    "cushion": _cushion,
}


def _pattern(name: str, size: int, rng: Rng) -> Image.Image:
    """A mask of the pattern's ink over a square of the given size."""
    ink = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(ink)
    step = round(size * rng.uniform(0.10, 0.14))
    offset = int(rng.integers(step))
    places = range(-size - step + offset, 2 * size, step)
    if name == "striped":
        for x in places:
            draw.line((0, x, size, x), fill=255, width=round(step * 0.34))
        return ink.rotate(rng.choice([0, 90, 35, -35]), Image.Resampling.BILINEAR, fillcolor=0)
    if name == "checked":
        for x in places:
            draw.line((x, 0, x, size), fill=150, width=round(step * 0.4))
        rows = ink.transpose(Image.Transpose.ROTATE_90)
        return Image.fromarray(
            np.minimum(np.asarray(ink, np.uint16) + np.asarray(rows), 255).astype(np.uint8)
        )
    if name == "zigzag":
        half = step // 2
        for y in places:
            line = [(x, y + (half if i % 2 else 0)) for i, x in enumerate(range(0, size + step, half))]
            draw.line(line, fill=255, width=round(step * 0.24), joint="curve")
    if name in ("dotted", "floral"):
        for row, y in enumerate(places):
            for x in range(-step + (row % 2) * step // 2, size + step, step):
                _blob(draw, x, y, step, petals=name == "floral")
    return ink


def _blob(draw: Draw, x: float, y: float, step: float, petals: bool) -> None:
    if not petals:
        radius = step * 0.22
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        return
    radius = step * 0.155
    for i in range(5):
        px, py = (
            x + step * 0.22 * math.cos(i * 2 * math.pi / 5),
            y + step * 0.22 * math.sin(i * 2 * math.pi / 5),
        )
        draw.ellipse((px - radius, py - radius, px + radius, py + radius), fill=255)
    draw.ellipse((x - radius * 0.6, y - radius * 0.6, x + radius * 0.6, y + radius * 0.6), fill=0)


def draw_product(category: str, color: str, pattern: str, rng: Rng) -> Image.Image:
    """A studio photo of a product, 256 × 256 RGB."""
    size = SIZE * SCALE
    body = shade(rng, color)
    side = round(size * rng.uniform(0.66, 0.82))
    pen = Pen(side)
    PRODUCTS[category](pen)
    product = Image.new("RGB", (side, side), body)
    if pattern != "plain":
        ink = mix(body, (0, 0, 0), 0.62) if lightness(body) > 0.6 else mix(body, (255, 255, 255), 0.78)
        product.paste(ink, mask=_pattern(pattern, side, rng))
    trim = mix(body, (0, 0, 0), 0.45) if lightness(body) > 0.25 else mix(body, (255, 255, 255), 0.35)
    product.paste(trim, mask=pen.lines)
    product.paste(trim, mask=pen.parts)
    mask = Image.fromarray(np.maximum(np.asarray(pen.mask), np.asarray(pen.parts)))
    product = _lit(product, mask, rng)
    if rng.random() < 0.5 and category not in ("mug", "cap"):
        product = product.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = rng.uniform(-7, 7)
    product = product.rotate(angle, Image.Resampling.BILINEAR)
    mask = mask.rotate(angle, Image.Resampling.BILINEAR)
    scene = _studio(size, body, rng)
    free = size - side
    x, y = (round(free / 2 + free * rng.uniform(-0.3, 0.3)) for _ in range(2))
    shadow(scene, mask, (x + round(0.02 * size), y + round(0.03 * size)))
    scene.paste(product, (x, y), mask)
    return grain(scene.resize((SIZE, SIZE), Image.Resampling.LANCZOS), rng)


def _lit(product: Image.Image, mask: Image.Image, rng: Rng) -> Image.Image:
    """Light from one side, and edges that turn away from it."""
    side = product.width
    across = np.linspace(-1, 1, side, dtype=np.float32)
    angle = rng.uniform(0, 2 * math.pi)
    light = 1 + 0.13 * (math.cos(angle) * across[None, :] + math.sin(angle) * across[:, None])
    small = mask.resize((side // 8, side // 8)).filter(ImageFilter.GaussianBlur(side / 8 / 26))
    edge = np.asarray(small.resize((side, side), Image.Resampling.BILINEAR), np.float32) / 255
    light *= 0.72 + 0.28 * np.clip(edge * 1.15, 0, 1)
    pixels = np.asarray(product, np.float32) * light[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _studio(size: int, body: RGB, rng: Rng) -> Image.Image:
    """A paper backdrop: greyish, lit unevenly, a floor line, and never as bright or dark as the product."""
    value = rng.uniform(0.72, 0.84) if lightness(body) > 0.85 else rng.uniform(0.84, 0.95)
    if lightness(body) > 0.35 and rng.random() < 0.2:
        value = rng.uniform(0.30, 0.42)
    tint = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.0, 0.09), value), np.float32)
    across = np.linspace(-1, 1, size // 4, dtype=np.float32)
    cx, cy = rng.uniform(-0.5, 0.5, 2)
    light = 1.04 - 0.12 * ((across[None, :] - cx) ** 2 + (across[:, None] - cy) ** 2)
    floor = round(size // 4 * rng.uniform(0.70, 0.86))
    light[floor:] *= rng.uniform(0.93, 0.97)
    pixels = np.clip(255 * light[..., None] * tint, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)


def shadow(scene: Image.Image, mask: Image.Image, at: tuple[int, int]) -> None:
    """Cast a soft shadow of a mask."""
    pad = mask.width // 6  # room for the blur to fade out
    wide = Image.new("L", (mask.width + 2 * pad, mask.height + 2 * pad), 0)
    wide.paste(mask, (pad, pad))
    small = wide.resize((wide.width // 8, wide.height // 8)).filter(ImageFilter.GaussianBlur(3))
    soft = small.resize(wide.size, Image.Resampling.BILINEAR).point(lambda alpha: alpha * 0.35)
    scene.paste((30, 30, 36), (at[0] - pad, at[1] - pad), soft)


def grain(image: Image.Image, rng: Rng) -> Image.Image:
    """Sensor noise and a small change of exposure."""
    pixels = np.asarray(image, np.float32) * rng.uniform(0.95, 1.03)
    pixels += rng.normal(0, 2.0, (image.height, image.width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
