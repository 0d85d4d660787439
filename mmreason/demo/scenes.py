"""Drawing the made-up catalogue: short clips (PyAV, H.264) and the lead pictures of news."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mmreason.demo.render import (
    RGB,
    SCALE,
    SIZE,
    Draw,
    Rng,
    grain,
    lightness,
    mix,
    shade,
    shadow,
)
from mmreason.files import atomic_write

CLIP_SIZE = 192  # pixels of a clip's side
CLIP_RATE = 24  # frames per second
SPRITE = 176  # pixels of a sprite's side, drawn large and scaled down


class Sketch:
    """Draws filled shapes in unit coordinates on a transparent square."""

    def __init__(self, size: int) -> None:
        self.image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
        self._draw: Draw = ImageDraw.Draw(self.image)
        self._size = size

    def _at(self, values: tuple[float, ...]) -> list[float]:
        return [value * self._size for value in values]

    def poly(self, color: RGB, *points: tuple[float, float]) -> None:
        """Fill a polygon."""
        self._draw.polygon([(x * self._size, y * self._size) for x, y in points], fill=color)

    def oval(self, color: RGB, *box: float) -> None:
        """Fill an ellipse."""
        self._draw.ellipse(self._at(box), fill=color)

    def box(self, color: RGB, *box: float, radius: float = 0.03) -> None:
        """Fill a rounded box."""
        self._draw.rounded_rectangle(self._at(box), radius * self._size, fill=color)

    def line(self, color: RGB, *points: tuple[float, float], width: float = 0.02) -> None:
        """Draw a polyline."""
        points_at = [(x * self._size, y * self._size) for x, y in points]
        self._draw.line(points_at, fill=color, width=max(1, round(width * self._size)), joint="curve")

    def arc(self, color: RGB, *box: float, start: float, end: float, width: float = 0.03) -> None:
        """Draw an arc, degrees clockwise from three o'clock."""
        self._draw.arc(self._at(box), start, end, fill=color, width=max(1, round(width * self._size)))


# What a clip is about: each drawn in its colour, a shade of it (d) and a tint of it (t).


def _ball(s: Sketch, c: RGB, d: RGB, t: RGB) -> None:
    s.oval(c, 0.08, 0.08, 0.92, 0.92)
    s.arc(d, -0.22, 0.08, 0.52, 0.92, start=-62, end=62)
    s.arc(d, 0.48, 0.08, 1.22, 0.92, start=118, end=242)
    s.line(d, (0.5, 0.09), (0.5, 0.91))
    s.oval(t, 0.24, 0.18, 0.40, 0.32)


def _car(s: Sketch, c: RGB, d: RGB, t: RGB) -> None:
    s.poly(c, (0.20, 0.52), (0.32, 0.28), (0.66, 0.28), (0.82, 0.52))
    s.box(c, 0.04, 0.48, 0.96, 0.72, radius=0.08)
    s.poly((205, 226, 238), (0.28, 0.50), (0.36, 0.33), (0.48, 0.33), (0.48, 0.50))
    s.poly((205, 226, 238), (0.52, 0.50), (0.52, 0.33), (0.64, 0.33), (0.74, 0.50))
    for x in (0.24, 0.74):
        s.oval((28, 28, 32), x - 0.11, 0.60, x + 0.11, 0.82)
        s.oval((190, 190, 196), x - 0.05, 0.66, x + 0.05, 0.76)
    s.line(d, (0.5, 0.52), (0.5, 0.68), width=0.015)


def _fish(s: Sketch, c: RGB, d: RGB, t: RGB) -> None:
    s.poly(d, (0.70, 0.50), (0.97, 0.26), (0.90, 0.50), (0.97, 0.74))
    s.poly(d, (0.36, 0.32), (0.56, 0.12), (0.66, 0.36))
    s.oval(c, 0.05, 0.26, 0.80, 0.74)
    s.arc(d, 0.16, 0.30, 0.40, 0.70, start=-60, end=60)
    for x in (0.46, 0.58):
        s.arc(t, x - 0.1, 0.38, x + 0.06, 0.62, start=-60, end=60, width=0.02)
    s.oval((250, 250, 250), 0.14, 0.40, 0.24, 0.50)
    s.oval((15, 15, 15), 0.165, 0.425, 0.215, 0.475)


def _kite(s: Sketch, c: RGB, d: RGB, t: RGB) -> None:
    s.poly(c, (0.5, 0.03), (0.84, 0.36), (0.5, 0.80), (0.16, 0.36))
    s.poly(d, (0.5, 0.03), (0.84, 0.36), (0.5, 0.36))
    s.poly(d, (0.5, 0.36), (0.5, 0.80), (0.16, 0.36))
    s.line(d, (0.5, 0.80), (0.56, 0.87), (0.46, 0.92), (0.53, 0.98), width=0.025)


def _boat(s: Sketch, c: RGB, d: RGB, t: RGB) -> None:
    s.line((90, 66, 48), (0.48, 0.06), (0.48, 0.72), width=0.03)
    s.poly(c, (0.52, 0.06), (0.52, 0.66), (0.90, 0.66))
    s.poly(c, (0.44, 0.14), (0.44, 0.66), (0.14, 0.66))
    s.poly(d, (0.05, 0.71), (0.95, 0.71), (0.80, 0.92), (0.20, 0.92))


def _bird(s: Sketch, c: RGB, d: RGB, t: RGB) -> None:
    s.poly(d, (0.70, 0.50), (0.98, 0.44), (0.94, 0.62))
    s.oval(c, 0.20, 0.34, 0.78, 0.74)
    s.oval(c, 0.08, 0.24, 0.38, 0.54)
    s.poly((236, 170, 60), (0.10, 0.36), (-0.01, 0.42), (0.11, 0.45))
    s.poly(d, (0.36, 0.46), (0.64, 0.10), (0.72, 0.52))
    s.oval((15, 15, 15), 0.17, 0.32, 0.23, 0.38)


def _rocket(s: Sketch, c: RGB, d: RGB, t: RGB) -> None:
    s.poly((250, 196, 70), (0.40, 0.78), (0.60, 0.78), (0.50, 0.99))
    s.poly(d, (0.36, 0.52), (0.16, 0.80), (0.36, 0.78))
    s.poly(d, (0.64, 0.52), (0.84, 0.80), (0.64, 0.78))
    s.oval(c, 0.33, 0.02, 0.67, 0.80)
    s.box(c, 0.33, 0.40, 0.67, 0.80)
    s.oval((215, 232, 242), 0.42, 0.28, 0.58, 0.44)


def _balloon(s: Sketch, c: RGB, d: RGB, t: RGB) -> None:
    s.oval(c, 0.14, 0.02, 0.86, 0.70)
    s.poly(c, (0.20, 0.50), (0.80, 0.50), (0.60, 0.78), (0.40, 0.78))
    s.arc(d, 0.34, 0.02, 0.66, 0.98, start=190, end=350, width=0.025)
    s.line(d, (0.41, 0.78), (0.42, 0.86), width=0.015)
    s.line(d, (0.59, 0.78), (0.58, 0.86), width=0.015)
    s.box((140, 100, 66), 0.40, 0.85, 0.60, 0.98)


SPRITES: dict[str, Callable[[Sketch, RGB, RGB, RGB], None]] = {
    "ball": _ball,
    "car": _car,
    "fish": _fish,
    "kite": _kite,
    "boat": _boat,
    "bird": _bird,
    "rocket": _rocket,
    "balloon": _balloon,
}

# Where it happens.

# sky above, sky below, ground: dull next to the subject
SCENES: dict[str, tuple[RGB, RGB, RGB]] = {
    "beach": ((168, 205, 224), (214, 230, 232), (222, 206, 170)),
    "city": ((176, 190, 204), (212, 216, 220), (120, 122, 128)),
    "forest": ((196, 214, 206), (216, 226, 210), (116, 134, 98)),
    "mountain": ((184, 204, 226), (224, 232, 240), (150, 150, 140)),
    "night": ((34, 40, 66), (66, 72, 104), (46, 48, 60)),
    "desert": ((206, 214, 220), (236, 224, 204), (208, 178, 132)),
}


def _scene(name: str, rng: Rng) -> Image.Image:
    above, below, ground = SCENES[name]
    sketch = Sketch(CLIP_SIZE * SCALE)
    for i in range(48):
        sketch.box(mix(above, below, i / 47), 0, i / 64, 1, (i + 2) / 64, radius=0)
    horizon = rng.uniform(0.66, 0.76)
    for _ in range(5):
        _landmark(sketch, name, float(rng.uniform(-0.05, 0.95)), horizon, rng)
    sketch.box(ground, -0.1, horizon, 1.1, 1.1, radius=0)
    sketch.box(mix(ground, (0, 0, 0), 0.1), -0.1, horizon + 0.14, 1.1, 1.1, radius=0)
    scene = sketch.image.convert("RGB").resize((CLIP_SIZE, CLIP_SIZE), Image.Resampling.LANCZOS)
    return grain(scene.filter(ImageFilter.GaussianBlur(0.8)), rng)


def _landmark(s: Sketch, name: str, x: float, horizon: float, rng: Rng) -> None:
    height = rng.uniform(0.12, 0.34)
    top = horizon - height
    far = mix(SCENES[name][2], SCENES[name][1], float(rng.uniform(0.2, 0.5)))
    if name == "beach":
        s.box((150, 188, 204), -0.1, horizon - 0.12, 1.1, horizon, radius=0)
        s.oval((244, 246, 246), x, 0.08 + height / 2, x + 0.24, 0.14 + height / 2)
    elif name == "city":
        s.box(far, x, top - 0.1, x + 0.15, horizon + 0.02, radius=0)
        for row in range(4):
            y = top - 0.07 + row * 0.07
            s.box(mix(far, (255, 244, 210), 0.5), x + 0.03, y, x + 0.06, y + 0.03, radius=0)
            s.box(mix(far, (255, 244, 210), 0.5), x + 0.09, y, x + 0.12, y + 0.03, radius=0)
    elif name == "forest":
        s.box((104, 88, 70), x + 0.08, horizon - 0.1, x + 0.11, horizon + 0.02, radius=0)
        s.poly(
            mix(far, (70, 96, 74), 0.6),
            (x, horizon - 0.05),
            (x + 0.095, top - 0.1),
            (x + 0.19, horizon - 0.05),
        )
    elif name == "night":
        for _ in range(6):
            sx, sy = rng.uniform(0, 1), rng.uniform(0, 0.6)
            s.oval((222, 222, 206), sx, sy, sx + 0.012, sy + 0.012)
        s.poly(
            mix(SCENES[name][2], (0, 0, 0), 0.3),
            (x - 0.1, horizon),
            (x + 0.1, top + 0.08),
            (x + 0.3, horizon),
        )
    else:  # mountain, desert
        s.poly(far, (x - 0.2, horizon + 0.01), (x + 0.1, top - 0.05), (x + 0.4, horizon + 0.01))


# How it moves: time 0…1 → centre x, y, size and angle of the subject.

Pose = tuple[float, float, float, float]
ACTIONS: dict[str, Callable[[float], Pose]] = {
    "bouncing": lambda t: (0.5, 0.66 - 0.36 * abs(math.sin(3 * math.pi * t)), 1.0, 0.0),
    "spinning": lambda t: (0.5, 0.5, 1.0, 720.0 * t),
    "sliding": lambda t: (0.5 + 0.30 * math.cos(2 * math.pi * t), 0.56, 1.0, 0.0),
    "zooming": lambda t: (0.5, 0.52, 0.55 + 0.75 * (0.5 - 0.5 * math.cos(2 * math.pi * t)), 0.0),
    "swaying": lambda t: (0.5 + 0.06 * math.sin(4 * math.pi * t), 0.5, 1.0, 26.0 * math.sin(4 * math.pi * t)),
}


def draw_clip(topic: str, color: str, action: str, scene: str, seconds: float, path: Path, rng: Rng) -> None:
    """A clip of a subject that moves over a scene, 192 × 192, 24 frames per second, H.264 in MP4."""
    background = _scene(scene, rng)
    sprite = _sprite(topic, color, rng)
    size = CLIP_SIZE * rng.uniform(0.44, 0.56)
    shift = rng.uniform(-0.06, 0.06, 2)
    start = rng.random()
    count = round(seconds * CLIP_RATE)
    with atomic_write(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=CLIP_RATE)
        stream.width, stream.height, stream.pix_fmt = CLIP_SIZE, CLIP_SIZE, "yuv420p"
        stream.time_base = Fraction(1, CLIP_RATE)
        stream.options = {
            "crf": "27",
            "preset": "veryfast",
            "threads": "1",
        }  # one thread: same bytes every time
        for index in range(count):
            frame = background.copy()
            _place(frame, sprite, ACTIONS[action]((start + index / count) % 1.0), size, shift)
            for packet in stream.encode(av.VideoFrame.from_image(frame)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _sprite(topic: str, color: str, rng: Rng) -> Image.Image:
    body = shade(rng, color)
    dark = mix(body, (0, 0, 0), 0.3) if lightness(body) > 0.2 else mix(body, (255, 255, 255), 0.22)
    sketch = Sketch(SPRITE * SCALE)
    SPRITES[topic](sketch, body, dark, mix(body, (255, 255, 255), 0.35))
    image = sketch.image if rng.random() < 0.5 else sketch.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.resize((SPRITE, SPRITE), Image.Resampling.LANCZOS)


def _place(frame: Image.Image, sprite: Image.Image, pose: Pose, size: float, shift: np.ndarray) -> None:
    x, y, scale, angle = pose
    side = max(8, round(size * scale))
    drawn = sprite.resize((side, side), Image.Resampling.BILINEAR)
    if angle:
        drawn = drawn.rotate(angle, Image.Resampling.BICUBIC)
    left, top = round((x + shift[0]) * CLIP_SIZE - side / 2), round((y + shift[1]) * CLIP_SIZE - side / 2)
    frame.paste(drawn, (left, top), drawn)


# News: an icon of the topic on the article's colour.


def _science(s: Sketch, c: RGB) -> None:
    s.poly(c, (0.42, 0.10), (0.58, 0.10), (0.58, 0.40), (0.82, 0.84), (0.18, 0.84), (0.42, 0.40))
    s.box(c, 0.37, 0.06, 0.63, 0.13)
    s.box(c, 0.18, 0.78, 0.82, 0.90, radius=0.06)


def _sport(s: Sketch, c: RGB) -> None:
    s.poly(c, (0.28, 0.10), (0.72, 0.10), (0.66, 0.46), (0.56, 0.58), (0.44, 0.58), (0.34, 0.46))
    s.arc(c, 0.12, 0.12, 0.44, 0.46, start=60, end=270, width=0.05)
    s.arc(c, 0.56, 0.12, 0.88, 0.46, start=270, end=480, width=0.05)
    s.box(c, 0.46, 0.56, 0.54, 0.80, radius=0)
    s.box(c, 0.30, 0.78, 0.70, 0.90)


def _finance(s: Sketch, c: RGB) -> None:
    for i, top in enumerate((0.62, 0.48, 0.54, 0.26)):
        s.box(c, 0.14 + i * 0.19, top, 0.28 + i * 0.19, 0.88, radius=0.015)
    s.line(c, (0.12, 0.46), (0.38, 0.30), (0.56, 0.36), (0.86, 0.10), width=0.05)


def _culture(s: Sketch, c: RGB) -> None:
    s.oval(c, 0.14, 0.66, 0.42, 0.90)
    s.oval(c, 0.58, 0.58, 0.86, 0.82)
    s.line(c, (0.39, 0.78), (0.39, 0.22), (0.83, 0.12), (0.83, 0.70), width=0.06)
    s.poly(c, (0.37, 0.20), (0.86, 0.09), (0.86, 0.24), (0.37, 0.35))


def _health(s: Sketch, c: RGB) -> None:
    s.oval(c, 0.10, 0.14, 0.54, 0.58)
    s.oval(c, 0.46, 0.14, 0.90, 0.58)
    s.poly(c, (0.135, 0.46), (0.5, 0.36), (0.865, 0.46), (0.5, 0.90))


def _travel(s: Sketch, c: RGB) -> None:
    s.poly(
        c, (0.46, 0.14), (0.50, 0.05), (0.54, 0.14), (0.56, 0.38), (0.94, 0.62), (0.94, 0.70), (0.56, 0.60)
    )
    s.poly(
        c, (0.46, 0.14), (0.44, 0.38), (0.06, 0.62), (0.06, 0.70), (0.44, 0.60), (0.56, 0.60), (0.56, 0.38)
    )
    s.poly(
        c,
        (0.44, 0.58),
        (0.56, 0.58),
        (0.54, 0.80),
        (0.66, 0.90),
        (0.66, 0.94),
        (0.34, 0.94),
        (0.34, 0.90),
        (0.46, 0.80),
    )


ICONS: dict[str, Callable[[Sketch, RGB], None]] = {
    "science": _science,
    "sport": _sport,
    "finance": _finance,
    "culture": _culture,
    "health": _health,
    "travel": _travel,
}


def draw_lead(topic: str, color: str, rng: Rng) -> Image.Image:
    """The lead picture of an article: its topic's icon over its colour, 256 × 256 RGB."""
    size = SIZE * SCALE
    body = shade(rng, color)
    away = (0, 0, 0) if lightness(body) > 0.5 else (255, 255, 255)
    sketch = Sketch(size)
    sketch.box(body, -0.1, -0.1, 1.1, 1.1, radius=0)
    for _ in range(3):  # soft bands and discs of nearby shades
        x, y, r = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.15, 0.4)
        sketch.oval(mix(body, away, float(rng.uniform(0.03, 0.10))), x - r, y - r, x + r, y + r)
    slope = rng.uniform(-0.2, 0.2)
    sketch.poly(mix(body, away, 0.12), (0, 0.78), (1, 0.78 + slope), (1, 1.1), (0, 1.1))
    scene = sketch.image.convert("RGB")
    side = round(size * rng.uniform(0.46, 0.60))
    icon = Sketch(side)
    ICONS[topic](icon, (248, 248, 246) if lightness(body) < 0.7 else (52, 56, 64))
    turned = icon.image.rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC)
    x, y = (round((size - side) * rng.uniform(0.35, 0.65)) for _ in range(2))
    shadow(scene, turned.getchannel("A"), (x + size // 60, y + size // 50))
    scene.paste(turned, (x, y), turned)
    return grain(scene.resize((SIZE, SIZE), Image.Resampling.LANCZOS), rng)
